"""Stages: the states of series that go through ordered stages, such as diseases, and tables of how they are ordered.

A series is a disease or a process; each of its stages stands in each template.  Stages are averaged over templates
before distances are measured, so that a wording's own place cancels.  Arrays keep their axes in one order,
`[state, series, template, stage, hidden]`, and what is measured is a table with one row per state and series.
"""

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist, squareform
from threadpoolctl import threadpool_limits

from medlib import concepts, geometry, stats
from medlib.chapters.progression import stage_words
from medlib.errors import MedlibError
from medlib.states import states_at


def prompts(domain, series):
    """The prompts of a domain in stages, sorted by series, template and stage; `series` is the column that names them.

    >>> stages.prompts("progression", "disease")

    Adds a column `series`.  Raises `MedlibError` where a series lacks a stage in a template.
    """
    frame = concepts.prompts(domain)
    if not {series, "stage"} <= set(frame):
        raise MedlibError(f"The domain {domain} has no columns {series!r} and 'stage'; it has {', '.join(frame)}.")
    frame = frame.assign(series=frame[series], stage=frame["stage"].astype(int))
    counts = frame.groupby(["series", "variant"])["stage"].agg(["nunique", "size"])
    if len(set(counts.to_numpy().ravel())) > 1:
        raise MedlibError(
            f"The series of {domain} have not the same stages, each once in each template: {dict(counts)}"
        )
    for column in ("series", "variant"):
        frame[column] = pd.Categorical(frame[column], frame[column].unique(), ordered=True)
    frame = frame.sort_values(["series", "variant", "stage"], ignore_index=True)
    return frame.astype({"series": str, "variant": str})


def read(model, frame):
    """The states of all `prompts` at three places: place -> [state, series, template, stage, hidden], float32.

    >>> stages.read(model, frame)["mean"].shape

    The places are those of `states_at`: `mean` over the description, `entity` its last token, `last` that of
    the prompt.
    """
    shape = [frame[column].nunique() for column in ("series", "variant", "stage")]
    found = states_at(model, list(frame["prompt"]))
    return {place: x.reshape(len(x), *shape, -1) for place, x in found.items()}


def distances(means):
    """Distances between the stages of each series: `means` [.., stage, hidden] to [.., stage, stage]."""
    flat = means.reshape(-1, *means.shape[-2:]).astype(np.float64)
    k = means.shape[-2]
    return np.array([squareform(pdist(one)) for one in flat]).reshape(*means.shape[:-2], k, k)


def components(means, n_components):
    """The stage means of one state on the first principal components of all series together.

    `means`: [series, stage, hidden].  The components are those of all series, because ten stages have nine of their
    own, and on all nine nothing changes.  Returns [series, stage, n_components].
    """
    series, k, hidden = means.shape
    x = geometry.spaces(means.reshape(-1, hidden), n_components)[f"pca{n_components}"]
    return x.reshape(series, k, -1)


def orders(tables, names, n=1000, seed=0):
    """How each series is ordered on each state.

    >>> stages.orders(stages.distances(means), diseases)

    `tables`: [state, series, stage, stage], distances; `names`: of the series.  Returns one row per state and series:
    `layer`, `item` (the series) and what `geometry.order_test` and `geometry.late_return` give.  Middle stages are the
    two before the second half (3 and 4 of ten), late ones the second half (5 to 9).
    """
    half = tables.shape[-1] // 2
    middle, late = [half - 2, half - 1], list(range(half, tables.shape[-1]))
    return pd.DataFrame(
        {"layer": layer, "item": name}
        | geometry.order_test(table, n=n, seed=seed)
        | geometry.late_return(table, middle, late, n=n, seed=seed)
        for layer, of_series in enumerate(tables)
        for name, table in zip(names, of_series, strict=True)
    )


def views(states, frame, causes, numbered, n_components, n=1000, seed=0):
    """The order of each series as seen in each place, wording and space: the tables of `orders` under each other.

    >>> found = stages.views(states, frame, causes, ["numbered"], 30)
    >>> found.query("place == 'mean' and wording == 'unnumbered' and space == 'raw'")

    `states`, `frame`, `causes`: of one domain (`read`, `prompts`, `causes`); `numbered`: the templates that name the
    stage's number.  Adds the columns `place`, `space` (`raw`, `pca30` for 30 components, or `raw, corrected`: raw
    distances with the causes taken out) and `wording`: `unnumbered` for the mean of the templates that do not name the
    number, or one template.  Single templates and the other spaces are looked at in place `mean`.  In the space
    `raw, without 3 dimensions` the three of the largest mean square are dropped from each state: a token with huge
    activations takes one stage far from all others.
    """
    names, templates = list(frame["series"].unique()), list(frame["variant"].unique())
    free = [i for i, name in enumerate(templates) if name not in numbered]
    seen = {}
    for place, x in states.items():
        seen[place, "unnumbered", "raw"] = distances(x[:, :, free].mean(axis=2))
    means = states["mean"][:, :, free].mean(axis=2)
    inside = np.stack([components(layer, n_components) for layer in means])
    seen["mean", "unnumbered", f"pca{n_components}"] = distances(inside)
    smaller = [geometry.without_largest(layer.reshape(-1, layer.shape[-1]), 3) for layer in means]
    smaller = np.reshape(smaller, (*means.shape[:3], -1))
    seen["mean", "unnumbered", "raw, without 3 dimensions"] = distances(smaller)
    seen["mean", "unnumbered", "raw, corrected"] = stage_words.corrected_for(seen["mean", "unnumbered", "raw"], causes)
    for i, name in enumerate(templates):
        seen["mean", name, "raw"] = distances(states["mean"][:, :, i])
    parts = [
        orders(tables, names, n, seed).assign(place=place, wording=wording, space=space)
        for (place, wording, space), tables in seen.items()
    ]
    return pd.concat(parts, ignore_index=True)


