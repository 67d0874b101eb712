r"""Order: does a cloud of stages or ages run along a line, close into a ring, or break?

Rows of the same stage are averaged; then everything is read off the distances between stages, in whatever space they
came from, so that a circle in a picture can be asked for in the raw states.  A line has distances that grow with
$|i-j|$; a ring has distances that grow with the way around, $\min(|i-j|, k-|i-j|)$.
"""

import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata

from medlib.errors import MedlibError
from medlib.geometry.points import centroids


def circularity(x, order):
    """How much more like a ring than like a line the stages lie: `ring` minus `line` of `progression`.

    >>> circularity(states[12], table.stage)

    `x`: [n, hidden]; `order`: [n], at least 4 different numbers.  Above zero for a loop, below for a path.
    """
    values, distances = _stages(x, order)
    found = _measures(values, _square(distances), np.zeros((0, 0), dtype=int))
    return float(found["circularity"][0])


def progression(x, order, n=1000, seed=0):
    """Where the first and last stage find their neighbours, and whether the whole is a line or a ring.

    >>> progression(states[12], table.stage)["csfs"]

    `x`: [n, hidden]; `order`: [n], at least 4 different numbers.  Returns a dict with
    `csfs`: the stage closest to the first one (a path: the second; a loop: a late one);
    `csls`: the stage closest to the last one (a path: the last but one);
    `spearman`: of the distance to the first stage with the stage, the first left out (a path: 1);
    `line`, `ring`: Spearman of all distances between stages with |i-j|, and with the way around;
    `circularity`: `ring` minus `line`;
    and for each a `p_...`: the share of `n` shuffled stage orders (drawn with `seed`), counting the true one, with a
    value at least as high (for `csls`: at most as high).  That null has no order at all, so a path too has a small
    `p_ring`: the sign of `circularity` says which of the two it is.  `chance_circularity` is the share of shuffled
    orders with a `circularity` above zero.
    """
    values, distances = _stages(x, order)
    return order_test(distances, values, n, seed)


def order_test(distances, values=None, n=1000, seed=0):
    """What `progression` returns, from the distances between stages: to test what is left of them after a correction.

    >>> order_test(without(distances, [length_differences]))["circularity"]

    `distances`: [stage, stage], symmetric, larger for what is less alike (they may be below zero, as residuals are);
    `values`: [stage], what the stages are called, 0 to k - 1 by default.
    """
    distances = _square(distances)
    values = np.arange(len(distances)) if values is None else np.asarray(values)
    orders = _shuffles(len(values), n, seed)
    found = _measures(values, distances, orders)
    row = {name: float(value[0]) for name, value in found.items()}
    for name, value in found.items():
        sign = -1 if name == "csls" else 1
        row[f"p_{name}"] = float((sign * value >= sign * value[0] - 1e-12).mean())
    return row | {"chance_circularity": float((found["circularity"][1:] > 0).mean())}


def late_return(distances, middle, late, n=1000, seed=0):
    r"""By how much the late stages lie nearer to the first stage than the middle ones do.

    >>> late_return(distances, middle=[3, 4], late=[5, 6, 7, 8, 9])["late_return"]

    `distances`: [stage, stage].  With $\bar d_A$ the mean distance of the stages A to the first one, the value is
    $(\bar d_{middle}-\bar d_{late})/\bar d_{all}$: above zero where the path comes back.  Returns a dict:
    `late_return`, `p_late_return` (the share of `n` shuffled stage orders, counting the true one, at least as high) and
    `chance_late_return`, the share of these that are above zero: about half, since one of two groups must be nearer.
    """
    distances = _square(distances)
    orders = np.vstack([np.arange(len(distances)), _shuffles(len(distances), n, seed)])
    from_first = distances[orders[:, :1], orders]
    value = (from_first[:, middle].mean(axis=1) - from_first[:, late].mean(axis=1)) / from_first[:, 1:].mean(axis=1)
    return {
        "late_return": float(value[0]),
        "p_late_return": float((value >= value[0] - 1e-12).mean()),
        "chance_late_return": float((value[1:] > 0).mean()),
    }


def without(distances, causes):
    """What is left of the distances between stages when other distances between them have been taken out.

    >>> order_test(without(distances, [length_differences, words_not_shared]))

    Ranks of the distances are regressed on the ranks of each of the `causes` (each [stage, stage], such as differences
    in length), and the residuals returned as a matrix [stage, stage]: the partial Mantel test of
    Smouse, Long & Sokal 1986 takes such residuals.  A cause that does not vary takes out nothing.
    """
    upper = np.triu_indices(len(distances), 1)
    columns = [np.ones(len(upper[0]))] + [rankdata(np.asarray(cause)[upper].round(12)) for cause in causes]
    design, target = np.stack(columns, axis=1), rankdata(_square(distances)[upper].round(12))
    left = np.zeros_like(distances, dtype=float)
    left[upper] = target - design @ np.linalg.lstsq(design, target)[0]
    return left + left.T


