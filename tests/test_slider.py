"""The slider: pictures that hold still, the same bytes for the same seed, and nothing from another site."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from medlib import MedlibError
from medlib.chapters.geometry import kinds, slider

LABELS = pd.Series([f"kind {i % 4}" for i in range(48)])
ITEMS = pd.Series([f"item {i}" for i in range(48)])


@pytest.fixture(scope="module")
def drawn():
    generator = np.random.default_rng(0)
    first = 4 * generator.normal(size=(4, 20))[np.arange(48) % 4] + generator.normal(size=(48, 20))
    turn = np.linalg.qr(generator.normal(size=(20, 20)))[0]
    states = np.stack([first, first @ turn])  # the same cloud, turned
    return slider.pictures(states, [0, 1])


def test_a_picture_is_turned_back_however_it_was_turned_and_mirrored():
    onto = np.random.default_rng(0).normal(size=(30, 2))
    onto -= onto.mean(axis=0)
    turn = np.array([[0.6, 0.8], [0.8, -0.6]])
    assert np.allclose(slider.turned(onto @ turn, onto), onto)


def test_a_cloud_that_only_turns_does_not_jump(drawn):
    first, second = drawn[0]["points"], drawn[1]["points"]
    moved = np.linalg.norm(second - first, axis=1).mean()
    elsewhere = np.linalg.norm(np.random.default_rng(0).permutation(second) - first, axis=1).mean()
    assert moved < 0.75 * elsewhere  # within a clump, UMAP goes on stirring
    for picture in drawn.values():
        assert np.allclose(picture["points"].mean(axis=0), 0, atol=1e-4)
        assert (picture["points"] ** 2).sum(axis=1).mean() == pytest.approx(1, abs=1e-4)
        assert 0.7 < picture["trustworthiness"] <= 1


def page(drawn):
    return slider.page({"a": drawn, "b": drawn}, {"a": ITEMS, "b": ITEMS}, {"a": LABELS, "b": LABELS}, "slider-x")


def test_the_page_is_the_same_text_each_time_and_loads_nothing(drawn):
    html = page(drawn)
    assert html == page(drawn)
    assert 'id="slider-x"' in html and "http" not in html and "<script src" not in html
    assert len(html) < 60_000


def test_every_item_has_its_place_name_and_label_in_every_layer(drawn):
    frames = json.loads(re.search(r"Plotly\.addFrames\('slider-x', (\[.*?\])\);", page(drawn), re.S)[1])
    assert [frame["name"] for frame in frames] == ["0", "1"]
    for frame, picture in zip(frames, drawn.values(), strict=True):
        assert len(frame["data"]) == 2 * 4
        third = [list(place) for place in zip(frame["data"][2]["x"], frame["data"][2]["y"], strict=True)]
        assert np.allclose(third, picture["points"][LABELS == "kind 2"], atol=0.006)
    assert page(drawn).count('"item 7"') == 2


def test_panels_of_different_layers_share_no_slider(drawn):
    with pytest.raises(MedlibError, match="different layers"):
        slider.page({"a": drawn, "b": {0: drawn[0]}}, {}, {}, "x")


def test_the_printed_grid_has_a_panel_for_each_picture_with_its_trustworthiness(drawn):
    figure = slider.grid({"a": (drawn, LABELS), "b": (drawn, LABELS)}, [0, 1], coloured=2)
    assert len(figure.axes) == 4
    assert figure.axes[1].get_title() == f"state 1, trust. {drawn[1]['trustworthiness']:.2f}"
    assert len(figure.axes[1].get_legend().get_texts()) == 2


def test_the_printed_grid_tells_labels_by_colour_and_by_marker(drawn):
    figure = slider.grid({"a": (drawn, LABELS)}, [0], coloured=4)
    labelled = figure.axes[0].collections[1:]
    assert len({tuple(one.get_facecolor()[0]) for one in labelled}) == 4
    assert len({one.get_paths()[0].vertices.tobytes() for one in labelled}) == 4


def test_a_page_gives_no_two_labels_the_same_colour_and_symbol(drawn):
    many = pd.Series([f"kind {i:02d}" for i in range(48)])
    html = slider.page({"a": drawn}, {"a": ITEMS}, {"a": many}, "x")
    marks = re.findall(r'"marker":\{"color":"(#\w+)","size":7,"symbol":"([\w-]+)"', html)
    assert len(set(marks)) == len(marks) == 48


def test_a_comparison_shows_both_domains_without_underscores(drawn):
    c = kinds.Comparison("diseases", "organ_system", "cities", "subregion")
    rows = pd.DataFrame({"item": ITEMS, "organ_system": LABELS, "subregion": LABELS})
    html = slider.comparison(c, {"diseases": drawn, "cities": drawn}, {"diseases": rows, "cities": rows}, "x")
    assert "diseases by organ system" in html and "organ_system" not in html
