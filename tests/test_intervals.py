"""The intervals that chapters draw cover what they say: simulated from models whose truth is known, at 10 to 40 items.

Each layer (or window) of a frame is a data set of its own, so that one call gives four hundred intervals; their
Monte-Carlo error is about 0.011 (one standard deviation).
"""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from medlib import stats, summary
from medlib.chapters.lesion import windows

SETS = 400
ITEMS = [10, 20, 40]


def long(values, **columns):
    """A frame of `values [item, variant, layer]`, one row for each number; further columns go by item."""
    item, variant, layer = (index.ravel() for index in np.indices(values.shape))
    frame = pd.DataFrame({"item": item, "variant": variant, "layer": layer, "x": values.ravel()})
    return frame.assign(**{name: np.asarray(column)[item] for name, column in columns.items()})


def items(n, templates=3, seed=0, sets=SETS):
    """Items that differ, templates that differ by constants with mean zero, and noise: the truth is 0 everywhere."""
    generator = np.random.default_rng(seed)
    template = np.linspace(-1, 1, templates)[:, None] if templates > 1 else 0
    return generator.normal(size=(n, 1, sets)) + template + 0.5 * generator.normal(size=(n, templates, sets))


def clusters(n, seed=0, sets=SETS):
    """`n` clusters of one to four items each, alike within; their values and the cluster of each item."""
    generator = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(n), 1 + np.arange(n) % 4)
    alike = generator.normal(size=(n, 1, sets))[cluster]
    return alike + 0.5 * generator.normal(size=(len(cluster), 2, sets)), cluster


def coverage(table, truth=0):
    return ((table["low"] <= truth + 1e-9) & (truth - 1e-9 <= table["high"])).mean()


@pytest.mark.parametrize("n", ITEMS)
def test_the_interval_of_a_curve_covers_as_often_as_it_says(n):
    assert coverage(summary.by_layer(long(items(n)), "x")) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("n", ITEMS)
def test_the_interval_of_a_curve_over_clusters_covers_and_over_their_items_does_not(n):
    values, cluster = clusters(n)
    assert coverage(summary.by_layer(long(values, cluster=cluster), "x")) == pytest.approx(0.95, abs=0.035)
    assert coverage(summary.by_layer(long(values), "x")) < 0.85


@pytest.mark.parametrize("n", ITEMS)
def test_the_interval_of_a_median_curve_covers_at_least_as_often_as_it_says(n):
    """A median of few items is a step function, and its interval a little wide."""
    table = summary.by_layer(long(items(n, templates=2, sets=200) - np.array([[-1], [1]])), "x", np.median)
    assert 0.92 < coverage(table) <= 1


@pytest.mark.parametrize("n", ITEMS)
def test_skewed_values_cover_nearly_as_often_and_less_the_fewer_they_are(n):
    values = np.random.default_rng(0).exponential(size=(n, 1, SETS))
    assert coverage(summary.by_layer(long(values), "x"), 1) > {10: 0.87, 20: 0.9, 40: 0.92}[n]


@pytest.mark.parametrize("n", ITEMS)
def test_the_difference_of_two_domains_covers_as_often_as_it_says(n):
    control = long(items(2 * n, templates=2, seed=1))
    difference = summary.difference_by_layer(long(items(n) + 1), control, "x")
    assert coverage(difference, 1) == pytest.approx(0.95, abs=0.03)
    values, cluster = clusters(n, seed=2)
    difference = summary.difference_by_layer(long(values, cluster=cluster), control, "x")
    assert coverage(difference) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("n", ITEMS)
def test_the_interval_of_a_window_covers_as_often_as_it_says(n):
    def as_windows(values, **columns):
        return long(values, **columns).rename(columns={"layer": "first"}).assign(last=SETS)

    medical, control = as_windows(items(n) + 1), as_windows(items(2 * n, templates=2, seed=1))
    assert coverage(windows.by_window(medical, "x"), 1) == pytest.approx(0.95, abs=0.03)
    assert coverage(windows.by_window(medical, "x", control), 1) == pytest.approx(0.95, abs=0.03)
    values, cluster = clusters(n)
    assert coverage(windows.by_window(as_windows(values, cluster=cluster), "x")) == pytest.approx(0.95, abs=0.035)


@pytest.mark.parametrize("n", ITEMS)
def test_a_share_over_pairs_of_items_covers_and_pairs_taken_as_rows_do_not(n):
    """Of two normal scores with correlation r, a pair is in the same order with probability 1/2 + arcsin(r)/pi."""
    generator, r, sets = np.random.default_rng(0), 0.6, 150
    truth, met = 0.5 + np.arcsin(r) / np.pi, np.triu(np.ones((n, n)), 1)
    covered = []
    for _ in range(sets):
        x, noise = generator.normal(size=(2, n))
        y = r * x + np.sqrt(1 - r**2) * noise
        won = met * ((x[:, None] < x) == (y[:, None] < y))
        pairs = stats.bootstrap_pairs(won, met, n=500), stats.bootstrap(won[met > 0], n=100)
        covered.append([found.low <= truth <= found.high for found in pairs])
    of_items, of_pairs = np.mean(covered, axis=0)
    assert 0.92 < of_items <= 1 and of_pairs < 0.85


def agreement(n, gap, sets=50):
    """Two curves of 12 layers whose order differs in two places, with noise; the truth, and `rank_agreement` of each.

    `gap` is the distance between neighbouring layers, in standard errors of a layer's mean.
    """
    generator = np.random.default_rng(0)
    shape = np.arange(12.0) * gap / np.sqrt(2 * n)  # two templates with noise of one
    other = shape[[1, 0, 2, 3, 4, 5, 6, 8, 7, 9, 10, 11]]
    found = []
    for _ in range(sets):
        unit = generator.normal(size=(n, 1, 1))  # items differ by constants, which ranks do not see
        both = (long(curve + unit + generator.normal(size=(n, 2, 12))) for curve in (shape, other))
        found.append(summary.rank_agreement(*both, "x"))
    return spearmanr(shape, other).statistic, pd.DataFrame(found)


@pytest.mark.parametrize("n", [10, 20])
def test_the_agreement_of_curves_whose_layers_are_told_apart_is_covered(n):
    truth, found = agreement(n, gap=6)
    assert coverage(found, truth) > 0.95 and found["value"].mean() == pytest.approx(truth, abs=0.01)


def test_noise_makes_two_curves_agree_less_than_they_do_and_the_interval_does_not_make_up_for_it():
    """A rank correlation is weakened by noise in either curve: between noisy curves it is a lower bound."""
    truth, found = agreement(20, gap=0.5)
    assert found["value"].mean() < truth - 0.05 and found["low"].mean() < truth - 0.3
    assert coverage(found, truth) < 0.9 and (found["value"] <= truth).mean() > 0.9
