"""Measures against data whose answer is known, closed forms and independent implementations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import procrustes as scipy_procrustes
from scipy.stats import kstest, ortho_group
from sklearn.linear_model import Ridge
from sklearn.metrics import silhouette_samples, silhouette_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from medlib import MedlibError, geometry
from medlib.geometry import dimension


def noise(n, hidden, seed=0):
    return np.random.default_rng(seed).normal(size=(n, hidden))


def blobs(per_label=20, labels=4, hidden=50, apart=5.0, seed=0):
    """Well separated clusters and their labels."""
    centres = apart * noise(labels, hidden, seed + 1)
    return noise(per_label * labels, hidden, seed) + np.repeat(centres, per_label, axis=0), np.repeat(
        [f"label {i}" for i in range(labels)], per_label
    )


def curve(shape, stages=10, hidden=40, scatter=0.01, seed=0):
    """Stages on a full circle, on half a circle, or on a straight line, turned into `hidden` dimensions."""
    t = np.arange(stages) / stages
    flat = {
        "ring": np.c_[np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)],
        "arc": np.c_[np.cos(np.pi * t), np.sin(np.pi * t)],
        "line": np.c_[t, 0 * t],
    }[shape]
    plane = np.linalg.qr(noise(hidden, 2, seed + 1))[0]
    return flat @ plane.T + scatter * noise(stages, hidden, seed)


# --- transitions


def test_an_exact_linear_map_is_linear_in_sample_and_held_out():
    x = noise(200, 10)
    y = x @ noise(10, 7, 1) + 3.0
    assert geometry.linearity(x, y) == pytest.approx(1, abs=1e-12)
    assert geometry.linearity(x, y, held_out=True) == pytest.approx(1, abs=1e-12)


def test_unrelated_states_are_linear_by_chance_only_and_not_at_all_held_out():
    x, y = noise(301, 30), noise(301, 60, 1)
    assert geometry.linearity(x, y) == pytest.approx(30 / 300, abs=0.01)
    assert geometry.linearity(x, y, held_out=True) < 0


def test_chance_linearity_counts_the_dimensions_that_the_states_span():
    x = noise(301, 10) @ noise(10, 30, 1)
    assert geometry.linearity(x, noise(301, 60, 2)) == pytest.approx(10 / 300, abs=0.01)


def test_linearity_knows_the_share_of_noise():
    x = noise(4000, 10)
    y = x @ ortho_group.rvs(10, random_state=0) + 0.5 * noise(4000, 10, 1)
    assert geometry.linearity(x, y) == pytest.approx(1 / 1.25, abs=0.01)
    assert geometry.linearity(x, y, held_out=True) == pytest.approx(1 / 1.25, abs=0.01)


@pytest.mark.parametrize("n", [3, 20, 21])
def test_linearity_is_refused_where_it_would_be_one_for_any_data(n):
    with pytest.raises(MedlibError, match="is 1 for any data"):
        geometry.linearity(noise(n, 20), noise(n, 20, 1))
    assert geometry.linearity(noise(22, 20), noise(22, 20, 1)) < 1


def test_held_out_linearity_is_refused_where_the_fitted_part_is_too_small():
    with pytest.raises(MedlibError, match="20 fitted rows in 20 dimensions"):
        geometry.linearity(noise(25, 20), noise(25, 20, 1), held_out=True)


def test_update_linearity_sees_through_the_residual_stream():
    x = 10 * noise(500, 20)
    y = x + np.tanh(5 * noise(500, 20, 1))
    assert geometry.linearity(x, y) > 0.98
    assert geometry.update_linearity(x, y) == pytest.approx(20 / 499, abs=0.02)


def test_procrustes_is_one_for_a_rotation_with_scale_and_shift():
    x = noise(60, 12)
    assert geometry.procrustes(x, 4 * x @ ortho_group.rvs(12, random_state=0) - 7) == pytest.approx(1)


def test_procrustes_is_one_minus_the_disparity_of_scipy_and_at_most_linearity():
    x = noise(80, 12)
    y = x @ noise(12, 12, 1) + noise(80, 12, 2)
    assert geometry.procrustes(x, y) == pytest.approx(1 - scipy_procrustes(x, y)[2])
    assert geometry.procrustes(x, y) < geometry.linearity(x, y)


# --- spread


def test_isotropic_states_have_full_rank_and_a_line_has_rank_one():
    isotropic, line = noise(20_000, 16), np.outer(np.arange(50.0), np.ones(16))
    assert geometry.effective_rank(isotropic) == pytest.approx(16, rel=0.01)
    assert geometry.anisotropy(isotropic) == pytest.approx(1 / 16, rel=0.1)
    assert geometry.effective_rank(line) == pytest.approx(1)
    assert geometry.anisotropy(line) == pytest.approx(1)


def test_effective_rank_of_known_variances_is_the_exponential_of_their_entropy():
    share = np.array([0.5, 0.25, 0.25])
    corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T  # exactly uncorrelated
    assert geometry.effective_rank(corners * np.sqrt(share) + 5) == pytest.approx(2**1.5)


@pytest.mark.parametrize("shape", [(30, 200), (200, 30)])
def test_spread_is_the_same_whether_rows_or_dimensions_are_more(shape):
    x = noise(*shape) * np.linspace(1, 3, shape[1])
    variance = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    assert geometry.anisotropy(x) == pytest.approx(variance[0] / variance.sum())
    assert geometry.mev(x) == pytest.approx(np.linalg.norm(x, 2) ** 2 / np.linalg.norm(x) ** 2)


def test_a_shift_moves_the_cosine_but_not_the_anisotropy():
    x = noise(200, 30)
    assert geometry.anisotropy(x + 100) == pytest.approx(geometry.anisotropy(x))
    assert geometry.mean_cosine(x) == pytest.approx(0, abs=0.01)
    assert geometry.mean_cosine(x + 100) > 0.99


def test_mean_cosine_and_self_similarity_are_the_mean_over_all_pairs():
    x = noise(40, 8) + 1
    pairs = cosine_similarity(x)[np.triu_indices(40, 1)].mean()
    assert geometry.mean_cosine(x) == pytest.approx(pairs)
    assert geometry.self_similarity(x) == pytest.approx(pairs)


def test_contextualisation_is_one_for_a_static_vector_and_known_for_two_directions():
    static = np.outer(np.arange(1.0, 6.0), [1.0, 2.0, 2.0])
    assert geometry.self_similarity(static) == pytest.approx(1)
    assert geometry.intra_similarity(static) == pytest.approx(1)
    assert geometry.mev(static) == pytest.approx(1)
    assert geometry.intra_similarity([[1, 0], [0, 1]]) == pytest.approx(1 / np.sqrt(2))
    assert geometry.mev([[1, 0], [0, 1]]) == pytest.approx(1 / 2)
    assert geometry.self_similarity([[1, 0], [0, 1]]) == pytest.approx(0)


def test_local_anisotropy_follows_a_curve_that_is_globally_round():
    circle = curve("ring", stages=400, scatter=0.0)
    assert geometry.local_anisotropy(circle, k=10) > 0.99
    assert geometry.anisotropy(circle) == pytest.approx(0.5, abs=0.01)
    assert geometry.local_anisotropy(noise(400, 40), k=20) < 0.3


def test_local_anisotropy_is_that_of_each_neighbourhood_computed_one_by_one():
    x = noise(60, 7) * [5, 3, 1, 1, 1, 1, 1]
    nearest = NearestNeighbors(n_neighbors=12).fit(x).kneighbors(return_distance=False)
    eigenvalues = [np.linalg.eigvalsh(np.cov(x[rows].T)) for rows in nearest]
    assert geometry.local_anisotropy(x, k=12) == pytest.approx(np.mean([1 - e[-2] / e[-1] for e in eigenvalues]))


def test_one_huge_dimension_looks_like_a_collapse_until_it_is_taken_out():
    x = noise(100, 64)
    x[:, 11] = 1000 + 300 * x[:, 11]
    fake, real = geometry.collapse(x), geometry.collapse(geometry.without_largest(x, 1))
    assert fake["effective_rank"] < 1.1
    assert fake["first_component"] > 0.99
    assert fake["mean_cosine"] > 0.9
    assert fake["max_over_median"] > 1000
    assert real["effective_rank"] > 40
    assert real["mean_cosine"] == pytest.approx(0, abs=0.02)
    assert real["max_over_median"] < 10


def test_rms_normalised_rows_have_root_mean_square_one_and_keep_their_direction():
    x = noise(20, 9) * np.arange(1, 21)[:, None]
    normal = geometry.rms_normalised(x)
    assert np.sqrt((normal**2).mean(axis=1)) == pytest.approx(np.ones(20))
    assert geometry.mean_cosine(normal) == pytest.approx(geometry.mean_cosine(x))


# --- dimension


@pytest.mark.parametrize("dimension", [2, 4, 8])
def test_two_nn_finds_the_dimension_of_a_cloud_turned_into_many_more(dimension):
    x = noise(2000, dimension) @ noise(dimension, 100, 1)
    assert geometry.intrinsic_dimension(x) == pytest.approx(dimension, rel=0.08)
    assert geometry.intrinsic_dimension(x, fit="lowest") == pytest.approx(dimension, rel=0.2)


@pytest.mark.parametrize("rounding", [0.0, 1e-6])
def test_duplicates_do_not_move_the_dimension_and_are_counted(rounding):
    x = noise(1500, 8) @ noise(8, 60, 1)
    again = x[:500] * (1 + rounding * noise(500, 60, 2))
    found = geometry.two_nn(np.vstack([x, again]))
    assert found["duplicates"] == 500
    assert found["n"] == 1500
    assert found["likelihood"] == pytest.approx(geometry.intrinsic_dimension(x))
    assert found["lowest"] == pytest.approx(geometry.intrinsic_dimension(x, fit="lowest"))


def test_rounded_duplicates_left_in_would_spoil_either_estimate_as_the_docstring_says():
    x = noise(1500, 8) @ noise(8, 60, 1)
    ratios = dimension._ratios(np.vstack([x, x[:500] * (1 + 1e-6 * noise(500, 60, 2))]))
    assert dimension._fit(ratios, "likelihood") < 1
    assert dimension._fit(ratios, "lowest") > 2 * 8
    assert "less than 1 by likelihood and into more than twice 8" in dimension.__doc__


def test_noise_that_fattens_a_line_shows_in_the_scale_check():
    x = np.zeros((4000, 10))
    x[:, 0] = np.random.default_rng(0).uniform(size=4000)
    thin, fat = geometry.two_nn(x), geometry.two_nn(x + 3e-4 * noise(4000, 10))
    assert thin["quarter"] == pytest.approx(thin["likelihood"], rel=0.1)
    assert fat["quarter"] < 0.8 * fat["likelihood"]


def test_too_few_rows_for_a_scale_check_give_no_number_instead_of_a_wild_one():
    found = geometry.two_nn(noise(50, 5))
    assert found["half"] > 0
    assert found["quarter"] is None


def test_distinct_keeps_the_first_of_each_set_in_order():
    x = noise(30, 6)
    kept, removed = geometry.distinct(np.vstack([x[:3], x, x[::-1], x[7:8]]))
    assert removed == 34
    assert np.array_equal(kept, x)


def test_an_unknown_fit_is_refused_with_the_known_ones():
    with pytest.raises(MedlibError, match="'likelihood' or 'lowest'"):
        geometry.intrinsic_dimension(noise(50, 5), fit="best")


# --- clusters


@given(st.integers(0, 10**6), st.integers(4, 30), st.integers(2, 6))
@settings(max_examples=60, deadline=None)
def test_silhouettes_are_those_of_scikit_learn(seed, n, k):
    generator = np.random.default_rng(seed)
    labels = np.append(np.arange(2), generator.integers(min(k, n - 1), size=n - 2))
    x = generator.normal(size=(n, 3)).round(1)  # rounding makes equal points, where distances are zero
    assert geometry.silhouette_samples(x, labels) == pytest.approx(silhouette_samples(x, labels))
    assert geometry.silhouette(x, labels) == pytest.approx(silhouette_score(x, labels))


def test_the_null_of_a_silhouette_is_that_of_labels_shuffled_one_by_one():
    x, labels = blobs(apart=0.1, per_label=8)
    found = geometry.silhouette_test(x, labels, n=400)
    generator = np.random.default_rng(5)
    plain = np.array([silhouette_score(x, generator.permutation(labels)) for _ in range(400)])
    assert found["null_mean"] == pytest.approx(plain.mean(), abs=4 * plain.std() / 20)
    assert [found["null_low"], found["null_high"]] == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=plain.std())


def test_planted_clusters_are_significant_and_shuffled_labels_are_not():
    x, labels = blobs()
    found = geometry.silhouette_test(x, labels, n=199)
    assert found["silhouette"] > 0.5
    assert found["p"] == 1 / 200
    assert geometry.silhouette_test(x, np.random.default_rng(1).permutation(labels), n=199)["p"] > 0.05


def test_p_values_of_a_silhouette_are_uniform_where_there_is_nothing():
    labels = np.repeat(np.arange(5), 8)
    p = [geometry.silhouette_test(noise(40, 10, seed), labels, n=199, seed=seed)["p"] for seed in range(200)]
    assert kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) <= 0.05) < 0.1


def test_templates_of_one_item_do_not_make_its_label_significant():
    item = np.repeat(np.arange(12), 5)
    p_rows, p_items = [], []
    for seed in range(60):
        x = noise(12, 20, seed)[item] + 0.1 * noise(60, 20, seed + 1000)
        labels = np.repeat(["a", "b", "c"], 4)[item]
        p_rows.append(geometry.silhouette_test(x, labels, n=99, seed=seed)["p"])
        p_items.append(geometry.silhouette_test(x, labels, groups=item, n=99, seed=seed)["p"])
    assert np.mean(np.array(p_rows) <= 0.05) > 0.5
    assert np.mean(np.array(p_items) <= 0.05) < 0.15


def test_a_group_with_two_labels_is_refused():
    with pytest.raises(MedlibError, match="a group has several labels"):
        geometry.silhouette_test(noise(6, 3), list("aabbab"), groups=[0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["one"] * 6, "1 different labels"),
        (list("abcdef"), "6 different labels"),
        (list("abcab"), "one for each of the 6 rows"),
        (np.array(["a", "b", None, "a", "b", "a"], dtype=object), "missing for 1 rows"),
    ],
)
def test_labels_that_make_no_clusters_are_refused(labels, message):
    with pytest.raises(MedlibError, match=message):
        geometry.silhouette(noise(6, 3), labels)


# --- order


def test_a_ring_is_circular_and_paths_are_not():
    stage = np.arange(10)
    assert geometry.circularity(curve("ring"), stage) > 0.2
    assert geometry.circularity(curve("arc"), stage) < -0.2
    assert geometry.circularity(curve("line"), stage) < -0.2


def test_a_path_leads_from_neighbour_to_neighbour_and_a_ring_leads_back():
    path, ring = (geometry.progression(curve(shape), np.arange(10)) for shape in ("line", "ring"))
    assert (path["csfs"], path["csls"]) == (1, 8)
    assert (path["p_csfs"], path["p_csls"]) == (1, 1)
    assert path["spearman"] == pytest.approx(1)
    assert path["line"] > 0.98
    assert path["p_line"] < 0.01
    assert path["p_circularity"] > 0.9
    assert ring["ring"] > 0.97
    assert ring["p_ring"] < 0.01
    assert ring["p_circularity"] < 0.05
    assert abs(ring["spearman"]) < 0.5


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_order_does_not_depend_on_scale(scale):
    x = curve("arc", scatter=0.2)
    assert geometry.progression(scale * x, np.arange(10), n=99) == geometry.progression(x, np.arange(10), n=99)


def test_late_stages_beside_the_start_are_named():
    hook = curve("line")
    hook[9] = hook[0] + 0.02
    found = geometry.progression(hook, np.arange(10))
    assert (found["csfs"], found["csls"]) == (9, 0)
    assert found["p_csfs"] < 0.2
    assert found["p_csls"] < 0.2


def test_templates_of_one_stage_are_averaged_and_rows_may_come_in_any_order():
    x, stage = curve("ring"), np.arange(10)
    shift = np.array([[0.3], [-0.3]]) * np.ones((2, 40))
    many = np.vstack([x + shift[0], x + shift[1]])
    shuffle = np.random.default_rng(0).permutation(20)
    many_stages = np.tile(stage, 2)
    assert geometry.circularity(many[shuffle], many_stages[shuffle]) == pytest.approx(geometry.circularity(x, stage))


def test_shuffled_stages_give_uniform_p_values():
    p = [
        geometry.progression(noise(8, 20, seed), np.arange(8), n=99, seed=seed)["p_circularity"] for seed in range(200)
    ]
    assert kstest(p, "uniform").pvalue > 0.01


def test_a_planted_break_is_the_longest_step():
    age = np.arange(101)
    x = np.outer(age, np.ones(30)) + noise(101, 30) * 0.1
    assert geometry.step_test(x, age, at=17)["p"] > 0.05
    x[18:] += 5
    found = geometry.step_test(x, age, at=17)
    assert found["percentile"] == 100
    assert found["p"] == 1 / 100
    assert found["step"] == pytest.approx(6 * found["median"], rel=0.1)


def test_a_control_takes_out_the_steps_it_shares_and_leaves_the_others():
    age = np.arange(101)
    digits = np.where(age > 9, 8.0, 0.0) + np.where(age > 99, 8.0, 0.0)
    shared = np.outer(age + digits, np.ones(30)) + 0.05 * noise(101, 30)
    control = np.outer(age + digits, np.ones(30)) + 0.05 * noise(101, 30, 1)
    shared[18:] += 1.5
    assert geometry.step_test(shared, age, at=9)["percentile"] > 97
    assert geometry.step_test(shared, age, at=9, control=control)["percentile"] < 97
    assert geometry.step_test(shared, age, at=17)["percentile"] < 100
    assert geometry.step_test(shared, age, at=17, control=control)["percentile"] == 100
    without = geometry.step_test(shared, age, at=17, exclude=(9, 99))
    assert (without["percentile"], without["n"]) == (100, 97)


def test_steps_are_the_distances_between_neighbouring_means():
    ages, length = geometry.steps([[0, 0], [3, 4], [3, 6], [3, 4]], [5, 6, 7, 6])
    assert ages.tolist() == [5, 6]
    assert length == pytest.approx([5, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"at": 10}, r"no step starts at \[10\]; steps start at 0 to 8"),
        ({"at": 3, "exclude": (3,)}, "cannot be excluded"),
        ({"at": 3, "exclude": (0, 1, 2, 4, 5, 6)}, "2 other steps are too few"),
        ({"at": 3, "control": np.ones((10, 5))}, "the control does not move from 0 on"),
    ],
)
def test_a_step_that_cannot_be_tested_is_refused(arguments, message):
    with pytest.raises(MedlibError, match=message):
        geometry.step_test(noise(10, 5), np.arange(10), **arguments)


# --- probe


def test_a_probe_reads_a_planted_number_and_nothing_from_noise():
    age = np.repeat(np.arange(50.0), 2)
    x = noise(100, 200) + np.outer(age, noise(1, 200, 1)[0]) / 5
    found = geometry.ridge_probe(x, age, groups=age)
    assert found["r2"] > 0.95
    assert np.abs(age - found["predictions"]).mean() < 3
    assert geometry.ridge_probe(noise(100, 200), age)["r2"] < 0.1
    assert geometry.ridge_probe(x, np.random.default_rng(2).permutation(age))["r2"] < 0.1


def test_rows_of_one_group_do_not_predict_each_other():
    age = np.repeat(np.random.default_rng(0).normal(size=30), 4)
    item = np.repeat(np.arange(30), 4)
    x = noise(30, 100)[item] + 0.01 * noise(120, 100, 1)  # states tell the item and nothing about its age
    assert geometry.ridge_probe(x, age)["r2"] > 0.7
    assert geometry.ridge_probe(x, age, groups=item)["r2"] < 0.2


def test_a_probe_does_not_depend_on_shift_or_scale_of_the_states():
    age = np.arange(60.0)
    x = noise(60, 20) + np.outer(age, np.ones(20)) / 10
    expected = geometry.ridge_probe(x, age)["predictions"]
    assert geometry.ridge_probe(1e4 * x + 3e4, age)["predictions"] == pytest.approx(expected, rel=1e-5)


def test_a_probe_is_the_ridge_regression_of_scikit_learn(monkeypatch):
    from medlib.geometry import probe

    monkeypatch.setattr(probe, "PENALTIES", np.array([0.1]))
    x, y = noise(40, 60), noise(40, 1, 1)[:, 0]
    found = geometry.ridge_probe(x, y, seed=3)["predictions"]
    parts = np.array_split(np.random.default_rng(3).permutation(40), 5)
    test = parts[0]
    train = np.setdiff1d(np.arange(40), test)
    centred = x[train] - x[train].mean(axis=0)
    ridge = Ridge(alpha=0.1 * (centred**2).sum() / len(train)).fit(x[train], y[train])
    assert found[test] == pytest.approx(ridge.predict(x[test]))


@pytest.mark.parametrize(
    ("y", "groups", "message"),
    [
        (np.ones(20), None, "same number for every row"),
        (np.arange(20), np.arange(20) // 4, "5 groups"),
        (np.arange(19), None, "one finite number for each of the 20 rows"),
        (list("abcdefghijklmnopqrst"), None, "must be numbers"),
    ],
)
def test_a_probe_without_a_question_is_refused(y, groups, message):
    with pytest.raises(MedlibError, match=message):
        geometry.ridge_probe(noise(20, 5), y, groups=groups)


# --- spaces


def test_spaces_keep_the_shape_of_what_came_in_and_fit_each_layer_by_itself():
    states = np.stack([noise(50, 40, seed).astype(np.float32) for seed in range(3)])
    every, one = geometry.spaces(states, n_components=5), geometry.spaces(states[1], n_components=5)
    assert list(every) == ["raw", "pca5"]
    assert np.array_equal(every["raw"], states)
    assert every["pca5"].shape == (3, 50, 5)
    assert np.array_equal(every["pca5"][1], one["pca5"])


def test_principal_axes_keep_distances_where_the_cloud_is_flat():
    x = noise(50, 5) @ noise(5, 40, 1) + 7
    labels = np.arange(50) % 3
    assert geometry.silhouette(geometry.spaces(x, n_components=5)["pca5"], labels) == pytest.approx(
        geometry.silhouette(x, labels)
    )


def test_more_axes_than_rows_are_refused_with_the_most_there_can_be():
    with pytest.raises(MedlibError, match="n_components can be 1 to 19"):
        geometry.spaces(noise(20, 40))


def test_a_umap_picture_shows_planted_clusters_and_a_seed_gives_the_same_bytes():
    x, labels = blobs()
    picture = geometry.umap2(x, seed=1)
    assert picture["points"].shape == (80, 2)
    assert picture["trustworthiness"] > 0.8
    assert geometry.silhouette(picture["points"], labels) > 0.8
    assert geometry.umap2(x, seed=1)["points"].tobytes() == picture["points"].tobytes()
    assert geometry.umap2(x, seed=2)["points"].tobytes() != picture["points"].tobytes()
    in_three = geometry.spaces(x, n_components=3, seed=1, umap=True)["umap3"]
    assert geometry.silhouette(in_three, labels) > 0.8


# --- what every measure does with bad input

ONE_CLOUD = {
    "anisotropy": geometry.anisotropy,
    "circularity": lambda x: geometry.circularity(x, np.arange(len(x))),
    "collapse": geometry.collapse,
    "effective_rank": geometry.effective_rank,
    "intra_similarity": geometry.intra_similarity,
    "intrinsic_dimension": geometry.intrinsic_dimension,
    "linearity": lambda x: geometry.linearity(x, x),
    "local_anisotropy": geometry.local_anisotropy,
    "mean_cosine": geometry.mean_cosine,
    "mev": geometry.mev,
    "procrustes": lambda x: geometry.procrustes(x, x),
    "progression": lambda x: geometry.progression(x, np.arange(len(x)), n=9),
    "ridge_probe": lambda x: geometry.ridge_probe(x, np.arange(len(x))),
    "self_similarity": geometry.self_similarity,
    "silhouette": lambda x: geometry.silhouette(x, np.arange(len(x)) % 2),
    "silhouette_test": lambda x: geometry.silhouette_test(x, np.arange(len(x)) % 2, n=9),
    "spaces": lambda x: geometry.spaces(x, n_components=3),
    "step_test": lambda x: geometry.step_test(x, np.arange(len(x)), at=1),
    "two_nn": geometry.two_nn,
    "umap2": geometry.umap2,
    "update_linearity": lambda x: geometry.update_linearity(x, 2 * x[:, ::-1]),
}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("measure", ONE_CLOUD)
def test_nan_and_infinite_states_are_refused_by_every_measure(measure, bad):
    x = noise(50, 4)
    x[7, 2] = bad
    with pytest.raises(MedlibError, match=r"NaN or infinite values in 1 of 50 rows \(first: row 7\)"):
        ONE_CLOUD[measure](x)


@pytest.mark.parametrize("measure", ONE_CLOUD)
def test_one_row_is_refused_by_every_measure(measure):
    with pytest.raises(MedlibError):
        ONE_CLOUD[measure](noise(1, 4))


@pytest.mark.parametrize("measure", sorted(set(ONE_CLOUD) - {"spaces"}))
def test_all_layers_at_once_are_refused_by_every_measure_of_one_layer(measure):
    with pytest.raises(MedlibError, match=r"one layer at a time"):
        ONE_CLOUD[measure](np.ones((3, 50, 4)))


@pytest.mark.parametrize("measure", sorted(set(ONE_CLOUD) - {"umap2"}))
def test_float32_states_are_measured_in_float64(measure):
    x = noise(50, 4).astype(np.float32)
    np.testing.assert_equal(ONE_CLOUD[measure](x), ONE_CLOUD[measure](x.astype(np.float64)))


@pytest.mark.parametrize("measure", ["anisotropy", "effective_rank", "procrustes", "local_anisotropy", "circularity"])
def test_a_cloud_that_is_one_point_is_refused(measure):
    with pytest.raises(MedlibError, match="same point|same mean state"):
        ONE_CLOUD[measure](np.full((50, 4), 0.1))


@pytest.mark.parametrize("measure", ["mean_cosine", "self_similarity", "intra_similarity"])
def test_a_zero_row_has_no_cosine(measure):
    with pytest.raises(MedlibError, match="row 3 is all zeros"):
        ONE_CLOUD[measure](noise(6, 4) * (np.arange(6) != 3)[:, None])


@pytest.mark.parametrize("x", [[["a", "b"], ["c", "d"]], [[1, 2], [3]], None, 7, np.zeros((5, 0))])
def test_what_is_not_a_cloud_is_refused(x):
    with pytest.raises(MedlibError):
        geometry.anisotropy(x)


def test_clouds_of_different_length_or_width_are_refused():
    with pytest.raises(MedlibError, match="x has 50 rows and y has 49"):
        geometry.linearity(noise(50, 4), noise(49, 4))
    with pytest.raises(MedlibError, match="same width"):
        geometry.update_linearity(noise(50, 4), noise(50, 5))


@given(
    st.integers(0, 10**6),
    st.integers(1, 12),
    st.integers(1, 6),
    st.sampled_from([1e-30, 1e-3, 1.0, 1e30]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_finite_cloud_gives_finite_numbers_or_a_message(seed, n, hidden, scale, repeats):
    generator = np.random.default_rng(seed)
    x = scale * generator.normal(size=(n, hidden))
    if repeats:
        x = x[generator.integers(n, size=n)]
    for measure in sorted(set(ONE_CLOUD) - {"umap2", "intrinsic_dimension", "two_nn"}):
        try:
            found = ONE_CLOUD[measure](x)
        except MedlibError:
            continue
        values = found.values() if isinstance(found, dict) else [found]
        assert all(np.isfinite(value).all() for value in values), measure
