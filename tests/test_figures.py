"""What the figures draw: lines, bands, labels, limits; read from the axes, not from pixels."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from medlib import figures


@pytest.fixture
def axes():
    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def table(first=1, interval=True):
    frame = pd.DataFrame({"layer": range(first, 5), "value": np.arange(first, 5) ** 2.0})
    return frame.assign(low=frame["value"] - 1, high=frame["value"] + 2) if interval else frame


def test_a_curve_is_one_line_through_the_values_and_one_band_between_the_bounds(axes):
    figures.curve(axes, table(), "medical", "drugs")
    (line,), (band,) = axes.lines, axes.collections
    assert line.get_xdata().tolist() == [1, 2, 3, 4] and line.get_ydata().tolist() == [1, 4, 9, 16]
    corners = band.get_paths()[0].vertices
    assert {tuple(corner) for corner in corners} == {
        *zip(table()["layer"], table()["low"], strict=True),
        *zip(table()["layer"], table()["high"], strict=True),
    }


def test_layers_are_marked_at_whole_numbers(axes):
    figures.curve(axes, table().assign(layer=[1, 2, 3, 4]), "medical", "drugs")
    axes.set_xlim(0.5, 4.2)
    assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_what_is_not_known_is_grey_says_so_and_keeps_its_line(axes):
    figures.curve(axes, table(), "control", "foods", known=False)
    (line,), (band,) = axes.lines, axes.collections
    assert line.get_color() == figures.NOT_KNOWN and line.get_label() == "foods, not known"
    assert line.get_linestyle() == figures.LOOKS["control"]["linestyle"]
    red, green, blue, _ = band.get_facecolor()[0]
    assert red == green == blue


def test_each_domain_has_a_panel_with_its_control_in_it():
    controls = {"drugs": "foods", "age": "numbers"}
    curves = {name: table() for name in ("drugs", "foods", "age", "numbers")}
    known = dict(drugs=True, foods=True, age=True, numbers=False)
    figure, axes = figures.beside_controls(curves, controls, known, "nats", centre=0)
    assert [one.get_title() for one in axes.values()] == ["drugs / foods", "age / numbers"]
    assert [len(one.lines) for one in axes.values()] == [3, 3]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["medical domain", "its control", "its control, not known"]
    _, axes = figures.differences({name: table() for name in controls}, controls, known, "nats")
    assert axes["age"].lines[0].get_color() == figures.NOT_KNOWN
    assert axes["drugs"].lines[0].get_color() == figures.LOOKS["difference"]["color"]
    mpl.pyplot.close("all")


def test_domains_and_layers_make_a_heat_map_with_a_row_a_domain(axes):
    figures.layer_by_domain(axes, {"drugs": table(), "age": table()}, dict(drugs=True, age=False), "nats")
    rows = axes.collections
    assert [row.get_array().ravel().tolist() for row in rows] == [[1, 4, 9, 16]] * 2
    assert [label.get_text() for label in axes.get_yticklabels()] == ["drugs", "age, not known"]
    assert rows[1].get_cmap().name != rows[0].get_cmap().name


def test_accuracies_stand_in_rows_and_those_not_known_are_grey(axes):
    scores = pd.DataFrame(
        dict(value=[0.9, 0.5], low=[0.8, 0.4], high=[1.0, 0.6], chance=[0.5, 0.1]), index=["drugs", "foods"]
    )
    figures.accuracies(axes, scores, dict(drugs=True, foods=False))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["drugs", "foods"]
    points = [line for line in axes.lines if line.get_marker() in ("o", "s")]
    assert [float(point.get_xdata()[0]) for point in points] == [0.9, 0.5]
    assert [point.get_color() == figures.NOT_KNOWN for point in points] == [False, True]


def test_lengths_are_shares_of_each_domain(axes):
    figures.lengths(axes, dict(drugs=[4, 4, 5], foods=[5, 5, 5, 7]))
    tops = [patch.get_xy()[:, 1].max() for patch in axes.patches]
    assert tops == pytest.approx([2 / 3, 3 / 4])


def test_a_curve_without_an_interval_has_no_band(axes):
    figures.curve(axes, table(interval=False), "medical", "drugs")
    assert len(axes.lines) == 1 and not axes.collections


def test_a_band_is_see_through_and_has_its_lines_colour(axes):
    figures.curve(axes, table(), "control", "foods")
    red, green, blue, alpha = axes.collections[0].get_facecolor()[0]
    assert (red, green, blue) == pytest.approx(to_rgba(axes.lines[0].get_color())[:3])
    assert 0 < alpha < 0.5


def test_a_curve_bears_its_label_into_the_legend(axes):
    for look, label in (("medical", "drugs"), ("control", "foods (control)")):
        figures.curve(axes, table(), look, label)
    assert axes.get_legend_handles_labels()[1] == ["drugs", "foods (control)"]


@pytest.mark.parametrize(("first", "label"), [(0, "layer (0: embedding)"), (1, "layer")])
def test_the_axis_says_what_layer_0_is(axes, first, label):
    figures.curve(axes, table(first), "medical", "drugs")
    assert axes.get_xlabel() == label


def test_any_two_looks_differ_without_colour():
    """In grey, a curve is told by its dashes or its markers."""
    looks = [(look["linestyle"], look["marker"]) for name, look in figures.LOOKS.items() if name != "difference"]
    assert len(set(looks)) == len(looks)


def test_an_unknown_look_is_refused(axes):
    with pytest.raises(KeyError):
        figures.curve(axes, table(), "medcal", "drugs")


def test_the_house_style_hides_the_box_and_keeps_files_the_same():
    with mpl.rc_context():
        figures.style()
        assert not mpl.rcParams["axes.spines.top"] and not mpl.rcParams["axes.spines.right"]
        assert mpl.rcParams["svg.hashsalt"] == "medlib"


def test_a_map_has_layer_1_lowest_and_a_named_tick_for_each_token(axes):
    matrix = np.arange(12.0).reshape(4, 3)
    figures.layer_by_token(axes, matrix, ["In", "sul", "in"], "recovered")
    (mesh,) = axes.collections
    np.testing.assert_array_equal(mesh.get_array(), matrix)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["In", "sul", "in"]
    assert axes.get_xticks().tolist() == [0, 1, 2]
    assert mesh.get_coordinates()[0, 0, 1] == pytest.approx(0.5)  # the lowest row is centred on layer 1
    assert mesh.get_coordinates()[-1, 0, 1] == pytest.approx(4.5)
    assert not axes.yaxis_inverted()


def test_a_maps_colours_are_centred_whatever_its_range(axes):
    figures.layer_by_token(axes, np.array([[-1.0, 0.0], [0.5, 3.0]]), ["a", "b"], "recovered")
    assert axes.collections[0].get_clim() == (-3, 3)


def test_a_maps_centre_can_be_another_number_than_zero(axes):
    figures.layer_by_token(axes, np.array([[0.5, 1.0], [1.25, 2.0]]), ["a", "b"], "ratio", centre=1.0)
    assert axes.collections[0].get_clim() == (0, 2)


def test_a_maps_colour_bar_says_what_it_measures(axes):
    figures.layer_by_token(axes, np.eye(3), list("abc"), "recovered share")
    bar = next(other for other in axes.figure.axes if other is not axes)
    assert bar.get_ylabel() == "recovered share"
    assert axes.get_ylabel() == "layer"


def test_a_column_whose_last_place_is_empty_keeps_its_labels_below_its_lowest_panel():
    figure, axes = figures.panels("abcde")
    for one in axes.values():
        one.set(xlabel="layer", ylabel="share")
    figures.outer(axes.values())
    figure.canvas.draw()
    below = {
        name for name, one in axes.items() if any(tick.label1.get_visible() for tick in one.xaxis.get_major_ticks())
    }
    assert below == {"c", "d", "e"} == {name for name, one in axes.items() if one.get_xlabel()}
    assert {name for name, one in axes.items() if one.get_ylabel()} == {"a", "d"}
