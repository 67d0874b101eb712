"""What the patching chapter says, draws and saves of sweeps that are made up, so that every number is known."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from test_sites import sweep_of

from medlib import Pair, results
from medlib.chapters.patching import patch_figures, patch_tables, sites

CONTROLS = {"drugs": "foods", "dosage": "elements"}
KNOWN = {"drugs": True, "foods": True, "dosage": False, "elements": False}
FEW = {"elements": "too few couples (2)"}


def labelled(handovers):
    table = sweep_of(handovers).assign(item="a", other="b", template="plain", clean_diff=2.0, corrupt_diff=0.0)
    return table.assign(logit_diff=2 * table["share"], removed=table["share"], gap=0.0)


SWEPT = {"drugs": labelled([3] * 6), "foods": labelled([6] * 6), "dosage": labelled([4] * 6)}


def drawn(n):
    labels = pd.DataFrame({"couple": [f"c{i // 2}" for i in range(2 * n)], "clean_diff": [1.0, -1.0] * n})
    pairs = [Pair(f"w1 w{i} w3", "w1 w9 w3", " w10", " w11") for i in range(2 * n)]
    item = [f"i{i}" for i in range(2 * n)]
    screened = pd.DataFrame({"reason": [""] * (2 * n), "clean_diff": [1.0, -1.0] * n, "item": item})
    screened.loc[len(screened)] = ["no partner of equal token length is left", np.nan, "alone"]
    return sites.Drawn(pairs, labels, screened)


def numbers_of(swept, few):
    curves = {name: sites.curves(table) for name, table in swept.items()}
    handover = sites.handovers(swept, CONTROLS)
    exact = {("residual", name): table for name, table in swept.items()}
    agreement = patch_tables.agreements(exact, exact)
    all_drawn = {name: drawn(6 if name in swept else 2) for name in KNOWN}
    return patch_tables.numbers(all_drawn, curves, handover, agreement, CONTROLS, few, 1.0)


def test_the_prose_says_which_differences_exclude_zero_and_what_was_left_out():
    texts = {key: text for key, (_, text) in numbers_of(SWEPT, FEW).items()}
    assert texts["handover_verdict"].startswith(
        "In layers, medical minus control, it is earlier than in the control for"
    )
    assert "drugs / foods (-3 (-3 to -3))" in texts["handover_verdict"]
    assert texts["left_out"] == "left out: elements (too few couples (2))"
    assert texts["n_couples_used"] == "12" and texts["n_domains"] == "2"
    assert texts["handover_domains"] == "layer 3 (3 to 3) for drugs and layer 4 (4 to 4) for dosage"
    assert texts["estimate_residual"] == "1.00 to 1.00" and texts["estimate_mlp"] == "not measured"


def test_a_difference_that_holds_zero_is_said_to_be_no_mark_of_medicine():
    same = SWEPT | {"foods": labelled([3] * 6)}
    text = numbers_of(same, FEW)["handover_verdict"][1]
    assert "not shown to differ for drugs / foods (+0 (+0 to +0))" in text and text.endswith("no mark of medicine.")


def test_the_prose_reads_on_where_no_domain_could_be_patched():
    found = numbers_of({}, dict.fromkeys(KNOWN, "too few couples (2)"))
    assert found["handover_domains"] == ("none", "nothing")
    assert found["handover_verdict"][1].startswith("No domain has enough couples")
    assert found["between_most"][0] == "none" and found["n_domains"][0] == 0


def test_the_words_between_are_quoted_at_the_domain_and_layer_where_they_bring_back_most():
    between = labelled([3] * 6).assign(group="between")
    between["share"] *= np.where(between["layer"] == 5, 0.4, 0.1)
    value, text = numbers_of(SWEPT | {"drugs": pd.concat([SWEPT["drugs"], between])}, FEW)["between_most"]
    assert value == pytest.approx(0.4) and text == "40% (40% to 40%, drugs, layer 5)"


def test_the_largest_share_is_looked_for_among_weak_couples_only():
    table = pd.DataFrame({"span": [0.1, 0.5, 3.0], "share": [7.3, 2.0, 90.0], "domain": ["dosage", "age", "drugs"]})
    assert patch_tables.largest(table, 1.0) == (7.3, "7.3 (dosage, a difference of 0.1 logits)")
    assert patch_tables.largest(table[2:], 1.0) == ("none", "not measured")


def test_attention_and_mlp_come_together_for_a_part_of_the_prompt():
    sweeps = {("attention", "drugs"): labelled([3] * 6), ("mlp", "drugs"): labelled([5] * 6)}
    found = patch_tables.at_part(sweeps, "last")["drugs"]
    assert [table.query("value > 0.5")["layer"].min() for table in (found["attention"], found["MLP"])] == [3, 5]
    assert patch_tables.at_part(sweeps, "subject") == {}


def test_pairs_are_counted_by_what_became_of_them():
    table = sites.counts({"drugs": drawn(6), "dosage": drawn(2)})
    assert table.loc["patched (both pairs of a couple)"].tolist() == [12, 4]
    assert table.loc["of these right when clean, in the figures"].tolist() == [6, 2]
    assert table.loc["usable"].tolist() == [12, 4]
    assert table.loc["no partner of equal token length is left"].tolist() == [1, 1]
    assert patch_tables.answers({"drugs": drawn(6)}).loc["drugs", "right when clean"] == 0.5


def test_the_first_couples_come_with_both_their_pairs():
    pairs, labels = patch_tables.first_couples(drawn(6), 2)
    assert labels["couple"].tolist() == ["c0", "c0", "c1", "c1"] and len(pairs) == 4


def test_what_is_saved_fits_the_results_table_and_gives_the_shares_back():
    curves = {name: sites.curves(table) for name, table in SWEPT.items()}
    handover = sites.handovers(SWEPT, CONTROLS)
    exact = {("residual", name): table for name, table in SWEPT.items()}
    agreement = patch_tables.agreements(exact, exact)
    rows = patch_tables.results_of(exact, {"recovered": curves}, handover, agreement, CONTROLS)
    table = results.tidy(rows, model="m", technique="patching")
    site = table.query("domain == 'drugs' and metric == 'logit_diff' and item == 'c0'")
    ends = table.query("domain == 'drugs' and item == 'c0'").set_index("metric")["value"]
    shares = (site["value"] - ends["corrupt_diff"]) / (ends["clean_diff"] - ends["corrupt_diff"])
    np.testing.assert_allclose(shares, SWEPT["drugs"].query("pair == 0")["share"])
    assert table.query("metric == 'handover'").set_index("domain")["value"].to_dict() == {
        "drugs": 3,
        "foods": 6,
        "dosage": 4,
    }


def test_a_domain_with_too_few_pairs_keeps_a_panel_that_says_so_and_what_is_not_known_is_grey():
    curves = {"drugs": {"last": pd.DataFrame({"layer": [1, 2], "value": [0.0, 1], "low": [0.0, 1], "high": [0.1, 1]})}}
    curves["age"] = curves["drugs"]
    known = {"drugs": True, "age": False, "dosage": True}
    _, panels = patch_figures.overlay(known, [(curves, {}, "")], known, "P", {"dosage": "too few"})
    assert [text.get_text() for text in panels["dosage"].texts] == ["too few"] and not panels["drugs"].texts
    assert "not known" in panels["age"].get_title()
    colours = {name: axes.lines[-1].get_color() for name, axes in panels.items() if name != "dosage"}
    assert isinstance(colours["age"], str) and colours["drugs"] == patch_figures.PLACES["last"]["color"]
    plt.close("all")


def test_every_figure_draws_where_domains_are_missing():
    handover = sites.handovers(SWEPT, CONTROLS)
    _, (left, right) = patch_figures.forest(handover, CONTROLS, KNOWN, 8)
    assert [text.get_text() for text in right.texts] == ["too few pairs"] and len(left.lines) == 6
    heat = np.linspace(-1, 1, 12).reshape(4, 3)
    _, panels = patch_figures.maps(CONTROLS, {"drugs": (heat, ["a", "b", "c"], 3)}, KNOWN, {"dosage": "too few"})
    assert len(panels["drugs"].collections) == 1 and not panels["dosage"].collections
    spans = pd.DataFrame({"span": [0.1, 2.0], "share": [9.0, 1.0], "moved": [0.9, 2.0]})
    _, (left, _) = patch_figures.denominators(spans, 1.0)
    assert [line.get_xdata().tolist() for line in left.lines[:2]] == [[2.0], [0.1]]
    exact = {("residual", name): table for name, table in SWEPT.items()}
    _, axes = patch_figures.dots(patch_tables.agreements(exact, exact), KNOWN, "rank correlation")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["drugs", "foods", "dosage, not known"]
    patch_figures.overlay(CONTROLS, [({}, {}, "")], KNOWN, "P", dict.fromkeys(CONTROLS, "not patched"))
    patch_figures.maps(CONTROLS, {}, KNOWN, dict.fromkeys(CONTROLS, "too few"))
    plt.close("all")
