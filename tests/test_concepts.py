"""The concept tables, and what is made of them: prompts, questions and pairs."""

import re
import tomllib
import unicodedata
from pathlib import Path

import pytest
from conftest import tiny_model
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import medlib
from medlib import MedlibError, concepts, knowledge
from medlib.prompts import encode

ASKED = concepts.domains()
FOLDER = Path(concepts.__file__).parent


@pytest.fixture(scope="module")
def small_tokenizer():
    """A byte-level BPE tokenizer trained on the questions themselves, so that items have one to several tokens."""
    texts = [text for domain in ASKED for text in concepts.questions(domain).prompt]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


class Alone:
    """As much of a model as encoding needs."""

    name, context, vocabulary = "a tokenizer alone", 4096, 10**6

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer


# The tables


def test_the_domains_have_the_promised_sizes():
    least = dict(age=202, symptoms=120, diseases=150, progression=80, drugs=200, dosage=60)
    assert concepts.medical() == sorted(least)
    assert {concepts.control(domain) for domain in least} == set(concepts.domains()) - set(least)
    for domain, rows in least.items():
        assert len(concepts.load(domain)) >= rows
        assert 0.95 <= len(concepts.load(concepts.control(domain))) / len(concepts.load(domain)) <= 1.05
    assert len(concepts.load("age")) == 202


@pytest.mark.parametrize("domain", concepts.domains())
def test_every_domain_has_three_templates_with_the_item_at_different_places(domain):
    templates = concepts.templates(domain)
    places = {template.index("{entity}") / len(template) for template in templates.values()}
    assert len(places) == len(templates) >= 3


@pytest.mark.parametrize("domain", concepts.domains())
def test_every_row_names_its_source_and_what_it_was_checked_against(domain):
    table = concepts.load(domain)
    assert list(table)[-2:] == ["source", "checked"]
    assert (table.source != "").all() and (table.checked != "").all()
    assert "checked" in (FOLDER / "LICENSE.md").read_text()
    assert table.attrs["licence"] == "CC BY 4.0"


def test_age_has_every_year_for_men_and_women_and_no_article_that_changes_with_it():
    table = concepts.load("age")
    assert sorted(zip(table.age, table.sex, strict=True)) == [(a, s) for a in range(101) for s in ("man", "woman")]
    assert (table.item == table.age.astype(str) + "-year-old " + table.sex).all()
    assert not any(" a {entity}" in t or " an {entity}" in t for t in concepts.templates("age").values())


def test_drug_labels_are_fixed_vocabularies_and_each_label_has_several_drugs():
    table = concepts.load("drugs")
    columns = tomllib.loads((FOLDER / "drugs.toml").read_text())["columns"]
    for label, least in {"mechanism": 3, "specialty": 5}.items():
        assert set(table[label]) == set(columns[label]["values"])
        assert table[label].value_counts().min() >= least
    assert set(table.indication) - {""} == set(columns["indication"]["values"])


def test_a_drug_is_not_its_own_alternative():
    for row in concepts.load("drugs").itertuples():
        assert row.specialty not in row.other_specialties.split(";")
        assert not row.indication or row.indication not in row.also_treats.split(";")
        assert row.indication or not row.also_treats


def test_mechanism_and_specialty_can_be_told_apart():
    """Or else a cluster by specialty would be one by mechanism: some mechanisms span specialties."""
    spread = concepts.load("drugs").groupby("mechanism").specialty.nunique()
    assert (spread >= 3).sum() >= 8


def test_drugs_with_the_same_fourth_level_code_have_the_same_mechanism():
    """A slip of the hand in one row of a class would show here."""
    table = concepts.load("drugs")
    assert table.groupby(table.atc.str[:5]).mechanism.nunique().max() == 1


# Prompts and questions


@pytest.mark.parametrize("domain", concepts.domains())
def test_a_prompt_knows_where_its_item_stands(domain):
    prompts = concepts.prompts(domain)
    assert len(prompts) == len(concepts.load(domain)) * len(concepts.templates(domain))
    for item, prompt in zip(prompts["item"], prompts.prompt, strict=True):
        start, end = prompt.entity
        assert prompt[start:end].lower() == item.lower()


def test_prompts_carry_the_labels_and_can_be_had_for_one_template():
    prompts = concepts.prompts("drugs", "late")
    assert list(prompts)[:4] == ["item", "variant", "prompt", "mechanism"]
    assert set(prompts.variant) == {"late"} and "checked" not in prompts
    assert prompts.prompt[0] == "The medication that the doctor prescribed is phenytoin"


