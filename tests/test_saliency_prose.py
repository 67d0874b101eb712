"""Two sets that are not medical are the reference, and the chapter says what its numbers are whatever they come to."""

import numpy as np
import pandas as pd
import pytest
from test_saliency_contrast import flat, measured

from medlib.chapters.saliency import saliency_contrast as contrast
from medlib.chapters.saliency import saliency_prose as prose
from medlib.chapters.saliency import saliency_reference as reference
from medlib.stats import Interval

CONTROLS = {"drugs": "foods", "diseases": "cities", "dosage": "elements"}
KNOWN = dict.fromkeys([*CONTROLS, *CONTROLS.values()], True) | {"dosage": False}


def bent(by, seed, answers=("own", "other")):
    """A domain whose first layer is steeper by so much, with the named answers."""
    return measured(lambda answer, layer, m: layer + by * (layer == 1 and answer in answers), seed=seed)


def domains(medical, control, **of):
    tables = {name: bent(medical, i, **of) for i, name in enumerate(CONTROLS)}
    return tables | {name: bent(control * (-1) ** i, 9 + i) for i, name in enumerate(CONTROLS.values())}


def test_only_domains_known_with_their_controls_and_pairs_of_known_controls_count():
    assert reference.judged(CONTROLS, KNOWN) == ["drugs", "diseases"]
    assert reference.judged(CONTROLS, KNOWN | {"foods": False}) == ["diseases"]
    assert reference.control_pairs(CONTROLS, KNOWN | {"foods": False}) == [("cities", "elements")]
    assert reference.compare(domains(0, 0), CONTROLS, dict.fromkeys(KNOWN, False)) is None
    assert reference.band(domains(0, 0), CONTROLS, dict.fromkeys(KNOWN, False)) is None


def test_two_sets_that_are_not_medical_differ_by_more_by_less_or_as_much():
    less = reference.compare(domains(2, 0), CONTROLS, KNOWN)
    assert less.others_differ == "less" and less.others < 0.1
    rms = 2 / np.log(2) * np.sqrt(5) / 6  # one of six layers is higher by 2
    assert less.medical == pytest.approx(rms, rel=0.1)
    assert reference.compare(domains(0, 2), CONTROLS, KNOWN).others_differ == "more"
    assert reference.compare(domains(0, 0), CONTROLS, KNOWN).others_differ == "as much"


def test_the_band_is_how_far_controls_differ_at_each_layer():
    known = KNOWN | {"elements": False}
    found = reference.band(domains(0, 2), CONTROLS, known).set_index("layer")["value"]
    assert found[1] == pytest.approx(4 * 5 / 6, rel=0.05) and found[3] == pytest.approx(4 / 6, rel=0.1)


def changed(counts, layers=4):
    """Corrected tests in which so many layers of each domain are clear."""
    rows = [(name, layer, layer <= n) for name, n in counts.items() for layer in range(1, layers + 1)]
    return pd.DataFrame(rows, columns=["domain", "layer", "clear"])


def test_a_change_with_the_answer_is_laid_to_the_prompts_whose_answers_make_it():
    stays, goes = bent(1, 0), bent(1, 1, answers=("own",))
    clear = changed({"drugs": 1}, layers=6)
    one = reference.terms({"drugs": goes, "foods": stays}, {"drugs": "foods"}, clear)
    other = reference.terms({"drugs": stays, "foods": goes}, {"drugs": "foods"}, clear)
    assert one["drugs"] == pytest.approx(1, abs=0.1) and other["drugs"] == pytest.approx(0, abs=0.1)
    assert reference.terms({"drugs": goes, "foods": stays}, {"drugs": "foods"}, changed({"drugs": 0})) == {}


def compared(difference, medical=0.4):
    sizes = pd.DataFrame(columns=["domain", "over", "medical", "value"])
    return reference.Comparison(medical, medical + difference, difference - 0.1, difference + 0.1, sizes)


def test_the_verdict_is_not_medical_with_an_exception_where_the_medical_answers_change_the_ratio():
    def verdict(counts, shares=(), difference=0.3, known=KNOWN):
        return prose.verdict(changed(counts), dict(shares), compared(difference), CONTROLS, known)[1]

    none = {"drugs": 0, "diseases": 0, "dosage": 4}
    assert verdict(none) == "Not medical: changing the answer hardly changes how a domain differs from its control"
    assert verdict(none, difference=-0.3).startswith("Not about the answer: changing")
    assert verdict(none, difference=0).startswith("Not medical")
    some = none | {"drugs": 1}
    assert verdict(some, {"drugs": 0.8}).endswith("(exception: drugs)")
    assert verdict(some, {"drugs": 0.2}) == verdict(none)  # it is the control's answers that do it
    every = some | {"diseases": 4}
    assert verdict(every, {"drugs": 0.8, "diseases": 0.9}).startswith("In part about the answer: the curve of drugs")
    assert verdict(none, known=dict.fromkeys(KNOWN, False)).startswith("Not decided")


