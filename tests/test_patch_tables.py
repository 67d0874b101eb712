"""What the patching chapter shows and saves of sweeps that are made up, so that every number is known."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from test_sites import sweep_of

from medlib import Pair, results
from medlib.chapters.patching import couples, patch_figures, patch_tables, sites

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
    return couples.Drawn(pairs, labels, screened)


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
    table = couples.counts({"drugs": drawn(6), "dosage": drawn(2)})
    assert table.loc["patched (both pairs of a couple)"].tolist() == [12, 4]
    assert table.loc["of these right when clean, in the figures"].tolist() == [6, 2]
    assert table.loc["of these wrong when clean, shown apart"].tolist() == [6, 2]
    assert table.loc["usable"].tolist() == [12, 4]
    assert table.loc["no partner of equal token length is left"].tolist() == [1, 1]
    assert patch_tables.answers({"drugs": drawn(6)}).loc["drugs", "right when clean"] == 0.5


def test_the_first_couples_come_with_both_their_pairs():
    pairs, labels = couples.first_couples(drawn(6), 2)
    assert labels["couple"].tolist() == ["c0", "c0", "c1", "c1"] and len(pairs) == 4


def test_pairs_wrong_when_clean_stand_apart_with_what_p_divides_by():
    wrong = labelled([5] * 6).assign(used=False, clean_diff=-1.0, corrupt_diff=-3.0)
    swept = {"drugs": pd.concat([SWEPT["drugs"], wrong.assign(pair=wrong["pair"] + 6)]), "foods": SWEPT["foods"]}
    table = patch_tables.sides(swept)
    right, apart = (table.query(f"domain == 'drugs' and side == '{s}'").set_index("metric") for s in patch_tables.SIDES)
    assert right["value"].to_dict() == {
        "clean_diff_median": 2,
        "corrupt_diff_median": 0,
        "span_median": 2,
        "handover": 3,
        "last_share_before": 0,
        "last_share_at": 1,
    }
    assert apart.value[["clean_diff_median", "corrupt_diff_median", "handover"]].tolist() == [-1, -3, 5]
    none = table.query("domain == 'foods' and side == 'wrong when clean'")
    assert none["value"].isna().all() and (none["n"] == 0).all()
    wide = patch_tables.side_by_side(table)
    assert wide["divided by, logits"].tolist() == [
        "2.0 (2.0 to 2.0)",
        "2.0 (2.0 to 2.0)",
        "2.0 (2.0 to 2.0)",
        "too few",
    ]
    assert wide["domain"].tolist() == ["drugs", "drugs", "foods", "foods"]


def test_couples_of_several_domains_are_pooled_and_stay_apart():
    swept = SWEPT | {"age": labelled([7] * 5), "numbers": labelled([2] * 6)}
    controls = CONTROLS | {"age": "numbers"}
    found = patch_tables.pooled(swept, controls, KNOWN | {"age": True, "numbers": False})
    table = patch_tables.sides(found).query("side == 'right when clean'").set_index(["domain", "metric"])
    assert table.n["all known domains", "handover"] == 11  # six of drugs, five of age, none of dosage
    assert table.value["all known domains", "handover"] == 3 and table.value["all known controls", "handover"] == 6
    assert patch_tables.pooled({}, controls, KNOWN) == {}


def test_a_handover_at_the_first_layer_rises_from_nothing():
    by_metric = patch_tables.sides({"drugs": labelled([1] * 6)}).set_index(["side", "metric"])["value"]
    assert by_metric["right when clean"][["last_share_before", "last_share_at"]].tolist() == [0, 1]


def test_what_the_figures_show_beside_is_saved_as_it_is_drawn():
    at_last = patch_tables.at_part({("mlp", name): table for name, table in SWEPT.items()}, "last")
    first_order = {"drugs": sites.curves(SWEPT["drugs"], parts=sites.ENDS)}
    spans = sites.extremes(SWEPT["drugs"]).assign(domain="drugs").reset_index(drop=True)
    rows = patch_tables.drawn({"last": at_last}, first_order, spans)
    table = results.tidy(rows, model="m", technique="patching", seed=0)
    curve = table.query("metric == 'recovered_by_block' and domain == 'drugs'")
    assert set(curve["component"]) == {"mlp"} and set(curve["space"]) == {"last"}
    np.testing.assert_allclose(curve["value"], at_last["drugs"]["MLP"]["value"])
    estimate = table.query("metric == 'recovered_estimated' and space == 'last'")
    np.testing.assert_allclose(estimate["value"], first_order["drugs"]["last"]["value"])
    counts = table["metric"].value_counts()
    assert counts["span"] == counts["largest_share"] == counts["largest_change"] == len(spans)


def test_what_is_saved_fits_the_results_table_and_gives_the_shares_back():
    curves = {name: sites.curves(table) for name, table in SWEPT.items()}
    handover = sites.handovers(SWEPT, CONTROLS)
    exact = {("residual", name): table for name, table in SWEPT.items()}
    agreement = patch_tables.agreements(exact, exact)
    by_side = patch_tables.sides(SWEPT)
    found = {"handover": handover, "handover_interpolated": sites.handovers(SWEPT, CONTROLS, measure=sites.crossing)}
    rows = patch_tables.results_of(exact, {"recovered": curves}, found, agreement, by_side, CONTROLS)
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
    interpolated = table.query("metric == 'handover_interpolated_difference'")
    assert interpolated["domain"].tolist() == ["drugs"] and interpolated["value"].tolist() == [-3]
    assert set(table.query("metric == 'span_median'")["variant"]) == {"right when clean"}


LAST = {"last": pd.DataFrame({"layer": [1, 2], "value": [0.0, 1], "low": [0.0, 1], "high": [0.1, 1], "n": 7})}


def test_a_domain_with_too_few_pairs_keeps_a_panel_that_says_so_and_what_is_not_known_is_grey():
    curves = {"drugs": LAST, "dosage": LAST, "foods": LAST}
    controls = {"drugs": "foods", "dosage": "elements", "age": "numbers"}
    known = dict.fromkeys([*controls, *controls.values()], True) | {"dosage": False}
    few = {"age": "too few couples (3)", "elements": "too few couples (2)", "numbers": "too few couples (0)"}
    figure, panels = patch_figures.beside_control(curves, controls, known, few)
    assert [text.get_text() for text in panels["age"].texts] == ["too few couples (3)"] and not panels["drugs"].texts
    assert [text.get_text() for text in panels["dosage"].texts] == ["elements: too few couples (2)"]
    assert panels["drugs"].get_title() == "drugs / foods, n = 7 / 7"
    assert panels["dosage"].get_title() == "dosage (not known) / elements, n = 7"
    assert panels["dosage"].lines[-1].get_color() != panels["drugs"].lines[-1].get_color()
    assert panels["drugs"].lines[-1].get_color() == patch_figures.PLACES["last"]["color"]
    assert len(panels["drugs"].collections) == 2  # the control has its band too
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "last token",
        "its control",
        "grey: not known to the model",
    ]
    plt.close("all")


def test_an_estimate_is_dashed_beside_the_exact_curve_and_has_no_band():
    known = {"drugs": True}
    figure, panels = patch_figures.against_estimate({"drugs": LAST}, {"drugs": LAST}, known, known, {})
    assert [line.get_linestyle() for line in panels["drugs"].lines[1:]] == ["-", "--"]
    assert len(panels["drugs"].collections) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["last token", "its estimate"]
    plt.close("all")


def test_every_figure_draws_where_domains_are_missing():
    handover = sites.handovers(SWEPT, CONTROLS)
    _, (left, right) = patch_figures.forest(handover, CONTROLS, KNOWN, 8)
    assert [text.get_text() for text in right.texts] == ["too few couples"] and len(left.lines) == 6
    heat = np.linspace(-1, 1, 12).reshape(4, 3)
    _, panels = patch_figures.maps(CONTROLS, {"drugs": (heat, ["a", "b", "c"], 3)}, KNOWN, {"dosage": "too few"})
    assert len(panels["drugs"].collections) == 1 and not panels["dosage"].collections
    spans = pd.DataFrame({"span": [0.1, 2.0], "share": [9.0, 1.0], "moved": [0.9, 2.0]})
    _, (left, _) = patch_figures.denominators(spans, 1.0)
    assert [line.get_xdata().tolist() for line in left.lines[:2]] == [[2.0], [0.1]]
    exact = {("residual", name): table for name, table in SWEPT.items()}
    _, axes = patch_figures.dots(patch_tables.agreements(exact, exact), KNOWN, "rank correlation")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["drugs", "foods", "dosage, not known"]
    figure, _ = patch_figures.beside_control({}, CONTROLS, KNOWN, dict.fromkeys(KNOWN, "not patched"))
    assert not figure.legends
    patch_figures.maps(CONTROLS, {}, KNOWN, dict.fromkeys(CONTROLS, "too few"))
    plt.close("all")
