"""The same numbers from other people's code, from the papers, and from the plainest loop there is."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from scipy.spatial.distance import pdist, squareform
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from test_sweeps import ANSWERS, PAIRS, PROMPTS, run

import medlib
from medlib import geometry, hooks, stats, summary
from medlib.chapters.lesion import grading
from medlib.geometry import probe

IRIS, SPECIES = load_iris(return_X_y=True)


def noise(n, hidden, seed=0):
    return np.random.default_rng(seed).normal(size=(n, hidden))


# --- published numbers ------------------------------------------------------------------------------------------------


def test_fishers_irises_have_the_variances_and_the_silhouette_that_every_textbook_prints():
    shares = np.array([0.92461872, 0.05306648, 0.01710261, 0.00521218])  # explained variance, scikit-learn's guide
    assert geometry.anisotropy(IRIS) == pytest.approx(shares[0], abs=1e-8)
    assert geometry.effective_rank(IRIS) == pytest.approx(np.exp(scipy_stats.entropy(shares)), abs=1e-6)
    assert geometry.silhouette(IRIS, SPECIES) == pytest.approx(0.503, abs=5e-4)


def test_the_heart_attack_trial_of_benjamini_and_hochberg_has_four_discoveries():
    """Section 3.2 of their paper of 1995: at 5 % Bonferroni finds three of the fifteen comparisons, and theirs four."""
    p = np.array(
        [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
        + [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    )
    assert (p < 0.05 / 15).sum() == 3
    assert (stats.benjamini_hochberg(p) <= 0.05).tolist() == [True] * 4 + [False] * 11


# --- statistics -------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from([0.01, 0.05, 0.2, 0.5]))
@settings(max_examples=100, deadline=None)
def test_what_benjamini_hochberg_rejects_is_what_their_step_up_rule_rejects(p, level):
    ranked = sorted(p)
    passed = [rank for rank, value in enumerate(ranked, 1) if value <= rank / len(p) * level * (1 + 1e-12)]
    limit = ranked[passed[-1] - 1] if passed else -1
    adjusted = stats.benjamini_hochberg(p)
    near = np.abs(adjusted - level) < 1e-9  # on the line itself the last bit decides
    assert ((adjusted <= level) == (np.array(p) <= limit))[~near].all()


def test_a_bootstrap_interval_is_scipys_percentile_interval_at_the_level_that_student_asks_for():
    values = np.random.default_rng(0).normal(size=15)
    tail = scipy_stats.norm.cdf(np.sqrt(15 / 14) * scipy_stats.t.ppf(0.025, 14))
    other = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=40_000, method="percentile", confidence_level=1 - 2 * tail, rng=1
    ).confidence_interval
    found = stats.bootstrap(values, n=40_000)
    assert [found.low, found.high] == pytest.approx([other.low, other.high], abs=0.02)
    assert found.low < scipy_stats.bootstrap((values,), np.mean, method="percentile", rng=1).confidence_interval.low


def test_the_interval_of_a_difference_is_widened_as_its_smaller_sample_asks_for():
    generator = np.random.default_rng(0)
    few, many = generator.normal(size=5), generator.normal(size=50)
    plain = [generator.choice(few, 5).mean() - generator.choice(many, 50).mean() for _ in range(10_000)]
    tail = scipy_stats.norm.cdf(np.sqrt(5 / 4) * scipy_stats.t.ppf(0.025, 4))
    found = stats.bootstrap_difference(few, many, n=10_000)
    assert [found.low, found.high] == pytest.approx(np.quantile(plain, [tail, 1 - tail]), abs=0.05)
    assert found.high - found.low > 1.1 * np.ptp(np.quantile(plain, [0.025, 0.975]))


def test_resampling_clusters_is_resampling_their_rows_one_cluster_at_a_time():
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(9), [1, 2, 3, 4, 5, 1, 2, 3, 4])
    values = generator.normal(size=9)[groups] + 0.1 * generator.normal(size=len(groups))
    plain = [
        np.concatenate([values[groups == drawn] for drawn in generator.integers(9, size=9)]).mean()
        for _ in range(20_000)
    ]
    tail = scipy_stats.norm.cdf(np.sqrt(9 / 8) * scipy_stats.t.ppf(0.025, 8))
    found = stats.bootstrap(values, n=20_000, groups=groups)
    assert [found.low, found.high] == pytest.approx(np.quantile(plain, [tail, 1 - tail]), abs=0.04)


def test_a_share_over_pairs_is_resampled_as_items_written_out_as_often_as_they_were_drawn():
    generator = np.random.default_rng(0)
    met = np.triu(generator.integers(0, 3, size=(14, 14)), 1)
    won = generator.binomial(met, 0.7)
    plain = []
    for _ in range(5000):
        drawn = generator.integers(14, size=14)
        plain.append(won[np.ix_(drawn, drawn)].sum() / met[np.ix_(drawn, drawn)].sum())
    tail = scipy_stats.norm.cdf(np.sqrt(14 / 13) * scipy_stats.t.ppf(0.025, 13))
    found = stats.bootstrap_pairs(won, met, n=5000)
    assert found.value == won.sum() / met.sum()
    assert [found.low, found.high] == pytest.approx(np.quantile(plain, [tail, 1 - tail]), abs=0.03)


def test_templates_agree_as_the_least_alike_pair_of_their_mean_curves_does_in_scipy():
    index = pd.MultiIndex.from_product([range(5), list("abc"), range(9)], names=["item", "variant", "layer"])
    frame = pd.DataFrame({"kl": np.random.default_rng(0).normal(size=len(index))}, index).reset_index()
    curves = {name: rows.groupby("layer")["kl"].mean() for name, rows in frame.groupby("variant")}
    pairs = [scipy_stats.spearmanr(curves[a], curves[b]).statistic for a, b in combinations("abc", 2)]
    assert summary.rank_of_templates(frame, "kl") == pytest.approx(min(pairs))


# --- geometry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 90), (90, 40)])
def test_spread_is_what_scikit_learns_principal_components_say(shape):
    x = noise(*shape) * np.linspace(1, 4, shape[1]) + 3
    shares = PCA().fit(x).explained_variance_ratio_
    assert geometry.anisotropy(x) == pytest.approx(shares[0])
    assert geometry.effective_rank(x) == pytest.approx(np.exp(scipy_stats.entropy(shares)))
    assert geometry.collapse(x)["max_over_median"] == np.abs(x).max() / np.median(np.abs(x))


def test_local_anisotropy_is_that_of_a_principal_component_analysis_around_each_point():
    x = noise(50, 30) * np.linspace(0.2, 3, 30)
    nearest = NearestNeighbors(n_neighbors=20).fit(x).kneighbors(return_distance=False)
    variances = [PCA(2).fit(x[rows]).explained_variance_ for rows in nearest]
    assert geometry.local_anisotropy(x) == pytest.approx(np.mean([1 - second / first for first, second in variances]))


def test_principal_axes_are_those_of_the_singular_value_decomposition():
    x = noise(30, 50) + 2
    left, strength, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    found = geometry.spaces(x, n_components=4)["pca4"]
    assert np.abs(found) == pytest.approx(np.abs(left[:, :4] * strength[:4]))


def test_linearity_is_the_r2_of_a_linear_regression_in_sample_and_held_out():
    x = noise(120, 15)
    y = np.tanh(x @ noise(15, 20, 1)) + noise(120, 20, 2)
    fitted = LinearRegression().fit(x, y).predict(x)
    assert geometry.linearity(x, y) == pytest.approx(1 - ((y - fitted) ** 2).sum() / ((y - y.mean(axis=0)) ** 2).sum())
    assert geometry.linearity(x, y) == pytest.approx(r2_score(y, fitted, multioutput="variance_weighted"))
    folds = np.array_split(np.random.default_rng(3).permutation(120), 5)
    split = [(np.setdiff1d(np.arange(120), test), test) for test in folds]
    error = ((y - cross_val_predict(LinearRegression(), x, y, cv=split)) ** 2).sum()
    total = sum(((y[test] - y[train].mean(axis=0)) ** 2).sum() for train, test in split)
    assert geometry.linearity(x, y, held_out=True, seed=3) == pytest.approx(1 - error / total)


class ScaledRidge(RegressorMixin, BaseEstimator):
    """scikit-learn's ridge, its penalty in units of the mean variance per row of what it is fitted on."""

    def __init__(self, penalty=1.0):
        self.penalty = penalty

    def fit(self, x, y):
        self.ridge_ = Ridge(alpha=self.penalty * ((x - x.mean(axis=0)) ** 2).sum() / len(x)).fit(x, y)
        return self

    def predict(self, x):
        return self.ridge_.predict(x)