def over_states(table, measure, seed=0):
    """The mean of `measure` over the states after the blocks and over the series, with its interval over series.

    >>> stages.over_states(main, "circularity")

    One number fixed beforehand, where the best of many states would be picked.  Returns a `stats.Interval`.
    """
    of_item = table[table["layer"] > 0].groupby("item")[measure].mean()
    return stats.bootstrap(of_item.to_numpy(), seed=seed)


def difference_over_states(table, control, measure, seed=0):
    """`over_states` of one table minus that of another one, two independent sets of series."""
    a, b = (t[t["layer"] > 0].groupby("item")[measure].mean().to_numpy() for t in (table, control))
    return stats.bootstrap_difference(a, b, seed=seed)


def shown(frames):
    """What the series of each domain are, for a page: how many series, stages and templates, and an example."""
    return pd.DataFrame(
        {
            name: dict(
                series=frame["series"].nunique(),
                stages=frame["stage"].nunique(),
                templates=frame["variant"].nunique(),
                first=frame["item"].iloc[0],
                last=frame["item"].iloc[frame["stage"].max()],
            )
            for name, frame in frames.items()
        }
    ).T


def unnumbered(domain):
    """The places of the templates that do not say the number of a stage, and the names of those that do."""
    templates = concepts.templates(domain)
    numbered = [name for name, template in templates.items() if "{stage}" in template]
    return [i for i, name in enumerate(templates) if name not in numbered], numbered


def view(table, place="mean", wording="unnumbered", space="raw"):
    """The rows of one of the `views`, and whether its line, ring and late return are `significant`."""
    here = (table["place"] == place) & (table["wording"] == wording) & (table["space"] == space)
    found = table[here].copy()
    for measure in ("line", "circularity", "late_return"):
        found[f"significant_{measure}"] = significant(found, f"p_{measure}")
    return found


def loops(states, names, n=200, seed=0):
    """The longest H1 bar of each series on each state against dealt stages.

    `states`: [state, series, template, stage, hidden].  Returns `layer`, `item`, `bar`, `p`, `null_mean` and whether
    it is `significant`.
    """
    with threadpool_limits(1):  # hundreds of small products: two threads only wait for each other
        table = pd.DataFrame(
            {"layer": layer, "item": name} | geometry.dealt_loop_test(x, n, seed)
            for layer, of_series in enumerate(states)
            for name, x in zip(names, of_series, strict=True)
        )
    return table.assign(significant=significant(table, "p"))


def in_umap(means, names, layers, seeds):
    """The order of each series in UMAP of all series' stage means together, for some states and several seeds.

    `means`: [state, series, stage, hidden].  Returns one row per state, series, seed and space (`umap30`, `umap2`):
    `layer`, `item`, `seed`, `space`, `circularity`, `csfs`, `csls`; and one row per state and seed with the
    `trustworthiness` of the picture, `umap2`.
    """
    rows, trust = [], []
    series, k = means.shape[1:3]
    for layer in layers:
        x = means[layer].reshape(series * k, -1)
        for seed in seeds:
            picture = geometry.umap2(x, seed)
            trust.append({"layer": layer, "seed": seed, "trustworthiness": picture["trustworthiness"]})
            drawn = {"umap30": geometry.spaces(x, 30, seed, umap=True)["umap30"], "umap2": picture["points"]}
            for space, y in drawn.items():
                for name, d in zip(names, distances(y.reshape(series, k, -1)), strict=True):
                    test = geometry.order_test(d, n=1)
                    row = {"layer": layer, "item": name, "seed": seed, "space": space}
                    rows.append(row | {measure: test[measure] for measure in ("circularity", "csfs", "csls")})
    return pd.DataFrame(rows), pd.DataFrame(trust)


def significant(table, p, by=("item",)):
    """Whether a row's test holds when those of all layers count: Benjamini-Hochberg within each series, at 0.05."""
    return table.groupby(list(by))[p].transform(stats.benjamini_hochberg) < 0.05


def counts(table, measure, chance):
    """How many series have `measure` above zero on each state, and how many would under shuffled orders.

    `chance`: the column with the share of shuffled orders above zero.  Returns `layer`, `value`, `n` (series),
    `expected`, and `low_chance`, `high_chance`: the central 95 % of the number under shuffled orders, series
    independent of each other (Poisson binomial).
    """
    rows = []
    for layer, part in table.groupby("layer"):
        probability = np.ones(1)
        for share in part[chance]:
            probability = np.convolve(probability, [1 - share, share])
        low, high = np.searchsorted(probability.cumsum(), [0.025, 0.975])
        value = int((part[measure] > 0).sum())
        rows.append((layer, value, len(part), part[chance].sum(), low, high))
    return pd.DataFrame(rows, columns=["layer", "value", "n", "expected", "low_chance", "high_chance"])
