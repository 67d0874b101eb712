# %% [markdown]
# # Do the stages of a disease run along a line or in a ring?
#
# Ten stages of {glue:text}`n_series` diseases, from health to the most severe state, are held against the ten steps of {glue:text}`n_control` everyday processes.
# Averaged over the {glue:text}`n_layers` states after the blocks, the distances between the stages of a disease have a rank correlation of {glue:text}`line` with a line and of {glue:text}`ring` with a ring; ring minus line is {glue:text}`circularity`, and would be above zero for a ring.
# For the processes it is {glue:text}`circularity_control` (diseases minus processes {glue:text}`circularity_difference`).
# Significantly more like a ring than shuffled orders, on any state, are {glue:text}`n_ring` of the diseases and {glue:text}`n_ring_control` of the processes ({glue:text}`rings_named`; by chance at most 0.6 of 12); significantly like a line are {glue:text}`n_line` and {glue:text}`n_line_control`.
# A loop that does not depend on the order of the stages is longer than with dealt stages in {glue:text}`n_loop` of the diseases and {glue:text}`n_loop_control` of the processes.
#
# {cite:t}`marinescu2026knowledge` describe progression in larger models as circular on certain layers, most of all for Parkinson's disease and COPD, where the late stages 5 to 9 lie nearer to the healthy start than stages 3 and 4.
# Here they do so on {glue:text}`late_parkinson` for Parkinson's disease and on {glue:text}`late_copd` for COPD, significantly on {glue:text}`late_parkinson_significant` and {glue:text}`late_copd_significant`; by the mere count little is said, since shuffled orders do so {glue:text}`chance_late` of the time, and {glue:text}`late_processes` processes do so on more than half of the states.
#
# How much of the order is in the words?
# Before any block has run, a description is the mean of its tokens' embeddings, and the correlation with a line is {glue:text}`line_start` for diseases already, and {glue:text}`line_start_control` for processes; the average after the blocks less this is {glue:text}`line_gain` and {glue:text}`line_gain_control`.
# With text length and shared words taken out, the average over the states is {glue:text}`line_corrected` for diseases and {glue:text}`line_corrected_control` for processes.
# In round brackets after a correlation or difference: 95 % interval over diseases or processes.
# {glue:text}`knowledge`

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run progression`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
n_shuffles = 999  # shuffled orders that each order is held against
n_deals = 199  # deals of the stages that each loop is held against
n_components = 30  # principal components of all stages of a domain together
n_seeds = 5  # UMAP fits of each state that is drawn
seed = 0  # deals shuffles and resamples, and starts UMAP

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import medlib
from medlib import (
    concepts,
    figures,
    geometry,
    knowledge,
    results,
    stats,
    summary,
)
from medlib.chapters.progression import stage_figures, stages

figures.style()
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    n_shuffles=n_shuffles,
    n_deals=n_deals,
    n_components=n_components,
    n_seeds=n_seeds,
    seed=seed,
)
run = medlib.Run("progression", model, parameters, seed)
series = {"progression": "disease", "processes": "process"}
known, said = knowledge.knows(model, series, seed)
run.number("knowledge", said)

# %% [markdown]
# ## The stages
#
# Each description of a stage stands in four templates.
# One, `numbered`, says the stage's number in the sentence; the others do not, and none of the descriptions does.
# The mean over the templates without the number is looked at, and `numbered` beside it.
# A description is several words long, so its state is the mean over its tokens; its last token and the last token of the prompt are looked at further down.

# %%
prompts = {
    name: stages.prompts(name, column) for name, column in series.items()
}
pd.DataFrame(
    {
        name: dict(
            series=f["series"].nunique(),
            stages=f["stage"].nunique(),
            templates=f["variant"].nunique(),
            first=f["item"].iloc[0],
            last=f["item"].iloc[9],
        )
        for name, f in prompts.items()
    }
).T.style

# %%
states = {name: stages.read(model, f) for name, f in prompts.items()}
causes = {name: stages.causes(model, f) for name, f in prompts.items()}
numbered = [
    name
    for name, template in concepts.templates("progression").items()
    if "{stage}" in template
]
templates = list(concepts.templates("progression"))
free = [i for i, name in enumerate(templates) if name not in numbered]

# %% [markdown]
# ## Does the method find what is planted?
#
# Made-up stages, as many and as wide as the states, in as many templates: a line, a ring, and a ring whose stages are dealt anew in each template, so that its templates agree about nothing.
# Each is made 20 times.

# %%
measured = []
for shape in ("line", "ring", "dealt"):
    for draw in range(20):
        x = stages.planted(
            shape, len(free), 10, model.hidden_size, seed=seed + draw
        )
        order = geometry.progression(x.mean(axis=0), range(10), n=99)
        loop = geometry.dealt_loop_test(x, n=39, seed=seed)
        measured.append(dict(shape=shape, loop=loop["p"]) | order)
found = pd.DataFrame(measured).groupby("shape")
below = {
    name: found[name].agg(lambda p: (p <= 0.05).sum())
    for name in ("p_line", "p_circularity", "loop")
}
nearest = found[["csfs", "csls", "circularity"]].median()
run.check(
    "a planted line is a line, a ring is a ring, and what is dealt is neither",
    passed=tuple(nearest.loc["line", ["csfs", "csls"]]) == (1, 8)
    and nearest["circularity"]["line"] < 0 < nearest["circularity"]["ring"]
    and below["p_line"]["line"] == 20
    and below["p_circularity"]["ring"] >= 19
    and below["loop"]["ring"] >= 19
    and below["loop"]["line"] <= 5
    and below["p_circularity"]["line"] <= 5
    and all(below[name]["dealt"] <= 5 for name in below),
    detail="of 20 at p ≤ 0.05: "
    + "; ".join(
        f"{shape}: order {below['p_line'][shape]}, "
        f"ring {below['p_circularity'][shape]}, loop {below['loop'][shape]}"
        for shape in ("line", "ring", "dealt")
    ),
)
print(run.checks[-1]["detail"])

# %% [markdown]
# ## A line or a ring?
#
# For each disease and state, the rank correlation of all 45 distances between stages is taken with the distance along a line, $|i-j|$, and with the way around a ring, $\min(|i-j|, 10-|i-j|)$; *circularity* is the second minus the first.
# Each is held against {glue:text}`n_shuffles` shuffled orders of the same stages, corrected over the states of a disease by the procedure of Benjamini and Hochberg, so that by chance alone at most one series in twenty has a significant state.

# %%
seen = {
    name: stages.views(
        states[name], f, causes[name], numbered, n_components, n_shuffles, seed
    )
    for name, f in prompts.items()
}
here = "place == 'mean' and wording == 'unnumbered' and space == @space"
space = "raw"
main = {name: views.query(here).copy() for name, views in seen.items()}
for table in main.values():
    for measure in ("line", "circularity", "late_return"):
        table[f"significant_{measure}"] = stages.significant(
            table, f"p_{measure}"
        )

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "Circularity, ring minus line, of each disease (above the black line) and each everyday process (below it) on each state: red where the stages are more like a ring, blue where they are more like a line. A black dot marks a ring that is significant against shuffled orders, corrected over the states of its row; no dot, no such ring.", "name": "fig-progression-circularity"}, "image": {"alt": "Heat map with a row for each of twelve diseases and twelve processes and a column for each layer, coloured by circularity around zero."}}
_, axes = plt.subplots(figsize=(7.6, 6.2))
stage_figures.heat_map(
    axes,
    main,
    known,
    "circularity",
    "circularity (ring minus line)",
    "significant_circularity",
)
plt.show()

# %% [markdown]
# On the state where most diseases are more like a ring, {glue:text}`most_rings`, it is {glue:text}`most_rings_n` of them, and {glue:text}`most_rings_control` of the processes; shuffled orders would give {glue:text}`rings_by_chance` (95 % of the time).
# The stage nearest to the healthy start is a late one, 5 to 9, in {glue:text}`late_csfs` of the diseases on average over the states and {glue:text}`late_csfs_control` of the processes, and 6.7 of 12 are expected of shuffled orders.

# %% [markdown]
# ### Is there a loop in whatever order?
#
# The measures above ask for a ring in the order of the stages.
# Persistent homology asks whether the ten stage means surround a hole at all: the longest bar of H1, as a share of the diameter, is 0.64 for ten points evenly on a circle and 0 for points along a line.
# It does not know the order, so shuffled orders have the same bar.
# Its null therefore deals the stages anew within each template before the templates are averaged, {glue:text}`n_deals` times: what the templates agree about is lost, and the rest is kept.

# %%
loops = {
    name: stages.loops(
        states[name]["mean"][:, :, free],
        list(f["series"].unique()),
        n_deals,
        seed,
    )
    for name, f in prompts.items()
}
for table in loops.values():
    table["significant"] = stages.significant(table, "p")


# %%
def mean_curve(table, measure):
    """The mean over the series with its interval, by layer."""
    return summary.by_layer(table.assign(variant=""), measure, seed=seed)


labels = dict(
    line="like a line (Spearman)",
    circularity="ring minus line",
    spearman="distance to start (Spearman)",
    csfs="nearest to start (stage)",
    late_return="late return (of distance)",
    bar="longest H1 bar (of diameter)",
)
curves = {
    measure: {
        name: mean_curve((loops if measure == "bar" else main)[name], measure)
        for name in series
    }
    for measure in labels
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What path the stages take: mean over twelve diseases and twelve processes with 95 % bootstrap intervals over them, not corrected for the number of layers. First row: rank correlation with a line; ring minus line; rank correlation of the distance to stage 0 with the stage. Second row: the stage nearest to stage 0 (1 for a path); how much nearer the stages 5 to 9 lie to stage 0 than the stages 3 and 4, as a share of the mean distance; the longest bar of H1 as a share of the diameter (0.64 for a ring). Dotted: what shuffled orders give on average, and for H1 dealt stages of the diseases.", "name": "fig-progression-measures"}, "image": {"alt": "Six panels of curves over layers, diseases solid and processes dashed with interval bands, and a dotted line for chance in each."}}
dealt = (
    loops["progression"].groupby("layer", as_index=False)["null_mean"].mean()
)
centres = dict.fromkeys(labels, 0) | dict(
    csfs=5, bar=dealt.rename(columns={"null_mean": "value"})
)
stage_figures.measures(curves, known, labels, centres)
plt.show()

# %% [markdown]
# The longest bar is {glue:text}`bar` of the diameter for diseases and {glue:text}`bar_control` for processes, averaged over the states, and {glue:text}`bar_dealt` with dealt stages.

# %% [markdown]
# ## Parkinson's disease and COPD
#
# Late stages nearer to the start than middle ones: on how many of the {glue:text}`n_states` states is that so, and is it more than shuffled orders give?
# For Parkinson's disease it is significant on {glue:text}`late_parkinson_significant` of them, for COPD on {glue:text}`late_copd_significant`; of the processes, {glue:text}`late_processes_significant` have a state on which it is.
# As many states as Parkinson's disease, or more, have {glue:text}`as_many_parkinson` of the {glue:text}`n_control` processes, as many as COPD {glue:text}`as_many_copd`.
# Before any block has run, the late stages of COPD are nearer by {glue:text}`copd_start` and those of Parkinson's disease by {glue:text}`parkinson_start` (a share of the mean distance to the start; below zero they are farther).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How much nearer the stages 5 to 9 lie to stage 0 than the stages 3 and 4, as a share of the mean distance to stage 0, for the two diseases singled out by the paper; thin lines are the twelve processes, each for itself. Ringed points are significant against shuffled orders, corrected over states. A value above zero is what the paper describes.", "name": "fig-progression-late"}, "image": {"alt": "Two thick curves over layers, Parkinson's disease and COPD, among twelve thin dashed curves of everyday processes, around a zero line."}}
_, axes = plt.subplots()
for i, (_, rows) in enumerate(main["processes"].groupby("item")):
    look = figures.LOOKS["control"] | dict(marker="", lw=0.8, alpha=0.6)
    name = "processes" if i == 0 else None
    axes.plot(rows["layer"], rows["late_return"], label=name, **look)
for item, look in (("Parkinson's disease", "medical"), ("COPD", "other")):
    rows = main["progression"].query("item == @item")
    curve = rows[["layer", "late_return"]].set_axis(["layer", "value"], axis=1)
    figures.curve(axes, curve, look, item, known["progression"])
    sure = curve[rows["significant_late_return"].to_numpy()]
    axes.plot(*sure.to_numpy().T, "o", mfc="none", color="black", ms=8)
axes.axhline(0, color="0.6", lw=1)
axes.set(ylabel="late stages nearer to the start")
axes.legend(ncol=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))
plt.show()

# %% [markdown]
# The pictures below are of {glue:text}`shown_layer`, the middle of the model.

# %%
shown = {
    "Parkinson's disease": "progression",
    "COPD": "progression",
    "metamorphosis": "processes",
    "chess playing": "processes",
}
shown_layer = model.n_layers // 2
means = {name: states[name]["mean"][:, :, free].mean(axis=2) for name in series}
drawn = {
    item: means[name][
        shown_layer, list(prompts[name]["series"].unique()).index(item)
    ]
    for item, name in shown.items()
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Distances between the stages in the raw states, by rank among the 45 pairs. A path is dark along the diagonal and light in the far corners; a ring would be dark in the corners too.", "name": "fig-progression-distances"}, "image": {"alt": "Four matrices of ten by ten stages: Parkinson's disease, COPD, metamorphosis and chess playing, coloured by the rank of the distance."}}
stage_figures.apart({k: stages.distances(x) for k, x in drawn.items()})
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same stages on the two first principal components of their own ten means, joined in order. A flat picture of a path in many dimensions bends easily; the title says how much of the variance it shows.", "name": "fig-progression-paths"}, "image": {"alt": "Four paths of ten numbered points: Parkinson's disease, COPD, metamorphosis and chess playing."}}
looks = {"progression": "medical", "processes": "control"}
stage_figures.paths(drawn, {item: looks[name] for item, name in shown.items()})
plt.show()

# %% [markdown]
# ## Words and lengths
#
# Neighbouring stages are often written with the same words, and late ones can be longer: a line can be spelled out before a model has read anything.
# Over all pairs of stages of a disease, their distance has a mean rank correlation of {glue:text}`words` with the share of words that they do not have in common ({glue:text}`words_control` for processes) and of {glue:text}`lengths` with their difference in tokens ({glue:text}`lengths_control`).
# Both are taken out of the ranks of the distances, and what is left is tested like the distances themselves.

# %%
shares = {
    name: stages.cause_shares(
        stages.distances(means[name]),
        causes[name],
        list(f["series"].unique()),
        ["tokens", "words"],
    )
    for name, f in prompts.items()
}
space = "raw, corrected"
left = {name: views.query(here).copy() for name, views in seen.items()}
for table in left.values():
    table["significant_line"] = stages.significant(table, "p_line")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How much like a line (above) and how much more like a ring (below) the stages are, as they are and with text length and shared words taken out. Mean over twelve diseases or processes with 95 % bootstrap interval over them. State 0 is the mean of the tokens' embeddings: words without any context.", "name": "fig-progression-words"}, "image": {"alt": "Four panels of curves over layers: line correlation and circularity for diseases and for processes, each with and without correction."}}
figure, grid = plt.subplots(
    2, 2, figsize=(7.6, 5.2), sharex=True, sharey="row", layout="constrained"
)
for column, name in zip(grid.T, series, strict=True):
    for axes, measure in zip(column, ("line", "circularity"), strict=True):
        figures.curve(
            axes, curves[measure][name], looks[name], "as they are", known[name]
        )
        corrected = mean_curve(left[name], measure)
        figures.curve(
            axes,
            corrected,
            "other",
            "length and words taken out",
            known[name],
        )
        axes.axhline(0, color="0.6", lw=1)
    column[0].set(title=name, xlabel="")
for axes, label in zip(
    grid[:, 0], ("like a line", "ring minus line"), strict=True
):
    axes.set_ylabel(label)
figures.legend(figure, grid.flat)
plt.show()

# %% [markdown]
# With both taken out, {glue:text}`n_line_corrected` of the diseases and {glue:text}`n_line_corrected_control` of the processes have a state that is significantly like a line.

# %% [markdown]
# ## Places, wordings and spaces
#
# The same average over the states, elsewhere: at the last token of the description and of the prompt, in each template by itself, on {glue:text}`n_components` principal components, and without the three dimensions of the largest mean square, since one token with huge activations can take a stage far from all others.
# In `numbered` the sentence names the number of the stage before it describes it.

# %%
views = {}
for name, table in seen.items():
    for key, rows in table.groupby(["place", "wording", "space"], sort=False):
        for measure in ("line", "circularity"):
            found = stages.over_states(rows, measure, seed)
            views[name, ", ".join(key), measure] = found._asdict()
views = pd.DataFrame(views).T.rename_axis(["domain", "view", "measure"])
named = {
    "mean, unnumbered, raw": "as above",
    "entity, unnumbered, raw": "last token of description",
    "last, unnumbered, raw": "last token of prompt",
    "mean, unnumbered, raw, corrected": "length, words taken out",
    "mean, unnumbered, raw, without 3 dimensions": "3 dimensions dropped",
    f"mean, unnumbered, pca{n_components}": f"{n_components} components",
} | {f"mean, {name}, raw": f"template {name}" for name in templates}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The mean over series and states after the blocks, with its 95 % bootstrap interval over series, in each view. The first row is that of the figures above: mean over the tokens of the description, templates without the number, raw states; each other row changes one thing.", "name": "fig-progression-views"}, "image": {"alt": "Two panels of points with interval bars, a row for each view, diseases and processes beside each other."}}
figure, grid = plt.subplots(
    1, 2, figsize=(7.6, 4.6), sharey=True, layout="constrained"
)
for axes, measure in zip(grid, ("line", "circularity"), strict=True):
    for name, shift in zip(series, (-0.15, 0.15), strict=True):
        rows = views.xs((name, measure), level=("domain", "measure"))
        rows = rows.loc[list(named)]
        look = figures.LOOKS[looks[name]] | dict(linestyle="")
        if not known[name]:
            look["color"] = figures.NOT_KNOWN
        axes.errorbar(
            rows["value"],
            np.arange(len(rows)) + shift,
            xerr=[rows["value"] - rows["low"], rows["high"] - rows["value"]],
            label=name if known[name] else f"{name}, not known",
            **look,
        )
    axes.axvline(0, color="0.6", lw=1)
    axes.set(yticks=range(len(rows)), yticklabels=named.values())
grid[0].set(xlabel="like a line")
grid[1].set(xlabel="ring minus line")
grid[0].invert_yaxis()
figures.legend(figure, grid)
plt.show()

# %% [markdown]
# ## Does UMAP bend a line into a ring?
#
# The paper's scores are taken after UMAP to 30 dimensions and its pictures after UMAP to two.
# All stage means of a domain are put through both, {glue:text}`n_seeds` times with different seeds, on three states.
# Of the {glue:text}`n_umap` pairs of a series and a state, {glue:text}`raw_rings` are more like a ring than a line in the raw states.
# Of those that are not, UMAP to 30 dimensions makes {glue:text}`umap30_made` more like a ring, and UMAP to two {glue:text}`umap2_made` (mean over seeds); of those that are, it makes {glue:text}`umap30_lost` and {glue:text}`umap2_lost` more like a line.
# In two dimensions {glue:text}`umap_flips` of all pairs are on one side with one seed and on the other with another.

# %%
at = sorted({max(1, round(model.n_layers * part / 4)) for part in (1, 2, 3)})
seeds = range(seed, seed + n_seeds)
in_umap, trust = {}, {}
for name, f in prompts.items():
    in_umap[name], trust[name] = stages.in_umap(
        means[name], list(f["series"].unique()), at, seeds
    )
bent = pd.concat(in_umap, names=["domain"]).reset_index("domain")
bent = bent.merge(
    pd.concat(main)[["layer", "item", "circularity"]],
    on=["layer", "item"],
    suffixes=("", "_raw"),
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Circularity in UMAP against that of the raw states, for each disease and process on three states: the mean over seeds, and a bar from the lowest to the highest seed. On the diagonal UMAP changes nothing; in the upper left quarter it makes a ring of what is a line.", "name": "fig-progression-umap"}, "image": {"alt": "Two scatter plots, UMAP to 30 and to 2 dimensions, of circularity in UMAP against raw circularity, with bars over seeds and a diagonal."}}
figure, grid = plt.subplots(
    1, 2, figsize=(7.6, 3.8), sharex=True, sharey=True, layout="constrained"
)
for axes, space in zip(grid, ("umap30", "umap2"), strict=True):
    for name in series:
        rows = bent.query("space == @space and domain == @name")
        spread = rows.groupby(["layer", "item"]).agg(
            raw=("circularity_raw", "first"),
            mean=("circularity", "mean"),
            low=("circularity", "min"),
            high=("circularity", "max"),
        )
        look = figures.LOOKS[looks[name]] | dict(linestyle="", alpha=0.7)
        if not known[name]:
            look["color"] = figures.NOT_KNOWN
        error = [
            spread["mean"] - spread["low"],
            spread["high"] - spread["mean"],
        ]
        axes.errorbar(
            spread["raw"],
            spread["mean"],
            yerr=error,
            lw=0.8,
            label=name if known[name] else f"{name}, not known",
            **look,
        )
    axes.axline((0, 0), slope=1, color="0.6", lw=1)
    axes.axhline(0, color="0.6", lw=0.6)
    axes.axvline(0, color="0.6", lw=0.6)
    axes.set(title=f"UMAP to {space[4:]} dimensions", xlabel="raw circularity")
grid[0].set_ylabel("circularity in UMAP")
figures.legend(figure, grid)
plt.show()

# %% [markdown]
# The trustworthiness of the pictures in two dimensions is {glue:text}`trust` on average, where 1 is best.

# %% [markdown]
# ## The numbers


# %%
def written(interval, digits=2):
    """An interval as the prose quotes it, without a minus before zero."""
    value, low, high = (f"{x:.{digits}f}".replace("-", "−") for x in interval)
    return f"{value} ({low} to {high})"


def note(key, interval):
    run.number(key, interval.value, written(interval))


def at_start(table, measure):
    rows = table[table["layer"] == 0]
    return stats.bootstrap(rows[measure].to_numpy(), seed=seed)


def gained(table, measure):
    """The mean over the states after the blocks less the value before them."""
    values = table.pivot(index="item", columns="layer", values=measure)
    return stats.bootstrap(
        values.drop(columns=0).mean(axis=1) - values[0], seed=seed
    )


def with_any(table, column):
    return int(table.groupby("item")[column].any().sum())


for name, end in (("progression", ""), ("processes", "_control")):
    for measure in ("line", "ring", "circularity"):
        note(measure + end, stages.over_states(main[name], measure, seed))
    note(f"line_start{end}", at_start(main[name], "line"))
    note(f"line_gain{end}", gained(main[name], "line"))
    note(f"line_corrected{end}", stages.over_states(left[name], "line", seed))
    note(f"bar{end}", stages.over_states(loops[name], "bar", seed))
    for cause, key in (("words", "words"), ("tokens", "lengths")):
        rows = shares[name][shares[name]["cause"] == cause]
        note(key + end, stages.over_states(rows, "value", seed))
    for key, column in (
        ("n_ring", "significant_circularity"),
        ("n_line", "significant_line"),
    ):
        run.number(key + end, with_any(main[name], column))
    run.number(
        f"n_line_corrected{end}", with_any(left[name], "significant_line")
    )
    run.number(f"n_loop{end}", with_any(loops[name], "significant"))
    late = main[name].query("layer > 0")["csfs"].ge(5)
    n = main[name]["item"].nunique()
    run.number(f"late_csfs{end}", late.mean() * n, f"{late.mean() * n:.1f}")
both = main["progression"], main["processes"]
sure = pd.concat(both).query("significant_circularity")
at_states = [
    f"{item} on {len(rows)} states" if len(rows) > 1 else f"{item} on one state"
    for item, rows in sure.groupby("item", sort=False)
]
run.number("rings_named", ", ".join(at_states) or "none to name")
note(
    "circularity_difference",
    stages.difference_over_states(*both, "circularity", seed),
)
bar_dealt = loops["progression"].query("layer > 0")["null_mean"].mean()
run.number("bar_dealt", bar_dealt, f"{bar_dealt:.2f}")
for key, value in dict(
    n_series=main["progression"]["item"].nunique(),
    n_control=main["processes"]["item"].nunique(),
    n_layers=model.n_layers,
    n_states=model.n_layers + 1,
    n_shuffles=n_shuffles,
    n_deals=n_deals,
    n_components=n_components,
    n_seeds=n_seeds,
).items():
    run.number(key, value)
run.number("shown_layer", shown_layer, f"state {shown_layer}")

# %%
rings = {
    name: stages.counts(table, "circularity", "chance_circularity")
    for name, table in main.items()
}
most = rings["progression"]["value"].idxmax()
row, other = (rings[name].loc[most] for name in series)
run.number("most_rings", int(row["layer"]), f"state {row['layer']:.0f}")
run.number("most_rings_n", int(row["value"]))
run.number("most_rings_control", int(other["value"]))
run.number(
    "rings_by_chance",
    row["expected"],
    f"{row['expected']:.1f} on average and "
    f"{row['low_chance']:.0f} to {row['high_chance']:.0f}",
)

late = {
    name: table.groupby("item").agg(
        states=("late_return", lambda x: (x > 0).sum()),
        sure=("significant_late_return", "sum"),
        start=("late_return", "first"),
    )
    for name, table in main.items()
}
of_states = f"of {model.n_layers + 1} states"
for key, item in (("parkinson", "Parkinson's disease"), ("copd", "COPD")):
    count, sure, start = late["progression"].loc[item]
    run.number(f"late_{key}", int(count), f"{count:.0f} {of_states}")
    run.number(f"late_{key}_significant", int(sure))
    run.number(f"{key}_start", start, f"{start:.2f}".replace("-", "−"))
    as_many = late["processes"]["states"].ge(count).sum()
    run.number(f"as_many_{key}", int(as_many))
half = late["processes"]["states"].gt((model.n_layers + 1) / 2).sum()
run.number("late_processes", int(half), f"{half} of {len(late['processes'])}")
sure = int(late["processes"]["sure"].gt(0).sum())
run.number("late_processes_significant", sure)
chance = main["progression"]["chance_late_return"].mean()
run.number("chance_late", chance, f"{chance:.0%}".replace("%", " %"))

# %%
of_seed = bent.groupby(["space", "domain", "layer", "item"])
sides = of_seed["circularity"].agg(["mean", "min", "max"])
raw = of_seed["circularity_raw"].first().xs("umap2")
run.number("n_umap", len(raw))
run.number("raw_rings", int((raw > 0).sum()))
for space in ("umap30", "umap2"):
    mean = sides.xs(space)["mean"]
    run.number(f"{space}_made", int(((mean > 0) & (raw <= 0)).sum()))
    run.number(f"{space}_lost", int(((mean <= 0) & (raw > 0)).sum()))
flat = sides.xs("umap2")
flips = int(((flat["min"] <= 0) & (flat["max"] > 0)).sum())
run.number("umap_flips", flips)
trusted = pd.concat(trust)["trustworthiness"].mean()
run.number("trust", trusted, f"{trusted:.2f}")

# %% tags=["hide-input"]
MEASURES = ["csfs", "csls", "spearman", "line", "ring", "circularity"]
MEASURES += ["late_return"]
parts = []
for name, table in seen.items():
    where = table.assign(variant=table["place"] + ", " + table["wording"])
    keys = ["variant", "space", "layer", "item"]
    parts.append(where.melt(keys, MEASURES, "metric").assign(domain=name))
    in_main = where.loc[main[name].index]
    tested = [f"p_{measure}" for measure in MEASURES]
    parts.append(in_main.melt(keys, tested, "metric").assign(domain=name))
    of_main = dict(domain=name, space="raw", variant="mean, unnumbered")
    loop = loops[name].rename(columns={"bar": "h1_bar", "p": "p_h1_bar"})
    loop = loop.melt(["layer", "item"], ["h1_bar", "p_h1_bar"], "metric")
    parts.append(loop.assign(**of_main))
    for measure in labels:
        metric = "h1_bar" if measure == "bar" else measure
        curve = curves[measure][name]
        parts.append(curve.assign(metric=metric, **of_main))
    rows = shares[name]
    parts.append(
        rows.assign(metric="distance_with_" + rows["cause"], **of_main)
    )
    count = rings[name].drop(columns=["low_chance", "high_chance"])
    parts.append(count.assign(metric="series_like_a_ring", **of_main))
    rows = in_umap[name]
    of_umap = dict(domain=name, metric="circularity")
    parts.append(
        rows[["layer", "item", "space"]].assign(
            value=rows["circularity"],
            variant="seed " + rows["seed"].astype(str),
            **of_umap,
        )
    )
    rows = trust[name].rename(columns={"trustworthiness": "value"})
    parts.append(
        rows[["layer", "value"]].assign(
            variant="seed " + rows["seed"].astype(str),
            domain=name,
            metric="trustworthiness",
            space="umap2",
        )
    )
table = pd.concat(parts)
table = table[table.columns.intersection(results.COLUMNS)]
run.save(table.assign(component="residual stream"))

# %%
columns = ["csfs", "csls", "spearman", "line", "ring", "circularity"]
pd.concat(
    {
        name: table.query("layer > 0")
        .groupby("item")[columns + ["late_return"]]
        .mean()
        .join(loops[name].query("layer > 0").groupby("item")["bar"].mean())
        for name, table in main.items()
    }
).style.format("{:.2f}")

# %% [markdown]
# The table holds the mean over the states after the blocks for each disease and process.
#
# ## What would change our mind
#
# - A disease whose stages are significantly more like a ring than shuffled orders on raw states, on several neighbouring layers and in every wording, where the processes are not.
# - A loop in H1 that the templates agree about, and whose order is that of the stages.
# - Other descriptions of the same stages, by another hand and with fewer words in common, that keep the line: then it would be the order of the disease, and not of these sentences.
#
# ## What this cannot show
#
# Twelve diseases are few: intervals over them are wide, and they hold the descriptions of each disease still.
# Ten points allow coarse tests only; a weak ring inside other differences between the stages would go unseen, and so would a ring that only some of the stages form.
# Shuffled orders ask whether there is any order of this kind; they do not ask whether a model knows the stage, and a line of words passes.
# Taking shared words and length out leaves synonyms and phrases that only look different, and it also takes out what is true of both words and disease.
# Stages 5 to 9 of a disease are often written around the same finding, which draws them together whatever the model makes of them.
# The average over templates keeps what they agree about, and what one wording alone does is in the rows of the single templates.
# A path that could be read off need not be read by the model.
# In UMAP {cite:p}`mcinnes2018umap`, distances between clumps are not to be read: how far such pictures may be trusted is disputed {cite:p}`chari2023specious,lause2024elephant`.
# What a model of 135 or 270 million weights shows need not hold for one of 70 billion, and the paper's claim was made of far larger models.
# The technique is one of those of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/progression.md).
