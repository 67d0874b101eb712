"""Are later layers more picture-specific?  The last third of the layers against the first, pair by pair.

What is compared is how far one token's states are apart over pictures, as cosines stand and above what random tokens
are apart, with all dimensions and without the largest, and against the same pictures with their tiles shuffled.
"""

import numpy as np
import pandas as pd

from medlib.chapters.contextualisation.context_tables import looks
from medlib.geometry.contextual import pair_interval, pair_test

MEASURES = ("self_similarity", "self_similarity_adjusted")


def thirds(n_layers):
    """The first and the last third of the layers 1..L: two ranges.

    >>> thirds(30)
    (range(1, 11), range(21, 31))
    """
    size = max(1, n_layers // 3)
    return range(1, size + 1), range(n_layers - size + 1, n_layers + 1)


def falls(look):
    """How far SelfSim falls from the first to the last third, for each pair: measure -> `[picture, picture]`.

    >>> pair_interval(falls(look)["self_similarity"])

    Positive where the states of later layers are further apart.
    """
    own = look.own.mean(axis=1)
    first, last = (list(layers) for layers in thirds(len(own) - 1))
    tables = dict(zip(MEASURES, (own, own - look.random), strict=True))
    return {name: table[first].mean(axis=0) - table[last].mean(axis=0) for name, table in tables.items()}


def later(found, seed=0):
    """The fall of SelfSim for each look: `component, variant, space, metric, value, low, high, p, n`.

    >>> later(looks(read) + looks(read, largest))

    The interval resamples pictures; `p` is two-sided, from disjoint pairs of pictures whose signs are flipped.
    """
    rows = []
    for look in found:
        for name, table in falls(look).items():
            rows.append(_row(table, look, f"{name}_fall", seed))
    return pd.DataFrame(rows)


def against(found, others, seed=0):
    """The fall of SelfSim less that on the same pictures shuffled: rows as `later`, `metric` ends in `_less_shuffled`.

    >>> against(looks(read), looks(read_of_shuffled))

    Pair by pair: picture i of both is the same one.
    """
    rows = []
    for look, other in zip(found, others, strict=True):
        mine, theirs = falls(look), falls(other)
        for name in MEASURES:
            rows.append(_row(mine[name] - theirs[name], look, f"{name}_fall_less_shuffled", seed))
    return pd.DataFrame(rows)


def by_count(read, ordered, counts, seed=0):
    """The fall of SelfSim of text tokens with other numbers of dimensions left out: rows as `later`, with `count`.

    >>> by_count(read, largest_dimensions(others, 30)["text"], [1, 3, 10, 30])

    `ordered`: `[state, dimension]`, the largest first.
    """
    parts = []
    for count in counts:
        table = later(looks(read, {"text": ordered[:, :count]}, kinds=("text",)), seed)
        parts.append(table.assign(count=count, space=f"without {count} largest"))
    return pd.concat(parts, ignore_index=True)


def lowest(look, seed=0):
    """The layer (0..L) at which SelfSim is lowest, with the range of that layer over resampled pictures."""
    return pair_interval(look.own.mean(axis=1), lambda means: np.argmin(means, axis=-1).astype(float), seed=seed)


def direction(row):
    """ "falls" or "rises" where the interval excludes zero and the test agrees at 5 %, else "undecided".

    >>> direction(dict(low=0.1, high=0.3, p=0.01))
    'falls'
    """
    if row["p"] >= 0.05 or row["low"] <= 0 <= row["high"]:
        return "undecided"
    return "falls" if row["low"] > 0 else "rises"


def _row(table, look, name, seed):
    value, low, high = pair_interval(table, seed=seed)
    where = dict(component=look.component, variant=look.variant, space=look.space)
    return where | dict(metric=name, value=value, low=low, high=high, p=pair_test(table, seed=seed), n=len(table))
