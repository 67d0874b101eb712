"""The figures: what is drawn lies at its values, with its controls beside it and the lesion outlined."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from lesion_models import made_up, talking
from vision_models import picture

from medlib import stats, vision
from medlib.chapters.grad_cam import filled_curves, heat_figures, heat_scores, lesion_patch, logit_sum
from medlib.chapters.grad_cam.heat_maps import MAPS


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def compared():
    found, bases = made_up({"grad_cam": 0.4})
    chosen = {("lesion", name): 2 for name in MAPS}
    return heat_scores.compared(found, bases, chosen, range(12))


def test_each_map_has_a_panel_with_random_weights_and_the_levels_beside_it():
    found, bases = made_up({"grad_cam": 0.4})
    curves = heat_scores.layer_curves(found, range(12), "pointing")
    _, axes = heat_figures.score_curves(curves, {"centre": 0.05, "lesion": 0.9}, "pointing score")
    assert [*axes] == [*MAPS.values()]
    one = axes["Grad-CAM"]
    assert one.lines[0].get_ydata()[-1] == pytest.approx(0.41) and one.lines[1].get_ydata()[0] == pytest.approx(0.11)
    assert {line.get_ydata()[0] for line in one.lines[2:]} == {0.05, 0.9}


def test_differences_from_controls_are_points_at_their_values(compared):
    _, axes = heat_figures.control_differences(compared, "pointing", "difference")
    points = {line.get_label(): [*line.get_xdata()] for line in axes.lines if str(line.get_label()).startswith("less")}
    assert [*points] == [f"less {said}" for said in heat_scores.CONTROLS.values()]
    at = [label.get_text() for label in axes.get_yticklabels()].index("Grad-CAM")
    expected = compared[(compared["map"] == "grad_cam") & (compared["metric"] == "pointing")].set_index("control")
    line = next(line for line in axes.lines if line.get_label() == "less centre of the brain")
    nearest = np.abs(line.get_ydata() - at).argmin()
    assert line.get_xdata()[nearest] == pytest.approx(expected.loc["centre", "value"])


def test_filled_pictures_have_a_panel_for_each_curve_and_filling():
    rows = [
        dict(scene=scene, map=name, fill=fill, curve=curve, share=share, p=1 - share, area=0.5)
        for scene in range(4)
        for name in ("grad_cam", "lesion", "random", "brightness", "head")
        for fill in ("twin", "blur")
        for curve in ("deletion", "insertion")
        for share in (0, 0.5, 1)
    ]
    _, axes = heat_figures.filling(filled_curves.mean_curves(pd.DataFrame(rows)))
    assert axes.shape == (2, 2) and axes[0, 0].get_title() == "deletion, filled from the twin (n = 4)"
    drawn = {line.get_label(): [*line.get_ydata()] for line in axes[1, 1].lines if len(line.get_ydata())}
    assert set(drawn) == {
        "the lesion itself",
        "Grad-CAM",
        "random tokens of the brain",
        "brightness alone",
        "the tower's own head",
    }
    assert drawn["Grad-CAM"] == pytest.approx([1, 0.5, 0])


def test_likeness_has_a_panel_for_each_pair_even_where_it_is_not_defined():
    curves = pd.DataFrame(dict(pair="answers", layer=[1, 2], value=[0.5, -0.5], low=-1, high=1, n=4, empty=0))
    _, axes = heat_figures.likeness_panels(curves)
    assert [*axes] == [*logit_sum.PAIRS.values()]
    assert [*axes["answer and other answer"].lines[0].get_ydata()] == [0.5, -0.5]


def test_patches_are_drawn_beside_random_tokens_and_the_whole_picture():
    rows = [
        (scene, tokens, 0, layer, value, 2.0, 2)
        for scene in range(4)
        for layer in (0, 3)
        for tokens, value in (("lesion", 1.0), ("random", 0.1))
    ]
    table = pd.DataFrame(rows, columns=["scene", "tokens", "draw", "layer", "moved", "span", "size"])
    span = lesion_patch.whole_span(table)
    assert span == stats.Interval(2.0, 2.0, 2.0)
    _, axes = heat_figures.patch_figure(lesion_patch.patch_curves(table), span)
    assert [*axes.lines[0].get_ydata()] == [1, 1] and axes.lines[1].get_ydata()[0] == pytest.approx(0.1)
    assert axes.get_xlabel() == "layer (0: embedding)"


def test_overlays_have_a_row_for_each_scene_and_the_lesions_outline_on_every_picture():
    prompt = vision.image_prompt(talking(), picture(), "w11")
    mask = np.zeros((40, 40), bool)
    mask[10:20, 5:15] = True
    maps = {"answer": np.eye(4), "attention": np.ones((4, 4))}
    _, axes = heat_figures.overlays([(prompt, mask, maps), (prompt, mask, maps)])
    assert axes.shape == (2, 3) and [one.get_title() for one in axes[0]] == ["", "answer", "attention"]
    assert all(len(one.collections) == 2 for one in axes.ravel())
    assert len(axes[0, 0].images) == 1 and len(axes[0, 1].images) == 2
