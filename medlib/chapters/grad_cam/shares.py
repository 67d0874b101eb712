"""The interval of a share of scenes: exact where each scene counts as hit or not.

A bootstrap of twenty hits in twenty scenes has no width, and the true share may still be 83 %.  The interval of Clopper
and Pearson (1934) has no such hole: it is wide enough for every share there can be.
"""

import numpy as np
from scipy.stats import binomtest

from medlib import stats


def share(values, seed=0):
    """The mean of a number a scene, 0 or 1, with its exact 95 % interval; of other numbers with that of the bootstrap.

    >>> share([1] * 20).low                         # 0.83
    """
    values = np.asarray(values, dtype=float)
    if not np.isin(values, (0, 1)).all():
        return stats.bootstrap(values, seed=seed)
    low, high = binomtest(int(values.sum()), len(values)).proportion_ci(0.95, method="exact")
    return stats.Interval(float(values.mean()), float(low), float(high))
