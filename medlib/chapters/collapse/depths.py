"""Depths: where an effective rank lies far below its best before and its best after.

A collapse is defined before anything is looked at: the effective rank is less than half of what it was at its best
before, and of what it comes to at its best after, and so is the whole interval.  Neighbouring layers are alike, so what
is counted are *series*: one domain in one template, read at one place, over all layers.
"""

import numpy as np
import pandas as pd
from scipy.stats import t

from medlib.chapters.collapse.clouds import WAYS, clouds, templates

DEEP = 0.5  # a collapse: an effective rank below so much of the best before and after
SERIES = ["place", "domain", "variant"]


def depth(rank, axis=0):
    """The effective rank of each layer over the smaller of the best before it and the best after it.

    >>> depth(np.array([40, 10, 12, 50]))
    array([ nan, 0.25, 0.3 ,  nan])

    Below one is a dip; the first and the last layer have no two sides and are null.
    """
    rank = np.moveaxis(np.asarray(rank, dtype=float), axis, 0)
    found = np.full(rank.shape, np.nan)
    before = np.maximum.accumulate(rank)[:-2]
    after = np.maximum.accumulate(rank[::-1])[::-1][2:]
    found[1:-1] = rank[1:-1] / np.minimum(before, after)
    return np.moveaxis(found, 0, axis)


def interval(values, log=False, level=0.95):
    r"""The first of the last axis with its delete-a-group jackknife interval, from the others: `(value, low, high)`.

    With G groups and $\hat\theta_{(g)}$ the value without group g, the squared standard error is
    $\frac{G-1}{G}\sum_g(\hat\theta_{(g)}-\bar\theta)^2$ and the interval that of Student's t with G - 1 degrees of
    freedom; the value itself is that of all rows.  `log`: taken on the logarithm, for what cannot be negative.
    Source: Efron & Stein 1981; Kott 2001 for the groups.
    """
    values = np.log(values) if log else np.asarray(values)
    value, without = values[..., 0], values[..., 1:]
    n = without.shape[-1]
    error = np.sqrt((n - 1) * without.var(axis=-1)) * t.ppf((1 + level) / 2, n - 1)
    found = np.stack([value, value - error, value + error])
    return tuple(np.exp(found) if log else found)


def dips(rank, variants):
    """Each cloud's depth with its interval, and whether it is a collapse.

    >>> dips(clouds(states, frame, largest)["effective_rank"][0], templates(frame)).query("collapsed")

    `rank`: [layer, template, 1 + groups].  Returns `variant, layer, value, low, high, collapsed` for the layers with
    others on both sides; a collapse has its whole interval below `DEEP`.
    """
    value, low, high = interval(depth(rank), log=True)
    parts = [
        pd.DataFrame(
            dict(variant=name, layer=range(1, len(rank) + 1), value=value[:, i], low=low[:, i], high=high[:, i])
        )
        for i, name in enumerate(variants)
    ]
    return pd.concat(parts, ignore_index=True).dropna().assign(collapsed=lambda part: part["high"] < DEEP)


def curve(values, log=False):
    """The mean over templates for each layer, with its interval: `layer, value, low, high`.

    `values`: [layer, template, 1 + groups].
    """
    value, low, high = interval(values.mean(axis=1), log)
    return pd.DataFrame(dict(layer=range(1, len(value) + 1), value=value, low=low, high=high))


def curves(found, place, sign, log=False):
    """The `curve` of a sign for every domain and way at one place: (domain, way) -> table.

    >>> curves({("mean", "drugs"): clouds(states, frame, largest)}, "mean", "effective_rank", log=True)
    """
    return {
        (name, way): curve(signs[sign][i], log)
        for (where, name), signs in found.items()
        if where == place
        for i, way in enumerate(WAYS)
    }


def every_depth(found, frames):
    """The depth of every cloud in every way: `dips` with `place`, `domain` and `space`.

    >>> every_depth({("mean", "drugs"): clouds(states, frame, largest)}, {"drugs": frame})

    `found`: (place, domain) -> what `clouds` returns.
    """
    return pd.concat(
        [
            dips(rank, templates(frames[name])).assign(place=place, domain=name, space=way)
            for (place, name), signs in found.items()
            for way, rank in zip(WAYS, signs["effective_rank"], strict=True)
        ],
        ignore_index=True,
    )


def by_count(states, frames, largest, counts, seed=0):
    """The depths when other numbers of largest dimensions are left out: as `every_depth`, with a column `count`.

    >>> by_count({("mean", "drugs"): states}, {"drugs": frame}, {("mean", "drugs"): largest}, [1, 10])

    `states`: (place, domain) -> [state, prompt, hidden]; `largest`: the same -> `[state, dimension]`, largest first.
    """
    tables = []
    for count in counts:
        for (place, name), x in states.items():
            few = largest[place, name][:, :count]
            rank = clouds(x, frames[name], few, ["effective_rank"], ["without largest"], seed)["effective_rank"][0]
            depths = dips(rank, templates(frames[name]))
            tables.append(depths.assign(place=place, domain=name, space=f"without {count} largest", count=count))
    return pd.concat(tables, ignore_index=True)


def kept_and_new(depths, other):
    """What collapses in one way to look at the clouds and what in another: counts of layers and of series.

    >>> kept_and_new(depths[depths["space"] == "raw"], depths[depths["space"] == "rms"])

    Returns `layers` and `series`, those of the other way; of these `kept_layers`, `kept_series`, which collapse in the
    first way too, and `new_layers`, `new_series`, which do not.
    """
    cells = [set(part.loc[part["collapsed"], [*SERIES, "layer"]].itertuples(index=False)) for part in (depths, other)]
    series = [{cell[:3] for cell in part} for part in cells]
    found = {}
    for name, (before, after) in (("layers", cells), ("series", series)):
        found |= {name: len(after), f"kept_{name}": len(before & after), f"new_{name}": len(after - before)}
    return found


def n_series(depths):
    """How many series the depths hold."""
    return len(depths[SERIES].drop_duplicates())
