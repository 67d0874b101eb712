"""Windows: means with intervals, what a window costs beyond its blocks, and the triangle."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import tiny_model

import medlib
from medlib import MedlibError, hooks
from medlib.chapters.lesion import neutral, windows

WINDOWS = [(first, last) for last in range(1, 5) for first in range(1, last + 1)]


def frame(value, items=8):
    rows = [
        {"item": f"i{item}", "variant": "v", "first": first, "last": last, "kl": value(item, first, last)}
        for item in range(items)
        for first, last in WINDOWS
    ]
    return pd.DataFrame(rows)


def test_each_window_has_its_mean_and_an_interval_over_items():
    table = windows.by_window(frame(lambda i, a, b: 10 * a + b + i), "kl").set_index(["first", "last"])
    assert len(table) == len(WINDOWS) and (table.n == 8).all()
    assert table.value[2, 4] == 24 + 3.5 and table.low[2, 4] < 27.5 < table.high[2, 4]
    gap = windows.by_window(frame(lambda i, a, b: a + i), "kl", frame(lambda i, a, b: b + i)).set_index(
        ["first", "last"]
    )
    assert gap.value[1, 4] == -3 and gap.low[1, 4] < -3 < gap.high[1, 4] and gap.value[2, 2] == 0


def test_two_blocks_that_stand_in_for_each_other_cost_together_what_neither_costs_alone():
    table = windows.beyond_single(frame(lambda i, a, b: 5.0 if a <= 2 and b >= 3 else 0.1)).set_index(["first", "last"])
    assert table.value[2, 3] == pytest.approx(4.9) and table.value[1, 2] == table.value[3, 4] == 0
    with pytest.raises(MedlibError, match="Not every block"):
        windows.beyond_single(frame(lambda i, a, b: 1.0).query("first != last or first == 4"))


def test_only_windows_with_the_one_working_block_cost_anything():
    model = tiny_model()
    with hooks.only(model, 3):
        table = medlib.lesion_windows(model, ["w1 w2 w3", "w4 w5", "w6 w7 w8"])
    costs = table.groupby(["first", "last"]).kl.mean()
    inside = np.array([first <= 3 <= last for first, last in costs.index])
    assert costs[inside].min() > 0.01 and costs[~inside].abs().max() < 1e-6


def test_the_triangle_has_a_cell_for_each_window_and_none_beyond():
    table = frame(lambda i, a, b: 10 * a + b, items=1).rename(columns={"kl": "value"})
    drawn = windows.triangle(plt.figure().subplots(), table, None).get_array()
    assert drawn.count() == len(WINDOWS) and drawn[3, 0] == 14 and drawn[0, 3] == 44


def test_neutral_texts_are_of_like_length_and_different():
    lengths = [len(text.split()) for text in neutral.TEXTS]
    assert len(set(neutral.TEXTS)) == len(neutral.TEXTS) >= 10 and min(lengths) >= 25 and max(lengths) <= 40


def test_windows_of_groups_are_some_of_the_windows_of_blocks_and_the_last_group_may_be_smaller():
    model, prompts = tiny_model(), ["w1 w2 w3", "w4 w5"]
    every = medlib.lesion_windows(model, prompts).set_index(["prompt", "first", "last"])
    for stride, expected in ((2, [(1, 2), (1, 4), (3, 4)]), (3, [(1, 3), (1, 4), (4, 4)]), (9, [(1, 4)])):
        some = medlib.lesion_windows(model, prompts, stride=stride).set_index(["prompt", "first", "last"])
        assert sorted(some.loc[0].index) == expected
        np.testing.assert_allclose(some.kl, every.kl[some.index], rtol=1e-4, atol=1e-6)


def test_groups_of_blocks_are_held_against_their_costliest_and_drawn_as_wide_as_they_are():
    groups = [(1, 2), (1, 4), (1, 5), (3, 4), (3, 5), (5, 5)]
    values = [1.0, 5.0, 9.0, 2.0, 2.5, 0.5]
    table = pd.DataFrame(groups, columns=["first", "last"]).assign(kl=values, value=values)
    beyond = windows.beyond_single(table).set_index(["first", "last"])
    assert beyond.value.loc[[(1, 4), (1, 5), (3, 5), (5, 5)]].tolist() == [3.0, 7.0, 0.5, 0.0]
    assert beyond.groups[1, 5] == 3
    mesh = windows.triangle(plt.figure().subplots(), table, None)
    assert mesh.get_array().count() == 6 and mesh.get_array()[2, 0] == 9
    assert mesh.get_coordinates()[0, :, 0].tolist() == [0.5, 2.5, 4.5, 5.5]


def test_neighbours_are_picked_on_the_controls_and_reported_on_the_medical_domains():
    medical = frame(lambda i, a, b: 3.0 + 0.1 * i if a <= 2 and b >= 3 else 1.0)
    control = frame(lambda i, a, b: 2.0 if (a <= 2 and b >= 3) or (a <= 3 and b == 4) else 1.0)
    tables = {"drugs": medical, "age": medical, "foods": control}
    found = windows.neighbours(tables, {"drugs": "foods", "age": "foods"}, n=2).set_index(["first", "last"])
    assert sorted(found.index) == [(2, 3), (3, 4)] and (found.n == 16).all() and (found.controls == 1).all()
    assert found.value[2, 3] == pytest.approx(2 + 0.35) and found.low[2, 3] < 2.35 < found.high[2, 3]
    assert found.value[3, 4] == 0
    rows = windows.all_rows({}, {}, found.reset_index(), {})
    assert rows.component.eq("window").all() and rows.variant.tolist()[0].startswith("from block")


def test_triangles_share_a_scale_and_say_what_is_not_known():
    table = frame(lambda i, a, b: 10 * a + b, items=1).rename(columns={"kl": "value"})
    tables = {"drugs": table, "age": table.assign(value=-table["value"])}
    _, axes = windows.triangles(tables, {"drugs": True, "age": False}, "nats", diverging=True)
    norms = [one.collections[0].norm for one in axes.values()]
    assert norms[0] is norms[1] and norms[0].vmax == 44 and norms[0].vmin == -44
    assert [one.get_title() for one in axes.values()] == ["drugs", "age, not known"]
    maps = [one.collections[0].get_cmap().name for one in axes.values()]
    assert maps[0] == maps[1]  # a signed number in shades of grey would have no sign