def test_an_item_that_opens_a_sentence_has_a_capital():
    asked = concepts.questions("drugs")
    prompt = asked.query("variant == 'treat' and item == 'metformin'").iloc[0]
    assert (prompt.prompt, prompt.answer) == ("Metformin is a medication used to treat", " diabetes")


@pytest.mark.parametrize("domain", ASKED)
def test_no_answer_leaks_into_its_own_prompt(domain):
    def plain(text):
        return unicodedata.normalize("NFD", text).encode("ascii", "ignore").decode().lower().strip()

    for row in concepts.questions(domain).itertuples():
        number = row.answer[0].isdigit()  # then the space before it belongs to the prompt
        assert row.prompt.endswith(" ") == number != row.answer.startswith(" ")
        assert not row.answer.startswith("  ")
        assert not re.search(rf"\b{re.escape(plain(row.answer))}\b", plain(row.prompt))
        assert plain(row.item)[:3] != plain(row.answer)[:3]
        assert not any(word in plain(row.item) for word in plain(row.answer).split() if len(word) > 3)


def test_indications_have_answers_that_differ():
    assert concepts.questions("drugs").answer.nunique() >= 40


def test_another_label_is_one_of_the_others_and_an_item_without_others_keeps_its_own():
    table = concepts.load("drugs").set_index("item")
    assert concepts.labels("drugs") == dict(mechanism=None, specialty="other_specialties", indication=None)
    draws = [concepts.other_labels("drugs", "specialty", seed) for seed in range(3)]
    several = table.other_specialties != ""
    assert (draws[0][~several] == table.specialty[~several]).all()
    for item, others in table.other_specialties[several].items():
        assert {draw[item] for draw in draws} <= set(others.split(";"))
    assert not draws[0].equals(draws[1])
    assert draws[0].equals(concepts.other_labels("drugs", "specialty", 0))
    with pytest.raises(MedlibError, match="Labels with others: specialty"):
        concepts.other_labels("drugs", "mechanism")


# Pairs


@pytest.mark.parametrize("domain", ASKED)
def test_pairs_are_symmetric_of_equal_length_and_differ_in_the_first_token(domain, embedded_tokenizer):
    tokenizer = embedded_tokenizer
    pairs, candidates = concepts.pairs(domain, tokenizer)
    assert len(pairs) // 2 >= 60
    kept = candidates[candidates.kept]
    assert len(kept) == len(pairs)
    assert (kept.reason == "").all() and (candidates.reason[~candidates.kept] != "").all()
    right = {(q.prompt, q.item): q.answer for q in concepts.questions(domain).itertuples()}
    for pair, twin in zip(pairs[::2], pairs[1::2], strict=True):
        assert (twin.clean, twin.corrupt, twin.answer, twin.wrong) == (
            *(pair.corrupt, pair.clean, pair.wrong, pair.answer),
        )
        clean, corrupt = encode(Alone(tokenizer), [pair.clean, pair.corrupt])
        assert len(clean) == len(corrupt)
        ends = [tokenizer(pair.clean + answer)["input_ids"] for answer in (pair.answer, pair.wrong)]
        assert ends[0][: len(clean)] == ends[1][: len(clean)] == clean
        assert ends[0][len(clean)] != ends[1][len(clean)]
    for pair, row in zip(pairs, kept.itertuples(), strict=True):
        assert right[pair.clean, row.item] == pair.answer and right[pair.corrupt, row.other] == pair.wrong


def test_no_pair_has_a_wrong_answer_that_is_right_too(small_tokenizer):
    table = concepts.load("drugs").set_index("item")
    pairs, candidates = concepts.pairs("drugs", small_tokenizer)
    for pair, row in zip(pairs, candidates[candidates.kept].itertuples(), strict=True):
        drug = table.loc[row.item]
        assert pair.wrong.strip() not in {drug.indication, *drug.also_treats.split(";")}
    assert (candidates.reason == "one answer is right for both").any()


def test_an_item_stands_in_one_couple_a_template_and_no_couple_stands_in_two(small_tokenizer):
    _, candidates = concepts.pairs("drugs", small_tokenizer)
    kept = candidates[candidates.kept]
    assert kept.groupby(["template", "item"]).size().max() == 1
    assert not kept.duplicated(["item", "other"]).any()


def test_the_same_tokenizer_gets_the_same_pairs_whose_head_is_mixed(small_tokenizer):
    pairs, _ = concepts.pairs("drugs", small_tokenizer)
    assert pairs == concepts.pairs("drugs", small_tokenizer)[0]
    assert len({pair.answer for pair in pairs[:40]}) >= 10


# A domain of one's own, and what goes wrong with one

