# %% [markdown]
# # Does a layer's cloud of states collapse?
#
# {glue:text}`verdict`
#
# - A series is one domain in one wording, read at one place of the prompt: {glue:text}`n_items` items over all layers, so an effective rank of at most {glue:text}`rank_limit`; it collapses at a layer whose rank falls below {glue:text}`deep` of its best before and of its best after, 95 % interval included ({glue:text}`n_raw` single layers of {glue:text}`n_clouds` in medicine, {glue:text}`n_raw_control` of {glue:text}`n_clouds_control` in the controls).
# - With all states scaled to one length, {glue:text}`n_rms` and {glue:text}`n_rms_control` layers collapse; without the {glue:text}`n_largest` dimensions that are largest on the *other* domains, {glue:text}`n_still` of the {glue:text}`n_raw` medical layers still do and {glue:text}`n_still_control` of the {glue:text}`n_raw_control` of the controls, and {glue:text}`n_new` and {glue:text}`n_new_control` do that had not.
# - {glue:text}`opening`
# - Leaving these dimensions out changes the silhouette above shuffled labels by {glue:text}`silhouette_collapsed` where medical series collapse and by {glue:text}`silhouette_other` at their other layers; in the controls by {glue:text}`silhouette_collapsed_control` and {glue:text}`silhouette_other_control` (95 % bootstrap intervals over items).
# - A small model's large dimensions need not be those of one of 70 billion parameters, so this does not say why the layers of a large one look collapsed.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run collapse`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
chat = False  # put prompts through the chat template of the model
domains = "age diseases dosage drugs progression symptoms"  # medical domains, each beside the control that it names
n_items = 48  # items drawn from each domain and control, at most as many as the smallest has: an effective rank grows with their number [3..]
n_largest = 3  # dimensions left out of each state, the largest of the other domains [1..]
counts = "1 5 10 20"  # other numbers of dimensions to leave out, for a table
place = "mean"  # where the curves are read: entity (its last token), mean (over the entity) or last (of the prompt) [entity | mean | last]
seed = (
    0  # draws items, groups to leave out, shuffled labels and resamples [0..]
)

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import medlib
from medlib import concepts, figures, knowledge
from medlib.chapters.collapse import (
    clouds,
    collapse_figures,
    collapse_prose,
    collapse_tables,
    depths,
    labels,
    large_dimensions,
    planted,
)
from medlib.states import PLACES, opens, states_at

figures.style()
controls = concepts.controls(domains)
names = list(dict.fromkeys(n for pair in controls.items() for n in pair))
n_drawn = clouds.as_many_of_each(names, n_items)
model = medlib.load(model_name, chat=chat)
parameters = dict(
    model_name=model_name,
    chat=chat,
    domains=domains,
    n_items=n_items,
    n_largest=n_largest,
    counts=counts,
    place=place,
    seed=seed,
)
run = medlib.Run("collapse", model, parameters, seed)

# %%
known, said = knowledge.knows(model, names, seed)
run.number("knowledge", said)

# %% [markdown]
# {glue:text}`knowledge`
#
# ## Does the method find what is planted?
#
# Made-up clouds, as many and as wide as the states, are planted in the middle third of the layers of two made-up domains.
# One huge dimension has to look like a collapse and be gone when the largest dimensions of the other domain are left out; a cloud of two directions has to stay; noise must show neither.

# %%
for name, passed, detail in planted.answers(
    n_drawn, model.hidden_size, model.n_layers, n_largest, seed
):
    run.check(name, passed, detail)
    print(f"{name}: {detail}")

# %% [markdown]
# ## The states
#
# Every item stands in every template, and the residual stream is read at three places: the last token of the item (*entity*), the mean over the item's tokens (*mean*), and the last token of the prompt (*last*).
# Where an item opens the prompt, and no special token stands before it, its mean takes in the first token that the model reads, which often carries activations far larger than any other {cite:p}`sun2024massive`.

# %%
frames = {name: clouds.items(name, n_drawn, seed) for name in names}
at = {
    (where, name): states
    for name, frame in frames.items()
    for where, states in states_at(model, list(frame["prompt"])).items()
}
collapse_tables.domains(frames).style

# %%
other_counts = [int(count) for count in counts.split()]
most = max([n_largest, *other_counts])
means = {key: large_dimensions.shares(x).mean(axis=1) for key, x in at.items()}
ordered = large_dimensions.of_each_place(means, most)
largest = {key: found[:, :n_largest] for key, found in ordered.items()}

# %% [markdown]
# ## Where does a cloud collapse?
#
# Each template is a cloud of its own.
# Its *depth* at a layer is its effective rank over the smaller of two numbers: the best rank at any layer before, and the best at any layer after.

