r"""Clusters: do states with the same label lie together?

The silhouette of a row is $s=\frac{b-a}{\max(a,b)}$, with a its mean distance to the rows of its own label and b to
those of the nearest other label (Rousseeuw 1987); no clustering is run, the true labels are the clusters.  Distances do
not depend on the labels, so they are computed once, and a thousand shuffled labellings are one matrix product.
"""

import numpy as np
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


def silhouette_samples(x, labels):
    """Silhouette of every row, [n]: what to resample (the other rows staying as they are) for an interval of the mean.

    >>> stats.bootstrap(silhouette_samples(states[12], drugs.specialty), groups=drugs.item)
    """
    x = points(x, least=3)
    codes, k = _clusters(labels, len(x))
    return _silhouettes(squareform(pdist(x)), codes[:, None], k)[:, 0]


def silhouette_test(x, labels, groups=None, n=1000, seed=0):
    """Mean silhouette against the same labels dealt to other rows.

    >>> silhouette_test(states[12], table.specialty, groups=table.item)

    `groups` ([n]) names the item of each row; the label goes with the item, so items are shuffled whole: the
    templates of one drug lie together whatever their label.  Groups must have one label each.
    Returns a dict: `silhouette`, `p` (share of shuffles at least as high, counting the true one), and the null's
    `null_mean`, `null_low`, `null_high` (95 %).  The same `seed` deals the same shuffles to every layer.
    """
    x = points(x, least=3)
    codes, k = _clusters(labels, len(x))
    item = np.arange(len(x)) if groups is None else label_codes(groups, len(x), "groups")[0]
    label_of = np.zeros(item.max() + 1, dtype=int)
    label_of[item] = codes
    if (label_of[item] != codes).any():
        raise MedlibError("a group has several labels; the rows of one group (item) must share their label")
    generator = np.random.default_rng(seed)
    shuffled = generator.permuted(np.tile(label_of, (n, 1)), axis=1)[:, item].T
    distances = squareform(pdist(x))
    step = max(1, BLOCK // (len(x) * k))
    null = np.concatenate(
        [_silhouettes(distances, shuffled[:, i : i + step], k).mean(axis=0) for i in range(0, n, step)]
    )
    observed = _silhouettes(distances, codes[:, None], k).mean()
    low, high = np.quantile(null, [0.025, 0.975])
    return {
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


def _silhouettes(distances, codes, k):
    """Silhouettes [n, labellings] of many labellings `codes` [n, labellings] of the same points into k clusters."""
    n, labellings = codes.shape
    member = codes[:, :, None] == np.arange(k)
    size = member.sum(axis=0)  # [labellings, k]
    sums = (distances @ member.reshape(n, -1).astype(float)).reshape(n, labellings, k)
    own_size = size[np.arange(labellings), codes]
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.take_along_axis(sums, codes[:, :, None], axis=2)[:, :, 0] / (own_size - 1)
        sums /= size
        sums[member] = np.inf
        b = sums.min(axis=2)
        s = (b - a) / np.maximum(a, b)
    return np.where(np.isfinite(s), s, 0.0)  # alone in its label, or at one point with both: 0/0, which counts as zero
