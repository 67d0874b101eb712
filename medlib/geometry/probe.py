"""A probe: can a number, such as an age, be read off the states by a linear map?

In-sample every number can be, once there are more dimensions than rows.  So the probe is a ridge regression whose
score and predictions are all out of fold, and whose penalty is chosen inside each training part.  It works on the
n x n products of the states: one eigendecomposition gives the predictions for every penalty at once.
"""

import numpy as np

from medlib.errors import MedlibError
from medlib.geometry.points import label_codes, numbers, points

FOLDS = 5
PENALTIES = np.logspace(-8, 2, 31)  # in units of the mean eigenvalue of the products, so that the scale does not matter


def ridge_probe(x, y, seed=0, groups=None):
    """Cross-validated R2 of a ridge probe of `y` on the states, and its out-of-fold predictions.

    >>> ridge_probe(states[12], table.age, groups=table.age)["r2"]
    >>> ridge_probe(states[12], rng.permutation(table.age))["r2"]      # a control task

    `x`: [n, hidden]; `y`: [n], numbers.  Folds are dealt by `seed`; rows with the same entry in `groups` ([n]) stay in
    one fold, so that one template of an age does not predict another.  Returns a dict: `r2` (one minus the squared
    error over that of the mean, so below zero when useless) and `predictions` [n]; residuals are `y - predictions`.
    Raises `MedlibError` when y is constant or there are fewer than 10 rows or groups.
    """
    x = points(x, least=2 * FOLDS)
    y = numbers(y, len(x), "y")
    if np.ptp(y) == 0:
        raise MedlibError("y is the same number for every row, so there is nothing to probe")
    group = np.arange(len(x)) if groups is None else label_codes(groups, len(x), "groups")[0]
    if group.max() + 1 < 2 * FOLDS:
        raise MedlibError(f"{group.max() + 1} groups; a probe with {FOLDS} folds in {FOLDS} needs at least {2 * FOLDS}")
    x = x - x.mean(axis=0)
    gram, generator = x @ x.T, np.random.default_rng(seed)
    predictions = np.empty(len(x))
    for train, test in _folds(np.arange(len(x)), group, generator):
        error = np.zeros(len(PENALTIES))
        for inner_train, inner_test in _folds(train, group, generator):
            error += ((_predict(gram, y, inner_train, inner_test) - y[inner_test, None]) ** 2).sum(axis=0)
        predictions[test] = _predict(gram, y, train, test)[:, error.argmin()]
    return {"r2": float(1 - ((y - predictions) ** 2).sum() / ((y - y.mean()) ** 2).sum()), "predictions": predictions}


def _folds(rows, group, generator):
    """Deal the groups of these rows to folds; yield the rows to fit on and the rows to predict."""
    for part in np.array_split(generator.permutation(np.unique(group[rows])), FOLDS):
        test = np.isin(group[rows], part)
        yield rows[~test], rows[test]


def _predict(gram, y, train, test):
    """Predictions [test, penalty] of the ridge with an intercept fitted on the rows `train`."""
    inside, across = gram[np.ix_(train, train)], gram[np.ix_(test, train)]
    column = inside.mean(axis=0)
    centred = inside - column - column[:, None] + column.mean()
    eigenvalue, vector = np.linalg.eigh(centred)
    eigenvalue = np.clip(eigenvalue, 0, None)
    scale = eigenvalue.mean()
    if scale == 0:
        raise MedlibError("the states do not vary, so nothing can be read off them: give distinct prompts")
    middle = y[train].mean()
    dual = vector @ ((vector.T @ (y[train] - middle))[:, None] / (eigenvalue[:, None] + PENALTIES * scale))
    return middle + (across - across.mean(axis=1, keepdims=True) - column + column.mean()) @ dual
