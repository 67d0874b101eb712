r"""Transitions: how much of the way from one state to the next is a linear map, or a mere rotation.

Both clouds are centred and scaled to Frobenius length one; the score is one minus the squared error of the best map,
so it is an R2.  An in-sample R2 of any linear map is one for **any** data once there are no more rows than
dimensions, and `hidden / (n - 1)` by chance before that: draw that level, and hold the score against `held_out=True`.
"""

import numpy as np

from medlib.errors import MedlibError
from medlib.geometry.points import matched, varying

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
    n, hidden = x.shape
    fitted = n - -(-n // FOLDS) if held_out else n
    if fitted <= hidden + 1:
        raise MedlibError(
            f"linearity of {fitted} fitted rows in {hidden} dimensions is 1 for any data; "
            f"it needs more than {hidden + 1}: give more tokens, or project to fewer dimensions (geometry.spaces)"
        )
    if not held_out:
        return _explained(x, y)
    folds = np.array_split(np.random.default_rng(seed).permutation(n), FOLDS)
    error = total = 0.0
    for test in folds:
        train = np.setdiff1d(np.arange(n), test)
        middle_x, middle_y = x[train].mean(axis=0), y[train].mean(axis=0)
        weights = np.linalg.lstsq(x[train] - middle_x, y[train] - middle_y)[0]
        error += ((y[test] - middle_y - (x[test] - middle_x) @ weights) ** 2).sum()
        total += ((y[test] - middle_y) ** 2).sum()
    return float(1 - error / total)


def _explained(x, y):
    """In-sample R2: the share of centred `y` inside the span of centred `x`."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    basis, strength, _ = np.linalg.svd(x, full_matrices=False)
    basis = basis[:, strength > strength[0] * max(x.shape) * np.finfo(float).eps]
    return float(np.clip(((basis.T @ y) ** 2).sum() / (y**2).sum(), 0, 1))


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
