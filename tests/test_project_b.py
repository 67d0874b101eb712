"""The page on project B says what B published and what the runs recorded, and computes what needs no model."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from pictured_runs import HIDDEN, LAYERS, NUMBERS, QUESTION, a_pictured_run

from medlib import MedlibError
from medlib.book import building
from medlib.book.project_b import figures as draw
from medlib.book.project_b import pages, published, traps
from medlib.chapters.contextualisation import published as of_context
from medlib.chapters.embedding_geometry import project_b as of_geometry
from medlib.models import zoo

ROOT = Path(__file__).parent.parent
FACTS, QUANTITIES = published.read()
PIECES = ("order", "models", "curves", "few_tokens", "copies", "logit_sum", "chapters")


def chapters_of(folder, techniques=NUMBERS, **options):
    for technique in techniques:
        a_pictured_run(folder, technique, **options)
    return building._runs(folder)[0]


@pytest.fixture(scope="module")
def chapters(tmp_path_factory):
    return chapters_of(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def runs(chapters):
    return published.recorded(chapters)


@pytest.fixture(scope="module")
def pieces(chapters, tmp_path_factory):
    return written(tmp_path_factory.mktemp("pieces"), chapters)


@pytest.fixture(scope="module")
def pieces_without(tmp_path_factory):
    return written(tmp_path_factory.mktemp("without"), [])


def written(folder, chapters):
    pages.write(folder, chapters)
    return {name: (folder / f"b_{name}.md").read_text() for name in PIECES} | {"folder": folder}


# --- what B published -------------------------------------------------------------------------------------------------


def test_what_b_published_is_what_the_chapters_hold_ours_against():
    ranges = {(q["metric"], q["tokens"]): (q["low"], q["high"]) for q in QUANTITIES.values() if "said" in q}
    assert ranges == {(name, kind): of_geometry.band(name, kind) for name, kind, *_ in of_geometry.PUBLISHED}
    points = {q["metric"]: tuple(q["points"].items()) for q in QUANTITIES.values() if "points" in q}
    expected = {n: tuple(zip(of_context.LAYERS, v, strict=True)) for n, v in of_context.VALUES.items()}
    assert points == expected
    assert FACTS["blocks"] == of_context.OF == of_geometry.BLOCKS == zoo.entry("llava-med-7b")["layers"]
    assert FACTS["hidden"] == of_geometry.HIDDEN == zoo.entry("llava-med-7b")["hidden"]
    assert FACTS["text_tokens"] == of_geometry.TEXT_TOKENS < FACTS["hidden"]
    assert QUANTITIES["update_linearity"]["peak"] == [of_geometry.PEAK] * 2


@pytest.mark.parametrize("name", [name for name, quantity in QUANTITIES.items() if "said" in quantity])
def test_a_range_and_its_words_hold_the_same_numbers(name):
    quantity = QUANTITIES[name]
    end = quantity.get("end", [])
    numbers = {quantity["low"], quantity["high"], *quantity.get("peak", []), quantity.get("start", quantity["low"])}
    numbers |= set(end if isinstance(end, list) else [end])
    assert {float(number) for number in re.findall(r"\d+(?:\.\d+)?", quantity["said"])} == numbers


def test_the_page_quotes_b_as_the_data_have_it():
    text = (ROOT / "book" / "project_b.md").read_text()
    assert f"{FACTS['text_tokens']:,} text tokens in {FACTS['hidden']:,} dimensions" in text and FACTS["model"] in text


def test_the_data_are_installed_with_the_package():
    assert (
        "book/*.toml"
        in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["medlib"]
    )


# --- ours beside it ---------------------------------------------------------------------------------------------------


def test_our_curve_is_that_of_the_same_measure_and_its_controls_are_apart(runs):
    found = published.curves(QUANTITIES["update_linearity"], runs)
    assert found["own"]["value"].iloc[[0, -1]].tolist() == pytest.approx([0.95, 0.85])
    assert set(found["control"]["value"]) == {0.2} and found["stricter"]["value"].iloc[0] == pytest.approx(0.8)
    assert found["own"]["depth"].iloc[-1] == pytest.approx((LAYERS - 1) / LAYERS)
    text = published.curves(QUANTITIES["dimension_text"], runs)
    assert text["own"]["value"].iloc[0] == pytest.approx(11) and text["control"]["value"].iloc[0] == pytest.approx(70)
    assert text["stricter"]["value"].iloc[0] == pytest.approx(12) and text["own"]["low"].isna().all()


def test_of_context_only_the_first_question_with_all_dimensions_counts(runs):
    found = published.curves(QUANTITIES["self_similarity"], runs)
    assert found["own"]["value"].tolist() == pytest.approx(np.linspace(1.0, 0.7, LAYERS + 1))
    assert found["control"]["value"].iloc[0] == pytest.approx(0.7) and "stricter" not in found


def test_printed_values_stand_beside_the_layer_of_the_same_depth(runs):
    quantity = QUANTITIES["mev"]
    found = published.curves(quantity, runs)
    beside = published.at_points(quantity, found["own"], found["control"], LAYERS)
    assert beside["ours_at"].tolist() == [of_context.at_depth(layer, LAYERS) for layer in of_context.LAYERS]
    assert beside["value"].tolist() == pytest.approx([1 - 0.2 * at / LAYERS for at in beside["ours_at"]])
    assert beside["published"].tolist() == list(of_context.VALUES["mev"])


def test_a_layer_is_counted_within_the_range_in_as_many_digits_as_b_tells(runs):
    own = published.curves(QUANTITIES["update_linearity"], runs)["own"]
    three = own.head(3).assign(value=[0.9454, 0.9456, 0.5])
    assert published.inside(QUANTITIES["update_linearity"], three) == (1, 1, 1)
    assert published.digits("14 falling to 8 to 10, a peak near 24 to 25") == 0


def test_runs_of_other_models_are_not_ours(tmp_path):
    assert published.recorded(chapters_of(tmp_path, ["grad_cam"], model="llava-med-7b")) == {}


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_quotes_the_runs_and_says_where_each_curve_lies(pieces):
    curves = pieces["curves"]
    assert "| anisotropy, image tokens | 0.77 to 0.70 | 0.60 to 0.30 (0.30 to 0.60) | 0 of 16 | 0.05 |" in curves
    assert "| MEV | 0 (0) | 1.0000 | 1.000 (0.980 to 1.020) | 0.700 |" in curves
    assert "**Anisotropy, text tokens.** Of 16 states of ours, 16 above B's range. " in curves
    assert "Of 15 blocks of ours, 9 within, 1 above and 5 below B's range; ours is highest at 3% of the depth" in curves
    assert "held out it is 0.600 to 0.800" in curves and "by maximum likelihood it is 9.0 to 14.0" in curves
    assert "above B's value at 2 of 5 depths; it is lowest at layer 30 of 30, and B's values at 25 of 32" in curves
    assert curves.count("\n- **") == len(QUANTITIES)
    assert NUMBERS["embedding_geometry"]["order_of_b"] in pieces["order"] and QUESTION in pieces["models"]
    for technique, numbers in NUMBERS.items():
        key = pages.VERDICTS.get(technique, ("verdict",))[0]
        assert numbers[key][1:].replace("_", "\\_") in pieces["chapters"]
        assert f"/runs/scans-llava/{technique}.ipynb" in pieces["chapters"]


def test_the_figures_of_the_page_are_written_and_have_alt_text(pieces):
    for name in ("curves", "few_tokens", "copies", "logit_sum"):
        assert f"{{figure}} generated/b_{name}.png" in pieces[name] and "\n:alt: " in pieces[name]
        assert (pieces["folder"] / f"b_{name}.png").stat().st_size > 10_000


def test_without_a_run_each_piece_names_the_command_that_makes_it(pieces_without):
    assert pieces_without["logit_sum"] == "Not run in this copy; `medlib run grad_cam --model scans-llava` does.\n"
    for name in ("order", "few_tokens", "copies", "curves"):
        assert f"`{published.command('embedding_geometry')}`" in pieces_without[name]
    assert f"`{published.command('contextualisation')}`" in pieces_without["curves"]
    assert all(f"`{published.command(technique)}`" in pieces_without["chapters"] for technique in published.CHAPTERS)
    assert "| SelfSim | 0 | 0.9995 | not run |" in pieces_without["curves"]
    assert (pieces_without["folder"] / "b_curves.png").stat().st_size > 10_000


def test_a_measure_that_a_run_refused_is_said_to_be(tmp_path):
    folder = tmp_path / "pieces"
    folder.mkdir()
    refused = ("linearity", "linearity_held_out")
    found = written(folder, chapters_of(tmp_path / "runs", ["embedding_geometry"], refused=refused))["curves"]
    assert "| full linearity | 1.000 to 0.998 | refused: too few tokens |  |  |" in found
    assert "**Full linearity.** Ours is refused" in found and "9 within, 1 above" in found


# --- three experiments ------------------------------------------------------------------------------------------------


def test_noise_with_as_few_tokens_as_b_is_linear_in_sample_and_refused(pieces, pieces_without):
    for text in (pieces["few_tokens"], pieces_without["few_tokens"]):
        assert "(0.67), linearity is 1.000 in sample and below -1 held out" in text
        assert f"*linearity of 64 fitted rows in {traps.NOISE} dimensions is 1 for any data*" in text
        assert "| noise | 49 | 0.51 | 1.000 |" in text
    assert f"| text tokens of this book | {HIDDEN + 1} |" in pieces["few_tokens"]
    assert "text tokens of this book" not in pieces_without["few_tokens"]


def test_a_measure_that_refuses_nothing_stops_the_build():
    x, y = np.random.default_rng(0).normal(size=(2, 50, 4))
    with pytest.raises(MedlibError, match="was not refused"):
        traps._refusal(x, y)


def test_copies_turn_a_known_dimension_wrong(pieces):
    text = pieces["copies"]
    clean, twentieth, quarter = (
        float(number) for number in re.findall(r"(?:gives|tokens|four) (\d+\.\d)(?:;| \()", text)[:3]
    )
    assert abs(clean / traps.KNOWN - 1) < 0.15 and twentieth > 1.2 * clean and quarter > 2 * clean
    assert "at most 26% of them" in text and NUMBERS["embedding_geometry"]["copies"] in text
    assert "| text tokens at state 0 | 900 of 3,780 are copies" in text
    assert re.search(r"\| 0% \| 7\.\d .*\| 8\.1 .*\|", text) and "| 5% |" in text


def test_the_map_of_the_sum_stands_beside_those_of_the_answer_with_their_controls(pieces, runs):
    text, (table, record) = pieces["logit_sum"], runs["grad_cam"]
    rows = {line.split(" | ")[0][2:]: line for line in text.splitlines() if line.startswith("| ")}
    own = table[(table["metric"] == "pointing") & table["item"].isna() & table["variant"].isna()]
    for name, label in draw.MAPS.items():
        row = own[own["component"] == name].iloc[0]
        assert f"| {label} | {row.layer} | {row.value:.2f} ({row.low:.2f} to {row.high:.2f}) |" in rows[label]
    assert rows["answer"].count("+") == 3 * 5 and "-" in rows["sum of all logits"]
    assert "| hottest token of the sum, layer 15 | touches the lesion in 10% (0% to 30%) |" in text
    assert "planted in 3" in text and record["numbers"]["sum_verdict"]["text"] in text
