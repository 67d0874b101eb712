"""The cloud before it is measured: checked, in float64, and prepared.

States are checked once, here, so that no measure returns a number for NaN, for a vector, or for two rows.
"""

import numpy as np
import pandas as pd

from medlib.errors import MedlibError

SAME = 1e-5  # of the typical row length: closer rows are one point; one prompt in two float32 batches differs by 1e-6


def points(x, least=2, name="x"):
    """Check a cloud of states and return it as float64 `[n, hidden]`; `least` is the smallest n allowed."""
    try:
        array = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise MedlibError(
            f"{name} is a {type(x).__name__} that does not read as numbers ({error}); give a numeric array"
        ) from error
    if array.ndim != 2 or array.shape[1] == 0:
        raise MedlibError(
            f"{name} has shape {array.shape}; a measure takes one layer at a time, [n, hidden], e.g. states[12]"
        )
    if len(array) < least:
        raise MedlibError(f"{name} has {len(array)} rows; this measure needs at least {least}: give more prompts")
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise MedlibError(
            f"{name} has NaN or infinite values in {bad.sum()} of {len(array)} rows (first: row {bad.argmax()}); "
            "only finite states can be measured: try a wider dtype, or drop these rows and count them"
        )
    return array


def matched(x, y, least=2):
    """Check two clouds whose rows belong together."""
    x, y = points(x, least, "x"), points(y, least, "y")
    if len(x) != len(y):
        raise MedlibError(f"x has {len(x)} rows and y has {len(y)}; row i of both must be the same token")
    return x, y


def varying(x, name="x"):
    """Centre a cloud, which must not be a single point."""
    centred = x - x.mean(axis=0)
    if np.abs(centred).max() <= 1e-12 * np.abs(x).max():
        raise MedlibError(f"all {len(x)} rows of {name} are the same point, so nothing varies: give distinct prompts")
    return centred


def unit_rows(x):
    """Scale every row to length one; a zero row has no direction."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    if not length.all():
        raise MedlibError(f"row {int((length == 0).argmax())} is all zeros and has no direction: drop it and count it")
    return x / length


def label_codes(labels, n, name="labels"):
    """Number the labels 0..k-1 in order of appearance; one for each row, none missing."""
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise MedlibError(f"{name} has shape {labels.shape}; give one for each of the {n} rows")
    codes, names = pd.factorize(labels)
    if (codes < 0).any():
        raise MedlibError(f"{name} is missing for {(codes < 0).sum()} rows: drop these rows and count them")
    return codes, names


def centroids(x, order):
    """Average the rows of each value of an order, such as the templates of one age.

    >>> ages, centres = centroids(states[12], table.age)

    `x`: [n, hidden]; `order`: [n], numbers.  Returns the sorted values [k] and their mean states [k, hidden].
    """
    x = points(x)
    order = numbers(order, len(x), "order")
    values, which = np.unique(order, return_inverse=True)
    sums = np.zeros((len(values), x.shape[1]))
    np.add.at(sums, which, x)
    return values, sums / np.bincount(which)[:, None]


def numbers(values, n, name):
    """Check that there is one finite number for each of the n rows."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MedlibError(f"{name} must be numbers ({error})") from error
    if array.shape != (n,) or not np.isfinite(array).all():
        raise MedlibError(f"{name} has shape {array.shape}; give one finite number for each of the {n} rows")
    return array


def distinct(x):
    """Keep one of each set of duplicate rows: `(x without them, how many were removed)`.

    >>> x, removed = distinct(image_states)

    Rows closer than 1e-5 of the median row length count as the same: one input in two batches differs by
    float32 rounding.  Order is kept and the first of each set stays.
    """
    x = points(x, least=1)
    tolerance = SAME * np.median(np.linalg.norm(x, axis=1))
    # Rows that are close are close in any projection, so only neighbours along one axis are compared.
    axis = np.random.default_rng(0).normal(size=x.shape[1])
    along = x @ (axis / np.linalg.norm(axis))
    sort = np.argsort(along, kind="stable")
    first = np.arange(len(x))  # first[i]: the earliest row that row i repeats
    for shift in range(1, len(x)):
        left, right = sort[:-shift], sort[shift:]
        near = along[right] - along[left] <= tolerance
        if not near.any():
            break
        left, right = left[near], right[near]
        same = np.linalg.norm(x[left] - x[right], axis=1) <= tolerance
        left, right = left[same], right[same]
        np.minimum.at(first, np.maximum(left, right), np.minimum(left, right))
    keep = first == np.arange(len(x))
    return x[keep], int((~keep).sum())


def rms_normalised(x):
    """Divide every row by its root mean square, as the norm before a block does (without its learnt gain)."""
    x = points(x)
    return unit_rows(x) * np.sqrt(x.shape[1])


def without_largest(x, count):
    """Drop the `count` dimensions with the largest mean square: a few huge ones can look like a collapse.

    >>> collapse(without_largest(states[20], 3))
    """
    x = points(x)
    if not 0 < count < x.shape[1]:
        raise MedlibError(f"cannot drop {count} of {x.shape[1]} dimensions; give 1 to {x.shape[1] - 1}")
    return x[:, np.sort(np.argsort((x**2).mean(axis=0))[:-count])]
