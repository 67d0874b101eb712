r"""Clusters: do states with the same label lie together?

The silhouette of a row is $s=\frac{b-a}{\max(a,b)}$, with a its mean distance to the rows of its own label and b to
those of the nearest other label (Rousseeuw 1987); no clustering is run, the true labels are the clusters.  Distances do
not depend on the labels, so they are computed once, and hundreds of shuffled labellings are one sparse matrix product.
"""

import numpy as np
from scipy import sparse
from scipy.spatial.distance import pdist, squareform

from medlib.errors import MedlibError
from medlib.geometry.points import label_codes, points

BLOCK = 4_000_000  # numbers held at once per array while labels are shuffled (32 MB)


def silhouette(x, labels):
    """Mean silhouette of the labels.

    >>> silhouette(states[12], drugs.specialty)

    `x`: [n, hidden]; `labels`: [n], 2 to n - 1 different ones.  A row alone in its label counts as zero.
    """
    return float(silhouette_samples(x, labels).mean())


def silhouette_samples(x, labels, compared=None):
    """Silhouette of every row, [n]: what to resample (the other rows staying as they are) for an interval of the mean.

    >>> stats.bootstrap(silhouette_samples(states[12], drugs.specialty), groups=drugs.item)

    `compared`: as in `silhouette_test`; a row without another of its label to be compared with has no silhouette (NaN).
    """
    x = points(x, least=3)
    codes, k = _clusters(labels, len(x))
    return _silhouettes(distances(x), codes[None], k, _pairs(compared, len(x)))[0]


def silhouette_test(x, labels, groups=None, n=1000, seed=0, compared=None):
    """Mean silhouette against the same labels dealt to other rows.

    >>> silhouette_test(states[12], table.specialty, groups=table.item)

    `groups` ([n]) names the item of each row; the label goes with the item, so items are shuffled whole: the
    templates of one drug lie together whatever their label.  Groups must have one label each.
    `compared` ([n, n], true or false, symmetric) says which pairs of rows count: the others, such as names that are
    spelled alike, are left out of both mean distances, with the true labels and with the shuffled ones.
    Returns a dict: `silhouette`, `p` (share of shuffles at least as high, counting the true one), and the null's
    `null_mean`, `null_low`, `null_high` (95 %).  The same `seed` deals the same shuffles to every layer.
    """
    return silhouettes_tested(x, labels, groups, n, seed, compared)[1]


def distances(x):
    """The distances between all rows of a cloud, [n, n]: what several labels of the same rows share."""
    return squareform(pdist(points(x, least=3)))


def silhouettes_tested(x, labels, groups=None, n=1000, seed=0, compared=None, apart=None):
    """What `silhouette_samples` and `silhouette_test` return, from distances that are computed once.

    `apart`: the `distances` of `x`, where they are known already.
    """
    x = points(x, least=3)
    codes, k = _clusters(labels, len(x))
    pairs = _pairs(compared, len(x))
    item = np.arange(len(x)) if groups is None else label_codes(groups, len(x), "groups")[0]
    label_of = np.zeros(item.max() + 1, dtype=int)
    label_of[item] = codes
    if (label_of[item] != codes).any():
        raise MedlibError("a group has several labels; the rows of one group (item) must share their label")
    generator = np.random.default_rng(seed)
    shuffled = generator.permuted(np.tile(label_of, (n, 1)), axis=1)[:, item]
    apart = distances(x) if apart is None else apart
    samples = _silhouettes(apart, codes[None], k, pairs)[0]
    if np.isnan(samples).all():
        raise MedlibError("no two rows of one label are compared, so no row has a silhouette: compare more pairs")
    step = max(1, BLOCK // (len(x) * k))
    parts = (_silhouettes(apart, shuffled[i : i + step], k, pairs) for i in range(0, n, step))
    null = np.concatenate([np.nanmean(part, axis=1) for part in parts])
    observed = np.nanmean(samples)
    low, high = np.quantile(null, [0.025, 0.975])
    return samples, {
        "silhouette": float(observed),
        "p": float((1 + (null >= observed - 1e-12).sum()) / (1 + n)),
        "null_mean": float(null.mean()),
        "null_low": float(low),
        "null_high": float(high),
    }


def _clusters(labels, n):
    codes, names = label_codes(labels, n)
    if not 2 <= len(names) < n:
        raise MedlibError(f"{len(names)} different labels for {n} rows; a silhouette needs 2 to {n - 1}")
    return codes, len(names)


def _pairs(compared, n):
    """The pairs that count as ones of a matrix, none with itself; None where all of them do."""
    if compared is None:
        return None
    pairs = np.array(compared, dtype=float)
    if pairs.shape != (n, n) or (pairs != pairs.T).any():
        raise MedlibError(f"compared has shape {pairs.shape}; give a symmetric table for the {n} rows, [{n}, {n}]")
    np.fill_diagonal(pairs, 0)
    return pairs


def _silhouettes(apart, codes, k, pairs=None):
    """Silhouettes [labelling, n] of many labellings `codes` [labelling, n] of the same points into k clusters."""
    labellings, n = codes.shape
    rows = (np.arange(labellings)[:, None] * k + codes).ravel()
    columns = np.tile(np.arange(n), labellings)
    member = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(labellings * k, n))
    own = codes[:, None]
    if pairs is None:
        means = (member @ apart).reshape(labellings, k, n)
        size = np.bincount(rows, minlength=labellings * k).reshape(labellings, k, 1)
        others = np.take_along_axis(size[:, :, 0], codes, axis=1) - 1
    else:
        means = (member @ (apart * pairs)).reshape(labellings, k, n)
        size = (member @ pairs).reshape(labellings, k, n)
        others = np.take_along_axis(size, own, axis=1)[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.take_along_axis(means, own, axis=1)[:, 0] / others
        means /= size
        np.put_along_axis(means, own, np.inf, axis=1)
        b = np.fmin.reduce(means, axis=1)
        s = (b - a) / np.maximum(a, b)
    if pairs is None:
        return np.where(np.isfinite(s), s, 0.0)  # alone in its label, or at one point with both: 0/0, counts as zero
    s = np.where(np.isfinite(s), s, 0.0)
    return np.where(others > 0, s, np.nan)
