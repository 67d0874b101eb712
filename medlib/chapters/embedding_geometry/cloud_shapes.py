"""Cloud shapes: how stretched a cloud of tokens is, how alike its directions are, and how many dimensions it has.

Each number has its control.  Anisotropy: the same with each dimension dealt to other tokens, so that single large
dimensions stay and all that goes together is gone.  Cosine: zero, that of unrelated directions.  Dimension: a Gaussian
cloud of the same covariance, which fills all directions of the cloud; one of fewer dimensions is bent, or in pieces.
A resample that draws a token twice makes duplicates, so intervals leave out groups of scenes instead (jackknife).
"""

import numpy as np
import pandas as pd
from scipy.sparse.linalg import svds

from medlib import geometry
from medlib.chapters.collapse.clouds import groups, signs
from medlib.chapters.collapse.depths import interval
from medlib.chapters.embedding_geometry.enough_tokens import of_both
from medlib.errors import MedlibError

N_LARGEST = 3  # dimensions left out beside the plain anisotropy: a few huge ones make any cloud a line
CURVES = ("anisotropy", "anisotropy_without_largest", "mean_cosine", "dimension")
PLAIN = ("dimension_lowest", "dimension_half", "dimension_quarter")  # beside the dimension, without an interval


def cloud_shapes(clouds, states, seed=0):
    """Every measure of every state of both clouds, and the same without each group of scenes.

    >>> table, without = cloud_shapes(clouds, range(0, model.n_layers + 1, 5))

    The table has `kind`, `layer` (the state), `metric` (of `CURVES` and `PLAIN`), `value`, `low`, `high` (of `CURVES`),
    `control`, `n` (distinct tokens), `duplicates` (removed at this state) and `reason` (why there is no value).
    `without`: {(kind, metric): [state, 1 + groups]}, of `CURVES`; the groups of scenes are those of both kinds.
    """
    scenes = np.unique(np.concatenate([cloud.scene for cloud in clouds.values()]))
    group_of = dict(zip(scenes.tolist(), groups(scenes, seed=seed).tolist(), strict=True))
    rows, without = [], {}
    for kind, cloud in clouds.items():
        group = np.array([group_of[scene] for scene in cloud.scene])
        for state in states:
            x = cloud.states[state].astype(np.float64)
            found = _left_out(x, group)
            for metric, values in found.items():
                without.setdefault((kind, metric), []).append(values)
            rows += [row | dict(kind=kind, layer=state) for row in _rows(x, found, seed)]
    columns = ["kind", "layer", "metric", "value", "low", "high", "control", "n", "duplicates", "reason"]
    return pd.DataFrame(rows)[columns], {key: np.stack(values) for key, values in without.items()}


def _left_out(x, group):
    """Each of `CURVES` of all rows, then without each group: metric -> [1 + groups]."""
    keeps = [np.ones(len(x), dtype=bool), *(group != left_out for left_out in range(group.max() + 1))]
    fewer = geometry.without_largest(x, N_LARGEST)
    found = signs(x, group, ["mean_cosine", "intrinsic_dimension"])
    return {
        "anisotropy": np.array([first_share(x[keep]) for keep in keeps]),
        "anisotropy_without_largest": np.array([first_share(fewer[keep]) for keep in keeps]),
        "mean_cosine": found["mean_cosine"],
        "dimension": found["intrinsic_dimension"],
    }


def first_share(x):
    """`geometry.anisotropy` of a large cloud: only the first singular value is computed."""
    x = x - x.mean(axis=0)
    (first,) = svds(x, k=1, v0=np.ones(min(x.shape)), return_singular_vectors=False)
    return float(first**2 / (x**2).sum())


def _rows(x, found, seed):
    controls = _controls(x, seed)
    try:
        nearest = geometry.two_nn(x, seed)
        reason = None
    except MedlibError as error:
        nearest, reason = {}, str(error)
    size = dict(n=nearest.get("n", len(x)), duplicates=nearest.get("duplicates", len(x) - len(geometry.distinct(x)[0])))
    for metric in CURVES:
        why = reason if metric == "dimension" else None
        value, low, high = interval(found[metric], log=metric == "dimension") if why is None else [None] * 3
        yield dict(metric=metric, value=value, low=low, high=high, control=controls.get(metric), reason=why, **size)
    for metric in PLAIN:
        value = nearest.get(metric.removeprefix("dimension_"))
        why = reason or ("too few tokens for the scale check" if value is None else None)
        yield dict(metric=metric, value=value, low=None, high=None, control=None, reason=why, **size)


def _controls(x, seed):
    generator = np.random.default_rng(seed)
    dealt = generator.permuted(x, axis=0)
    found = {
        "anisotropy": first_share(dealt),
        "anisotropy_without_largest": first_share(geometry.without_largest(dealt, N_LARGEST)),
        "mean_cosine": 0.0,
    }
    kept = geometry.distinct(x)[0]
    if len(kept) >= 20:
        centred = kept - kept.mean(axis=0)
        made = generator.normal(size=(len(kept), len(kept))) @ centred / np.sqrt(len(kept) - 1)
        found["dimension"] = geometry.intrinsic_dimension(made)
    return found


def kinds_apart(without, table, states):
    """Image tokens less text tokens at each state: `layer, metric, value, low, high`; of the dimension its logarithm.

    >>> kinds_apart(without, shapes, range(0, model.n_layers + 1, 5))

    The same groups of scenes are left out of both.  States without a number for either kind are left out, and those
    with too few distinct tokens.
    """
    parts = []
    for metric in CURVES:
        image, text = without["image", metric], without["text", metric]
        if metric == "dimension":
            image, text = np.log(image), np.log(text)
        value, low, high = interval(image - text)
        parts.append(pd.DataFrame(dict(layer=list(states), metric=metric, value=value, low=low, high=high)))
    found = pd.concat(parts, ignore_index=True).dropna()
    return found[found["layer"].isin(of_both(table))].reset_index(drop=True)