def test_a_ratio_is_counted_for_known_domains_and_held_against_two_sets_that_are_not_medical():
    counts = changed({"drugs": 2, "diseases": 1, "dosage": 4})

    def differs(difference, others=0.1):
        return prose.differs(counts, compared(difference), compared(0, others), CONTROLS, KNOWN)

    count, words = differs(0.3)
    assert count == 3 and "On 3 of 8 layers" in words
    assert "differ by more (0.70 against 0.40" in words and "of questions, not of medicine" in words
    assert "differ as much" in differs(0)[1]
    assert "differ by less" in differs(-0.3)[1] and "0.40 become 0.10: most of it goes" in differs(-0.3)[1]
    assert "most of it stays, so it is about the prompts" in differs(-0.3, others=0.3)[1]
    assert "no ratio is counted" in prose.differs(counts, None, None, CONTROLS, KNOWN)[1]


def test_changes_are_given_by_domain_with_the_term_that_makes_them():
    found = prose.changes(
        changed({"drugs": 1, "diseases": 3, "dosage": 4}), {"drugs": 0.9, "diseases": 0.1}, CONTROLS, KNOWN
    )
    assert found == (
        4,
        "on 4 of 8 layers (diseases 3, mostly in the term of its control; drugs 1, mostly in the medical term)",
    )
    assert prose.changes(changed(dict.fromkeys(CONTROLS, 0)), {}, CONTROLS, KNOWN) == (0, "on none of 8 layers")


def test_a_level_that_equal_likelihoods_cannot_explain_is_named():
    levels = {(name, answer): Interval(0.4, 0.3, 0.5) for name in CONTROLS for answer in ("own", "other")}
    likely = pd.DataFrame({"own": dict.fromkeys(KNOWN, -2.0) | {"drugs": -3.0, "diseases": -1.0}})
    key, words = prose.level(levels, likely, CONTROLS, KNOWN)
    assert key == "dosage" and "in dosage (not known), with mean log-probabilities of -2.0 and -2.0" in words
    likely.loc["dosage"] = -1.0
    assert "likelihood may be all that sets it" in prose.level(levels, likely, CONTROLS, KNOWN)[1]
    one = dict.fromkeys(levels, Interval(1.0, 0.9, 1.1))
    assert prose.level(one, likely, CONTROLS, KNOWN)[1] == "The level differs from 1 in no domain"


def test_an_order_of_layers_is_kept_lost_or_kept_in_part_when_the_weights_are_scrambled():
    rows = [(n, s, "all", v) for n, v in (("a", 0.9), ("b", -0.4), ("c", 0.5), ("d", 0.8)) for s in (1, 6)]
    spread = pd.DataFrame(rows, columns=["domain", "scrambled", "blocks", "value"])
    spread.loc[spread["scrambled"] == 1, "value"] = 1
    assert prose.scrambled(spread, ["a", "b", "c"]) == (
        -0.4,
        "kept (median rank correlation with the original 0.7 or more) in a; lost (under 0.3) in b; kept in part in c",
    )
    assert "undecided" in prose.scrambled(spread, [])[1]


def test_peaks_in_one_layer_are_said_once():
    assert prose.peaks({"a": (1, 1, 1), "b": (1, 1, 2), "c": (1, 1, 1)}) == (1, "layer 1 in all 3 domains")
    assert prose.peaks({"a": (9, 9, 9), "b": (2, 1, 2), "c": (2, 2, 2)}) == (2, "layer 2 in b, c; layer 9 in a")


def test_extremes_name_the_lowest_and_the_highest_domain_with_their_intervals():
    found = {"drugs": Interval(0.9, 0.8, 1.0), "age": Interval(0.5, 0.4, 0.6)}
    assert prose.extremes(found) == (0.5, "0.50 (age, 95 % interval 0.40 to 0.60) to 0.90 (drugs, 0.80 to 1.00)")
    assert prose.extremes({"age": found["age"]})[1] == "0.50 (age, 95 % interval 0.40 to 0.60)"
    assert "no domain is known" in prose.extremes({})[1]


def test_an_order_that_other_answers_keep_better_than_templates_do_is_blind_to_the_answer():
    orders = {
        "other answers": {"a": Interval(0.9, 0.8, 1), "b": Interval(0.9, 0.6, 1)},
        "templates": dict(a=0.7, b=0.7),
    }
    assert prose.blind(orders, ["a", "b"]) == (1, "1 of 2 (a)")
    assert prose.blind(orders, ["b"]) == (0, "0 of 1")


def test_matrices_are_counted_for_the_domains_named():
    table = contrast.corrected(contrast.compare_all({"a": bent(1, 0), "b": measured(flat, seed=1)}, {"a": "b"}, n=99))
    count, words = prose.modules(table, ["a"])
    assert count == table["clear"].sum() and f"{count} of {len(table)} places" in words
    assert prose.modules(table, [])[0] == 0
