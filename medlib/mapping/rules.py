"""From a curve over layers to the layers that it points at: the two rules of the knowledge map, and chance.

A *level* curve has a value for each block 1..L, and the layers are those where it is high: in its upper quarter, at
least two together, at most three runs.  A *rise* curve has a value for each state 0..L and grows as layers add to what
is there; the layers are the three blocks over which it rises fastest.  Both are smoothed first.  The rules are those of
Marinescu et al., arXiv 2510.11390; what they leave open is decided here.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from medlib.errors import MedlibError

LEVEL, RISE = "level", "rise"
LEAST, MOST = 2, 3  # layers that a run has at least, and runs that a map has at most


def smooth(curves, sigma=1.0):
    """Curves `[.., layer]` after a Gaussian of `sigma` layers; beyond the ends the last value goes on."""
    curves = np.asarray(curves, dtype=float)
    return gaussian_filter1d(curves, sigma, axis=-1, mode="nearest") if sigma else curves


def evidence(curves, rule, sigma=1.0, window=3):
    """What a rule looks at, by block: `[.., block 1..L]`.

    Of a level curve the smoothed curve itself, of a rise curve how much it grows a block, over the `window` blocks
    around it (fewer at the ends).
    """
    smoothed = smooth(curves, sigma)
    if rule == LEVEL:
        return smoothed
    blocks = np.arange(1, smoothed.shape[-1])
    first = np.maximum(blocks - 1 - (window - 1) // 2, 0)
    last = np.minimum(blocks + window // 2, blocks[-1])
    return (smoothed[..., last] - smoothed[..., first]) / (last - first)


def layers(curves, rule, sigma=1.0, window=3, quantile=0.75):
    """The layers that each curve points at: a mask `[.., block 1..L]`.

    >>> layers([0, 0, 0, 5, 5, 5, 0, 0, 0, 0, 0, 0], "level").nonzero()[0] + 1
    array([4, 5, 6])

    "level": blocks above the `quantile` of the smoothed curve, in runs of at least two; where there are more than
    three runs, those that rise furthest above it (the sum over their blocks).  "rise": the `window` blocks over which
    the smoothed curve grows most; none where it never grows.  Raises `MedlibError` for another rule, for values that
    are not finite, and for fewer than four layers.
    """
    curves = np.asarray(curves, dtype=float)
    if rule not in (LEVEL, RISE):
        raise MedlibError(f"rule={rule!r} is not known. Choose {LEVEL!r} or {RISE!r}.")
    if curves.shape[-1] < 4 or not np.isfinite(curves).all():
        raise MedlibError(f"A curve of {curves.shape[-1]} values was given; it needs 4 layers or more, all finite.")
    flat = curves.reshape(-1, curves.shape[-1])
    if rule == RISE:
        smoothed = smooth(flat, sigma)
        gains = smoothed[:, window:] - smoothed[:, :-window]
        start = gains.argmax(axis=-1)
        block = np.arange(flat.shape[-1] - 1)
        found = (block >= start[:, None]) & (block < start[:, None] + window) & (gains.max(axis=-1) > 0)[:, None]
        return found.reshape(*curves.shape[:-1], -1)
    smoothed = smooth(flat, sigma)
    above = smoothed - np.quantile(smoothed, quantile, axis=-1, keepdims=True)
    return np.array([_runs_kept(row) for row in above]).reshape(curves.shape)


def runs(mask):
    """The runs of layers in a mask `[block 1..L]`: a list of `(first, last)`, counted from 1."""
    edges = np.diff(np.concatenate([[0], np.asarray(mask, dtype=int), [0]]))
    return [(int(a) + 1, int(b)) for a, b in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True)]


def placed(mask, n, generator):
    """The runs of a mask put elsewhere, at random, `n` times: masks `[n, block]` with runs of the same lengths.

    Every order of the runs and every way of leaving gaps of one layer or more between them is as likely.  A mask that
    is full, or empty, stays what it is.
    """
    mask = np.asarray(mask, dtype=bool)
    lengths = np.array([last - first + 1 for first, last in runs(mask)], dtype=int)
    free = len(mask) - lengths.sum() - (len(lengths) - 1)
    found = np.zeros((n, len(mask)), dtype=bool)
    if not len(lengths):
        return found
    for row in found:
        starts = np.sort(generator.choice(free + len(lengths), len(lengths), replace=False))
        order, at = generator.permutation(lengths), 0
        for place, length in enumerate(order):
            begin = starts[place] + at
            row[begin : begin + length] = True
            at += length
    return found


def overlap(a, b):
    """What two masks share, of all that either holds (Jaccard), along the last axis; NaN where either is empty."""
    a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    both, either = (a & b).sum(-1), (a | b).sum(-1)
    there = a.any(-1) & b.any(-1)
    return np.where(there, both / np.maximum(either, 1), np.nan)


def _runs_kept(above):
    kept = [run for run in runs(above > 0) if run[1] - run[0] + 1 >= LEAST]
    kept = sorted(kept, key=lambda run: -above[run[0] - 1 : run[1]].sum())[:MOST]
    found = np.zeros(len(above), dtype=bool)
    for first, last in kept:
        found[first - 1 : last] = True
    return found
