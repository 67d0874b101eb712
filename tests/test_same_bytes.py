"""The same seed gives the same bytes, in every sweep and every measure; another seed does where chance has a part."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import tiny_model
from test_sweeps import ANSWERS, PAIRS, PROMPTS

import medlib
from medlib import Prompt, geometry, stats, summary
from medlib.chapters.lesion import grading, windows
from medlib.chapters.patching import sites
from medlib.chapters.saliency import sanity

NAMED = [
    medlib.Pair(Prompt.fill("w1 {entity} w4 w5", a), Prompt.fill("w1 {entity} w4 w5", b), " w10", " w11")
    for a, b in (("w2", "w3"), ("w6 w7", "w6 w8"), ("w9 w8", "w7 w8"))
]
FILLED = [Prompt.fill("w1 {entity} w7", entity) for entity in ("w3 w4", "w5", "w8 w9 w2")]
GENERATOR = np.random.default_rng(0)
CLOUD = GENERATOR.normal(size=(60, 12))
NUMBER = np.repeat(np.arange(20), 3)
LABEL = np.arange(60) % 4
CURVES = pd.DataFrame(
    {"x": GENERATOR.normal(size=12 * 3 * 25)},
    pd.MultiIndex.from_product([range(12), list("abc"), range(1, 26)], names=["item", "variant", "layer"]),
).reset_index()
OTHER = CURVES.assign(x=GENERATOR.normal(size=len(CURVES)))
CLUSTERED = CURVES.assign(cluster=CURVES["item"] // 2)
AS_WINDOWS = CURVES.rename(columns={"layer": "first"}).assign(last=25)
MET = np.triu(np.ones((9, 9)), 1)
WON = MET * (GENERATOR.random((9, 9)) < 0.6)


def as_bytes(found):
    """What was found, to the last bit: of tables the values, the names of the columns, and what `attrs` hold."""
    if isinstance(found, pd.DataFrame):
        attrs = {name: as_bytes(value) for name, value in sorted(found.attrs.items())}
        return pickle.dumps([(name, found[name].to_numpy().tolist()) for name in found], 4), tuple(attrs.items())
    if isinstance(found, np.ndarray):
        return found.tobytes()
    if isinstance(found, dict):
        return tuple((name, as_bytes(value)) for name, value in found.items())
    if isinstance(found, tuple):
        return tuple(map(as_bytes, found))
    return repr(found)


SWEEPS = {
    "activations": lambda m: medlib.activations(m, PROMPTS),
    "activations at the entity": lambda m: medlib.activations(m, FILLED, at="mean"),
    **{
        f"lesion {how} {component}": lambda m, how=how, component=component: medlib.lesion_sweep(
            m, PROMPTS, ANSWERS, how, component
        )
        for how in ("identity", "mean", "resample")
        for component in ("block", "attention", "mlp")
    },
    "windows": lambda m: medlib.lesion_windows(m, PROMPTS, ANSWERS),
    "texts": lambda m: medlib.lesion_texts(m, PROMPTS[:3]),
    **{
        f"{sweep.__name__} {direction} {component}": lambda m, sweep=sweep, d=direction, c=component: sweep(
            m, PAIRS, d, c
        )
        for sweep in (medlib.patch_sweep, medlib.attribution_sweep)
        for direction in ("denoise", "noise")
        for component in ("residual", "attention", "mlp")
    },
    "parts": lambda m: sites.sweep_parts(
        m, NAMED, pd.DataFrame({name: list("abc") for name in ("item", "other", "template", "couple")})
    ),
    "saliency": lambda m: medlib.weight_saliency(m, PROMPTS, ANSWERS),
    "saliency of weights": lambda m: medlib.weight_saliency(m, PROMPTS, ANSWERS, "weight_grad"),
    "cascade": lambda m: sanity.cascade(m, PROMPTS, ANSWERS, [0, 2]),
    "divergences": lambda m: grading.divergences(m, PROMPTS),
}

SEEDED = {
    "silhouette_test": lambda seed: geometry.silhouette_test(CLOUD, LABEL, n=99, seed=seed),
    "silhouette_test by groups": lambda seed: geometry.silhouette_test(CLOUD, NUMBER % 4, NUMBER, n=99, seed=seed),
    "progression": lambda seed: geometry.progression(CLOUD, NUMBER, n=99, seed=seed),
    "ridge_probe": lambda seed: geometry.ridge_probe(CLOUD, NUMBER, seed, NUMBER),
    "two_nn": lambda seed: geometry.two_nn(CLOUD, seed),
    "linearity": lambda seed: geometry.linearity(CLOUD, CLOUD**3, held_out=True, seed=seed),
    "update_linearity": lambda seed: geometry.update_linearity(CLOUD, CLOUD**3, held_out=True, seed=seed),
    "bootstrap": lambda seed: stats.bootstrap(CLOUD, n=200, seed=seed),
    "bootstrap by groups": lambda seed: stats.bootstrap(CLOUD, n=200, seed=seed, groups=NUMBER),
    "bootstrap_difference": lambda seed: stats.bootstrap_difference(CLOUD[:20], CLOUD[20:], n=200, seed=seed),
    "bootstrap_pairs": lambda seed: stats.bootstrap_pairs(WON, MET, n=200, seed=seed),
    "by_layer": lambda seed: summary.by_layer(CURVES, "x", seed=seed),
    "by_layer, median, clusters": lambda seed: summary.by_layer(CLUSTERED, "x", np.median, seed=seed),
    "difference_by_layer": lambda seed: summary.difference_by_layer(CURVES, OTHER, "x", seed=seed),
    "rank_agreement": lambda seed: summary.rank_agreement(CURVES, OTHER, "x", seed=seed),
    "sample_items": lambda seed: summary.sample_items(CURVES, 4, seed),
    "by_window": lambda seed: windows.by_window(AS_WINDOWS, "x", seed=seed),
}

WITHOUT_CHANCE = {
    "anisotropy": lambda: geometry.anisotropy(CLOUD),
    "circularity": lambda: geometry.circularity(CLOUD, NUMBER),
    "collapse": lambda: geometry.collapse(CLOUD),
    "distinct": lambda: geometry.distinct(np.vstack([CLOUD, CLOUD[:9]])),
    "effective_rank": lambda: geometry.effective_rank(CLOUD),
    "intrinsic_dimension": lambda: geometry.intrinsic_dimension(CLOUD),
    "linearity": lambda: geometry.linearity(CLOUD, CLOUD**3),
    "local_anisotropy": lambda: geometry.local_anisotropy(CLOUD),
    "mean_cosine": lambda: geometry.mean_cosine(CLOUD),
    "mev": lambda: geometry.mev(CLOUD),
    "procrustes": lambda: geometry.procrustes(CLOUD, CLOUD**3),
    "silhouette": lambda: geometry.silhouette_samples(CLOUD, LABEL),
    "spaces": lambda: geometry.spaces(CLOUD, n_components=5),
    "step_test": lambda: geometry.step_test(CLOUD, NUMBER, at=7),
    "benjamini_hochberg": lambda: stats.benjamini_hochberg(np.abs(CLOUD[:, 0] % 1)),
    "rank_of_templates": lambda: summary.rank_of_templates(CURVES, "x"),
}


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_gives_the_same_bytes_again_whatever_global_seeds_were_set(sweep, model):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002, the global state that nothing here may read
    first = as_bytes(SWEEPS[sweep](model))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert as_bytes(SWEEPS[sweep](model)) == first


def test_a_model_made_again_gives_the_same_bytes(model):
    for sweep in ("lesion resample block", "patch_sweep denoise residual", "saliency", "activations"):
        assert as_bytes(SWEEPS[sweep](tiny_model())) == as_bytes(SWEEPS[sweep](model))


@pytest.mark.parametrize("measure", SEEDED)
def test_a_seed_settles_a_measure_to_the_last_bit_and_another_seed_moves_it(measure):
    first, again, other = (as_bytes(SEEDED[measure](seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize("measure", WITHOUT_CHANCE)
def test_a_measure_without_chance_gives_the_same_bytes_again(measure):
    assert as_bytes(WITHOUT_CHANCE[measure]()) == as_bytes(WITHOUT_CHANCE[measure]())


@pytest.mark.parametrize("seeded", ["lesion_sweep", "cascade"])
def test_another_seed_moves_what_is_drawn_in_a_sweep(seeded, model):
    draw = {
        "lesion_sweep": lambda seed: medlib.lesion_sweep(model, PROMPTS, how="resample", seed=seed),
        "cascade": lambda seed: sanity.cascade(model, PROMPTS, ANSWERS, [2], seed=seed),
    }[seeded]
    assert as_bytes(draw(3)) == as_bytes(draw(3)) != as_bytes(draw(4))


@pytest.mark.parametrize("how", ["identity", "mean"])
def test_a_seed_has_no_part_in_a_lesion_that_draws_nothing(how, model):
    one, other = (medlib.lesion_sweep(model, PROMPTS, how=how, seed=seed) for seed in (0, 1))
    assert as_bytes(one) == as_bytes(other)
