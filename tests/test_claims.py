"""A claim's verdict is what its rule says of planted tables, and of the recorded ones what their chapters report."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from planted_claims import IMAGE, MEDICAL, OTHER, PLANTED, SMALL, a1, a5, a7, a8, b3, b9, b10, knows, model_of, row, run

from medlib import concepts, results
from medlib.book import claims, pairs
from medlib.book.claims import evidence, text_rules
from medlib.book.claims.evidence import WORDS, Run
from medlib.models import zoo

ROOT = Path(__file__).parent.parent
CLAIMS = {claim.key: claim for claim in claims.claims()}
DECIDING = WORDS[:3]


def verdict(key, book, model=None):
    return claims.judge(CLAIMS[key], book, model or model_of(key))


def changed(book, model, chapter, change):
    """The same book with another table in one place."""
    table = change(book[model][chapter].table.copy())
    return book | {model: book[model] | {chapter: book[model][chapter]._replace(table=table)}}


def places(key, book):
    """Every chapter that a claim reads with every metric in it."""
    model = model_of(key)
    return [
        (chapter, metric)
        for chapter in CLAIMS[key].chapters
        for metric in book[model][chapter].table["metric"].unique()
    ]


@pytest.mark.parametrize("word", DECIDING)
@pytest.mark.parametrize("key", CLAIMS)
def test_a_planted_table_gets_the_verdict_that_was_planted(key, word):
    found = verdict(key, PLANTED[key](word))
    assert found.word == word, found.why
    assert found.why.endswith(".") and found.numbers
    assert all(np.isfinite(one.value) and str(one) for one in [*found.numbers, *found.controls])


@pytest.mark.parametrize("word", DECIDING[:2])
@pytest.mark.parametrize("key", CLAIMS)
def test_a_gap_in_any_metric_that_a_rule_reads_decides_nothing(key, word):
    book = PLANTED[key](word)
    for chapter, metric in places(key, book):

        def gap(table, metric=metric):
            at = table.index[table["metric"] == metric][-1]
            table.loc[at, "value"] = np.nan
            return table

        found = verdict(key, changed(book, model_of(key), chapter, gap))
        assert found.word == "not decided" and "gaps" in found.why, (metric, found)


@pytest.mark.parametrize("key", CLAIMS)
def test_a_missing_metric_decides_nothing_and_is_named(key):
    book = PLANTED[key]("supported")
    for chapter, metric in places(key, book):
        found = verdict(key, changed(book, model_of(key), chapter, lambda t, m=metric: t[t["metric"] != m]))
        assert found.word == "not decided", metric
        assert "does not say" in found.why, metric


@pytest.mark.parametrize("key", CLAIMS)
def test_intervals_that_are_missing_decide_nothing_where_the_rule_reads_them(key):
    book = PLANTED[key]("supported")
    chapter = CLAIMS[key].chapters[0]

    def without(table):
        return table.assign(low=np.nan, high=np.nan)

    no_interval = ("A2c", "A3b", "A6", "A7")  # ranks, p-values, and what is resampled from single items
    expected = "supported" if key in no_interval else "not decided"
    assert verdict(key, changed(book, model_of(key), chapter, without)).word == expected


@pytest.mark.parametrize("key", CLAIMS)
def test_a_chapter_without_a_recorded_run_is_not_run(key):
    book = PLANTED[key]("supported")
    model = model_of(key)
    for chapter in CLAIMS[key].chapters:
        left = book | {model: {name: one for name, one in book[model].items() if name != chapter}}
        found = verdict(key, left)
        assert (found.word, found.why) == ("not run", f"No recorded run of {chapter}.")
    assert verdict(key, {}).word == "not run"


def test_an_interval_that_reaches_zero_on_either_side_is_not_decided():
    for word, sign in (("supported", 1), ("contradicted", -1)):
        book = PLANTED["A4"](word)

        def widened(table, sign=sign):
            main = table["metric"].str.contains("specialty_minus") & table["component"].eq("residual stream")
            return table.assign(
                **{name: table[name].mask(main, -sign * 0.001) for name in ("low" if sign > 0 else "high",)}
            )

        assert verdict("A4", changed(book, SMALL, "geometry", widened)).word == "not decided"


def test_only_domains_that_the_model_knows_count():
    book = a1("supported")
    known = {SMALL: book[SMALL] | {"knowledge": knows("dosage", "age")}}
    assert "Of 4 domains" in verdict("A1", known).why and "Of 5 domains" in verdict("A1", book).why
    nothing = {SMALL: book[SMALL] | {"knowledge": knows(*MEDICAL)}}
    assert verdict("A1", nothing).word == "not decided" and "knows no medical domain" in verdict("A1", nothing).why


def test_doses_that_the_model_does_not_know_are_not_found_whatever_the_patches_say():
    for word in DECIDING:
        book = a8(word)
        book = {SMALL: book[SMALL] | {"knowledge": knows("dosage")}}
        assert verdict("A8", book).word == "not decided"


def test_too_few_couples_decide_nothing():
    book = changed(a8("supported"), SMALL, "patching", lambda table: table.assign(n=4))
    assert (verdict("A8", book).word, verdict("A8", book).why) == ("not decided", "There are fewer than 5 couples.")


def test_a_claim_about_one_kind_of_model_is_not_decided_on_another():
    for word in DECIDING:
        book = {OTHER: a5(word)[SMALL]}
        found = verdict("A5", book, OTHER)
        assert found.word == "not decided" and "built otherwise" in found.why


def test_models_are_compared_only_with_the_other_kind():
    book = a7("supported")
    assert verdict("A7", book, OTHER).word == verdict("A7", book, SMALL).word == "supported"
    alone = {SMALL: book[SMALL]}
    assert "to compare with" in verdict("A7", alone).why
    stranger = {IMAGE: book[SMALL]}
    assert "like none" in verdict("A7", stranger, IMAGE).why


def test_two_rivals_that_disagree_decide_nothing():
    book = a7("supported") | {"llama-3.3-70b": a7("contradicted")[OTHER]}
    assert verdict("A7", book).word == "not decided"


def test_a_shallow_model_that_is_hurt_only_for_its_few_layers_is_not_hurt_more():
    book = a7("supported")

    def wide(table):
        of_two = table["component"].eq("window") & (
            table["layer"] > table["variant"].str.extract(r"(\d+)")[0].astype(float)
        )
        return table.assign(value=table["value"].mask(of_two, 99.0), high=table["high"].mask(of_two, 99.1))

    found = verdict("A7", changed(book, OTHER, "lesion", wide))
    assert found.word == "not decided" and "as large a share of the depth absent, 0 of 6" in found.why


def test_a_measure_that_does_not_beat_its_control_tells_no_kinds_apart():
    book = changed(
        b3("supported"),
        IMAGE,
        "embedding_geometry",
        lambda t: t.assign(value=t["value"].mask(t["variant"].eq("control"), 0.9)),
    )
    assert verdict("B3", book).word == "not decided"


def test_maps_and_units_of_answers_that_the_model_does_not_know_decide_nothing():
    for word in DECIDING:
        for key, plant, metric in (("B9", b9, "answered_right"), ("B10", b10, "balanced accuracy")):
            chapter = CLAIMS[key].chapters[0]
            guessed = changed(
                plant(word), IMAGE, chapter, lambda t, m=metric: t.assign(low=t["low"].mask(t["metric"].eq(m), 0.1))
            )
            assert verdict(key, guessed).word == "not decided"


def test_the_largest_set_of_units_decides_and_not_a_smaller_one():
    def small_sets(table):
        return table.assign(low=table["low"].mask(table["component"].str.startswith("5 units"), -9.0))

    book = changed(b10("supported"), IMAGE, "multimodal_neurons", small_sets)
    assert verdict("B10", book).word == "supported"


def test_units_that_cost_no_more_than_ones_as_loud_are_not_shown_to_carry():
    def as_loud(table):
        return table.assign(low=table["low"].mask(table["metric"].eq("drop, first less matched"), -0.1))

    assert verdict("B10", changed(b10("supported"), IMAGE, "multimodal_neurons", as_loud)).word == "not decided"


def test_rows_are_chosen_by_value_by_list_and_by_null():
    one = run([row("m", 1.0, domain="a"), row("m", 2.0, domain="b", item="i"), row("other", 3.0)])
    assert evidence.rows(one, "m", domain=["a", "b"])["value"].tolist() == [1, 2]
    assert evidence.rows(one, "m", item=None)["value"].tolist() == [1]
    with pytest.raises(evidence.NotThere, match=r"no rows of m \(domain c\)"):
        evidence.rows(one, "m", domain="c")
    with pytest.raises(evidence.NotThere, match="gaps"):
        evidence.rows(one, "m", interval=True)


def test_numbers_are_written_with_their_interval_and_how_many():
    said = str(evidence.Number("share", -0.304, -0.4, -0.001, "12 items", "{:+.2f}"))
    assert said == "share: −0.30 (−0.40 to 0.00), n = 12 items"
    assert str(evidence.count("late", 3, 31, "states")) == "late: 3 of 31 states"
    assert evidence.written(0.5, "{:.0%}") == "50\N{NO-BREAK SPACE}%"
    assert evidence.decide(True, True) == evidence.decide(False, False) == "not decided"


def test_every_claim_names_a_figure_chapters_and_models_that_there_are():
    assert list(CLAIMS) == list(claims.RULES)
    for claim in CLAIMS.values():
        notebook = pairs.read(ROOT / "notebooks" / f"{claim.chapters[0]}.ipynb")
        labels = {cell.metadata.get("mystnb", {}).get("figure", {}).get("name") for cell in notebook.cells}
        assert claim.figure in labels, claim.key
        assert all((ROOT / "book" / "methods" / f"{chapter}.md").is_file() for chapter in claim.chapters)
        assert {*claim.of, *claim.against} <= set(zoo.names())
        assert set(claim.rule) == {"supported", "contradicted"}
        assert set(claim.of) <= set(claim.asks)


@pytest.fixture(scope="module")
def recorded():
    """The committed runs of text models, and the numbers that their chapters report."""
    book = {}
    for path in (ROOT / "book" / "runs").glob("*/*.parquet"):
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        numbers = {key: entry["value"] for key, entry in record["numbers"].items()}
        numbers |= {f"{key} in words": entry["text"] for key, entry in record["numbers"].items()}
        book.setdefault(record["model"]["name"], {})[path.stem] = Run(results.read(path), numbers)
    return book


TEXT_MODELS = ("smollm2-135m", "gemma-3-270m")


def value_of(found, what):
    (one,) = [one for one in [*found.numbers, *found.controls] if one.what.startswith(what)]
    return one


@pytest.mark.parametrize("model", TEXT_MODELS)
def test_ages_are_judged_on_the_numbers_that_their_chapter_reports(recorded, model):
    told = recorded[model]["ages"].numbers
    found = verdict("A2c", recorded, model)
    assert found.why == told["verdict"]
    assert value_of(found, "rank of 17|18 among the steps").value == told["rank_people"]
    assert value_of(found, "rank of 18|19").value == told["rank_after"]
    assert value_of(found, "rank of 17|18 among miles").value == told["rank_routes"]
    assert value_of(found, "layers on which").value == told["n_corrected"]
    best = value_of(verdict("A2a", recorded, model), "best R² of age, layer")
    assert best.value == pytest.approx(told["r2_age"])


@pytest.mark.parametrize("model", TEXT_MODELS)
def test_stages_are_judged_on_the_numbers_that_their_chapter_reports(recorded, model):
    told = recorded[model]["progression"].numbers
    found = verdict("A3a", recorded, model)
    assert str(value_of(found, "ring minus line, mean")).startswith(
        f"ring minus line, mean over states: {told['circularity in words']}"
    )
    assert f"some state: {told['n_ring']} of 12" in found.why
    late = verdict("A3b", recorded, model)
    assert value_of(late, "Parkinson's disease, late stages").value == told["late_parkinson"]
    assert value_of(late, "COPD, significantly").value == told["late_copd_significant"]
    assert value_of(late, "on as many states as COPD").value == told["as_many_copd"]


@pytest.mark.parametrize("model", TEXT_MODELS)
def test_labels_are_judged_on_the_numbers_that_their_chapter_reports(recorded, model):
    told = recorded[model]["geometry"].numbers
    found = verdict("A4", recorded, model)
    for number in found.numbers[:2]:
        said = str(number).split(": ")[1].split(",")[0].replace("−", "-")
        assert said in told["two_labels in words"]
    counts = verdict("A6", recorded, model).why
    together = told["together in words"] if "together in words" in told else told["together"]
    for name in ("symptoms by system", "diseases by chapter", "diseases by organ system"):
        n, of = map(int, re.search(rf"{name} on (\d+) of (\d+) states", counts).groups())
        assert (n > of / 2) == (name in together)


@pytest.mark.parametrize("model", TEXT_MODELS)
def test_collapses_are_those_that_their_chapter_counts(recorded, model):
    told = recorded[model]["collapse"].numbers
    found = verdict("A5", recorded, model)
    assert f"{told['n_series']} of {told['n_series_all']} medical series" in found.why
    assert found.controls[0].value == told["n_series_control"]


def test_the_share_of_the_first_half_is_the_recorded_one(recorded):
    for model in TEXT_MODELS:
        run_of = recorded[model]["lesion"]
        of_age = evidence.rows(run_of, "early_half_mean", domain="age").iloc[0]
        said = verdict("A1", recorded, model)
        assert all(0 < one.low <= one.value <= one.high < 1 for one in said.numbers)
        known = text_rules.known(recorded, model, concepts.medical())
        assert "age" in known and of_age["value"] > 0
