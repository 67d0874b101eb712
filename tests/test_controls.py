"""Each control has the form of its domain: as many rows, as many words around the item, tokens alike in number."""

import tomllib
from pathlib import Path

import pytest
from scipy.stats import ks_2samp

from medlib import concepts

FOLDER = Path(concepts.__file__).parent
PAIRS = [(domain, concepts.control(domain)) for domain in concepts.medical()]
TEXTS = {
    "items": lambda domain: " " + concepts.load(domain)["item"],
    "prompts": lambda domain: concepts.prompts(domain)["prompt"],
    "questions": lambda domain: concepts.questions(domain)["prompt"],
}


def words_around_the_item(templates):
    return [[len(side.split()) for side in text.split("{entity}")] for text in templates.values()]


@pytest.mark.parametrize("domain, control", PAIRS)
def test_a_control_has_as_many_rows_and_items_that_are_asked(domain, control):
    asked = [concepts.questions(name) for name in (domain, control)]
    assert len(concepts.load(control)) == pytest.approx(len(concepts.load(domain)), rel=0.05)
    assert asked[1]["item"].nunique() == pytest.approx(asked[0]["item"].nunique(), rel=0.1)


@pytest.mark.parametrize("domain, control", PAIRS)
def test_each_template_has_a_twin_with_as_many_words_on_either_side(domain, control):
    ours, theirs = (tomllib.loads((FOLDER / f"{name}.toml").read_text()) for name in (domain, control))
    assert words_around_the_item(ours["templates"]) == words_around_the_item(theirs["templates"])
    asked = [told["questions"]["templates"] for told in (ours, theirs)]
    assert words_around_the_item(asked[0]) == words_around_the_item(asked[1])


@pytest.mark.parametrize("domain, control", PAIRS)
def test_token_lengths_are_distributed_alike(domain, control, embedded_tokenizer):
    """Kolmogorov-Smirnov distance and difference of means; for age and numbers the match is row by row."""
    for what, texts in TEXTS.items():
        ours, theirs = (
            [len(ids) for ids in embedded_tokenizer(list(texts(name)))["input_ids"]] for name in (domain, control)
        )
        assert ks_2samp(ours, theirs).statistic <= 0.15, what
        assert sum(theirs) / len(theirs) == pytest.approx(sum(ours) / len(ours), abs=0.4), what
        if domain == "age":
            assert ours == theirs
