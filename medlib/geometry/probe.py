"""A probe: can a number, such as an age, be read off the states by a linear map?

In-sample every number can be, once there are more dimensions than rows.  So the probe is a ridge regression whose
score and predictions are all out of fold, and whose penalty is chosen inside each training part.  It works on the
n x n products of the states: one eigendecomposition gives the predictions for every penalty at once.  A probe that was
fitted on one cloud can be held against another one, of other words: that tells what the two clouds share.
"""

import numpy as np

from medlib.errors import MedlibError
from medlib.geometry.points import label_codes, numbers, points

FOLDS = 5
PENALTIES = np.logspace(-8, 2, 31)  # in units of the mean eigenvalue of the products, so that the scale does not matter


def ridge_probe(x, y, seed=0, groups=None):
    """Cross-validated R2 of a ridge probe of `y` on the states, and its out-of-fold predictions.

    >>> ridge_probe(states[12], table.age, groups=table.age)["r2"]
    >>> ridge_probe(states[12], np.column_stack([table.age, shuffled]), groups=table.age)["r2"]     # and a control task

    `x`: [n, hidden]; `y`: [n], numbers, or [n, target]: then all targets are read with the penalty that is chosen for
    the first one, so that a control task (Hewitt & Liang 2019) gets the very same probe.  Folds are dealt by `seed`;
    rows with the same entry in `groups` ([n]) stay in one fold, so that one template of an age does not predict
    another.  Returns a dict: `r2` (one minus the squared error over that of the mean, so below zero when useless; a
    float, or [target]) and `predictions`, of y's shape; residuals are `y - predictions`.
    Raises `MedlibError` when y is constant or there are fewer than 10 rows or groups.
    """
    x, targets, group = _checked(x, y, groups)
    gram, generator = _gram(x), np.random.default_rng(seed)
    predictions = np.empty_like(targets)
    for train, test in _folds(np.arange(len(x)), group, generator):
        best = _best_penalty(gram, targets[:, :1], train, group, generator)
        middle, across, dual = _fit(gram, targets, train, test)
        predictions[test] = middle + across @ dual[:, best]
    error, spread = ((targets - predictions) ** 2).sum(axis=0), ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    r2 = 1 - error / spread
    one = np.ndim(y) == 1
    return {"r2": float(r2[0]) if one else r2, "predictions": predictions[:, 0] if one else predictions}


def ridge_transfer(x, y, other, seed=0, groups=None):
    """What a probe of `y` that was fitted on the states `x` reads off another cloud of states.

    >>> ridge_transfer(men, men_age, women)               # is a woman's age kept as a man's is?

    `x`, `y`, `seed`, `groups` as `ridge_probe`, all of them fitted on; `other`: [m, hidden].  The intercept is no part
    of what is carried over: each cloud is centred on its own mean, which takes no label.  Returns predictions, [m] or
    [m, target].  Raises `MedlibError` as `ridge_probe` does.
    """
    x, targets, group = _checked(x, y, groups)
    other = points(other, name="other")
    if other.shape[1] != x.shape[1]:
        raise MedlibError(f"x has {x.shape[1]} dimensions and other {other.shape[1]}; give states of one model")
    gram, rows = _gram(x), np.arange(len(x))
    best = _best_penalty(gram, targets[:, :1], rows, group, np.random.default_rng(seed))
    middle, _, dual = _fit(gram, targets, rows, rows[:0])
    weights = (x - x.mean(axis=0)).T @ dual[:, best]
    predictions = middle + (other - other.mean(axis=0)) @ weights
    return predictions[:, 0] if np.ndim(y) == 1 else predictions


def _checked(x, y, groups):
    x = points(x, least=2 * FOLDS)
    columns = [y] if np.ndim(y) < 2 else list(np.asarray(y).T)
    targets = np.column_stack([numbers(column, len(x), "y") for column in columns])
    if (np.ptp(targets, axis=0) == 0).any():
        raise MedlibError("y is the same number for every row, so there is nothing to probe")
    group = np.arange(len(x)) if groups is None else label_codes(groups, len(x), "groups")[0]
    if group.max() + 1 < 2 * FOLDS:
        raise MedlibError(f"{group.max() + 1} groups; a probe with {FOLDS} folds in {FOLDS} needs at least {2 * FOLDS}")
    return x, targets, group


def _gram(x):
    x = x - x.mean(axis=0)
    return x @ x.T


def _folds(rows, group, generator):
    """Deal the groups of these rows to folds; yield the rows to fit on and the rows to predict."""
    for part in np.array_split(generator.permutation(np.unique(group[rows])), FOLDS):
        test = np.isin(group[rows], part)
        yield rows[~test], rows[test]


def _best_penalty(gram, y, rows, group, generator):
    """The place in `PENALTIES` of the one that predicts best within these rows; `y` [row, 1]."""
    error = np.zeros(len(PENALTIES))
    for train, test in _folds(rows, group, generator):
        middle, across, dual = _fit(gram, y, train, test)
        error += ((middle + across @ dual[:, :, 0] - y[test]) ** 2).sum(axis=0)
    return error.argmin()


def _fit(gram, y, train, test):
    """The ridge with an intercept on the rows `train`, for every penalty.

    Returns the intercepts [target], the products of the rows `test` with the fitted ones, centred [test, train], and
    the weights of the fitted rows [train, penalty, target].
    """
    inside, across = gram[np.ix_(train, train)], gram[np.ix_(test, train)]
    column = inside.mean(axis=0)
    eigenvalue, vector = np.linalg.eigh(inside - column - column[:, None] + column.mean())
    eigenvalue = np.clip(eigenvalue, 0, None)
    scale = eigenvalue.mean()
    if scale == 0:
        raise MedlibError("the states do not vary, so nothing can be read off them: give distinct prompts")
    middle = y[train].mean(axis=0)
    along = (vector.T @ (y[train] - middle))[:, None] / (eigenvalue[:, None] + PENALTIES * scale)[:, :, None]
    dual = np.einsum("te,epk->tpk", vector, along, optimize=True)
    return middle, across - across.mean(axis=1, keepdims=True) - column + column.mean(), dual
