"""Stages: the states of series that go through ordered stages, such as diseases, and tables of how they are ordered.

A series is a disease or a process; each of its stages stands in each template.  Stages are averaged over templates
before distances are measured, so that a wording's own place cancels.  Arrays keep their axes in one order,
`[state, series, template, stage, hidden]`, and what is measured is a table with one row per state and series.
"""

import numpy as np
import pandas as pd
import torch
from scipy.spatial.distance import pdist, squareform
from threadpoolctl import threadpool_limits

from medlib import concepts, geometry, stats
from medlib.errors import MedlibError
from medlib.prompts import batches, encode
from medlib.replay import Replay, check_no_op, tokens_per_call
from medlib.states import entity_tokens

PLACES = ("mean", "entity", "last")


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


@torch.no_grad()
def read(model, frame):
    """The states of all `prompts` at three places, in one walk up the layers.

    >>> stages.read(model, frame)["mean"].shape            # [state, series, template, stage, hidden]

    Returns a dict of float32 arrays: `mean` over the tokens of the description, `entity` its last token, `last` the
    last token of the prompt; each as `medlib.activations` gives it.
    """
    texts = list(frame["prompt"])
    ids = encode(model, texts)
    spans = [entity_tokens(model, text) for text in texts]
    found = np.empty((len(PLACES), model.n_layers + 1, len(ids), model.hidden_size), dtype=np.float32)
    size = tokens_per_call(model)
    for members, batch, last in batches(ids, lambda length: size // length):
        replay = Replay(model, {"input_ids": batch.to(model.device)})
        weights = replay.embedding.new_zeros(len(members), len(PLACES), replay.positions)
        for row, member in enumerate(members):
            start, end = spans[member]
            weights[row, 0, start:end] = 1 / (end - start)
            weights[row, 1, end - 1] = weights[row, 2, last[row]] = 1
        state = replay.embedding
        for layer in range(model.n_layers + 1):
            state = replay.block(layer, state) if layer else state
            found[:, layer, members] = (weights @ state).transpose(0, 1).float().cpu().numpy()
        check_no_op(replay, state[torch.arange(len(members)), last], last, "activations")
    shape = [frame[column].nunique() for column in ("series", "variant", "stage")]
    return {place: x.reshape(len(x), *shape, -1) for place, x in zip(PLACES, found, strict=True)}


def planted(shape, templates, n_stages, hidden, scatter=0.5, seed=0):
    """Made-up states of one series, [template, stage, hidden]: a `line`, a `ring`, or a ring `dealt` anew in each.

    >>> stages.planted("ring", templates=3, n_stages=10, hidden=576)

    `scatter` is the length of the noise of each state, in steps from one stage to the next.  Each template has a place
    of its own, far from the others.
    """
    generator = np.random.default_rng(seed)
    way = np.arange(n_stages)
    if shape == "line":
        flat = np.stack([way, np.zeros(n_stages)], axis=1).astype(float)
    else:
        around = 2 * np.pi * way / n_stages
        flat = np.stack([np.cos(around), np.sin(around)], axis=1) / (2 * np.sin(np.pi / n_stages))
    plane = np.linalg.qr(generator.normal(size=(hidden, 2)))[0]
    x = np.tile(flat @ plane.T, (templates, 1, 1))
    if shape == "dealt":
        x = np.stack([generator.permutation(one) for one in x])
    noise = generator.normal(size=x.shape) * scatter / np.sqrt(hidden)
    return x + noise + 10 * generator.normal(size=(templates, 1, hidden))


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
    seen["mean", "unnumbered", "raw, corrected"] = corrected_for(seen["mean", "unnumbered", "raw"], causes)
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


def causes(model, frame):
    """What the texts of the stages do by themselves, [series, cause, stage, stage]: two causes without any order.

    The difference in tokens, and the share of words that two stages do not have in common (one minus Jaccard's index of
    their sets of words).  `frame`: as `prompts` gives it; the text is the description in the first template.
    """
    first = frame[frame["variant"] == frame["variant"].iloc[0]]
    found = []
    for _, rows in first.groupby("series", sort=False):
        spans = [entity_tokens(model, prompt) for prompt in rows["prompt"]]
        tokens = np.array([end - start for start, end in spans])
        words = [set(item.lower().replace(",", "").split()) for item in rows["item"]]
        apart = [[1 - len(a & b) / len(a | b) for b in words] for a in words]
        found.append([np.abs(tokens[:, None] - tokens), apart])
    return np.array(found, dtype=float)


def corrected_for(tables, causes):
    """Distances [state, series, stage, stage] with each series' `causes` taken out (`geometry.without`)."""
    return np.array([[geometry.without(d, c) for d, c in zip(one, causes, strict=True)] for one in tables])


def cause_shares(tables, causes, names, cause_names):
    """Spearman of the distances with each cause, per state and series: `layer`, `item`, `cause`, `value`."""
    upper = np.triu_indices(tables.shape[-1], 1)
    return pd.DataFrame(
        {"layer": layer, "item": name, "cause": cause_name, "value": stats.spearman(table[upper], cause[upper])}
        for layer, of_series in enumerate(tables)
        for name, table, of_cause in zip(names, of_series, causes, strict=True)
        for cause_name, cause in zip(cause_names, of_cause, strict=True)
        if np.ptp(cause[upper]) and np.ptp(table[upper])
    )


def loops(states, names, n=200, seed=0):
    """The longest H1 bar of each series on each state against dealt stages: `layer`, `item`, `bar`, `p`, `null_mean`.

    `states`: [state, series, template, stage, hidden].
    """
    with threadpool_limits(1):  # hundreds of small products: two threads only wait for each other
        return pd.DataFrame(
            {"layer": layer, "item": name} | geometry.dealt_loop_test(x, n, seed)
            for layer, of_series in enumerate(states)
            for name, x in zip(names, of_series, strict=True)
        )


def in_umap(means, names, layers, seeds):
    """The order of each series in UMAP of all series' stage means together, for some states and several seeds.

    `means`: [state, series, stage, hidden].  Returns one row per state, series, seed and space (`umap30`, `umap2`):
    `layer`, `item`, `seed`, `space`, `circularity`, `csfs`; and one row per state and seed with the `trustworthiness`
    of the picture, `umap2`.
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
                    rows.append(row | {measure: test[measure] for measure in ("circularity", "csfs")})
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