def _stages(x, order):
    values, centres = centroids(x, order)
    if len(values) < 4:
        raise MedlibError(f"order has {len(values)} different values; a line and a ring differ from 4 on")
    distances = pdist(centres)
    if not distances.any():
        raise MedlibError("all stages have the same mean state, so they have no order: check the prompts")
    return values, squareform(distances)


def _square(distances):
    """Check a matrix of distances between stages; its largest becomes 1, so that ties are seen at any scale."""
    distances = np.asarray(distances, dtype=float)
    if distances.ndim != 2 or len(distances) != distances.shape[1] or len(distances) < 4:
        raise MedlibError(f"distances has shape {distances.shape}; give one square table of at least 4 stages")
    largest = np.abs(distances).max()
    if not np.isfinite(largest) or largest == 0:
        raise MedlibError("the distances between stages are all zero or not finite, so they have no order")
    return distances / largest


def _shuffles(k, n, seed):
    return np.random.default_rng(seed).permuted(np.tile(np.arange(k), (n, 1)), axis=1)


def _measures(values, distances, shuffles):
    """Each measure for the true order (first) and for every shuffled one."""
    k = len(values)
    orders = np.vstack([np.arange(k), shuffles]) if len(shuffles) else np.arange(k)[None]
    upper = np.triu_indices(k, 1)
    ranks = np.zeros((k, k))
    ranks[upper] = rankdata(distances[upper].round(12))  # rounded, or ties of a perfect ring depend on the last bit
    ranks += ranks.T
    ranks = ranks[orders[:, :, None], orders[:, None, :]]
    apart = upper[1] - upper[0]
    pairs = ranks[:, upper[0], upper[1]]
    line, ring = _correlation(pairs, rankdata(apart)), _correlation(pairs, rankdata(np.minimum(apart, k - apart)))
    return {
        "csfs": values[1:][ranks[:, 0, 1:].argmin(axis=1)],
        "csls": values[:-1][ranks[:, -1, :-1].argmin(axis=1)],
        "spearman": _correlation(rankdata(ranks[:, 0, 1:], axis=1), np.arange(k - 1.0)),
        "line": line,
        "ring": ring,
        "circularity": ring - line,
    }


def _correlation(rows, reference):
    """Pearson correlation of every row with one reference; zero where a row is constant."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    reference = reference - reference.mean()
    scale = np.sqrt((rows**2).sum(axis=1) * (reference**2).sum())
    return np.divide(rows @ reference, scale, out=np.zeros(len(rows)), where=scale > 0)


def steps(x, order, control=None):
    r"""The length of each step from one value to the next: $\|h_{a+1}-h_a\|$.

    >>> ages, length = steps(states[12], table.age)

    Rows of the same value are averaged first.  `control` ([n, hidden], the same order) divides each step by the
    control's same step, which takes out what the numerals do by themselves (a new digit, a new token).  Returns the
    lower value of each step [k-1] and its length [k-1].
    """
    values, centres = centroids(x, order)
    length = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    if control is not None:
        beside = np.linalg.norm(np.diff(centroids(control, order)[1], axis=0), axis=1)
        if not beside.all():
            raise MedlibError(
                f"the control does not move from {values[beside.argmin()]:g} on: its prompts are the same"
            )
        length = length / beside
    return values[:-1], length


def step_test(x, order, at, control=None, exclude=()):
    """Is one step, such as the one from 17 to 18, longer than the others?

    >>> step_test(states[12], table.age, at=17, control=numbers[12], exclude=(9, 99))

    Arguments as `steps`; `at` and `exclude` name steps by their lower value, and `exclude` takes steps with a known
    other cause out of the distribution.  Returns a dict: `step` and the `median` of the other steps, `percentile`
    (share of the others that are shorter, 0..100), `p` (one-sided rank p-value) and `n` (other steps).
    """
    lower, length = steps(x, order, control)
    unknown = [value for value in (at, *exclude) if value not in lower]
    if unknown:
        raise MedlibError(f"no step starts at {unknown}; steps start at {lower[0]:g} to {lower[-1]:g}")
    if at in exclude:
        raise MedlibError(f"the step at {at} is tested, so it cannot be excluded")
    here = length[lower == at][0]
    others = length[~np.isin(lower, (at, *exclude))]
    if len(others) < 3:
        raise MedlibError(f"{len(others)} other steps are too few for a distribution; give at least 3")
    return {
        "step": float(here),
        "median": float(np.median(others)),
        "percentile": float(100 * (others < here).mean()),
        "p": float((1 + (others >= here).sum()) / (1 + len(others))),
        "n": len(others),
    }
