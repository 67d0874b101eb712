"""Kinds: comparisons are read as written, views hold what they say, and a gain is not chosen where it is scored."""

import numpy as np
import pandas as pd
import pytest

from medlib import MedlibError, concepts, figures, geometry
from medlib.chapters.geometry import kinds


def test_a_comparison_holds_a_label_against_that_of_the_control():
    (found,) = kinds.comparisons("drugs:specialty/kind")
    assert found.sides == (("drugs", "specialty"), ("foods", "kind"))
    two = kinds.comparisons("drugs:mechanism/origin drugs:specialty/kind")
    assert kinds.labels(two) == {"drugs": ["mechanism", "specialty"], "foods": ["origin", "kind"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "No comparison"),
        ("drugs", "is no comparison"),
        ("drugs:colour/kind", "drugs has no label 'colour'"),
        ("drugs:specialty/colour", "foods has no label 'colour'"),
    ],
)
def test_what_is_no_comparison_is_refused(text, message):
    with pytest.raises(MedlibError, match=message):
        kinds.comparisons(text)


def test_the_labels_of_the_chapter_have_about_as_many_values_as_those_of_their_controls():
    pairs = "drugs:mechanism/origin drugs:specialty/kind diseases:chapter/latitude diseases:organ_system/subregion"
    for c in kinds.comparisons(f"{pairs} symptoms:system/group progression:disease/process"):
        one, other = (concepts.load(domain)[label].nunique() for domain, label in c.sides)
        assert 0.75 < one / other < 1.34, c.name


@pytest.fixture
def frame():
    """Sixty items of four kinds in two templates, one of which ends with the item; every third name has a piece z."""
    rows = [(f"i{i}", variant, f"k{i % 4}") for variant in ("on", "off") for i in range(60)]
    frame = pd.DataFrame(rows, columns=["item", "variant", "kind"])
    number = frame["item"].str[1:].astype(int)
    return frame.assign(
        goes_on=frame["variant"] == "on", pieces=[frozenset({i, "z"} if i % 3 == 0 else {i}) for i in number]
    )


@pytest.fixture
def states(frame):
    """Three states of noise; kinds are planted in the second, at the item's last token."""
    generator = np.random.default_rng(0)
    states = {place: generator.normal(size=(3, len(frame), 40)) for place in ("entity", "mean", "last")}
    states["entity"][1] += 3 * generator.normal(size=(4, 40))[frame["kind"].str[1:].astype(int)]
    return states


@pytest.fixture
def scores(frame, states):
    return kinds.scores(frame, states, ["kind"], n=50).assign(domain="d")


def test_planted_kinds_are_found_in_their_state_and_view_and_in_no_other(scores):
    p = scores.groupby(["view", "space", "layer"])["p"].max()
    planted = (p.index.get_level_values("layer") == 1) & p.index.get_level_values("view").isin(["item", "apart"])
    assert (p[planted] < 0.03).all() and planted.sum() == 3
    assert (p[~planted] > 0.03).all()


def test_the_end_of_the_prompt_is_read_where_the_prompt_goes_on_and_from_state_one_on(scores):
    end = scores[scores["view"] == "end"]
    assert set(end["variant"]) == {"on"} and set(end["layer"]) == {1, 2}
    assert set(scores.loc[scores["view"] == "item", "space"]) == {"raw", "pca30"}


def test_names_that_share_a_piece_make_hardly_a_cluster_when_they_are_not_compared(frame, states):
    alike = (frame["item"].str[1:].astype(int) % 3 == 0).to_numpy()
    spelled = frame.assign(kind=np.where(alike, "spelled z", frame["kind"]))
    states["entity"][2, alike] += 5
    found = kinds.scores(spelled, states, ["kind"], n=50).query("layer == 2 and space == 'raw'")
    of = {view: found[found["view"] == view] for view in ("item", "apart")}
    assert of["item"]["p"].max() < 0.03
    assert of["apart"]["excess"].mean() < 0.3 * of["item"]["excess"].mean()
    assert len(of["apart"]) == (~alike).sum()  # those of the spelled kind are compared with none of it


