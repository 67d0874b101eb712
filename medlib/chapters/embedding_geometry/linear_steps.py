"""Linear steps: how much of a block's work a linear map could do, in sample and on scenes it was not fitted on.

In sample, a map of `hidden` dimensions explains `rank / (n - 1)` of anything, and all of it where tokens are no more
than dimensions: then there is no number here but the reason why.  Held out, whole pictures are left out of the fit, of
text whole wordings, so that what comes again is never on both sides.  Intervals resample scenes, with the maps held
still.
"""

import numpy as np
import pandas as pd

from medlib import geometry, stats
from medlib.chapters.embedding_geometry.cloud_shapes import N_LARGEST
from medlib.chapters.embedding_geometry.enough_tokens import of_both
from medlib.errors import MedlibError
from medlib.geometry import linear_maps

MAIN = "update_linearity_held_out"
FEWER = "update_linearity_held_out_without_largest"  # the same of all dimensions but those that the block changes most
IN_SAMPLE, HELD_OUT = ("linearity", "update_linearity"), ("linearity_held_out", MAIN, FEWER)
CURVES = (*IN_SAMPLE, *HELD_OUT, "procrustes")


def linear_steps(clouds, transitions, seed=0):
    """Every measure of every transition of both clouds, and the sums that it was made of.

    >>> table, sums = linear_steps(clouds, range(0, model.n_layers, 5))

    Transition l leads from state l to state l + 1.  The table has `kind`, `layer` (l + 1, the block), `metric` (of
    `CURVES`), `value`, `low`, `high`, `control` (what is explained by chance: the rank over n - 1 in sample, else the
    score of the same states with targets of other scenes), `n` (distinct tokens before the block) and `reason` (why
    there is no value).
    `sums`: {(kind, metric): [scene, transition, (error, total)]} of `MAIN` and `FEWER`, NaN where refused.
    """
    rows, sums = [], {}
    scenes = 1 + max(int(cloud.scene.max()) for cloud in clouds.values())
    for kind, cloud in clouds.items():
        sums |= {(kind, metric): np.full((scenes, len(transitions), 2), np.nan) for metric in (MAIN, FEWER)}
        for place, at in enumerate(transitions):
            x, y = (cloud.states[state].astype(np.float64) for state in (at, at + 1))
            found, of_scenes = _step(x, y, cloud, scenes, seed)
            for metric, own in of_scenes.items():
                sums[kind, metric][:, place] = own
            n = len(geometry.distinct(x)[0])
            rows += [row | dict(kind=kind, layer=at + 1, n=n) for row in found]
    columns = ["kind", "layer", "metric", "value", "low", "high", "control", "n", "reason"]
    return pd.DataFrame(rows)[columns], sums


def _step(x, y, cloud, scenes, seed):
    """The rows of one transition, and the sums of `MAIN` and `FEWER`, metric -> [scene, (error, total)], if any."""
    rows, kept = [], {}
    other = _of_other_scenes(cloud.scene, seed)
    try:
        left, target = linear_maps.linear_residuals(x, np.hstack([y, y - x]))
        chance = _rank(x) / (len(x) - 1)
        sums = _sums(left, target, cloud.scene, scenes, x.shape[1])
        rows += [_row(metric, sums(at), chance, seed) for at, metric in enumerate(IN_SAMPLE)]
    except MedlibError as error:
        rows += [_missing(metric, error) for metric in IN_SAMPLE]
    try:
        targets = np.hstack([y, y - x, y[other], (y - x)[other]])
        left, target = linear_maps.linear_residuals(x, targets, True, seed, cloud.fold)
        small = _but_largest(target[:, x.shape[1] : 2 * x.shape[1]])
        sums = _sums(left, target, cloud.scene, scenes, x.shape[1])
        for metric, at, dims in zip(HELD_OUT, (0, 1, 1), (slice(None), slice(None), small), strict=True):
            kept[metric] = sums(at, dims)
            rows.append(_row(metric, kept[metric], _score(sums(at + 2, dims).sum(axis=0)), seed))
    except MedlibError as error:
        rows += [_missing(metric, error) for metric in HELD_OUT]
    rotated = _sums(*_rotated(x, y), cloud.scene, scenes, x.shape[1])(0)
    rows.append(_row("procrustes", rotated, geometry.procrustes(x, y[other]), seed))
    return rows, {metric: kept[metric] for metric in (MAIN, FEWER) if metric in kept}


