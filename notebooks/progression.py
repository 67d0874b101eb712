# %% [markdown]
# # Do the stages of a disease run along a line or in a ring?
#
# {glue:text}`verdict`
#
# - Over {glue:text}`n_layers` states, the distances between the ten stages of {glue:text}`n_series` diseases correlate {glue:text}`line` with a line and {glue:text}`ring` with a ring; ring minus line is {glue:text}`circularity`, where a perfect line has {glue:text}`line_perfect` and a perfect ring {glue:text}`ring_perfect`.
# - Everyday processes, {glue:text}`n_control` of them, have a ring minus line of {glue:text}`circularity_control`, which differs by {glue:text}`circularity_difference`.
# - Before any block has run, the words alone give {glue:text}`line_start` with a line, significantly so in {glue:text}`n_line_start` of the diseases, and the blocks change it by {glue:text}`line_gain`; with length and shared words taken out, the line is {glue:text}`line_corrected`, and {glue:text}`line_corrected_start` before any block; at the last token of a description it is {glue:text}`line_entity`, and ring minus line {glue:text}`circularity_entity`.
# - More like a ring than shuffled orders, on any state, are {glue:text}`n_ring` of the diseases ({glue:text}`rings_named`) and {glue:text}`n_ring_control` of the processes, at most 0.6 by chance; loops in any order: {glue:text}`n_loop` and {glue:text}`n_loop_control`, where a planted loop is {glue:text}`loop_found_from`, and a weaker one would go unseen.
# - Late stages lie nearer to the healthy start than middle ones on {glue:text}`late_parkinson` for Parkinson's disease and on {glue:text}`late_copd` for COPD, significantly on {glue:text}`late_parkinson_significant` and {glue:text}`late_copd_significant`; shuffled orders do so {glue:text}`chance_late` of the time.
# - In brackets: 95 % intervals over diseases or processes; what {cite:t}`marinescu2026knowledge` describe is of far larger models, and a model of this size cannot show what one of 70 billion parameters does.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run progression`.

# %% [markdown]
# {glue:text}`knowledge`

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
chat = False  # put prompts through the chat template of the model
n_shuffles = 999  # shuffled orders that each order is held against [19..]
n_deals = 199  # deals of the stages that each loop is held against [19..]
n_components = (
    30  # principal components of all stages of a domain together [2..]
)
n_seeds = 5  # UMAP fits of each state that is drawn [1..]
seed = 0  # deals shuffles and resamples, and starts UMAP [0..]

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd

import medlib
from medlib import concepts, figures, knowledge
from medlib.chapters.progression import (
    planted_stages,
    stage_figures,
    stage_prose,
    stage_tables,
    stage_words,
    stages,
)

figures.style()
model = medlib.load(model_name, chat=chat)
parameters = dict(
    model_name=model_name,
    chat=chat,
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


def note(numbers):
    """Record numbers for the prose: key -> (value, text)."""
    for key, (value, text) in numbers.items():
        run.number(key, value, text)


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
names = {name: list(f["series"].unique()) for name, f in prompts.items()}
states = {name: stages.read(model, f) for name, f in prompts.items()}
causes = {name: stage_words.causes(model, f) for name, f in prompts.items()}
free, numbered = stages.unnumbered("progression")
means = {name: x["mean"][:, :, free].mean(axis=2) for name, x in states.items()}
stages.shown(prompts).style

# %% [markdown]
# ## Does the method find what is planted?
#
# Made-up stages, as many and as wide as the states, in as many templates: a line, a ring, and a ring whose stages are dealt anew in each template, so that its templates agree about nothing.
# Each is made 20 times.

# %%
passed, detail = planted_stages.check(len(free), model.hidden_size, seed)
run.check(
    "a planted line is a line, a ring is a ring, and what is dealt is neither",
    passed,
    detail,
)
print(detail)

# %% [markdown]
# How weak may a ring be?
# Other differences between the stages are added until it drowns.
# In 16 of 20 draws or more, a loop in any order is {glue:text}`loop_found_from`, and a ring in the order of the stages is {glue:text}`ring_found_from`.
# The other differences are the same in all directions here; real ones need not be, and may hide more.

# %%
weaker = planted_stages.weaker_rings(len(free), model.hidden_size, seed)
note(stage_prose.unseen(weaker))
weaker.style.format({"share": "{:.0%}", "bar": "{:.3f}"})

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
main = {name: stages.view(table) for name, table in seen.items()}
note(stage_prose.answer(seen, seed))

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "Circularity, ring minus line, of each disease (above the black line) and each everyday process (below it) on each state: red where the stages are more like a ring, blue where they are more like a line. A black dot marks a ring that is significant against shuffled orders, corrected over the states of its row; no dot, no such ring.", "name": "fig-progression-circularity"}, "image": {"alt": "Heat map with a row for each of twelve diseases and twelve processes and a column for each layer, coloured by circularity around zero."}}
_, axes = plt.subplots(figsize=(7.6, 6.2))
label = "circularity (ring minus line)"
stage_figures.heat_map(
    axes, main, known, "circularity", label, "significant_circularity"
)
plt.show()

