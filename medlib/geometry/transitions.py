r"""Transitions: how much of the way from one state to the next is a linear map, or a mere rotation.

Both clouds are centred and scaled to Frobenius length one; the score is one minus the squared error of the best map,
so it is an R2.  An in-sample R2 of any linear map is one for **any** data once there are no more rows than
dimensions, and `hidden / (n - 1)` by chance before that: draw that level, and hold the score against `held_out=True`.
"""

import numpy as np
from scipy.linalg import lstsq

from medlib.errors import MedlibError
from medlib.geometry.points import label_codes, matched, varying

FOLDS = 5


def linearity(x, y, held_out=False, seed=0):
    r"""How well any linear map takes the states `x` to the states `y`: $1-\min_A\|\tilde XA-\tilde Y\|_F^2$.

    >>> linearity(states[11], states[12])

    `x`, `y`: [n, hidden], row i of both the same token.  By chance it is hidden / (n - 1).  With `held_out`, the map is
    fitted on four fifths of the rows and scored on the last, in turn (`seed` deals the rows; chance is zero or below;
    remove duplicates first, or they sit on both sides).  Raises `MedlibError` when the fitted rows are too few
    for the number to mean anything.  Source: Razzhigaev et al. 2024, arXiv 2405.12250.
    """
    x, y = matched(x, y)
    varying(y, "y")
    left, target = linear_residuals(x, y, held_out, seed)
    score = float(1 - (left**2).sum() / (target**2).sum())
    return score if held_out else float(np.clip(score, 0, 1))


def linear_residuals(x, y, held_out=False, seed=0, groups=None):
    """What the best linear map from `x` leaves of `y`, row by row: what to resample for an interval of `linearity`.

    >>> left, target = linear_residuals(states[11], states[12], held_out=True, groups=tokens.scene)
    >>> 1 - (left**2).sum() / (target**2).sum()

    `x`: [n, hidden]; `y`: [n, k].  Returns the residuals and `y` less the mean of the fitted rows, both [n, k].
    `groups` ([n]): rows of one group are fitted or scored together.  Other arguments and errors as `linearity`.
    """
    x, y = matched(x, y)
    n, hidden = x.shape
    group = np.arange(n) if groups is None else label_codes(groups, n, "groups")[0]
    if not held_out:
        _enough_rows(n, hidden)
        x, y = varying(x), y - y.mean(axis=0)
        basis, strength, _ = np.linalg.svd(x, full_matrices=False)
        basis = basis[:, strength > strength[0] * max(x.shape) * np.finfo(float).eps]
        return y - basis @ (basis.T @ y), y
    dealt = np.array_split(np.random.default_rng(seed).permutation(group.max() + 1), FOLDS)
    tests = [np.isin(group, some) for some in dealt]
    _enough_rows(n - max(test.sum() for test in tests), hidden)
    left, target = np.empty_like(y), np.empty_like(y)
    for test in tests:
        middle_x, middle_y = x[~test].mean(axis=0), y[~test].mean(axis=0)
        rank = max(x.shape) * np.finfo(float).eps  # below this, relative to the largest, a direction is rounding
        weights = lstsq(x[~test] - middle_x, y[~test] - middle_y, cond=rank, lapack_driver="gelsy")[0]
        target[test] = y[test] - middle_y
        left[test] = target[test] - (x[test] - middle_x) @ weights
    return left, target


def _enough_rows(fitted, hidden):
    if fitted <= hidden + 1:
        raise MedlibError(
            f"linearity of {fitted} fitted rows in {hidden} dimensions is 1 for any data; "
            f"it needs more than {hidden + 1}: give more tokens, or project to fewer dimensions (geometry.spaces)"
        )


def update_linearity(x, y, held_out=False, seed=0):
    """Linearity of the block's own contribution, from `x` to `y - x`: the residual stream carries `x` along for free.

    >>> update_linearity(states[11], states[12])

    Arguments and errors as `linearity`.
    """
    x, y = matched(x, y)
    if x.shape != y.shape:
        raise MedlibError(f"x is {x.shape} and y is {y.shape}; an update needs states of the same width")
    return linearity(x, y - x, held_out, seed)


def procrustes(x, y):
    r"""How well a rotation (or reflection) and one scale take `x` to `y`: $\|\tilde X^\top\tilde Y\|_*^2$.

    >>> procrustes(states[11], states[12])

    An R2 like `linearity` and never above it; one minus the disparity of `scipy.spatial.procrustes`.
    Unlike it, it does not become one by itself when rows are few, but chance is high then: compare with shuffled rows.
    """
    x, y = matched(x, y, least=3)
    x, y = varying(x, "x"), varying(y, "y")
    nuclear = np.linalg.svd(x.T @ y, compute_uv=False).sum()
    return float(min(nuclear / (np.linalg.norm(x) * np.linalg.norm(y)), 1) ** 2)
