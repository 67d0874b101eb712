"""Intervals that cover what they say, p-values that are uniform under the null, hand-worked corrections."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kstest, t

from medlib import MedlibError, stats


def coverage(truth, interval):
    return np.mean((interval.low <= truth) & (truth <= interval.high))


# Each column of [row, data set] is a data set of its own, so that one call bootstraps four hundred of them.


@pytest.mark.parametrize("n", [12, 40])
@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_a_bootstrap_interval_covers_as_often_as_it_says(n, statistic):
    values = np.random.default_rng(0).normal(size=(n, 400))
    assert coverage(0, stats.bootstrap(values, statistic, n=1000)) == pytest.approx(0.95, abs=0.03)
    assert coverage(0, stats.bootstrap(values, statistic, n=1000, level=0.8)) == pytest.approx(0.8, abs=0.06)


def test_a_bootstrap_interval_of_skewed_values_covers_nearly_as_often():
    values = np.random.default_rng(0).exponential(size=(60, 400))
    assert coverage(1, stats.bootstrap(values, n=1000)) == pytest.approx(0.95, abs=0.04)


def test_rows_of_one_item_count_once_where_groups_are_given():
    generator = np.random.default_rng(0)
    item = np.repeat(np.arange(15), 4)
    values = generator.normal(size=(15, 400))[item] + 0.3 * generator.normal(size=(60, 400))
    assert coverage(0, stats.bootstrap(values, n=1000, groups=item)) == pytest.approx(0.95, abs=0.03)
    assert coverage(0, stats.bootstrap(values, n=1000)) < 0.8


def test_groups_of_unequal_size_are_resampled_whole_too():
    generator = np.random.default_rng(1)
    item = generator.permutation(np.repeat(np.arange(20), generator.integers(1, 6, size=20)))
    values = generator.normal(size=(20, 400))[item] + 0.3 * generator.normal(size=(len(item), 400))
    assert coverage(0, stats.bootstrap(values, n=1000, groups=item)) == pytest.approx(0.95, abs=0.04)


def test_a_difference_of_two_samples_covers_as_often_as_it_says():
    generator = np.random.default_rng(0)
    medical, control = generator.normal(1, 2, size=(25, 400)), generator.normal(0, 1, size=(40, 400))
    found = stats.bootstrap_difference(medical, control, n=1000)
    assert coverage(1, found) == pytest.approx(0.95, abs=0.03)
    assert found.value == pytest.approx(medical.mean(axis=0) - control.mean(axis=0))


def test_a_difference_is_as_unsure_as_its_smaller_sample():
    generator = np.random.default_rng(0)
    few, many = generator.normal(size=(8, 400)), generator.normal(size=(100, 400))
    assert coverage(0, stats.bootstrap_difference(few, many, n=1000)) == pytest.approx(0.95, abs=0.03)
    assert coverage(0, stats.bootstrap_difference(many, few, n=1000)) == pytest.approx(0.95, abs=0.03)


def test_a_difference_respects_the_groups_of_each_sample():
    generator = np.random.default_rng(0)
    item, other = np.repeat(np.arange(15), 4), np.repeat(np.arange(18), 3)
    medical, control = generator.normal(size=(15, 400))[item], generator.normal(size=(18, 400))[other]
    assert coverage(0, stats.bootstrap_difference(medical, control, n=1000, groups=(item, other))) > 0.92
    assert coverage(0, stats.bootstrap_difference(medical, control, n=1000)) < 0.8


def test_the_interval_of_many_rows_is_that_of_the_normal_theory():
    values = np.random.default_rng(0).normal(3, 2, size=500)
    value, low, high = stats.bootstrap(values, n=20_000)
    half = t.ppf(0.975, 499) * values.std(ddof=1) / np.sqrt(500)
    assert value == values.mean()
    assert [low, high] == pytest.approx([value - half, value + half], abs=0.01)


def test_prompts_are_resampled_once_for_all_layers():
    curves = np.random.default_rng(0).normal(size=(30, 1)) + np.arange(5.0)  # layers differ by constants
    found = stats.bootstrap(curves, np.median)
    assert found.low - np.arange(5.0) == pytest.approx(np.full(5, found.low[0]))
    assert found.low[0] == stats.bootstrap(curves[:, 0], np.median).low


def test_grouping_rows_by_themselves_changes_nothing():
    values = np.random.default_rng(0).normal(size=(20, 3))
    plain, grouped = stats.bootstrap(values), stats.bootstrap(values, groups=[f"item {i}" for i in range(20)])
    assert all(np.array_equal(a, b) for a, b in zip(plain, grouped, strict=True))


@pytest.mark.parametrize("groups", [None, np.arange(60) // 3, np.arange(60) ** 2 // 200])
def test_the_same_seed_gives_the_same_bytes_whatever_is_held_at_once(groups, monkeypatch):
    values = np.random.default_rng(0).normal(size=(60, 7))
    first = stats.bootstrap(values, np.median, n=200, seed=4, groups=groups)
    monkeypatch.setattr(stats, "BLOCK", 1000)
    again = stats.bootstrap(values, np.median, n=200, seed=4, groups=groups)
    other = stats.bootstrap(values, np.median, n=200, seed=5, groups=groups)
    assert [a.tobytes() for a in first] == [a.tobytes() for a in again]
    assert first.low.tobytes() != other.low.tobytes()


@given(arrays(float, st.integers(3, 20), elements=st.floats(-1e6, 1e6)), st.sampled_from([np.mean, np.median]))
@settings(max_examples=60, deadline=None)
def test_an_interval_stays_inside_the_data_and_around_constants(values, statistic):
    found = stats.bootstrap(values, statistic, n=100)
    slack = 1e-9 * max(1, np.abs(values).max())
    assert values.min() - slack <= found.low <= found.high <= values.max() + slack
    constant = stats.bootstrap(np.full(5, values[0]), statistic, n=100)
    assert [constant.low, constant.high] == pytest.approx([values[0], values[0]])


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1.0, np.nan, 2.0], {}, "1 NaN or infinite"),
        ([1.0, 2.0], {}, "2 units to resample"),
        ([1.0] * 6, {"groups": list("aaabbb")}, "2 units to resample"),
        ([1.0] * 6, {"groups": list("abc")}, "one for each of the 6 rows"),
        ([1.0] * 4, {"groups": np.array(["a", "b", None, "c"], dtype=object)}, "missing for 1 rows"),
        ([1.0, 2.0, 3.0], {"level": 95}, "level is 95"),
        ([], {}, "at least one row"),
        (5.0, {}, "at least one row"),
        (["a", "b", "c"], {}, "does not read as an array of numbers"),
    ],
)
def test_what_has_no_interval_is_refused(values, options, message):
    with pytest.raises(MedlibError, match=message):
        stats.bootstrap(values, **options)


def test_a_difference_of_curves_of_different_length_is_refused():
    with pytest.raises(MedlibError, match="same shape"):
        stats.bootstrap_difference(np.ones((5, 3)), np.ones((5, 4)))


def test_permutation_p_counts_the_observed_one():
    assert stats.permutation_p(10, np.zeros(99)) == 1 / 100
    assert stats.permutation_p(10, np.zeros(99), "less") == 1
    assert stats.permutation_p(-10, np.zeros(99), "less") == 1 / 100
    assert stats.permutation_p(10, np.zeros(99), "two-sided") == 2 / 100
    assert stats.permutation_p(0, np.zeros(99), "two-sided") == 1
    assert stats.permutation_p([0, 5], [[1, 1], [2, 2], [-1, 3]]) == pytest.approx([3 / 4, 1 / 4])


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_permutation_p_is_uniform_under_the_null(alternative):
    generator = np.random.default_rng(0)
    p = stats.permutation_p(generator.normal(size=2000), generator.normal(size=(199, 2000)), alternative)
    assert kstest(p, "uniform").pvalue > 0.01


def test_a_null_of_another_shape_and_an_unknown_alternative_are_refused():
    with pytest.raises(MedlibError, match="the null asks for numbers of shape"):
        stats.permutation_p([1, 2], [1, 2, 3])
    with pytest.raises(MedlibError, match="greater, less, two-sided"):
        stats.permutation_p(1, [1, 2, 3], "higher")


def test_benjamini_hochberg_is_the_example_worked_by_hand():
    # Sorted: .01 .02 .03 .04 .5; times 5/rank: .05 .05 .05 .05 .5.
    assert stats.benjamini_hochberg([0.5, 0.01, 0.04, 0.02, 0.03]) == pytest.approx([0.5, 0.05, 0.05, 0.05, 0.05])
    # Sorted: .01 .04 .05; times 3/rank: .03 .06 .05; each at most those above it: .03 .05 .05.
    assert stats.benjamini_hochberg([0.01, 0.04, 0.05]) == pytest.approx([0.03, 0.05, 0.05])


@given(arrays(float, st.integers(1, 40), elements=st.floats(0, 1)))
@settings(max_examples=60, deadline=None)
def test_benjamini_hochberg_keeps_the_order_and_never_lowers_a_p_value(p):
    q = stats.benjamini_hochberg(p)
    assert (q >= p).all()
    assert (q <= 1).all()
    assert (np.diff(q[np.argsort(p)]) >= 0).all()


def test_false_discoveries_stay_at_the_level_asked_for():
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        p = generator.uniform(size=31)
        p[:10] *= 1e-4  # ten real effects
        found = stats.benjamini_hochberg(p) < 0.1
        shares.append(found[10:].sum() / max(1, found.sum()))
    assert np.mean(shares) == pytest.approx(0.1 * 21 / 31, abs=0.02)


@pytest.mark.parametrize("p", [[0.1, np.nan], [1.2], [-0.1], [], [[0.1, 0.2]]])
def test_what_is_no_list_of_p_values_is_refused(p):
    with pytest.raises(MedlibError):
        stats.benjamini_hochberg(p)


def test_spearman_sees_order_only():
    x = np.arange(1.0, 9.0)
    assert stats.spearman(x, np.exp(x)) == pytest.approx(1)
    assert stats.spearman(x, -(x**3)) == pytest.approx(-1)
    assert stats.spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(1 - 6 * 2 / (4 * 15))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [([1, 1, 1], [1, 2, 3], "x is 1 everywhere"), ([1, 2], [1, 2], "at least 3"), ([1, 2, 3], [1, 2], "same length")],
)
def test_curves_without_a_rank_correlation_are_refused(x, y, message):
    with pytest.raises(MedlibError, match=message):
        stats.spearman(x, y)