def test_a_gain_is_the_planted_one_and_none_in_noise(scores):
    mean = kinds.over_templates(scores)
    side = kinds.of_side(mean, ("d", "kind"))
    found = kinds.gain(side)
    true = side.groupby("layer")["excess"].mean()
    assert found["value"] == pytest.approx(true[1] - true[0], abs=1e-9) and found["states"] == [1]
    assert found["low"] > 0
    noise = kinds.gain(kinds.of_side(mean, ("d", "kind"), "mean"))
    assert noise["low"] <= 0 <= noise["high"]


def test_two_labels_of_the_same_items_are_compared_item_by_item(frame, states):
    other = frame["item"].str[1:].astype(int) // 15  # cuts across the planted kinds
    both = kinds.scores(frame.assign(other=other.astype(str)), states, ["kind", "other"], n=50)
    mean = kinds.over_templates(both.assign(domain="d"))
    difference = kinds.between_labels(mean, "d", "kind", "other").groupby("layer")["difference"].mean()
    assert difference.idxmax() == 1 and abs(difference[2]) < 0.05


def test_what_umap_finds_is_set_beside_the_raw_states(frame, states):
    found = kinds.in_umap(states["entity"], frame, ["kind"], [1, 2], range(2), n=50)
    assert len(found) == 2 * 3
    held = kinds.held_in_raw(found).set_index("layer")
    assert held.loc[1, ["in_umap", "in_raw"]].all() and not held.loc[2, ["in_umap", "in_raw"]].any()
    assert held["low"][1] <= held["after"][1] <= held["high"][1] and held["after"][1] > held["raw"][1]


def test_umap_draws_clumps_of_noise_that_the_noise_does_not_hold():
    drawn, true = kinds.clumps_of_noise(100, 60)
    assert drawn > 0.2 > 0.05 > true


def test_an_item_that_is_compared_with_nothing_is_left_out_and_a_mask_must_fit():
    x, label = np.random.default_rng(0).normal(size=(6, 3)), [0, 0, 0, 1, 1, 1]
    compared = np.ones((6, 6), dtype=bool)
    compared[0] = compared[:, 0] = False
    found = geometry.silhouettes_tested(x, label, n=20, compared=compared)[0]
    assert np.isnan(found[0])
    assert np.allclose(found[1:], geometry.silhouette_samples(x[1:], label[1:]))
    with pytest.raises(MedlibError, match="symmetric table for the 6 rows"):
        geometry.silhouettes_tested(x, label, compared=compared[:5])
    with pytest.raises(MedlibError, match="no two rows of one label"):
        geometry.silhouettes_tested(x, label, compared=np.zeros((6, 6)))


def test_a_mask_of_all_pairs_changes_nothing():
    x, label = np.random.default_rng(0).normal(size=(30, 5)), np.arange(30) % 4
    one, other = (geometry.silhouette_test(x, label, n=30, compared=c) for c in (None, np.ones((30, 30))))
    assert one == pytest.approx(other)


def test_templates_that_tell_the_label_are_left_out(smollm2):
    frame, states = kinds.read(smollm2, "progression", n_items=3)
    assert set(frame["variant"]) == {"early", "late"} and len(frame) == 6
    assert list(frame["goes_on"]) == list(frame["variant"] == "early")
    assert states["mean"].shape == (smollm2.n_layers + 1, 6, smollm2.hidden_size)


def test_a_finished_figure_says_its_axes_at_the_edges_and_its_curves_once():
    figure, panels = figures.panels("abcd")
    for axes in panels.values():
        figures.curve(axes, pd.DataFrame({"layer": [0, 1], "value": [0.1, 0.2]}), "medical", "medical domain")
    kinds.finish(figure, panels, "score")
    assert [axes.get_ylabel() for axes in panels.values()] == ["score", "", "", "score"]
    assert [bool(axes.get_xlabel()) for axes in panels.values()] == [False, True, True, True]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["medical domain"]
