"""What a linear map leaves, row by row: for an interval of `linearity`, rows are resampled and not fits.

Rows that belong together, such as the tokens of a picture, are fitted or scored together.
"""

import numpy as np
from scipy.linalg import lstsq

from medlib.errors import MedlibError
from medlib.geometry.points import distinct, label_codes, matched, varying
from medlib.geometry.transitions import FOLDS


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


def repeated(x):
    """Which rows repeat an earlier one, `[n]`, by the measure of `distinct`: for a cloud whose rows have labels.

    >>> first = ~repeated(states[-1])
    """
    x, stay = np.asarray(x, dtype=float), {row.tobytes(): True for row in distinct(x)[0]}
    again = np.ones(len(x), dtype=bool)
    for number, row in enumerate(x):
        again[number] = not stay.pop(row.tobytes(), False)
    return again