# %%
signs = {
    (where, name): clouds.clouds(
        states,
        frames[name],
        largest[where, name],
        clouds.SIGNS if where == place else ["effective_rank"],
        seed=seed,
    )
    for (where, name), states in at.items()
}
found = depths.every_depth(signs, frames)

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "Depth of each cloud: its effective rank over the smaller of the best before and the best after, that of the deepest wording, 1 and above in white. A number says in how many wordings the cloud collapses. Columns: states as they are, scaled to one length, and without the dimensions that are largest on the other domains. Rows: the three places to read, each medical domain above its control. Medical domains that the model does not show that it knows are in brackets.", "name": "fig-collapse-depth"}, "image": {"alt": "Nine heat maps, domains by layers: three ways to prepare the states by three places to read them. Dark cells are low effective ranks between higher ones, and numbers count the wordings that collapse."}}
collapse_figures.depth_maps(found, controls, known, PLACES)
plt.show()

# %% [markdown]
# The counts are of layers of clouds, and not corrected: of clouds that lie on the bound itself, at most 2.5 % would be counted by chance.
# Layers next to each other are alike, so those of one series that collapse are few events, not many.
# The deepest fall of a medical cloud goes down to {glue:text}`deepest`.

# %%
collapse_tables.counts(found, controls).style

# %% [markdown]
# ### How many dimensions to leave out
#
# Of the series and layers that collapse as they stand, how many still do when so many dimensions are left out, and how many do that had not (*new*): then the dimensions held open what closes without them.

# %%
without = depths.by_count(at, frames, ordered, other_counts, seed)
usual = found[found["space"] == "without largest"].assign(count=n_largest)
every_count = pd.concat([without, usual], ignore_index=True)
collapse_tables.by_count(found, every_count, controls).style.hide()

# %% [markdown]
# ## The effective rank
#
# The curves are the mean over templates at the place *{glue:text}`place`*.
# By default that is the mean over the item, the one place where every token of it has a say; the figure above shows the other two.
# The signs are of the centred cloud, but for the mean cosine: there the common direction is what is measured.

# %%
ranks = depths.curves(signs, place, "effective_rank", log=True)
cosines = depths.curves(signs, place, "mean_cosine")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Effective rank: the number of equally strong directions with the same entropy, mean over templates. It cannot pass the number of items less one. Lines with markers and bands: states as they are, with the 95 % jackknife interval over items. Thin lines: scaled to one length (dotted) and without the largest dimensions of the other domains (full).", "name": "fig-collapse-rank"}, "image": {"alt": "Six panels of effective rank over layers, one for each medical domain with its control: raw states with bands, scaled and without the largest dimensions as thin lines."}}
collapse_figures.curves(ranks, controls, known, "effective rank")
plt.show()

# %% [markdown]
# A cloud can also be narrow without being flat: its states may all point the same way.
# The mean cosine says so, and how much of it is the work of a few dimensions is seen when these are left out.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean cosine of two states of one cloud, mean over templates, with the 95 % jackknife interval over items; one is a single direction. Thin lines: without the largest dimensions of the other domains.", "name": "fig-collapse-cosine"}, "image": {"alt": "Six panels of mean cosine over layers, one for each medical domain with its control, each also without the largest dimensions."}}
thin = ["without largest"]
collapse_figures.curves(cosines, controls, known, "mean cosine", thin)
plt.show()