ANIMALS = """
title = "Animals"
about = "a made-up domain"
licence = "CC0"

[columns.kind]
about = "what it is"
values = ["bird", "fish"]

[columns.legs]
about = "how many"
from = 0
to = 4

[columns.sound]
about = "what it says"
optional = true
pattern = "[a-z]+"

[templates]
seen = "We saw a {entity}"

[questions]
answer = "sound"

[questions.templates]
says = "The {entity} says"
"""
ROWS = ["item,kind,legs,sound,source,checked", "crow,bird,2,caw,a book,not checked", "carp,fish,0,,a book,not checked"]


def animals(folder, rows=ROWS, description=ANIMALS):
    (folder / "animals.toml").write_text(description)
    (folder / "animals.csv").write_text("\n".join(rows) + "\n")
    return folder / "animals.toml"


def test_a_made_up_domain_loads_from_its_folder(tmp_path, small_tokenizer):
    domain = animals(tmp_path)
    assert concepts.load(domain).legs.tolist() == [2, 0]
    assert concepts.prompts(str(domain)).prompt.tolist() == ["We saw a crow", "We saw a carp"]
    asked = concepts.questions(domain)
    assert asked[["prompt", "answer"]].values.tolist() == [["The crow says", " caw"]]
    pairs, candidates = concepts.pairs(domain, small_tokenizer)
    assert pairs == [] and candidates.reason.tolist() == ["no partner of equal token length is left"]


def test_domains_named_in_one_text_come_with_their_controls(tmp_path):
    domain = animals(tmp_path, description='control = "numbers"\n' + ANIMALS)
    assert concepts.controls(f"drugs  {domain}") == {"drugs": "foods", str(domain): "numbers"}
    with pytest.raises(MedlibError, match="No domain was named.*age"):
        concepts.controls(" ")
    animals(tmp_path, description='control = "animals.toml"\n' + ANIMALS)
    with pytest.raises(MedlibError, match="its own control"):
        concepts.controls(str(domain))


def test_a_technique_runs_on_a_made_up_domain(tmp_path):
    """In the words that the tiny model's tokenizer has."""
    rows = [f"w{i},bird,2,{'w10' if i % 2 else 'w11'},a book,not checked" for i in range(1, 7)]
    described = ANIMALS.replace("We saw a", "w20 w21").replace("The {entity} says", "w22 {entity} w23")
    domain = animals(tmp_path, [ROWS[0], *rows], described.replace("[a-z]+", "w[0-9]+"))
    asked = concepts.questions(domain)
    model = tiny_model()
    sweep = medlib.lesion_sweep(model, list(asked.prompt), list(asked.answer))
    assert len(sweep) == 6 * model.n_layers and sweep.kl.max() > 0
    pairs, _ = concepts.pairs(domain, model.tokenizer)
    assert medlib.patch_sweep(model, pairs).pair.nunique() == len(pairs) == 6
    accuracy = knowledge.pairwise(knowledge.ask(model, domain))
    assert 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1
    states = medlib.activations(model, list(concepts.prompts(domain).prompt), at="entity")
    assert states.shape == (model.n_layers + 1, 6, model.hidden_size)


@pytest.mark.parametrize(
    "row, column, cells, said",
    [
        (3, "kind", "carp,fisch,0,,a book,not checked", "Did you mean 'fish'?"),
        (3, "legs", "carp,fish,none,,a book,not checked", "is no whole number"),
        (3, "legs", "carp,fish,12,,a book,not checked", "is not in 0 .. 4"),
        (3, "sound", "carp,fish,0,Blub!,a book,not checked", "does not have the form [a-z]+"),
        (3, "item", "crow,fish,0,,a book,not checked", "stands in an earlier row too"),
        (3, "source", "carp,fish,0,,,not checked", "does not have the form"),
        (3, "source", "carp,fish,0,,a book", "the row has 5 cells and the header 6"),
        (3, "checked", "carp,fish,0,,a book,not checked,at all", "the row has 7 cells"),
        (3, "sound", "carp,fish,0, blub,a book,not checked", "has a space at an end, or beside a ;"),
    ],
)
def test_a_malformed_row_is_named_by_file_row_and_column(tmp_path, row, column, cells, said):
    with pytest.raises(MedlibError) as error:
        concepts.load(animals(tmp_path, [*ROWS[:2], cells]))
    assert f"{tmp_path / 'animals.csv'}, row {row}, column {column}: " in str(error.value)
    assert said in str(error.value)


def test_a_wrong_header_names_the_columns_that_are_wanted(tmp_path):
    with pytest.raises(MedlibError, match="row 1, column 3: expected 'legs' and found 'feet'.*item, kind, legs"):
        concepts.load(animals(tmp_path, [ROWS[0].replace("legs", "feet"), *ROWS[1:]]))


