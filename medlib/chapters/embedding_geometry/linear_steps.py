"""Linear steps: how much of a block's work a linear map could do, in sample and on scenes it was not fitted on.

In sample, a map of `hidden` dimensions explains `rank / (n - 1)` of anything, and all of it where tokens are no more
than dimensions: then there is no number here but the reason why.  Held out, whole scenes are left out of the fit, so
that tokens of one picture are never on both sides.  Intervals resample scenes, with the maps held still.
"""

import numpy as np
import pandas as pd

from medlib import geometry, stats
from medlib.errors import MedlibError
from medlib.geometry import linear_maps

CURVES = ("linearity", "update_linearity", "linearity_held_out", "update_linearity_held_out", "procrustes")
MAIN = "update_linearity_held_out"


def linear_steps(clouds, transitions, seed=0):
    """Every measure of every transition of both clouds, and the sums that it was made of.

    >>> table, sums = linear_steps(clouds, range(0, model.n_layers, 5))

    Transition l leads from state l to state l + 1.  The table has `kind`, `layer` (l + 1, the block), `metric` (of
    `CURVES`), `value`, `low`, `high`, `control` (what is explained by chance: the rank over n - 1 in sample, else the
    score of the same states with targets of other scenes), `n` and `reason` (why there is no value).
    `sums`: {kind: [scene, transition, (error, total)]} of `MAIN`, NaN where it was refused.
    """
    rows, sums = [], {}
    scenes = 1 + max(int(cloud.scene.max()) for cloud in clouds.values())
    for kind, cloud in clouds.items():
        sums[kind] = np.full((scenes, len(transitions), 2), np.nan)
        for place, at in enumerate(transitions):
            x, y = (cloud.states[state].astype(np.float64) for state in (at, at + 1))
            found, main = _step(x, y, cloud.scene, scenes, seed)
            if main is not None:
                sums[kind][:, place] = main
            rows += [row | dict(kind=kind, layer=at + 1, n=len(x)) for row in found]
    columns = ["kind", "layer", "metric", "value", "low", "high", "control", "n", "reason"]
    return pd.DataFrame(rows)[columns], sums


def _step(x, y, scene, scenes, seed):
    """The rows of one transition, and the sums of its `MAIN`, [scene, (error, total)], or None."""
    rows, main = [], None
    other = _of_other_scenes(scene, seed)
    hidden = x.shape[1]
    for held_out, ending in ((False, ""), (True, "_held_out")):
        targets = [y, y - x] + ([y[other], (y - x)[other]] if held_out else [])
        try:
            left, target = linear_maps.linear_residuals(x, np.hstack(targets), held_out, seed, scene)
        except MedlibError as error:
            rows += [_missing(f"{name}{ending}", error) for name in ("linearity", "update_linearity")]
            continue
        blocks = np.stack([_scene_sums(_row_sums(part, hidden), scene, scenes) for part in (left, target)], axis=-1)
        chance = [_rank(x) / (len(x) - 1)] * 2
        if held_out:
            chance = [_score(block.sum(axis=0)) for block in blocks[2:]]
            main = blocks[1]
        for name, block, level in zip(("linearity", "update_linearity"), blocks, chance, strict=False):
            rows.append(_row(f"{name}{ending}", block, level, seed))
    left, target = _rotated(x, y)
    sums = np.stack([_scene_sums(_row_sums(part, hidden), scene, scenes)[0] for part in (left, target)], axis=-1)
    return [*rows, _row("procrustes", sums, geometry.procrustes(x, y[other]), seed)], main


def _rotated(x, y):
    """What the best rotation with a scale leaves of `y`, and `y`, both centred: [n, hidden]; see `procrustes`."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    u, strength, v = np.linalg.svd(x.T @ y)
    return y - strength.sum() / (x**2).sum() * (x @ u @ v), y


def _row_sums(values, hidden):
    """Squared lengths of each row in blocks of columns: [block, n]."""
    return np.stack([(part**2).sum(axis=1) for part in np.split(values, values.shape[1] // hidden, axis=1)])


def _scene_sums(values, scene, scenes):
    """Sums over the tokens of each scene: [block, n] -> [block, scene]."""
    return np.stack([np.bincount(scene, weights=row, minlength=scenes) for row in values])


def _of_other_scenes(scene, seed):
    """For each token the number of a token of another scene where there is one: a rotation of shuffled scenes."""
    order = np.random.default_rng(seed).permutation(scene.max() + 1)
    sort = np.argsort(order[scene], kind="stable")
    other = np.empty_like(sort)
    other[sort] = np.roll(sort, len(sort) // 2)
    return other


def _rank(x):
    strength = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    return int((strength > strength[0] * max(x.shape) * np.finfo(float).eps).sum())


def _score(sums, axis=None):
    return 1 - sums[..., 0] / sums[..., 1]


def _share(values, axis):
    return _score(values.sum(axis=axis))


def _row(metric, sums, control, seed):
    there = sums[:, 1] > 0
    value, low, high = stats.bootstrap(sums[there], _share, seed=seed)
    return dict(metric=metric, value=value, low=low, high=high, control=float(control), reason=None)


def _missing(metric, error):
    return dict(metric=metric, value=None, low=None, high=None, control=None, reason=str(error))


def kinds_apart(sums, transitions, seed=0):
    """`MAIN` of image tokens less that of text tokens, by transition: `layer, metric, value, low, high, n`.

    Scenes are resampled with the tokens of both kinds.  Transitions that were refused for either kind are left out.
    """
    both = np.stack([sums["image"], sums["text"]], axis=2)  # [scene, transition, kind, (error, total)]
    kept = np.isfinite(both).all(axis=(0, 2, 3))
    if not kept.any():
        return pd.DataFrame(columns=["layer", "metric", "value", "low", "high", "n"])

    def difference(values, axis):
        score = _share(values, axis)
        return score[..., 0] - score[..., 1]

    value, low, high = stats.bootstrap(both[:, kept], difference, seed=seed)
    layers = np.array(list(transitions))[kept] + 1
    return pd.DataFrame(dict(layer=layers, metric=MAIN, value=value, low=low, high=high, n=len(both)))


def peak(sums, transitions, seed=0):
    """The block whose own contribution is the most linear, held out: `(layer, low, high)`, or None where refused."""
    kept = np.isfinite(sums).all(axis=(0, 2))
    if not kept.any():
        return None
    layers = np.array(list(transitions))[kept] + 1
    return stats.bootstrap(sums[:, kept], lambda values, axis: layers[_share(values, axis).argmax(axis=-1)], seed=seed)