def test_a_probe_is_scikit_learns_nested_grid_search(monkeypatch):
    """Outer and inner folds are dealt as the probe deals them; penalty and predictions are scikit-learn's."""
    penalties = np.logspace(-3, 1, 7)
    monkeypatch.setattr(probe, "PENALTIES", penalties)
    x = noise(50, 80)
    y = x[:, :3].sum(axis=1) + noise(50, 1, 1)[:, 0]
    generator, expected, chosen = np.random.default_rng(4), np.empty(50), set()
    for test in np.array_split(generator.permutation(50), 5):
        train = np.setdiff1d(np.arange(50), test)
        inner = [np.isin(train, part) for part in np.array_split(generator.permutation(train), 5)]
        split = [(np.flatnonzero(~part), np.flatnonzero(part)) for part in inner]
        search = GridSearchCV(ScaledRidge(), {"penalty": penalties}, cv=split, scoring="neg_mean_squared_error")
        expected[test] = search.fit(x[train], y[train]).predict(x[test])
        chosen.add(search.best_params_["penalty"])
    found = geometry.ridge_probe(x, y, seed=4)
    assert found["predictions"] == pytest.approx(expected) and len(chosen) > 1
    assert found["r2"] == pytest.approx(r2_score(y, expected))


def test_a_probe_scores_about_as_scikit_learn_with_folds_of_its_own():
    x = noise(200, 40)
    y = x @ np.linspace(0, 1, 40) + 3 * noise(200, 1, 1)[:, 0]
    search = GridSearchCV(ScaledRidge(), {"penalty": np.logspace(-4, 2, 13)}, cv=KFold(5, shuffle=True, random_state=0))
    other = cross_val_predict(search, x, y, cv=KFold(5, shuffle=True, random_state=1))
    assert geometry.ridge_probe(x, y)["r2"] == pytest.approx(r2_score(y, other), abs=0.05)


