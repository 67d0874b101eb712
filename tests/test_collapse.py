"""Collapse: planted clouds whose answer is known, closed forms, and the measures of `geometry` as a second opinion."""

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_model

import medlib
from medlib import MedlibError, geometry
from medlib.chapters import collapse
from medlib.prompts import Prompt


def frame(n=30, templates=("early", "late")):
    parts = [
        pd.DataFrame(dict(item=[f"item {i}" for i in range(n)], variant=name, label=["a", "b"] * (n // 2)))
        for name in templates
    ]
    return pd.concat(parts, ignore_index=True).assign(cluster=lambda rows: rows["item"])


def planted(kind, way, layers=9, n=30, hidden=48):
    """The layers that collapse in a made-up domain, its largest dimensions chosen on another one."""
    states = [collapse.made_up(2 * n, hidden, layers, kind, seed) for seed in (0, 1)]
    means = {name: collapse.shares(x).mean(axis=1) for name, x in zip("ab", states, strict=True)}
    largest = collapse.largest_of_others(means, 1)["a"]
    rank = collapse.clouds(states[0], frame(n), largest, ["effective_rank"], [way])["effective_rank"][0]
    found = collapse.dips(rank, collapse.templates(frame(n))).query("collapsed")
    return found.groupby("layer").size().eq(2).loc[lambda both: both].index.tolist()


@pytest.mark.parametrize("way", collapse.WAYS)
def test_noise_does_not_collapse(way):
    assert planted("noise", way) == []


def test_a_huge_dimension_makes_a_collapse_that_goes_when_it_is_left_out():
    assert planted("huge dimension", "raw") == list(collapse.middle(9)) == [4, 5, 6]
    assert planted("huge dimension", "without largest") == []


@pytest.mark.parametrize("way", collapse.WAYS)
def test_a_cloud_of_few_directions_collapses_whatever_is_left_out(way):
    assert planted("few directions", way) == list(collapse.middle(9))


def test_the_signs_are_the_measures_of_geometry_and_so_are_those_without_a_group():
    x = np.random.default_rng(0).normal(size=(40, 12)) + 1
    x[7] = x[3]
    group = np.arange(40) % 4
    found = collapse.signs(x, group)
    measures = dict(
        effective_rank=geometry.effective_rank,
        first_component=geometry.anisotropy,
        mean_cosine=geometry.mean_cosine,
        intrinsic_dimension=geometry.intrinsic_dimension,
    )
    for name, measure in measures.items():
        expected = [measure(x), *(measure(x[group != left_out]) for left_out in range(4))]
        np.testing.assert_allclose(found[name], expected, rtol=1e-9)


def test_depth_compares_with_the_worse_of_the_two_sides():
    np.testing.assert_allclose(collapse.depth(np.array([40, 10, 12, 50])), [np.nan, 0.25, 0.3, np.nan])
    rising = collapse.depth(np.arange(1, 8.0))
    assert (rising[1:-1] > 1).all()


def test_a_fall_without_a_recovery_is_no_dip():
    falling = collapse.depth(np.array([64.0, 32, 16, 8, 4]))
    assert (falling[1:-1] > 1).all()


def test_the_jackknife_of_a_mean_is_the_interval_of_students_t():
    from scipy.stats import t

    x = np.random.default_rng(0).normal(size=12)
    without = [np.delete(x, i).mean() for i in range(12)]
    value, low, high = collapse.interval(np.array([x.mean(), *without]))
    half = t.ppf(0.975, 11) * x.std(ddof=1) / np.sqrt(12)
    np.testing.assert_allclose([value, low, high], [x.mean(), x.mean() - half, x.mean() + half])


def test_the_jackknife_of_the_rank_covers_what_it_says():
    """Of many draws from one distribution, about 95 % of the intervals hold the mean rank of such draws."""
    generator = np.random.default_rng(0)
    scale = 1 / np.arange(1, 13)
    draws = [collapse.signs(generator.normal(size=(40, 12)) * scale, np.arange(40) % 10) for _ in range(200)]
    ranks = np.array([draw["effective_rank"] for draw in draws])
    _, low, high = collapse.interval(ranks, log=True)
    truth = ranks[:, 0].mean()
    assert 0.88 <= ((low < truth) & (truth < high)).mean() <= 1


def test_a_domain_does_not_choose_its_own_largest_dimensions():
    means = {name: np.full((1, 6), 0.1) for name in "abc"}
    means["a"][0, 0] = 9
    means["b"][0, 1] = 1
    largest = collapse.largest_of_others(means, 1)
    assert {name: dims[0].tolist() for name, dims in largest.items()} == {"a": [1], "b": [0], "c": [0]}
    with pytest.raises(MedlibError, match="two domains"):
        collapse.largest_of_others({"a": means["a"]}, 1)


def test_items_of_a_cluster_are_left_out_together():
    clusters = [f"disease {i // 5}" for i in range(60)]
    group = collapse.groups(clusters, count=4)
    assert all(len(set(group[i : i + 5])) == 1 for i in range(0, 60, 5))
    assert sorted(np.bincount(group)) == [15] * 4
    with pytest.raises(MedlibError, match="at least 3"):
        collapse.groups(["one", "two", "two"])


def test_all_places_read_in_one_walk_are_those_of_activations():
    model = tiny_model()
    prompts = [
        Prompt.fill("w1 {entity} w5 w6", "w2 w3"),
        Prompt.fill("{entity} w7", "w4"),
        Prompt.fill("{entity}", "w9"),
    ]
    found = collapse.read(model, prompts)
    for place in collapse.PLACES:
        np.testing.assert_allclose(found[place], medlib.activations(model, prompts, at=place), atol=1e-6)


def test_a_state_is_shared_out_over_its_dimensions():
    found = collapse.shares(np.array([[[3.0, 4.0]]]))
    np.testing.assert_allclose(found, [[[0.36, 0.64]]])


def test_silhouettes_are_those_of_geometry_in_each_template():
    rows = frame()
    states = np.random.default_rng(0).normal(size=(3, 60, 8))
    found = collapse.silhouettes(states, rows, np.zeros((3, 1), dtype=int), ["raw", "without largest"])
    one = found.query("layer == 2 and space == 'without largest' and variant == 'late'")["value"]
    np.testing.assert_allclose(one, geometry.silhouette_samples(states[2, 30:, 1:], rows["label"][30:]))
    assert collapse.silhouettes(states, rows.assign(label="a"), np.zeros((3, 1), dtype=int)).empty


def test_overlap_is_one_for_the_same_dimensions_in_any_order():
    one = np.array([[5.0, 4, 3, 0], [5, 4, 3, 0]])
    other = np.array([[3.0, 4, 5, 0], [0, 0, 3, 4]])
    np.testing.assert_allclose(collapse.overlap(one, other, 3), [1, 2 / 3])


def test_items_bring_a_label_and_the_cluster_of_their_question():
    rows = collapse.items("progression", 30)
    assert rows["item"].nunique() == 30 and rows["label"].nunique() <= 12
    asked = rows.groupby("cluster")["label"].nunique()
    assert asked.max() == 1


@pytest.mark.parametrize(
    ("flags", "words"), [([0, 1, 1, 1, 0, 1], "1 to 3, 5"), ([0, 0], "none"), ([1, 1], "0 to 1"), ([1], "0")]
)
def test_stretches_are_written_as_a_reader_would(flags, words):
    assert collapse.stretches(np.array(flags, dtype=bool)) == words


def test_one_activation_ten_times_the_others_is_ten_times_their_median_until_it_is_left_out():
    states = np.ones((2, 60, 5))
    states[1, 3, 2] = -10
    found = collapse.max_over_median(states, frame(), np.full((2, 1), 2))
    assert found.shape == (3, 1, 2)
    np.testing.assert_allclose(found[[0, 2], 0], [[10, 1], [1, 1]])


def test_the_share_of_a_dimension_is_given_for_every_item():
    states = np.tile([3.0, 4.0], (2, 60, 1))
    found = collapse.share_of(states, frame(), np.zeros((2, 1), dtype=int))
    assert len(found) == 30
    np.testing.assert_allclose(found["value"], 0.36)


def test_the_results_table_holds_every_cloud_and_every_item():
    rows, where = frame(), "mean"
    states = collapse.made_up(60, 12, 5, "noise")
    largest = np.zeros((6, 1), dtype=int)
    found = collapse.clouds(states, rows, largest)
    depths = collapse.dips(found["effective_rank"][0], collapse.templates(rows))
    scores = collapse.silhouettes(states, rows, largest, ["raw"])
    named = dict(place=where, domain="drugs")
    table = collapse.results_table(
        depths.assign(space="raw", **named),
        {(where, "drugs"): found},
        scores.assign(**named),
        {"drugs": rows},
        {"drugs": collapse.max_over_median(states, rows, largest)},
        collapse.share_of(states, rows, largest).assign(domain="drugs"),
        where,
    )
    tidy = medlib.results.tidy(table, model="m", technique="collapse", seed=0)
    counts = tidy.groupby("metric").size()
    assert counts["effective_rank"] == counts["max_over_median"] == 3 * 5 * 2 and counts["depth"] == 3 * 2
    assert counts["silhouette"] == counts["share_of_largest"] == 5 * 30
    one = tidy.query("metric == 'effective_rank' and space == 'raw' and layer == 3 and variant == 'late'")
    np.testing.assert_allclose(one["value"], geometry.effective_rank(states[3, 30:]))


def test_an_item_opens_a_prompt_where_no_token_stands_before_it():
    model = tiny_model()
    first, later = Prompt.fill("{entity} w7", "w4"), Prompt.fill("w1 {entity}", "w4")
    assert collapse.opens(model, [first, first]) and not collapse.opens(model, [first, later])
