"""What the patching chapter says holds for the numbers it is given, whatever they are."""

import pandas as pd
import pytest
from test_patch_tables import CONTROLS, KNOWN, SWEPT, drawn, labelled

from medlib.chapters.patching import patch_prose, patch_tables, sites

ALL = dict.fromkeys(["drugs", "foods", "age", "numbers"], True)
PAIRED = {"drugs": "foods", "age": "numbers"}


def numbers_of(swept, known=KNOWN):
    curves = {name: sites.curves(table) for name, table in swept.items()}
    gaps = {name: sites.curves(table, "gap") for name, table in swept.items()}
    handovers = {
        "handover": sites.handovers(swept, CONTROLS),
        "handover_interpolated": sites.handovers(swept, CONTROLS, measure=sites.crossing),
    }
    at_last = {"drugs": {"attention": curves["drugs"]["last"]}} if swept else {}
    exact = {("residual", name): table for name, table in swept.items()}
    agreement = patch_tables.agreements(exact, exact)
    all_drawn = {name: drawn(6 if name in swept else 2) for name in KNOWN}
    return patch_prose.numbers(all_drawn, curves, gaps, at_last, handovers, agreement, CONTROLS, known, 8, 1.0)


def test_only_what_is_known_and_has_enough_couples_is_counted_and_the_rest_is_named_apart():
    found = numbers_of(SWEPT)
    texts = {key: text for key, (_, text) in found.items()}
    assert texts["n_couples_used"] == "6" and texts["n_domains"] == "1" and texts["n_asked"] == "2"
    assert texts["apart"] == (
        "Not counted: patched but not known, and grey: dosage (6 couples); "
        "left out for too few couples: elements (2 couples)."
    )
    assert texts["n_differences"] == "1" and texts["handover_listed"] == "drugs / foods -3.00 (-3.00 to -3.00)"
    assert found["handover_said"][0] == 3
    assert texts["estimate_residual"] == "1.00 to 1.00" and texts["estimate_mlp"] == "not measured"
    assert texts["attention_most"] == "100% (100% to 100%, drugs, layer 3)" and texts["mlp_most"] == "not measured"


def test_the_prose_reads_on_where_no_domain_could_be_patched():
    found = numbers_of({})
    assert found["verdict"][1].startswith("No verdict") and found["n_domains"][0] == 0
    assert found["handover_said"] == ("none", "No domain or control that is known has enough couples.")
    assert found["handover_differences"][1].startswith("No known domain has a known control")
    assert found["between_most"][0] == found["gap_most"][0] == "none"


def test_the_words_between_are_quoted_at_the_domain_and_layer_where_they_bring_back_most():
    between = labelled([3] * 6).assign(group="between")
    between["share"] *= 0.1 + 0.3 * (between["layer"] == 5)
    value, text = numbers_of(SWEPT | {"drugs": pd.concat([SWEPT["drugs"], between])})["between_most"]
    assert value == pytest.approx(0.4) and text == "40% (40% to 40%, drugs, layer 5)"


@pytest.mark.parametrize(
    ("at", "steps", "expected"),
    [
        ((13, 13, 13), 0.9, "Late, in one step, at the same layer as the controls."),
        ((13, 13, 11), 0.9, "Late, in one step, at most 2 layers from the controls."),
        ((9, 9, 9), 0.2, "In the middle of the model, over many layers, at the same layer as the controls."),
        ((2, 2, 3), 0.9, "Early, in one step, at most 1 layer from the controls."),
    ],
)
def test_the_verdict_follows_the_layers_the_steps_and_the_controls(at, steps, expected):
    layers = dict(zip(("drugs", "age", "foods"), at, strict=True))
    medical = {name: layers[name] for name in PAIRED}
    said = patch_prose.verdict(medical, dict.fromkeys(medical, steps), layers, PAIRED, ALL, 18)
    assert said == expected


def test_a_verdict_says_so_where_no_control_can_be_held_against_it():
    said = patch_prose.verdict({"age": 13}, {"age": 0.9}, {"age": 13}, PAIRED, ALL, 18)
    assert said == "Late, in one step; no control has enough couples to be held against it."
    unknown = ALL | {"numbers": False}
    assert "no control" in patch_prose.verdict(
        {"age": 13}, {"age": 0.9}, {"age": 13, "numbers": 13}, PAIRED, unknown, 18
    )


def test_one_layer_for_all_is_a_property_of_the_model_and_exceptions_are_named():
    same = dict.fromkeys(ALL, 13.0)
    assert patch_prose.hand_over(same, ALL, 18) == (
        "All 4 known domains and controls with enough couples hand over at layer 13 of 18: a property of the model, at "
        "a resolution of one layer."
    )
    said = patch_prose.hand_over(same | {"age": 11.0}, ALL, 18)
    assert "all hand over at layer 13 of 18 except age (11)" in said and "property" not in said
    assert "unlike layers" in patch_prose.hand_over({"drugs": 3, "foods": 5, "age": 7, "numbers": 3}, ALL, 18)
    grey = patch_prose.hand_over(same, ALL | {"numbers": False}, 18)
    assert grey.startswith("All 3 known") and grey.endswith("Not known, and not counted: numbers (13).")


def test_without_a_control_nothing_can_be_called_medical():
    assert patch_prose.without_control(["drugs", "age"], ["drugs", "age", "foods"], PAIRED, ALL) == (
        "Age has no control that is known and has enough couples, so nothing about it can be called medical."
    )
    assert patch_prose.without_control(["drugs"], ["drugs", "foods"], PAIRED, ALL) == ""
    assert patch_prose.without_control(["drugs", "age"], [], PAIRED, ALL).startswith("Drugs and age have no control")


def test_differences_that_exclude_zero_are_named_with_how_many_would_by_chance():
    rows = pd.DataFrame(
        [("drugs", -0.3, -0.5, -0.1), ("age", 0.1, -0.2, 0.3)], columns=["domain", "value", "low", "high"]
    )
    assert patch_prose.differences(rows, PAIRED) == (
        "Interpolated between layers, medical minus control is -0.30 to +0.10 layers; 1 of 2 intervals excludes zero "
        "(drugs / foods -0.30 (-0.50 to -0.10)), where 0.1 would by chance."
    )
    assert "0 of 1 interval exclude zero, where" in patch_prose.differences(rows[1:], PAIRED)