# %% [markdown]
# Some rows follow phrases: where a word comes back, its stages lie together whatever the model makes of them.
# The series that are most like a ring on average, and their words that stand in three stages or more (with these stages):

# %%
stage_words.recurring(prompts, main).style.format(precision=2)

# %%
rings = {
    name: stages.counts(table, "circularity", "chance_circularity")
    for name, table in main.items()
}
note(stage_prose.most_rings(rings))

# %% [markdown]
# On the state where most diseases are more like a ring, {glue:text}`most_rings`, it is {glue:text}`most_rings_n` of them, and {glue:text}`most_rings_control` of the processes; shuffled orders would give {glue:text}`rings_by_chance` (95 % of the time).
# The stage nearest to the healthy start is a late one, 5 to 9, in {glue:text}`late_csfs` of the diseases on average over the states and {glue:text}`late_csfs_control` of the processes, and 6.7 of 12 are expected of shuffled orders.
# Significantly like a line, on any state, are {glue:text}`n_line` of the diseases and {glue:text}`n_line_control` of the processes.

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
        states[name]["mean"][:, :, free], names[name], n_deals, seed
    )
    for name in series
}
note(stage_prose.looped(loops, seed))
curves = stage_figures.mean_curves(main, loops, seed)
dealt = loops["progression"].groupby("layer")["null_mean"].mean()
dealt = dealt.rename("value").reset_index()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What path the stages take: mean over twelve diseases and twelve processes with 95 % bootstrap intervals over them, not corrected for the number of layers. First row: rank correlation with a line; ring minus line; how much nearer the stages 5 to 9 lie to stage 0 than the stages 3 and 4, as a share of the mean distance. Second row: the stage nearest to stage 0 (CSFS; 1 for a path); the stage nearest to stage 9 (CSLS; 8 for a path); the longest bar of H1 as a share of the diameter (0.64 for a ring). Dotted: what shuffled orders give on average, and for H1 dealt stages of the diseases.", "name": "fig-progression-measures"}, "image": {"alt": "Six panels of curves over layers, diseases solid and processes dashed with interval bands, and a dotted line for chance in each."}}
stage_figures.measures(curves, known, dealt)
plt.show()

# %% [markdown]
# The longest bar is {glue:text}`bar` of the diameter for diseases and {glue:text}`bar_control` for processes, averaged over the states, and {glue:text}`bar_dealt` and {glue:text}`bar_dealt_control` with dealt stages.
# Means of dealt stages lie about equally far apart, as noise in many dimensions does, and have short bars of their own: a weak loop need not rise above them.

# %% [markdown]
# ## Parkinson's disease and COPD
#
# Late stages nearer to the start than middle ones: on how many of the {glue:text}`n_states` states is that so, and is it more than shuffled orders give?
# For Parkinson's disease it is significant on {glue:text}`late_parkinson_significant` of them, for COPD on {glue:text}`late_copd_significant`; of the processes, {glue:text}`late_processes_significant` have a state on which it is, and {glue:text}`late_processes` do so on more than half of the states.
# As many states as Parkinson's disease, or more, have {glue:text}`as_many_parkinson` of the {glue:text}`n_control` processes, as many as COPD {glue:text}`as_many_copd`.
# Before any block has run, the late stages of COPD are nearer by {glue:text}`copd_start` and those of Parkinson's disease by {glue:text}`parkinson_start` (a share of the mean distance to the start; below zero they are farther).

# %%
note(stage_prose.returns(seen))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How much nearer the stages 5 to 9 lie to stage 0 than the stages 3 and 4, as a share of the mean distance to stage 0, for the two diseases singled out by the paper; thin lines are the twelve processes, each for itself. Ringed points are significant against shuffled orders, corrected over states. A value above zero is what the paper describes.", "name": "fig-progression-late"}, "image": {"alt": "Two thick curves over layers, Parkinson's disease and COPD, among twelve thin dashed curves of everyday processes, around a zero line."}}
stage_figures.late(main, known)
plt.show()