# %%
size = {
    name: large_dimensions.max_over_median(
        at[place, name], frames[name], largest[place, name]
    )
    for name in names
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Three more signs at each layer: the share of the variance in the first principal component, the intrinsic dimension, and the largest over the median absolute activation. Markers: states as they are, mean over domains and templates, the band from the lowest to the highest domain. Thin lines: without the largest dimensions of the other domains.", "name": "fig-collapse-signs"}, "image": {"alt": "Three panels of curves over layers, medical domains and controls: first component, intrinsic dimension and largest over median activation, each with a band over domains and without the largest dimensions."}}
sign_means = collapse_tables.sign_means(signs, size, controls, place)
collapse_figures.signs(sign_means)
plt.show()

# %% [markdown]
# ## Which dimensions are large?
#
# Each dimension's share of the squared length of a state, averaged over items, templates and domains.
# Evenly spread, each would have {glue:text}`even` %.
# The largest of the medical domains is {glue:text}`largest`.

# %%
mean_share = {
    side: np.mean([means[place, name] for name in of], axis=0)
    for side, of in (("medical", controls), ("control", controls.values()))
}
top = np.argsort(-np.max(mean_share["medical"], axis=0), kind="stable")[:8]

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The eight dimensions that reach the largest share of the squared length at any state of the medical domains, in the order of that share, and the same dimensions in the controls.", "name": "fig-collapse-dimensions"}, "image": {"alt": "Two heat maps of eight dimensions by states, medical domains and controls: the share of the squared length that each dimension takes."}}
collapse_figures.dimensions(mean_share, top)
plt.show()

# %%
collapse_tables.large(mean_share, top).style.format(precision=0).hide()

# %% [markdown]
# Of its {glue:text}`n_largest` largest dimensions, a medical domain shares {glue:text}`in_common` with its control (mean over layers; the range is that of the domains).
#
# ## Do the labels show again?
#
# The silhouette says whether items with one label lie closer together than to the others; it is held against the same labels dealt to other items, since the more labels a domain has, the lower it is by itself.
# If a few large dimensions hide the labels, it has to rise when they are left out, and most where the cloud collapses; so those layers are set beside the other layers of the same series.
# The label is the first that the domain's table names.

# %%
scores = labels.everywhere(at, frames, largest, seed)
curves = labels.over_layers(scores, place, seed)
labelled = {
    m: c for m, c in controls.items() if {m, c} <= {d for d, _ in curves}
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Silhouette by the first label of each domain above that of shuffled labels, mean over items and templates. Lines with markers and bands: states as they are, with the 95 % bootstrap interval over items. Thin lines: without the largest dimensions of the other domains.", "name": "fig-collapse-silhouette"}, "image": {"alt": "Panels of silhouettes above shuffled labels over layers, one for each medical domain with its control, as the states are and without the largest dimensions."}}
ylabel = "silhouette above shuffled labels"
if labelled:
    collapse_figures.curves(curves, labelled, known, ylabel, thin, centre=0)
    plt.show()

# %%
raw = found[found["space"] == "raw"]
for end, of in (("", controls), ("_control", controls.values())):
    gains = labels.gains(scores, raw, list(of), seed)
    for name, (value, text) in collapse_prose.gained(gains).items():
        run.number(f"silhouette_{name}{end}", value, text)

# %% [markdown]
# Where series collapse, leaving the dimensions out changes the silhouette by {glue:text}`silhouette_difference` more than at the other layers of these series, and in the controls by {glue:text}`silhouette_difference_control`.
#
# ## The numbers

# %%
in_common = {
    domain: large_dimensions.overlap(
        means[place, domain], means[place, control], n_largest
    )[1:].mean()
    for domain, control in controls.items()
}
numbers = collapse_prose.counted(found, controls) | collapse_prose.constants(
    depths.DEEP, n_drawn, n_largest, place, model.hidden_size, in_common
)
numbers["opening"] = collapse_prose.opening(
    raw[raw["domain"].isin(list(controls))],
    frames,
    lambda prompt: opens(model, prompt),
)

# %%
medical = found[found["domain"].isin(list(controls))]
numbers["deepest"] = collapse_prose.deepest(medical)
numbers["largest"] = collapse_prose.largest(mean_share, top)
for key, (value, text) in numbers.items():
    run.number(key, value, text)

# %%
share = pd.concat(
    large_dimensions.share_of(
        at[place, name], frames[name], largest[place, name]
    ).assign(domain=name)
    for name in names
)
every_depth = pd.concat([found, without.drop(columns="count")])
drawn = {
    "effective_rank_over_templates": ranks,
    "mean_cosine_over_templates": cosines,
    "silhouette_above_shuffled_over_items": curves,
}
rows = [
    collapse_tables.results_table(
        every_depth, signs, scores, frames, size, share, place
    ),
    collapse_tables.drawn(found, drawn, sign_means, mean_share, top, place),
]
run.save(pd.concat(rows, ignore_index=True))

# %% [markdown]
# Each sign, states as they are, as a mean over the layers of clouds that collapse at the place *{glue:text}`place`*, and over the others of the domain.

# %%
collapse_tables.signs_where(
    found, signs, size, frames, place
).style.hide().format(precision=2, na_rep="")

# %% [markdown]
# ## What would change our mind
#
# - Collapsed clouds that stay so without the largest dimensions, in every template, and in the medical domains only.
# - Clouds that collapse at the last token of the prompt, where no item opens the text.
# - Labels that come back in the collapsed clouds, and only there, once the large dimensions are out.
#
# ## What this cannot show
#
# A number of items bounds a rank: a few dozen points cannot fill hundreds of directions, so ranks are compared with one another and not read by themselves.
# The bound of one half is a choice; the figure shows the depths themselves.
# A plateau that never recovers, or a rank that is low from the first layer on, is not counted.
# The intervals leave out items and not wordings; the templates are few, so they are shown apart.
# Between a wording that begins with its item and others, more differs than the first token; that the fall is owed to that token is the likely reading, not a test.
# A large dimension that is left out may carry something that the model uses: that the picture of a cloud depends on it does not make it noise.
# The label of the silhouettes is one of several that a domain has.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so.
# The models in which {cite:t}`marinescu2026knowledge` saw a collapse have hundreds of times as many weights.
# The method is on [its own page](../../methods/collapse.md).
