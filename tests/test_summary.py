"""From prompts to curves: known answers for means, differences, samples of items and the agreement of templates."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from medlib import MedlibError, summary


def frame(value, items=6, variants=("a", "b"), layers=(1, 2, 3)):
    """One row for each prompt and layer, with `kl = value(item, variant, layer)`."""
    rows = [
        (f"item {i}", variant, layer, value(i, variant, layer))
        for i in range(items)
        for variant in variants
        for layer in layers
    ]
    return pd.DataFrame(rows, columns=["item", "variant", "layer", "kl"])


def test_the_curve_is_the_mean_over_items_and_templates_at_each_layer():
    curve = summary.by_layer(frame(lambda i, v, layer: 10 * layer + i + (v == "b")), "kl")
    assert curve["layer"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(curve["value"], [13, 23, 33])  # the mean item is 2.5, the mean template 0.5
    assert curve["n"].tolist() == [6, 6, 6]


def test_items_that_all_agree_leave_an_interval_without_width():
    curve = summary.by_layer(frame(lambda i, v, layer: float(layer)), "kl")
    assert (curve["low"] == curve["value"]).all() and (curve["high"] == curve["value"]).all()


def test_templates_of_an_item_are_no_items_of_their_own():
    """Templates that repeat an item tell nothing new, so they must not narrow the interval."""
    once = summary.by_layer(frame(lambda i, v, layer: i * 1.0, variants=("a",)), "kl")
    often = summary.by_layer(frame(lambda i, v, layer: i * 1.0, variants=tuple("abcdefgh")), "kl")
    pd.testing.assert_frame_equal(once, often)
    assert (once["low"] < 2.5).all() and (once["high"] > 2.5).all()


def test_items_about_one_thing_are_drawn_together():
    """Six items in three clusters, alike within each, carry the information of three."""
    rows = frame(lambda i, v, layer: float(i // 2))
    alone, together = (summary.by_layer(part, "kl") for part in (rows, rows.assign(cluster=rows["item"].map(NUMBER))))
    assert (together["n"] == 3).all() and (alone["n"] == 6).all()
    assert (together["high"] - together["low"] > alone["high"] - alone["low"]).all()


NUMBER = {f"item {i}": i // 2 for i in range(6)}


def test_one_draw_of_items_serves_all_layers():
    """A curve that is twice another at every item has bounds that are exactly twice as high."""
    curve = summary.by_layer(frame(lambda i, v, layer: layer * i**2, layers=(1, 2)), "kl").set_index("layer")
    np.testing.assert_allclose(curve.loc[2, ["value", "low", "high"]], 2 * curve.loc[1, ["value", "low", "high"]])


def test_the_order_of_the_rows_changes_nothing():
    rows = frame(lambda i, v, layer: layer * i + (v == "b"))
    shuffled = rows.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(summary.by_layer(rows, "kl"), summary.by_layer(shuffled, "kl"))


def test_layers_come_in_order_of_number():
    curve = summary.by_layer(frame(lambda i, v, layer: i + layer, layers=(10, 9, 2)), "kl")
    assert curve["layer"].tolist() == [2, 9, 10]


def test_another_statistic_is_taken_over_prompts_not_over_means():
    rows = frame(lambda i, v, layer: 100.0 if i == 5 else float(i))
    assert summary.by_layer(rows, "kl", np.median)["value"].tolist() == [2.5] * 3


def test_the_seed_settles_the_interval_and_not_the_value():
    rows = frame(lambda i, v, layer: float(i**3))
    first, again, other = (summary.by_layer(rows, "kl", seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert first["value"].equals(other["value"]) and not first["low"].equals(other["low"])


def test_a_prompt_without_a_number_at_a_layer_is_refused():
    rows = frame(lambda i, v, layer: float(i)).drop(index=4)
    with pytest.raises(MedlibError, match="NaN"):
        summary.by_layer(rows, "kl")


def test_two_items_are_too_few_for_an_interval():
    with pytest.raises(MedlibError, match="at least 3"):
        summary.by_layer(frame(lambda i, v, layer: float(i), items=2), "kl")


def test_the_difference_is_of_the_two_means_and_counts_the_smaller_set():
    medical = frame(lambda i, v, layer: 10.0 * layer + i, items=6)
    control = frame(lambda i, v, layer: float(i), items=4)
    difference = summary.difference_by_layer(medical, control, "kl")
    np.testing.assert_allclose(difference["value"], [11, 21, 31])  # mean item 2.5 against 1.5
    assert difference["n"].tolist() == [4, 4, 4]
    assert (difference["low"] < difference["value"]).all() and (difference["value"] < difference["high"]).all()


def test_a_planted_layer_is_the_one_whose_difference_is_clear_of_zero():
    noise = np.random.default_rng(0).normal(size=(2, 20, 3))
    medical = frame(lambda i, v, layer: noise[0, i, layer - 1] + 5 * (layer == 2), items=20)
    control = frame(lambda i, v, layer: noise[1, i, layer - 1], items=20)
    difference = summary.difference_by_layer(medical, control, "kl").set_index("layer")
    assert difference.loc[2, "low"] > 3
    assert ((difference["low"] < 0) & (difference["high"] > 0)).drop(2).all()


def test_swapping_the_two_sets_turns_the_sign():
    a, b = frame(lambda i, v, layer: layer * i**2.0), frame(lambda i, v, layer: 2.0 * i)
    there, back = summary.difference_by_layer(a, b, "kl"), summary.difference_by_layer(b, a, "kl")
    np.testing.assert_allclose(there["value"], -back["value"])


def test_sets_of_different_layers_have_no_difference():
    with pytest.raises(MedlibError, match="same shape"):
        summary.difference_by_layer(
            frame(lambda i, v, layer: i, layers=(1, 2)), frame(lambda i, v, layer: i, layers=(1, 2, 3)), "kl"
        )


def test_sampled_items_come_with_all_their_templates_and_in_order():
    rows = frame(lambda i, v, layer: 0.0, items=10)
    drawn = summary.sample_items(rows, 4, seed=3)
    assert drawn["item"].nunique() == 4 and len(drawn) == 4 * 2 * 3
    pd.testing.assert_frame_equal(drawn, rows[rows["item"].isin(drawn["item"])])


def test_the_seed_settles_which_items_are_drawn():
    rows = frame(lambda i, v, layer: 0.0, items=30)
    drawn = [set(summary.sample_items(rows, 10, seed)["item"]) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("n", [6, 7, 1000])
def test_asked_for_more_items_than_there_are_gives_them_all(n):
    rows = frame(lambda i, v, layer: 0.0, items=6)
    pd.testing.assert_frame_equal(summary.sample_items(rows, n), rows)


def test_templates_that_rank_the_layers_alike_agree_whatever_their_scale():
    rows = frame(lambda i, v, layer: {"a": 1, "b": 100}[v] * np.exp(layer) + i, layers=range(1, 9))
    assert summary.rank_of_templates(rows, "kl") == pytest.approx(1)


def test_the_least_alike_pair_of_templates_is_reported():
    up = {"a": 1, "b": 1, "c": -1}
    rows = frame(lambda i, v, layer: float(up[v] * layer), variants=("a", "b", "c"), layers=range(1, 6))
    assert summary.rank_of_templates(rows, "kl") == pytest.approx(-1)


def test_one_template_cannot_be_compared():
    with pytest.raises(MedlibError, match="one template only, 'a'"):
        summary.rank_of_templates(frame(lambda i, v, layer: layer, variants=("a",)), "kl")


def test_curves_in_the_same_order_agree_and_in_the_opposite_order_do_not():
    generator = np.random.default_rng(0)
    shape = np.linspace(0, 3, 12)
    rows = [
        {"item": item, "variant": "v", "layer": layer, "x": shape[layer] + 0.1 * generator.normal()}
        for item in range(10)
        for layer in range(12)
    ]
    frame = pd.DataFrame(rows)
    same = summary.rank_agreement(frame, frame.assign(x=frame["x"] ** 3), "x")
    opposite = summary.rank_agreement(frame, frame.assign(x=-frame["x"]), "x")
    assert same.value > 0.9 and 0.8 < same.low <= same.high <= 1
    assert opposite == pytest.approx((-1, -1, -1))


def test_the_agreement_is_spearmans_of_the_mean_curves():
    generator = np.random.default_rng(1)
    index = pd.MultiIndex.from_product([range(6), ["a", "b"], range(9)], names=["item", "variant", "layer"])
    one, other = (pd.DataFrame({"x": generator.normal(size=len(index))}, index).reset_index() for _ in range(2))
    means = [frame.groupby("layer")["x"].mean() for frame in (one, other)]
    assert summary.rank_agreement(one, other, "x").value == pytest.approx(spearmanr(*means).statistic)


def test_curves_of_different_prompts_are_not_compared():
    frame = pd.DataFrame({"item": range(4), "variant": "v", "layer": 1, "x": 1.0})
    with pytest.raises(MedlibError, match="different prompts"):
        summary.rank_agreement(frame, frame.assign(item=frame["item"] + 1), "x")
