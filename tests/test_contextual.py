"""Cosines between prompts, their intervals and baselines: known states give known numbers."""

import numpy as np
import pytest

from medlib import MedlibError, geometry
from medlib.geometry import contextual

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(12, 40)) + 1
PROMPTS = np.repeat(np.arange(4), 3)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_the_mean_over_pairs_is_self_similarity():
    assert contextual.pair_mean(contextual.token_cosines(X)) == pytest.approx(geometry.self_similarity(X))
    both = np.stack([contextual.token_cosines(X), 2 * contextual.token_cosines(X)])
    assert contextual.pair_mean(both) == pytest.approx(geometry.self_similarity(X) * np.array([1, 2]))


def test_random_tokens_are_compared_between_prompts_only():
    found = contextual.pair_mean(contextual.prompt_cosines(X, PROMPTS))
    pairs = [cosine(X[i], X[j]) for i in range(12) for j in range(12) if PROMPTS[i] != PROMPTS[j]]
    assert found == pytest.approx(np.mean(pairs))
    assert contextual.prompt_cosines(X, PROMPTS)[0, 1] == pytest.approx(
        np.mean([cosine(X[i], X[j]) for i in range(3) for j in range(3, 6)])
    )


def test_a_prompt_drawn_twice_is_no_pair_with_itself():
    table = contextual.token_cosines(X[:3])
    found = contextual.pair_mean(table, [[2, 1, 0], [1, 1, 1]])
    assert found == pytest.approx([table[0, 1], contextual.pair_mean(table)])
    with pytest.raises(MedlibError, match="no pair of different prompts"):
        contextual.pair_mean(table, [[3, 0, 0]])
    with pytest.raises(MedlibError, match="give the cosines"):
        contextual.pair_mean(table[:2])


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """States of prompts that are drawn: common direction and own noise, the expected cosine known from a large draw."""

    def states(n, seed):
        generator = np.random.default_rng(seed)
        size = generator.uniform(0.2, 1.5, size=(n, 1))  # some pictures move a token more than others
        return np.eye(1, 30) * 3 + size * generator.normal(size=(n, 30))

    truth = geometry.self_similarity(states(4000, 0))
    inside = 0
    for seed in range(1, 101):
        value, low, high = contextual.pair_interval(contextual.token_cosines(states(30, seed)), n=400, seed=seed)
        inside += low <= truth <= high
        assert low <= value <= high
    assert 88 <= inside <= 100


def test_the_interval_of_a_statistic_is_that_of_the_statistic():
    tables = np.stack([contextual.token_cosines(X), 0.5 * contextual.token_cosines(X)])
    value, low, high = contextual.pair_interval(tables, lambda means: means.argmin(axis=-1))
    assert (value, low, high) == (1, 1, 1)
    curve = contextual.pair_interval(tables)
    assert curve.value == pytest.approx(contextual.pair_mean(tables)) and (curve.low < curve.high).all()
    with pytest.raises(MedlibError, match="there are 7 prompts"):
        contextual.pair_interval(tables[:, :7, :7])


def test_the_sign_test_finds_a_direction_and_holds_its_level_without_one():
    noise = RANDOM.normal(size=(40, 40))
    assert contextual.pair_test(np.abs(noise) + 0.5, n=999) <= 0.002
    few = RANDOM.uniform(0.1, 1, size=(12, 12))  # six pairs: all signs as they are is one flip of 64, and counts
    assert contextual.pair_test(few) == pytest.approx(2 / 64, abs=0.006)
    assert contextual.pair_test(-few) == pytest.approx(2 / 64, abs=0.006) and contextual.pair_test(0 * few) == 1
    p = []
    for seed in range(200):
        one = np.random.default_rng(seed).normal(size=(24, 1))
        p.append(contextual.pair_test(one * one.T, n=199, seed=seed))  # pairs that share a prompt are dependent
    assert np.mean(np.array(p) < 0.05) <= 0.1


def test_random_sets_hold_tokens_of_different_prompts_and_enough_of_them():
    sets = contextual.random_sets(PROMPTS, 4, samples=1000, seed=1)
    assert sets.shape == (250, 4)
    assert all(len(set(PROMPTS[rows])) == 4 for rows in sets)
    assert np.bincount(sets.ravel(), minlength=12).min() > 40
    more = contextual.random_sets(PROMPTS, 6, samples=6)
    assert more.shape == (1, 6) and np.bincount(PROMPTS[more[0]], minlength=4).min() == 1
    assert (sets == contextual.random_sets(PROMPTS, 4, samples=1000, seed=1)).all()
    assert (sets != contextual.random_sets(PROMPTS, 4, samples=1000, seed=2)).any()
    for prompts, size in ((PROMPTS, 1), (np.zeros(5), 3)):
        with pytest.raises(MedlibError, match="has no pair"):
            contextual.random_sets(prompts, size)


def test_mev_without_groups_is_mev_of_what_is_left():
    group = np.arange(12) % 3
    found = contextual.mev_without(X, group)
    assert found[0] == pytest.approx(geometry.mev(X))
    assert found[1:] == pytest.approx([geometry.mev(X[group != left_out]) for left_out in range(3)])
    with pytest.raises(MedlibError, match="nothing to explain"):
        contextual.mev_without(np.zeros((4, 3)), np.arange(4))


def test_the_baseline_falls_where_no_direction_is_common():
    isotropic = RANDOM.normal(size=(3000, 500))
    assert abs(contextual.pair_mean(contextual.prompt_cosines(isotropic, np.arange(3000) % 30))) < 0.01