def test_the_dimension_is_that_of_the_formulas_of_its_papers():
    """Facco et al. 2017: the slope of -log(1 - F) against log mu; Denti et al. 2022: n - 1 over the sum of log mu."""
    x = noise(400, 5) @ noise(5, 30, 1)
    near = np.sort(squareform(pdist(x)), axis=1)[:, 1:3]
    log_mu = np.sort(np.log(near[:, 1] / near[:, 0]))
    assert geometry.intrinsic_dimension(x) == pytest.approx(399 / log_mu.sum())
    lowest, share = log_mu[:80], np.arange(1, 81) / 400
    slope = -(lowest * np.log(1 - share)).sum() / (lowest**2).sum()
    assert geometry.intrinsic_dimension(x, fit="lowest") == pytest.approx(slope, rel=0.02)


def test_line_and_ring_are_scipys_rank_correlations_of_the_distances_between_stages():
    stages, templates = 9, 3
    x, order = noise(stages * templates, 12), np.tile(np.arange(stages), templates)
    found = geometry.progression(x, order, n=499)
    centres = np.array([x[order == stage].mean(axis=0) for stage in range(stages)])
    distances, apart = pdist(centres), pdist(np.arange(stages)[:, None])
    line = scipy_stats.spearmanr(distances, apart).statistic
    ring = scipy_stats.spearmanr(distances, np.minimum(apart, stages - apart)).statistic
    first, last = squareform(distances)[0, 1:], squareform(distances)[-1, :-1]
    assert [found["line"], found["ring"], found["circularity"]] == pytest.approx([line, ring, ring - line])
    assert found["spearman"] == pytest.approx(scipy_stats.spearmanr(first, np.arange(stages - 1)).statistic)
    assert (found["csfs"], found["csls"]) == (1 + first.argmin(), last.argmin())
    generator = np.random.default_rng(9)
    null = []
    for _ in range(999):
        shuffled = pdist(centres[generator.permutation(stages)])
        null.append(scipy_stats.spearmanr(shuffled, apart).statistic)
    assert found["p_line"] == pytest.approx((1 + (np.array(null) >= line).sum()) / 1000, abs=0.08)


