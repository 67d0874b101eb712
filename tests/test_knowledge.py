"""The knowledge check: planted knowledge is found, none where there is none, and a pair is dropped for a reason."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import tiny_model

from medlib import MedlibError, concepts, hooks, knowledge
from medlib.knowledge import Asked

N, TOKENS = 40, 8


def asked(logits, wrong=None, variants=1):
    """`N` items in each of some templates, item i with answer `i % TOKENS`."""
    items = np.tile(np.arange(N), variants)
    own = items % TOKENS
    if wrong is None:
        wrong = np.arange(TOKENS) != own[:, None]
    variant = np.repeat([*"abc"][:variants], N)
    questions = pd.DataFrame({"item": items.astype(str), "variant": variant, "cluster": items.astype(str)})
    return Asked(questions, logits, own, wrong)


def made_up(knowledge=0.0, bias=0.0, variants=1, seed=0):
    """Logits of a model that knows so much of an answer and likes some answers so much better, whatever it is asked."""
    generator = np.random.default_rng(seed)
    own = np.tile(np.arange(N), variants) % TOKENS
    logits = generator.normal(size=(N * variants, TOKENS)) + bias * generator.normal(size=TOKENS)
    logits[np.arange(len(own)), own] += knowledge
    return logits


def together(found):
    """The scores over all templates: metric -> value."""
    return knowledge.scores(found).query("variant == ''").set_index("metric").value


def test_a_model_that_knows_everything_scores_one_and_one_that_knows_nothing_its_chance():
    everything = knowledge.scores(asked(made_up(knowledge=50))).set_index("metric").query("variant == ''")
    assert (everything[["value", "low", "high"]] == 1).all(axis=None)
    scores = [knowledge.scores(asked(made_up(seed=seed))).query("variant == ''") for seed in range(40)]
    found = pd.concat(scores).groupby("metric")[["value", "chance"]].mean()
    assert found.value.to_dict() == pytest.approx(found.chance.to_dict(), abs=0.02)


def test_chance_of_n_way_is_what_one_order_of_the_answers_would_score():
    """With few wrong answers an item, one order can be right often: that is no knowledge."""
    own = np.arange(N) % TOKENS
    wrong = np.arange(TOKENS) == (own ^ 1)[:, None]  # one answer is wrong for each item: its neighbour's
    wrong[0] = False  # and for one item none
    order = np.tile(5.0 * np.arange(TOKENS), (N, 1))
    found = knowledge.scores(asked(order, wrong)).query("variant == ''").set_index("metric")
    right = (N / 2) / (N - 1)  # the larger of each two neighbours
    assert found.loc["n-way", ["value", "chance", "n"]].tolist() == pytest.approx([right, right, N - 1])


def test_an_answer_bias_leaves_pairwise_at_a_half_and_cancels_in_contrast():
    liked = [knowledge.pairwise(asked(made_up(bias=9, seed=seed))).value for seed in range(10)]
    assert np.mean(liked) == pytest.approx(0.5, abs=0.02)
    hidden = asked(made_up(knowledge=2, bias=9))
    assert knowledge.pairwise(hidden).value < 0.65
    assert knowledge.contrast(hidden).value > 0.9


def test_a_pure_answer_bias_ties_both_ways():
    same = np.tile(np.arange(TOKENS), (N, 1))
    assert knowledge.contrast(asked(same)) == knowledge.pairwise(asked(same)) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("bias", [0, 2])
@pytest.mark.parametrize("measure", [knowledge.pairwise, knowledge.contrast])
def test_the_interval_covers_a_half_about_as_often_as_it_says_where_nothing_is_known(measure, bias):
    """Items are what is drawn, so that pairs which share an item do not count as so many."""
    found = [measure(asked(made_up(bias=bias, variants=3, seed=seed), variants=3)) for seed in range(150)]
    assert np.mean([score.low <= 0.5 <= score.high for score in found]) == pytest.approx(0.95, abs=0.05)


def test_items_that_are_variations_of_one_thing_are_drawn_together_and_the_interval_is_wider():
    own = np.arange(N) % TOKENS
    logits = made_up(knowledge=1) + 2 * np.random.default_rng(1).normal(size=TOKENS)[own, None] * np.eye(TOKENS)[own]
    single = asked(logits)
    grouped = single._replace(questions=single.questions.assign(cluster=own.astype(str)))
    one, other = knowledge.pairwise(single), knowledge.pairwise(grouped)
    assert one.value == other.value and other.high - other.low > 1.3 * (one.high - one.low)


def test_each_item_has_an_accuracy_of_its_own_and_their_weighted_mean_is_that_of_the_domain():
    found = asked(made_up(knowledge=1, variants=2), variants=2)
    items = knowledge.by_item(found)
    assert np.average(items.value, weights=items.met) == pytest.approx(knowledge.pairwise(found).value)
    assert knowledge.compared(found) == 1
    wrong = found.wrong.copy()
    wrong[0] = False  # in one of the two templates the first item has no wrong answer
    assert knowledge.compared(found._replace(wrong=wrong)) < 1
    assert knowledge.by_item(found._replace(wrong=wrong)).met[0] == items.met[0] / 2


def known(logits, variants=3):
    return knowledge.is_known(knowledge.scores(asked(logits, variants=variants)))


def test_a_domain_is_known_where_every_wording_shows_it_and_there_are_items_enough():
    assert known(made_up(knowledge=3, variants=3))
    assert not any(known(made_up(variants=3, seed=seed)) for seed in range(10))
    one_wording_fails = np.concatenate([made_up(knowledge=9, variants=2), made_up(seed=1)])
    assert knowledge.pairwise(asked(one_wording_fails, variants=3)).low > knowledge.KNOWN
    assert not known(one_wording_fails)
    scores = knowledge.scores(asked(made_up(knowledge=9)))
    assert knowledge.is_known(scores) and not knowledge.is_known(scores.assign(items=19))


def test_many_items_about_few_things_are_not_enough():
    scores = knowledge.scores(asked(made_up(knowledge=9)))
    assert knowledge.is_known(scores.assign(n=10)) and not knowledge.is_known(scores.assign(n=9))
    few = asked(made_up(knowledge=9))
    few = few._replace(questions=few.questions.assign(cluster=(few.own).astype(str)))
    scores = knowledge.scores(few)
    assert scores.low[0] > 0.9 and (scores.n == TOKENS).all() and (scores["items"] == N).all()
    assert not knowledge.is_known(scores)


def test_twelve_series_that_share_their_noise_are_seldom_taken_for_known():
    """As progression has them: the items of a series are answered alike, so these are twelve draws, not a hundred."""
    series, stages = 12, 9
    own = np.repeat(np.arange(series), stages)
    names = own.astype(str)
    questions = pd.DataFrame({"item": np.arange(len(own)).astype(str), "variant": "a", "cluster": names})
    found = []
    for seed in range(100):
        generator = np.random.default_rng(seed)
        logits = generator.normal(size=(series, series))[own] + 0.5 * generator.normal(size=(len(own), series))
        one = Asked(questions, logits, own, np.arange(series) != own[:, None])
        found.append(knowledge.is_known(knowledge.scores(one, metrics=["pairwise"])))
    assert np.mean(found) <= 0.05


def test_templates_are_scored_one_by_one_and_together():
    scores = knowledge.scores(asked(made_up(knowledge=1, variants=3), variants=3))
    assert scores.groupby("metric").variant.apply(list).to_dict() == dict.fromkeys(
        ("pairwise", "contrast", "n-way"), ["", "a", "b", "c"]
    )
    assert (scores.n == N).all() and (scores["items"] == N).all()
    together, single = scores[scores.variant == ""], scores[scores.variant != ""]
    assert together.set_index("metric").value.to_dict() == pytest.approx(
        single.groupby("metric").value.mean().to_dict()
    )


def test_what_is_also_right_is_never_a_wrong_answer():
    logits = np.zeros((N, TOKENS))
    logits[:, 0] = 5  # the model says answer 0 to everything
    own = np.arange(N) % TOKENS
    logits[np.arange(N), own] += 1
    wrong = np.arange(TOKENS) != own[:, None]
    assert together(asked(logits, wrong))["n-way"] == pytest.approx(1 / TOKENS)
    wrong[:, 0] = False  # and it may
    assert together(asked(logits, wrong)).to_dict() == {"pairwise": 1, "contrast": 1, "n-way": 1}


def test_answers_that_all_begin_alike_are_refused():
    one = asked(made_up())._replace(wrong=np.zeros((N, TOKENS), dtype=bool))
    with pytest.raises(MedlibError, match="No two items have answers that differ"):
        knowledge.pairwise(one)


@pytest.fixture
def domain(tmp_path):
    """Six made-up items in the words of the tiny model, each with one of two answers."""
    (tmp_path / "made.toml").write_text(
        'title = "Made"\nabout = "made up"\nlicence = "CC0"\n'
        '[columns.word]\nabout = "the answer"\npattern = "w.*"\n'
        '[columns.more]\nabout = "also right"\npattern = "w.*"\noptional = true\n'
        '[templates]\na = "w20 {entity}"\n'
        '[questions]\nanswer = "word"\nalso = "more"\n[questions.templates]\nsays = "w22 {entity} w23"\n'
        'tells = "w24 {entity} w25 w26"\n'
    )
    rows = [f"w{i},{'w10' if i % 2 else 'w11'},{'w11' if i == 1 else ''},a book,not checked" for i in range(1, 7)]
    (tmp_path / "made.csv").write_text("\n".join(["item,word,more,source,checked", *rows]) + "\n")
    return tmp_path / "made.toml"


def test_the_logits_are_those_of_the_model_at_the_last_token(domain):
    model = tiny_model()
    found = knowledge.ask(model, domain)
    assert found.logits.shape == (12, 2) and found.wrong.sum() == 12 - 2  # w1 may also answer w11, in two templates
    for row, prompt in enumerate(found.questions.prompt):
        ids = torch.tensor([model.tokenizer(prompt)["input_ids"]])
        with torch.no_grad():
            own = model.hf(ids).logits[0, -1]
        tokens = [model.tokenizer(word)["input_ids"][0] for word in ("w10", "w11")]
        np.testing.assert_allclose(found.logits[row], own[tokens], atol=1e-5)


def test_logits_are_kept_for_one_number_of_threads_and_one_version_of_the_library(domain, monkeypatch, tmp_path):
    """A processor rounds otherwise with other threads; what is kept and empty is as good as none."""
    monkeypatch.setenv("MEDLIB_CACHE", str(tmp_path / "cache"))
    asked, real = [], knowledge._logits
    monkeypatch.setattr(knowledge, "_logits", lambda *arguments: asked.append(1) or real(*arguments))
    model = tiny_model()
    first = knowledge.ask(model, domain).logits
    knowledge.ask(model, domain)
    assert len(asked) == 1
    (kept,) = (tmp_path / "cache" / "knowledge").iterdir()
    kept.write_bytes(b"")
    np.testing.assert_array_equal(knowledge.ask(model, domain).logits, first)
    assert len(asked) == 2
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1000)
    knowledge.ask(model, domain)
    monkeypatch.setattr(knowledge.transformers, "__version__", "0")
    knowledge.ask(model, domain)
    assert len(asked) == 4


def test_a_question_whose_answer_melts_into_its_prompt_is_left_out(domain, monkeypatch):
    """As a digit does after a space, for a tokenizer that makes one token of both."""
    real = knowledge.answer_token

    def answer_token(model, prompt, answer):
        if prompt.startswith("w22 w1 "):
            raise MedlibError("melts")
        return real(model, prompt, answer)

    monkeypatch.setattr(knowledge, "answer_token", answer_token)
    found = knowledge.ask(tiny_model(), domain)
    assert len(found.questions) == len(found.logits) == 11
    monkeypatch.setattr(knowledge, "answer_token", lambda *_: real(tiny_model(), "w1", ""))
    with pytest.raises(MedlibError, match="no answer has a first token"):
        knowledge.ask(tiny_model(), domain)


def test_candidates_of_another_domain_are_refused(domain):
    found = knowledge.ask(tiny_model(), domain, n_items=3)
    with pytest.raises(MedlibError, match="were not asked"):
        knowledge.filter_pairs(found, concepts.pairs(domain, tiny_model().tokenizer)[1])


def test_the_filter_table_says_why_each_pair_was_dropped(domain):
    model = tiny_model()
    found = knowledge.ask(model, domain)
    pairs, candidates = concepts.pairs(domain, model.tokenizer)
    table = knowledge.filter_pairs(found, candidates, threshold=0.1)
    made = table[candidates.kept]
    assert len(made) == len(pairs) and table.clean_diff[~candidates.kept].isna().all()
    span = made.clean_diff - made.corrupt_diff
    assert ((made.reason == "small difference") == (span.abs() < 0.1)).all()
    assert ((made.reason == "backward") == (span <= -0.1)).all() and (span <= -0.1).any()
    rest = made[span >= 0.1]
    assert ((rest.reason == "wrong when clean") == (rest.clean_diff <= 0)).all()
    assert (table.kept == (table.reason == "")).all()
    twin = made.set_index(["item", "other", "template"])
    for row in made.itertuples():  # the other way round, both differences change sides and sign
        assert twin.clean_diff[row.other, row.item, row.template] == pytest.approx(-row.corrupt_diff)


def test_a_domain_that_each_embedded_model_knows_has_sixty_usable_pairs_in_its_filter_table(embedded_model):
    found = knowledge.ask(embedded_model, "diseases")
    _, candidates = concepts.pairs("diseases", embedded_model.tokenizer)
    assert knowledge.is_known(knowledge.scores(found))
    assert knowledge.filter_pairs(found, candidates).kept.sum() >= 60


def test_what_a_model_does_not_prefer_is_said_in_one_short_sentence(domain, monkeypatch):
    known, said = knowledge.knows(tiny_model(), [domain])
    assert known == {domain: False}  # six items are too few, however a random model answers them
    assert said == (
        f"Grey, since the model does not reliably prefer the right answer to a wrong one: {domain} "
        "(see the knowledge chapter)."
    )
    monkeypatch.setattr(knowledge, "is_known", lambda scores: True)
    known, said = knowledge.knows(tiny_model(), [domain])
    assert known == {domain: True} and said.startswith("Nothing is grey, since in every domain")


def test_the_logits_are_computed_once_for_a_model_and_anew_for_another(domain, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDLIB_CACHE", str(tmp_path))
    model, calls = tiny_model(), []
    compute = knowledge._logits
    monkeypatch.setattr(knowledge, "_logits", lambda *given: calls.append(1) or compute(*given))
    first, second = (knowledge.ask(model, domain).logits for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(calls) == 1
    with hooks.skip(model, 1):
        other = knowledge.ask(model, domain).logits
    assert len(calls) == 2 and not np.allclose(first, other)
    for file in tmp_path.rglob("*.npy"):
        file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(knowledge.ask(model, domain).logits, first)