def _but_largest(target):
    """The dimensions of a target but the `N_LARGEST` with the largest sum of squares: numbers."""
    return np.sort(np.argsort(-(target**2).sum(axis=0), kind="stable")[N_LARGEST:])


def _sums(left, target, scene, scenes, hidden):
    """A function that gives the sums of one target of several over each scene: `[scene, (error, total)]`.

    It takes the number of the target and the dimensions that count, all by default.
    """
    squares = [(part**2).reshape(len(part), -1, hidden) for part in (left, target)]

    def of(at, dims=slice(None)):
        rows = [part[:, at, dims].sum(axis=1) for part in squares]
        return np.stack([np.bincount(scene, weights=row, minlength=scenes) for row in rows], axis=-1)

    return of


def _rotated(x, y):
    """What the best rotation with a scale leaves of `y`, and `y`, both centred: [n, hidden]; see `procrustes`."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    u, strength, v = np.linalg.svd(x.T @ y)
    return y - strength.sum() / (x**2).sum() * (x @ u @ v), y


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


def kinds_apart(sums, table, transitions, seed=0):
    """`MAIN` of image tokens less that of text tokens, by transition: `layer, metric, value, low, high, n`.

    >>> kinds_apart(sums, steps, range(0, model.n_layers, 5))

    Scenes are resampled with the tokens of both kinds.  Transitions that were refused for either kind are left out, and
    those from a state with too few distinct tokens.
    """
    both = np.stack([sums["image", MAIN], sums["text", MAIN]], axis=2)  # [scene, transition, kind, (error, total)]
    layers, enough = np.array(list(transitions)) + 1, of_both(table)
    kept = np.isfinite(both).all(axis=(0, 2, 3)) & [layer in enough for layer in layers.tolist()]
    if not kept.any():
        return pd.DataFrame(columns=["layer", "metric", "value", "low", "high", "n"])

    def difference(values, axis):
        score = _share(values, axis)
        return score[..., 0] - score[..., 1]

    value, low, high = stats.bootstrap(both[:, kept], difference, seed=seed)
    return pd.DataFrame(dict(layer=layers[kept], metric=MAIN, value=value, low=low, high=high, n=len(both)))


def peak(sums, transitions, seed=0):
    """The block whose own contribution is the most linear, held out: `(layer, low, high)`, or None where refused.

    >>> peak(sums["image", MAIN], range(0, model.n_layers, 5))

    Of the blocks that were measured; scenes are resampled and the maps held still, so the interval can have no width.
    """
    kept = np.isfinite(sums).all(axis=(0, 2))
    if not kept.any():
        return None
    layers = np.array(list(transitions))[kept] + 1
    return stats.bootstrap(sums[:, kept], lambda values, axis: layers[_share(values, axis).argmax(axis=-1)], seed=seed)


def of_pictures(sums, names, transitions):
    """`MAIN` of the tokens of each picture: `kind, layer, metric, item, value`, what the intervals resample.

    `names`: those of the scenes, in the order of the clouds.  A picture without a token of a kind has no row.
    """
    rows = [
        dict(kind=kind, layer=at + 1, metric=f"{MAIN}_of_picture", item=name, value=float(_score(own)))
        for (kind, metric), values in sums.items()
        if metric == MAIN
        for name, of_scene in zip(names, values, strict=False)  # the last scenes may be without tokens
        for at, own in zip(transitions, of_scene, strict=True)
        if own[1] > 0
    ]
    return pd.DataFrame(rows, columns=["kind", "layer", "metric", "item", "value"])
