"""The figures of image tokens: curves lie at their values, dots where something survives, grey where nothing counts."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from vision_models import picture, tiny

from medlib import vision
from medlib.chapters.image_tokens import token_figures
from medlib.chapters.image_tokens.image_sites import PARTS


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def curve(values):
    values = np.asarray(values, dtype=float)
    return pd.DataFrame(dict(layer=range(1, len(values) + 1), value=values, low=values - 0.1, high=values + 0.1, n=5))


def compared():
    rows = curve([0.1, 0.4, 0.2]).assign(own=[1, 2, 3], control=[0.9, 1.6, 2.8], q=[0.2, 0.01, 0.2])
    return pd.concat([rows.assign(comparison=name, measure="log_p") for name in ("place", "plane")])


def test_each_comparison_has_a_panel_with_its_control_and_dots_where_it_survives():
    figure, axes = token_figures.comparisons(compared(), "log_p")
    lines = {line.get_label(): line for line in axes["plane"].lines}
    assert lines["picture"].get_ydata().tolist() == [1, 2, 3]
    assert lines["its control"].get_ydata().tolist() == [0.9, 1.6, 2.8]
    assert lines["difference"].get_ydata().tolist() == [0.1, 0.4, 0.2]
    assert list(lines["q < 5 %"].get_xdata()) == [2]
    assert axes["place"].get_title() == "lesion words, by place (n = 5)" and len(figure.legends[0].get_texts()) == 4


def test_a_panel_in_which_next_to_nothing_differs_looks_flat():
    tiny = compared().assign(measure="share")
    numbers = ["value", "low", "high", "own", "control"]
    tiny[numbers] *= 1e-6
    _, axes = token_figures.comparisons(tiny, "share")
    bottom, top = axes["plane"].get_ylim()
    assert top - bottom == pytest.approx(token_figures.FLAT) and bottom < 0 < top
    _, axes = token_figures.comparisons(compared(), "log_p")
    assert axes["plane"].get_ylim()[1] > 3


def test_neurons_stand_beside_random_ones_with_the_band_of_the_difference():
    table = compared().drop(columns=["comparison", "measure"]).iloc[:3].assign(measure="answer words")
    _, axes = token_figures.neurons(table)
    one = axes["answer words"]
    band = one.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(0.9 + 0.0) and band.max() == pytest.approx(2.8 + 0.3)
    assert [line.get_ydata().tolist() for line in one.lines[:2]] == [[1, 2, 3], [0.9, 1.6, 2.8]]


def test_likeness_is_a_share():
    _, axes = token_figures.likeness({"another scene": curve([0.2, 0.3]), "a black picture": curve([0.1, 0.1])})
    assert axes.get_ylim() == (-0.02, 1.02) and len(axes.lines) == 2


@pytest.mark.parametrize("known", [True, False])
def test_parts_have_their_curves_and_dashed_estimates_and_are_grey_where_nothing_counts(known):
    exact = {part: curve([number, number + 1]) for number, part in enumerate(PARTS)}
    _, (left, right) = token_figures.parts(exact, exact, known)
    labels = [line.get_label() for axes in (left, right) for line in axes.lines if line.get_marker() != "None"]
    assert set(token_figures.NAMES.values()) - {"as many other image tokens"} <= set(labels)
    dashed = [line for line in left.lines if line.get_linestyle() == "--"]
    assert len(dashed) == 3 and dashed[0].get_ydata().tolist() == [0, 1]
    grey = all(isinstance(line.get_color(), str) for line in left.lines)
    assert grey != known and ("not known" in left.get_title()) != known


def test_maps_share_one_scale_around_zero_and_outline_the_lesion():
    prompts = [vision.image_prompt(tiny(), picture(seed=seed), "w1") for seed in range(2)]
    values = np.arange(32.0).reshape(2, 4, 4)
    mask = np.zeros((40, 40), bool)
    mask[10:20, 10:20] = True
    _, axes = token_figures.maps(prompts, values, [mask, mask], ["one", "two"])
    assert [one.images[-1].get_clim() for one in axes] == [(-31, 31)] * 2
    assert [one.get_title() for one in axes] == ["one", "two"] and len(axes[0].collections) == 2
