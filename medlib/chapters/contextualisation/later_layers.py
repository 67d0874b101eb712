"""Are later layers more picture-specific?  The last third of the layers against the first, pair by pair.

What is compared is how far one token's states are apart over pictures, as cosines stand and above what random tokens
are apart, with all dimensions and without the largest, with all layers and without those at the ends, and against the
same pictures with their tiles shuffled.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from medlib.chapters.contextualisation.context_tables import looks
from medlib.errors import MedlibError
from medlib.geometry.contextual import FEWEST, pair_interval, pair_test

MEASURES = ("self_similarity", "self_similarity_adjusted")
SPANS = {  # ending of a metric -> the layers at the ends that are left out: of the first third, of the last
    "": (0, 0),
    "_without_first": (1, 0),
    "_without_ends": (1, 1),
}


def thirds(n_layers):
    """The first and the last third of the layers 1..L: two ranges.

    >>> thirds(30)
    (range(1, 11), range(21, 31))
    """
    size = max(1, n_layers // 3)
    return range(1, size + 1), range(n_layers - size + 1, n_layers + 1)


def falls(look):
    """How far SelfSim falls from the first to the last third, for each pair: metric -> `[picture, picture]`.

    >>> pair_interval(falls(look)["self_similarity_fall"])

    Positive where the states of later layers are further apart.  Metrics end in "_fall" and a key of
    `SPANS`: all layers, without the first, without the first and the last; a third of one layer stays whole.
    """
    own = look.own.mean(axis=1)
    first, last = (list(layers) for layers in thirds(len(own) - 1))
    tables = dict(zip(MEASURES, (own, own - look.random), strict=True))
    found = {}
    for ending, (start, end) in SPANS.items():
        early, late = first[start:] or first, last[: len(last) - end] or last
        for name, table in tables.items():
            found[f"{name}_fall{ending}"] = table[early].mean(axis=0) - table[late].mean(axis=0)
    return found


def of_some(look, kept):
    """A look at some of its pictures: what `later` needs of it; `kept`: bool `[picture]`.

    >>> later([of_some(look, scenes["kind"] != "other") for look in looks(read)])

    Raises `MedlibError` where too few are left for an interval.
    """
    rows = np.flatnonzero(kept)
    if len(rows) < FEWEST:
        raise MedlibError(f"{len(rows)} pictures are left, and an interval takes {FEWEST}; give more pictures.")
    return replace(look, own=look.own[..., rows[:, None], rows], random=look.random[..., rows[:, None], rows])


def later(found, seed=0):
    """The fall of SelfSim for each look: `component, variant, space, metric, value, low, high, p, n`.

    >>> later(looks(read) + looks(read, largest))

    The interval resamples pictures; `p` is two-sided, from disjoint pairs of pictures whose signs are flipped.
    """
    rows = []
    for look in found:
        for name, table in falls(look).items():
            rows.append(_row(table, look, name, seed))
    return pd.DataFrame(rows)


def against(found, others, seed=0):
    """The fall of SelfSim less that on the same pictures shuffled: rows as `later`, `metric` ends in `_less_shuffled`.

    >>> against(looks(read), looks(read_of_shuffled))

    Pair by pair: picture i of both is the same one.
    """
    rows = []
    for look, other in zip(found, others, strict=True):
        mine, theirs = falls(look), falls(other)
        for name in mine:
            rows.append(_row(mine[name] - theirs[name], look, f"{name}_less_shuffled", seed))
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
