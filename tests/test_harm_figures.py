"""The figures: what is drawn lies at its values, what lies beyond the axis has an arrow, what is not known says so."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from test_harm import LAYERS, table

from medlib.chapters.lesion import harm_figures, orders

CONTROLS = {"drugs": "foods", "age": "numbers"}
KNOWN = {"drugs": True, "foods": True, "age": False, "numbers": True}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def curve(values):
    values = np.asarray(values, dtype=float)
    return pd.DataFrame(dict(layer=LAYERS, value=values, low=values - 0.1, high=values + 0.1))


def test_points_have_their_values_and_what_lies_beyond_the_axis_an_arrow_at_its_edge():
    wild = np.r_[np.linspace(-1, 1, 9), 1000]
    tables = {"drugs": curve(wild), "age": curve(np.linspace(-1, 1, 10))}
    series = [("medical", "domain", tables), ("control", "control", {name: curve(LAYERS * 0.1) for name in tables})]
    _, axes = harm_figures.points(series, CONTROLS, KNOWN, "nats")
    low, high = axes["drugs"].get_ylim()
    assert low < -1 and 1 < high < 1000 and axes["age"].get_ylim() == (low, high)
    arrows = [line for line in axes["drugs"].lines if line.get_marker() in "^v"]
    assert [y for line in arrows for y in line.get_ydata()] == [pytest.approx(high, abs=0.05 * (high - low))]
    inside = [line for line in axes["drugs"].lines if line.get_marker() == "o"]
    assert [*inside[0].get_ydata()] == pytest.approx(wild[:9])
    labels = [line.get_label() for line in axes["age"].lines if line.get_marker() in "os"]
    assert labels == ["domain, not known", "control"]


def test_curves_of_several_lesions_share_a_logarithmic_axis_and_the_controls_are_dashed():
    tables = {name: curve(LAYERS * 0.5) for name in KNOWN}
    _, axes = harm_figures.several({"a": tables, "b": tables}, CONTROLS, KNOWN, "KL, nats", dashed=("a",))
    lines = axes["drugs"].lines
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-"] and axes["drugs"].get_yscale() == "log"
    assert axes["age"].lines[0].get_color() == "0.7" and axes["age"].lines[0].get_label() == "a, not known"


def test_a_map_of_differences_has_a_dot_for_each_cell_that_survives_correction():
    rows = [
        dict(domain=name, variant=f"minus {control}", layer=layer, value=layer - 5.0, how=how, q=0.01 * layer)
        for name, control in CONTROLS.items()
        for how in ("identity", "mean", "resample")
        for layer in LAYERS
    ]
    _, axes = harm_figures.difference_maps(pd.DataFrame(rows), KNOWN)
    for one in axes:
        grid, dots = one.collections[0], one.lines[0]
        assert grid.get_array().shape == (2, 10) and grid.norm.vmin == -grid.norm.vmax
        assert sorted(zip(dots.get_xdata(), dots.get_ydata(), strict=True)) == [
            (layer - 0.5, row + 0.5) for layer in range(1, 5) for row in (0, 1)
        ]
    labels = [label.get_text() for label in axes[0].get_yticklabels()]
    assert labels == ["drugs minus foods", "age minus numbers, not known"]


def test_orders_are_drawn_as_points_at_their_values_and_grey_where_not_known():
    generator = np.random.default_rng(0)
    tables = {name: table(generator.permutation(LAYERS) * 1.0) for name in KNOWN}
    found = orders.orders(tables, CONTROLS, tables["age"].rename(columns={"kl": "rise"}))
    unmatched = orders.among_controls(tables, CONTROLS)
    figure, axes = harm_figures.draw_orders(found, unmatched, KNOWN)
    points = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert sorted(line.get_xdata()[0] for line in points) == sorted(found["value"])
    assert {line.get_color() for line in points if line.get_ydata()[0] > 0.5} == {"0.7"}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["drugs", "age, not known"]
    level = next(line for line in axes.lines if line.get_linestyle() == ":")
    assert level.get_xdata()[0] == unmatched["value"].iloc[0] and len(figure.legends[0].get_texts()) == 5
