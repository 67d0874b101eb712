"""Statistics: an interval, a p-value and a correction for every number in the book.

What is resampled is what was sampled: the items.  A curve [prompt, layer] resamples prompts once for all layers, and
rows of the same item (its templates) go together as one unit (`groups`).  Every draw comes from a seed.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from medlib.errors import MedlibError

BLOCK = 4_000_000  # numbers gathered at once while resampling (32 MB)


class Interval(NamedTuple):
    """A value with its interval: floats for a column of values, arrays for curves."""

    value: float | np.ndarray
    low: float | np.ndarray
    high: float | np.ndarray


def bootstrap(values, statistic=np.mean, n=2000, seed=0, level=0.95, groups=None):
    """A statistic of the rows with its bootstrap interval.

    >>> value, low, high = bootstrap(table.kl)
    >>> bootstrap(curves, np.median, groups=table.item).low      # curves: [row, layer]; low: [layer]

    `values`: [row, ...]; `statistic` takes an array and `axis`, as `np.mean` and `np.median` do; `n` resamples of rows,
    or of whole `groups` ([row]).  The interval is the percentile one, widened for few units so that it covers what it
    says (Hesterberg 2015, "What teachers should know about the bootstrap": normal tail areas become Student's).  Below
    about 10 units it is still too short.  Raises `MedlibError` for NaN and for fewer than 3 units.
    """
    values, units = _units(values, groups)
    drawn = _resampled(values, units, statistic, n, np.random.default_rng(seed))
    return _interval(statistic(values, axis=0), drawn, level, len(units))


def bootstrap_difference(a, b, statistic=np.mean, n=2000, seed=0, level=0.95, groups=(None, None)):
    """A statistic of `a` minus that of `b`, two independent samples, with its interval.

    >>> bootstrap_difference(medical, control, groups=(medical_item, control_item))

    Arguments as `bootstrap`, `groups` one for each.  The rows of `a` and `b` are drawn independently; where
    they are paired, take `bootstrap(a - b)`, which is sharper.
    """
    (a, units_a), (b, units_b) = _units(a, groups[0], "a"), _units(b, groups[1], "b")
    if a.shape[1:] != b.shape[1:]:
        raise MedlibError(f"a is {a.shape} and b is {b.shape}; their rows must have the same shape")
    generator = np.random.default_rng(seed)
    drawn = _resampled(a, units_a, statistic, n, generator) - _resampled(b, units_b, statistic, n, generator)
    value = statistic(a, axis=0) - statistic(b, axis=0)
    return _interval(value, drawn, level, min(len(units_a), len(units_b)))


def bootstrap_pairs(won, met, n=2000, seed=0, level=0.95):
    """A share over pairs of items, with its bootstrap interval: items are drawn, and all their pairs come with them.

    >>> bootstrap_pairs(wins, games)

    `won`, `met`: [item, item], how often a pair succeeded and how often it was tried; the share is that of all tries.
    A pair of an item with itself is not a try.  Raises `MedlibError` as `bootstrap` does, and where nothing was tried.
    """
    won, met = _finite(won, "won"), _finite(met, "met")
    if won.ndim != 2 or won.shape != met.shape or len(won) != won.shape[1]:
        raise MedlibError(f"won is {won.shape} and met is {met.shape}; give two square tables of one shape")
    if len(won) < 3 or not met.any() or (won > met).any() or met.diagonal().any():
        raise MedlibError(
            f"{len(won)} items met {met.sum():g} times; give at least 3, that meet others, and no more wins"
        )
    times = np.random.default_rng(seed).multinomial(len(won), np.full(len(won), 1 / len(won)), size=n).astype(float)
    shares = [np.einsum("ni,ij,nj->n", times, table, times, optimize=True) for table in (won, met)]
    tried = shares[1] > 0
    return _interval(won.sum() / met.sum(), shares[0][tried] / shares[1][tried], level, len(won))


def _units(values, groups, name="values"):
    """Check the rows; return them with the row numbers of each unit that is resampled whole."""
    values = _finite(values, name)
    if groups is None:
        units = list(np.arange(len(values))[:, None])
    else:
        groups = np.asarray(groups)
        if groups.shape != values.shape[:1]:
            raise MedlibError(f"groups has shape {groups.shape}; give one for each of the {len(values)} rows of {name}")
        code, names = pd.factorize(groups)
        if (code < 0).any():
            raise MedlibError(
                f"groups is missing for {(code < 0).sum()} rows of {name}: drop these rows and count them"
            )
        units = np.split(np.argsort(code, kind="stable"), np.cumsum(np.bincount(code))[:-1])
    if len(units) < 3:
        raise MedlibError(f"{name} has {len(units)} units to resample; an interval needs at least 3: give more items")
    return values, units


def _resampled(values, units, statistic, n, generator):
    """The statistic of `n` resamples, [n, ...]."""
    draws = generator.integers(len(units), size=(n, len(units)))
    if len({len(unit) for unit in units}) > 1:
        return np.array([statistic(values[np.concatenate([units[i] for i in draw])], axis=0) for draw in draws])
    table = np.stack(units)
    step = max(1, BLOCK // values.size)
    parts = [table[draws[i : i + step]].reshape(-1, len(values)) for i in range(0, n, step)]
    return np.concatenate([statistic(values[part], axis=1) for part in parts])


def limits(drawn, units, level=0.95, method="linear"):
    """The ends of the percentile interval of a statistic drawn anew, widened for few units as in `bootstrap`.

    >>> low, high = limits(drawn, units=12)

    `drawn`: [resample, ...], each a resample of as many `units`; `method` is that of `np.quantile`.
    """
    if not 0 < level < 1:
        raise MedlibError(f"level is {level}; it can be above 0 and below 1, e.g. 0.95")
    tail = stats.norm.cdf(np.sqrt(units / (units - 1)) * stats.t.ppf((1 - level) / 2, units - 1))
    return np.quantile(drawn, [tail, 1 - tail], axis=0, method=method)


def _interval(value, drawn, level, units):
    low, high = limits(drawn, units, level)
    if np.ndim(value) == 0:
        return Interval(float(value), float(low), float(high))
    return Interval(value, low, high)


def permutation_p(observed, null, alternative="greater"):
    """P-value of an observed number among the same number of shuffled data.

    >>> permutation_p(score, [score_of(rng.permutation(labels)) for _ in range(999)])

    `null`: [shuffle, ...] with `observed` of its trailing shape.  `alternative`: "greater", "less" or "two-sided"
    (twice the smaller side).  The observed one counts as a shuffle, so p is never zero (Phipson & Smyth 2010).
    """
    null, observed = _finite(null, "null"), np.asarray(observed, dtype=float)
    if observed.shape != null.shape[1:] or np.isnan(observed).any():
        raise MedlibError(f"observed has shape {observed.shape}; the null asks for numbers of shape {null.shape[1:]}")
    greater = (1 + (null >= observed).sum(axis=0)) / (1 + len(null))
    less = (1 + (null <= observed).sum(axis=0)) / (1 + len(null))
    sides = {"greater": greater, "less": less, "two-sided": np.minimum(1, 2 * np.minimum(greater, less))}
    if alternative not in sides:
        raise MedlibError(f"alternative is {alternative!r}; it can be {', '.join(sides)}")
    p = sides[alternative]
    return float(p) if np.ndim(p) == 0 else p


def benjamini_hochberg(p):
    """Adjust the p-values of one family, e.g. of all layers: below q means a false discovery rate of at most q.

    >>> significant = benjamini_hochberg(p_of_layers) < 0.05

    `p`: [test].  Source: Benjamini & Hochberg 1995.
    """
    p = _finite(p, "p")
    if p.ndim != 1 or (p < 0).any() or (p > 1).any():
        raise MedlibError(
            f"p has shape {p.shape} and range {p.min():g} to {p.max():g}; give a list of p-values in 0..1"
        )
    return stats.false_discovery_control(p)


def spearman(x, y):
    """Rank correlation of two curves.

    >>> spearman(exact_map.ravel(), estimated_map.ravel())

    Raises `MedlibError` where it is undefined: fewer than 3 values, or a constant curve.
    """
    x, y = _finite(x, "x"), _finite(y, "y")
    if x.ndim != 1 or x.shape != y.shape or len(x) < 3:
        raise MedlibError(f"x is {x.shape} and y is {y.shape}; give two lists of the same length, at least 3")
    for name, curve in (("x", x), ("y", y)):
        if np.ptp(curve) == 0:
            raise MedlibError(f"{name} is {curve[0]:g} everywhere, so it has no ranks to correlate")
    return float(stats.spearmanr(x, y).statistic)


def _finite(values, name):
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MedlibError(f"{name} does not read as an array of numbers ({error})") from error
    if array.ndim == 0 or array.size == 0:
        raise MedlibError(f"{name} has shape {array.shape}; give at least one row")
    bad = ~np.isfinite(array)
    if bad.any():
        raise MedlibError(f"{name} has {bad.sum()} NaN or infinite entries of {array.size}: drop these and count them")
    return array