def test_a_step_is_ranked_as_scipy_ranks_it():
    x = np.cumsum(noise(40, 6), axis=0)
    length = np.linalg.norm(np.diff(x, axis=0), axis=1)
    found = geometry.step_test(x, np.arange(40), at=17, exclude=(9,))
    others = np.delete(length, [9, 17])
    assert found["percentile"] == pytest.approx(scipy_stats.percentileofscore(others, length[17], kind="strict"))
    assert (found["step"], found["median"]) == pytest.approx((length[17], np.median(others)))
    assert found["p"] == pytest.approx(scipy_stats.percentileofscore(-np.append(others, length[17]), -length[17]) / 100)


# --- sweeps -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_the_divergence_of_a_lesion_is_torchs_of_two_plain_forwards(family):
    model = tiny_model(family)
    table = medlib.lesion_sweep(model, PROMPTS).set_index(["prompt", "layer"]).kl
    for number, prompt in enumerate(PROMPTS):
        intact = run(model, prompt).log_softmax(-1)
        for layer in range(1, model.n_layers + 1):
            with hooks.skip(model, layer):
                after = run(model, prompt).log_softmax(-1)
            expected = torch.nn.functional.kl_div(after, intact, reduction="sum", log_target=True)
            assert table[number, layer] == pytest.approx(float(expected), abs=1e-4, rel=1e-4)


@torch.no_grad()
def test_divergences_between_prompts_are_scipys_entropies(tiny):
    shares = [run(tiny, prompt).double().softmax(-1).numpy() for prompt in PROMPTS]
    expected = [scipy_stats.entropy(a, b) for a in shares for b in shares if a is not b]
    assert grading.divergences(tiny, PROMPTS) == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_saliency_is_the_change_of_the_answers_log_probability_when_one_weight_is_moved(family):
    """By central differences in a model of float64, for one weight matrix of one block."""
    model = tiny_model(family)
    model.hf.double()
    weight, answer = model.blocks[1].mlp.down_proj.weight, model.tokenizer(ANSWERS[0])["input_ids"][0]
    table = medlib.weight_saliency(model, PROMPTS[:1], ANSWERS[:1]).set_index(["layer", "module"]).saliency
    slopes = []
    with torch.no_grad():
        for row, column in np.ndindex(weight.shape):
            if (row + column) % 29:
                continue
            ends, kept = [], float(weight[row, column])
            for step in (1e-3, -1e-3):
                weight[row, column] = kept + step
                ends.append(float(run(model, PROMPTS[0]).double().log_softmax(-1)[answer]))
            weight[row, column] = kept
            slopes.append(abs(ends[0] - ends[1]) / 2e-3)
    assert table[2, "down_proj"] == pytest.approx(np.mean(slopes), rel=0.25)  # a twenty-ninth of the weights


# --- alone or together ------------------------------------------------------------------------------------------------

MANY = ["w1 w2 w3 w4 w5 w6 w7", "w9 w8 w7 w6 w5 w4", "w20 w21 w22 w23 w24 w25 w26 w27"]
MANY_ANSWERS = [" w6", " w9", " w25"]


@pytest.mark.parametrize(
    "sweep",
    [
        lambda m, at: medlib.lesion_sweep(m, MANY[at], MANY_ANSWERS[at]).drop(columns=["prompt", "layer"]),
        lambda m, at: medlib.lesion_sweep(m, MANY[at], MANY_ANSWERS[at], component="attention").drop(columns="prompt"),
        lambda m, at: medlib.lesion_windows(m, MANY[at], MANY_ANSWERS[at]).drop(columns="prompt"),
        lambda m, at: medlib.lesion_texts(m, MANY[at]).drop(columns="text"),
        lambda m, at: medlib.weight_saliency(m, MANY[at], MANY_ANSWERS[at]).attrs["per_prompt"][["layer", "saliency"]],
        lambda m, at: pd.DataFrame(np.concatenate(medlib.activations(m, MANY[at]).transpose(1, 0, 2))),
        lambda m, at: medlib.patch_sweep(m, PAIRS[at]).drop(columns=["pair", "token"]),
        lambda m, at: medlib.attribution_sweep(m, PAIRS[at], component="mlp").drop(columns=["pair", "token"]),
    ],
    ids=["lesion", "lesion of attention", "windows", "texts", "saliency", "activations", "patch", "attribution"],
)
def test_a_prompt_gets_alone_what_it_gets_among_longer_ones(sweep, tiny):
    together = sweep(tiny, slice(None))
    alone = pd.concat([sweep(tiny, slice(i, i + 1)) for i in range(3)])
    np.testing.assert_allclose(together.astype(float), alone.astype(float), rtol=2e-4, atol=2e-5)
