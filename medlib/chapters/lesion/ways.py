"""Three ways to take a block out, on the same prompts: is it the lesion or the layer?

A block that adds nothing (identity) leaves the next one a state that it never met, so harm under it alone may be
surprise.  Under the mean of what blocks add, or what this one adds to another prompt of the template, the next block
meets what it is used to, and what harm is left is that of this prompt's own part.
"""

import pandas as pd

from medlib import stats, summary
from medlib.chapters.lesion.harm import LABELS, differences, sweep
from medlib.lesion import COMPONENTS, HOWS

PARTS = [(part, how) for part in COMPONENTS[1:] for how in ("identity", "resample")]


def ways(model, questions, few, done, seed=0, stride=1):
    """All lesions of some questions: `item`, `variant`, `cluster`, `layer`, `kl`, `component`, `how`.

    >>> ways(model, asked, asked.head(4), harm.sweep(model, asked)).query("component == 'block'")

    Whole blocks are taken out in three ways on `questions`, attention and MLP in two (not by the mean) on `few` of
    them.  `done` is the `sweep` of the same questions and perhaps others: whole blocks that add nothing are taken from
    it.  Each template is a list of prompts of its own, so that the mean is over it and the other prompt is in it.
    """
    layers = range(1, model.n_layers + 1, stride)
    found = [_of(done[done["layer"].isin(layers)], questions).assign(component="block", how="identity")]
    for component, how in [("block", "mean"), ("block", "resample"), *PARTS]:
        asked = questions if component == "block" else few
        options = dict(answers=False, how=how, component=component, seed=seed, stride=stride)
        parts = [sweep(model, one, **options) for _, one in asked.groupby("variant", sort=False)]
        found.append(pd.concat(parts).assign(component=component, how=how))
    return pd.concat(found, ignore_index=True)[[*LABELS, "layer", "kl", "component", "how"]]


def of_blocks(tables, how):
    """The part of each domain's `ways` in which whole blocks are taken out in one way: `{domain: table}`."""
    return {name: table[(table["component"] == "block") & (table["how"] == how)] for name, table in tables.items()}


def on(tables, questions):
    """The part of each domain's `ways` that is about some `questions` (a dict by domain): `{domain: table}`."""
    return {name: _of(table, questions[name]) for name, table in tables.items()}


def curves_of_ways(tables, seed=0):
    """The mean divergence by domain, layer and way: the columns of `harm.curves`, `component` and `how`."""
    return pd.concat(
        summary.by_layer(part, "kl", seed=seed).assign(domain=domain, component=component, how=how, metric=f"kl_{how}")
        for domain, table in tables.items()
        for (component, how), part in table.groupby(["component", "how"])
    )


def agreement_of_ways(tables):
    """Rank correlation over layers of each way's mean curve with that of whole blocks adding nothing: a row a domain.

    Both curves are over the prompts of the way.
    """
    rows = {}
    for domain, table in tables.items():
        plain = table[(table["component"] == "block") & (table["how"] == "identity")]
        for way, part in table.groupby(["component", "how"]):
            if way != ("block", "identity"):
                curves = (one.groupby("layer")["kl"].mean() for one in (part, _of(plain, part)))
                rows.setdefault(domain, {})[way] = stats.spearman(*curves)
    return pd.DataFrame(rows).T


def differences_of_ways(tables, controls, seed=0, n=9999):
    """Each medical domain minus its control under each way of taking out whole blocks, as `harm.differences` gives it.

    Columns of `harm.differences` and `how`; each way is a family of tests of its own.  The metric is `kl_difference`
    for the identity, and `kl_mean_difference`, `kl_resample_difference`.
    """
    parts = []
    for how in HOWS:
        found = differences(of_blocks(tables, how), controls, "kl", seed, n)
        parts.append(found.assign(how=how, metric="kl_difference" if how == "identity" else f"kl_{how}_difference"))
    return pd.concat(parts, ignore_index=True)


def places(tables, early=0, seed=0):
    """Where the harm lies under each way of taking out whole blocks: the columns of `depths`, and `how`.

    >>> places(tables, early=3).query("metric == 'peak_layer' and how == 'resample'")
    """
    return pd.concat(
        [depths(of_blocks(tables, how), early=early, seed=seed).assign(how=how) for how in HOWS], ignore_index=True
    )


def depths(tables, column="kl", early=0, seed=0):
    """Where the harm lies, by domain: the worst layer after the first `early`, and the share of the first half of them.

    >>> depths(tables, early=3).query("metric == 'peak_layer'")

    Returns `domain`, `metric` (`peak_layer`; `early_half`, the share of all harm that falls on the first half of the
    layers), `value`, `low`, `high`, `even` (that share if all layers did as much harm); negative means count as none.
    """
    rows = []
    for domain, table in tables.items():
        wide = table[table["layer"] > early].pivot(index=["item", "variant"], columns="layer", values=column)
        units, layers = summary.units(table, wide.index.get_level_values("item")), wide.columns.to_numpy()
        first = layers <= table["layer"].max() / 2
        measures = {
            "peak_layer": lambda values, axis, at=layers: at[values.mean(axis).argmax(-1)],
            "early_half": lambda values, axis, at=first: _share(values.mean(axis), at),
        }
        for metric, measure in measures.items():
            interval = stats.bootstrap(wide.to_numpy(), measure, seed=seed, groups=units)
            rows.append((domain, metric, *interval, first.mean()))
    return pd.DataFrame(rows, columns=["domain", "metric", "value", "low", "high", "even"])


def _of(table, questions):
    """The rows of a table that are about some questions, by item and template."""
    asked = pd.MultiIndex.from_frame(questions[["item", "variant"]])
    return table[table.set_index(["item", "variant"]).index.isin(asked)]


def _share(curve, chosen):
    curve = curve.clip(0)
    return (curve * chosen).sum(-1) / curve.sum(-1).clip(1e-30)