# %% [markdown]
# The processes lie widest apart on {glue:text}`widest`, from {glue:text}`widest_raw`; there, with the three dimensions of the largest mean square dropped, from {glue:text}`widest_without`; the difference is what a few huge activations do.
# The pictures below are of {glue:text}`shown_layer`, the middle of the model.

# %%
shown_layer = model.n_layers // 2
shown = {
    "Parkinson's disease": "progression",
    "COPD": "progression",
    "metamorphosis": "processes",
    "chess playing": "processes",
}
drawn = {
    item: means[name][shown_layer, names[name].index(item)]
    for item, name in shown.items()
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Distances between the stages in the raw states, by rank among the 45 pairs. A path is dark along the diagonal and light in the far corners; a ring would be dark in the corners too.", "name": "fig-progression-distances"}, "image": {"alt": "Four matrices of ten by ten stages: Parkinson's disease, COPD, metamorphosis and chess playing, coloured by the rank of the distance."}}
apart = {
    item: stage_figures.ranked(stages.distances(x)) for item, x in drawn.items()
}
stage_figures.apart(apart)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same stages on the two first principal components of their own ten means, joined in order. A flat picture of a path in many dimensions bends easily; the title says how much of the variance it shows.", "name": "fig-progression-paths"}, "image": {"alt": "Four paths of ten numbered points: Parkinson's disease, COPD, metamorphosis and chess playing."}}
looks = {item: stage_figures.LOOKS[name] for item, name in shown.items()}
flat = {item: stage_figures.flattened(x) for item, x in drawn.items()}
stage_figures.paths(flat, looks)
plt.show()

# %% [markdown]
# ## Words and lengths
#
# Neighbouring stages are often written with the same words, and late ones can be longer: a line can be spelled out before a model has read anything.
# Over all pairs of stages of a disease, their distance has a mean rank correlation of {glue:text}`words` with the share of words that they do not have in common ({glue:text}`words_control` for processes) and of {glue:text}`lengths` with their difference in tokens ({glue:text}`lengths_control`).
# Both are taken out of the ranks of the distances, and what is left is tested like the distances themselves.

# %%
shares = {
    name: stage_words.cause_shares(
        stages.distances(means[name]),
        causes[name],
        names[name],
        ["tokens", "words"],
    )
    for name in series
}
note(stage_prose.words(shares, seed))
left = {
    name: stages.view(table, space="raw, corrected")
    for name, table in seen.items()
}
left_curves = {
    measure: {
        name: stage_figures.mean_curve(table, measure, seed)
        for name, table in left.items()
    }
    for measure in ("line", "circularity")
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How much like a line (above) and how much more like a ring (below) the stages are, as they are and with text length and shared words taken out. Mean over twelve diseases or processes with 95 % bootstrap interval over them. State 0 is the mean of the tokens' embeddings: words without any context.", "name": "fig-progression-words"}, "image": {"alt": "Four panels of curves over layers: line correlation and circularity for diseases and for processes, each with and without correction."}}
stage_figures.corrected(curves, left_curves, known)
plt.show()

# %% [markdown]
# With both taken out, {glue:text}`n_line_corrected` of the diseases and {glue:text}`n_line_corrected_control` of the processes have a state that is significantly like a line.
# For diseases the line is then {glue:text}`line_corrected_start` before any block, and the blocks change it by {glue:text}`line_corrected_gain`; for processes it is {glue:text}`line_corrected_control`, {glue:text}`line_corrected_start_control` and {glue:text}`line_corrected_gain_control`.
# Without the correction, {glue:text}`n_line_start` of the diseases and {glue:text}`n_line_start_control` of the processes have *p* at most 0.05 for a line before any block; processes have a line of {glue:text}`line_start_control` there, which the blocks change by {glue:text}`line_gain_control`.

# %% [markdown]
# ## Places, wordings and spaces
#
# The same average over the states, elsewhere: at the last token of the description and of the prompt, in each template by itself, on {glue:text}`n_components` principal components, and without the three dimensions of the largest mean square, since one token with huge activations can take a stage far from all others.
# In `numbered` the sentence names the number of the stage before it describes it.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The mean over series and states after the blocks, with its 95 % bootstrap interval over series, in each view. The first row is that of the figures above: mean over the tokens of the description, templates without the number, raw states; each other row changes one thing.", "name": "fig-progression-views"}, "image": {"alt": "Two panels of points with interval bars, a row for each view, diseases and processes beside each other."}}
named = {
    "mean, unnumbered, raw": "as above",
    "entity, unnumbered, raw": "last token of description",
    "last, unnumbered, raw": "last token of prompt",
    "mean, unnumbered, raw, corrected": "length, words taken out",
    "mean, unnumbered, raw, without 3 dimensions": "3 dimensions dropped",
    f"mean, unnumbered, pca{n_components}": f"{n_components} components",
}
for name in concepts.templates("progression"):
    named[f"mean, {name}, raw"] = f"template {name}"
by_view = stage_tables.by_view(seen, seed)
stage_figures.views(by_view, named, known)
plt.show()

# %% [markdown]
# ## Does UMAP bend a line into a ring?
#
# The paper's scores are taken after UMAP to 30 dimensions and its pictures after UMAP to two.
# All stage means of a domain are put through both, {glue:text}`n_seeds` times with different seeds, on three states.
# Of the {glue:text}`n_umap` pairs of a series and a state, {glue:text}`raw_rings` are more like a ring than a line in the raw states.
# Of those that are not, UMAP to 30 dimensions makes {glue:text}`umap30_made` more like a ring, and UMAP to two {glue:text}`umap2_made` (mean over seeds); of those that are, it makes {glue:text}`umap30_lost` and {glue:text}`umap2_lost` more like a line.
# In two dimensions {glue:text}`umap_flips` of all pairs are on one side with one seed and on the other with another; the trustworthiness of these pictures is {glue:text}`trust` on average, where 1 is best.

# %%
at = sorted({max(1, round(model.n_layers * part / 4)) for part in (1, 2, 3)})
in_umap, trust = {}, {}
for name in series:
    in_umap[name], trust[name] = stages.in_umap(
        means[name], names[name], at, range(seed, seed + n_seeds)
    )
bent = stage_prose.beside_raw(in_umap, main)
note(stage_prose.in_umap(bent, pd.concat(trust)))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Circularity in UMAP against that of the raw states, for each disease and process on three states: the mean over seeds, and a bar from the lowest to the highest seed. On the diagonal UMAP changes nothing; in the upper left quarter it makes a ring of what is a line.", "name": "fig-progression-umap"}, "image": {"alt": "Two scatter plots, UMAP to 30 and to 2 dimensions, of circularity in UMAP against raw circularity, with bars over seeds and a diagonal."}}
stage_figures.in_umap(bent, known)
plt.show()

# %% [markdown]
# The paper's own scores on these states, CSFS (the stage nearest to the first) and CSLS (nearest to the last), in the raw states and after UMAP: the mean stage, and how often it is in the wrong half, which a loop would make and chance makes in 5 of 9.

# %%
stage_prose.paper_scores(bent).style.format("{:.2f}")

# %% tags=["remove-cell"]
counted = dict(
    n_series=len(names["progression"]),
    n_control=len(names["processes"]),
    n_layers=model.n_layers,
    n_states=model.n_layers + 1,
    n_shuffles=n_shuffles,
    n_deals=n_deals,
    n_components=n_components,
    n_seeds=n_seeds,
)
note({key: (value, str(value)) for key, value in counted.items()})
run.number("shown_layer", shown_layer, f"state {shown_layer}")

# %% tags=["remove-cell"]
points = {item: way for item, (way, _) in flat.items()}
of_shown = (apart, points, shown_layer, shown)
rows = [
    stage_tables.table(
        seen, curves, loops, shares, rings, in_umap, trust, weaker
    ),
    stage_tables.drawn(*of_shown, by_view, left_curves, dealt),
]
run.save(pd.concat(rows, ignore_index=True))

# %% [markdown]
# ## The numbers
#
# The mean over the states after the blocks for each disease and process.

# %%
stage_tables.means(main, loops).style.format("{:.2f}")

# %% [markdown]
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
# The average over templates keeps what they agree about, and what one wording alone does is in the rows of the single templates.
# A path that could be read off need not be read by the model.
# In UMAP {cite:p}`mcinnes2018umap`, distances between clumps are not to be read: how far such pictures may be trusted is disputed {cite:p}`chari2023specious,lause2024elephant`.
# The technique is one of those of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/progression.md).
