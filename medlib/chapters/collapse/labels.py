"""Labels: do they show again when the large dimensions are left out, and where the cloud collapses in particular?

Silhouettes are held against shuffled labels, since their level depends on how many labels a domain has, and layers that
collapse against the other layers of the same series, so that domain, wording and place are one on both sides.
"""

import pandas as pd
from threadpoolctl import threadpool_limits

from medlib import geometry, stats, summary
from medlib.chapters.collapse.clouds import WAYS, prepared, templates
from medlib.chapters.collapse.depths import SERIES


def silhouettes(states, frame, largest, ways=WAYS, n=20, seed=0):
    """Each prompt's silhouette by its `label`, in its own template, and what it has above `n` shuffled labellings.

    >>> silhouettes(states, frame, largest["drugs"]).groupby(["space", "layer"])["excess"].mean()

    Returns `item, variant, cluster, layer, space, value, excess`; a domain without labels, or with one label, has no
    silhouette: its table is empty.
    """
    tables = []
    with threadpool_limits(1):
        for rows in templates(frame).values():
            part = frame.iloc[rows][["item", "variant", "cluster"]]
            label = frame["label"].iloc[rows].to_numpy()
            if not 2 <= len(set(label)) < len(label):
                continue
            for way in ways:
                for layer in range(1, len(states)):
                    x = prepared(states[layer, rows], way, largest[layer])
                    value, test = geometry.silhouettes_tested(x, label, n=n, seed=seed)
                    excess = value - test["null_mean"]
                    tables.append(part.assign(layer=layer, space=way, value=value, excess=excess))
    columns = ["item", "variant", "cluster", "layer", "space", "value", "excess"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def everywhere(states, frames, largest, seed=0):
    """The `silhouettes` of every place and domain, as the states are and without the largest dimensions.

    >>> everywhere({("mean", "drugs"): states}, {"drugs": frame}, {("mean", "drugs"): largest})

    Returns their table with `place` and `domain`.
    """
    ways = ["raw", "without largest"]
    return pd.concat(
        silhouettes(x, frames[name], largest[place, name], ways, seed=seed).assign(place=place, domain=name)
        for (place, name), x in states.items()
    )


def over_layers(scores, place, seed=0):
    """The excess over layers at one place, mean over items and templates: (domain, way) -> `summary.by_layer`.

    >>> over_layers(scores, "mean")["drugs", "raw"]
    """
    parts = scores[scores["place"] == place].groupby(["domain", "space"])
    return {key: summary.by_layer(part, "excess", seed=seed) for key, part in parts}


def gains(scores, depths, domains, seed=0):
    """What leaving the large dimensions out does to the labels where series collapse, and elsewhere in these series.

    >>> gains(scores, depths, ["drugs", "diseases"]).loc["collapsed"]

    `scores`: of `silhouettes`, with `place` and `domain`; `depths`: of the raw states.  Only series that collapse at
    some layer count.  Returns a row each for "collapsed", "other" and "difference": `value`, `low`, `high` of the gain
    in silhouette above shuffled labels (95 % bootstrap interval over items), `raw` and `without`, the levels, and `n`
    items; empty with fewer than three items, and without "other" where such series collapse at all layers.
    """
    keys = [*SERIES, "layer"]
    table = scores[scores["domain"].isin(domains)]
    table = table.pivot(index=[*keys, "item", "cluster"], columns="space", values="excess").reset_index()
    table = table.merge(depths[[*keys, "collapsed"]], on=keys)
    table = table[table.groupby(SERIES)["collapsed"].transform("any")]
    units = table.groupby(["collapsed", "domain", "cluster"])[["raw", "without largest"]].mean()
    units["gain"] = units["without largest"] - units["raw"]
    of = {name: units.xs(flag) for name, flag in (("collapsed", True), ("other", False)) if flag in units.index}
    if len(of.get("collapsed", ())) < 3:
        return pd.DataFrame(columns=["value", "low", "high", "raw", "without", "n"])
    if "other" in of:
        of["difference"] = (of["collapsed"] - of["other"]).dropna()
    rows = {
        name: stats.bootstrap(part["gain"], seed=seed)._asdict()
        | dict(raw=part["raw"].mean(), without=part["without largest"].mean(), n=len(part))
        for name, part in of.items()
    }
    return pd.DataFrame(rows).T