@pytest.mark.parametrize(
    "old, new, said",
    [
        ('title = "Animals"', "title = Animals", "is not TOML"),
        ('licence = "CC0"', "", "'licence' is missing"),
        ("optional", "optionl", "'optionl' is not known. Allowed: about"),
        ("We saw a {entity}", "We saw one", "must hold {entity} once"),
        ("We saw a {entity}", "We saw a {entity} ", "no space at either end"),
        ('about = "what it is"', 'about = "what it is"\nothers = "more"', "others is 'more', which is no column"),
        ('answer = "sound"', 'answer = "noise"', "is no column of the table"),
        ('answer = "sound"', 'answer = "legs"', "a column of numbers or of several values"),
        ("The {entity} says", "The {entity} {sound}", "holds its own answer"),
        ("We saw a {entity}", "We saw a {entity} {", "has a stray brace"),
        ("We saw a {entity}", "We saw a } {entity}", "has a stray brace"),
        ("We saw a {entity}", "We saw a {kind!r} {entity}", "has a gap for"),
        ("We saw a {entity}", "We saw a {legs:>3} {entity}", "has a gap for"),
        ('pattern = "[a-z]+"', 'pattern = "[a-z"', "is no regular expression"),
        ('pattern = "[a-z]+"', "pattern = 3", "pattern = 3 is not a text"),
        ('pattern = "[a-z]+"', "", "give values, a pattern, or from and to"),
        ("optional = true", 'optional = "false"', "is not true or false"),
        ('values = ["bird", "fish"]', "values = [1, 2]", "give a list of texts"),
        ('values = ["bird", "fish"]', 'values = "bird"', "no column with a list of values"),
        ('values = ["bird", "fish"]', 'values = "kind"', "no column with a list of values"),
        ("from = 0", "from = 5", "from is not above to"),
        ("to = 4", "", "a column of numbers has from and to"),
        ("to = 4", "to = 4\nunique = true", "and not unique"),
        ("[columns.legs]", '[columns."legs:3"]', "is named in letters"),
        ('licence = "CC0"', 'licence = "CC0"\ncluster = "kin"', "cluster is 'kin', which is no column"),
        ('seen = "We saw a {entity}"', "seen = 3", "is not a text with a name"),
        ('title = "Animals"', "title = 3", "title = 3 is not a text"),
    ],
)
def test_a_malformed_description_is_named_by_file_and_place(tmp_path, old, new, said):
    with pytest.raises(MedlibError) as error:
        concepts.load(animals(tmp_path, description=ANIMALS.replace(old, new)))
    assert str(tmp_path / "animals.toml") in str(error.value) and said in str(error.value)


def test_an_optional_cell_may_be_empty_often_and_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    rules = 'pattern = "[a-z]+"\nunique = true\nat_least = 1'
    rows = [*ROWS, "pike,fish,0,,a book,not checked"]
    domain = animals(tmp_path, rows, ANIMALS.replace('pattern = "[a-z]+"', rules))
    domain.with_suffix(".csv").write_text("\ufeff" + domain.with_suffix(".csv").read_text())
    assert concepts.load(domain).sound.tolist() == ["caw", "", ""]


def test_items_can_be_variations_of_one_thing(tmp_path):
    domain = animals(tmp_path, description=ANIMALS.replace('licence = "CC0"', 'licence = "CC0"\ncluster = "legs"'))
    assert concepts.questions(domain).cluster.tolist() == ["2"]
    assert concepts.questions("progression").cluster.nunique() == 12
    drugs = concepts.questions("drugs")
    assert drugs.cluster.equals(drugs["item"].rename("cluster")) and drugs.attrs["asks"] == "what drugs treat"


def test_a_table_without_any_answer_asks_nothing(tmp_path):
    with pytest.raises(MedlibError, match="no row has an entry in column sound"):
        concepts.questions(animals(tmp_path, [ROWS[0], ROWS[2]]))


def test_a_missing_file_or_domain_or_template_says_what_there_is(tmp_path):
    with pytest.raises(MedlibError, match="no domain 'drogs'. Did you mean 'drugs'. Choose one of age, .*, drugs"):
        concepts.load("drogs")
    with pytest.raises(MedlibError, match="no file .*own.toml"):
        concepts.load(tmp_path / "own.toml")
    animals(tmp_path).with_suffix(".csv").unlink()
    with pytest.raises(MedlibError, match="lies beside its TOML file"):
        concepts.load(tmp_path / "animals.toml")
    with pytest.raises(MedlibError, match="no template 'end'. Choose one of early"):
        concepts.prompts("age", "end")
    silent = animals(tmp_path, description=ANIMALS.partition("[questions]")[0])
    with pytest.raises(MedlibError, match="asks no questions. Domains that do: .*, drugs"):
        concepts.questions(silent)
