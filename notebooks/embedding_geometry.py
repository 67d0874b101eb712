# %% [markdown]
# # Do image tokens and text tokens lie differently in the model?
#
# {glue:text}`verdict`.
#
# - What a block adds to the stream is linear, on pictures and wordings that the map was not fitted on, to {glue:text}`update_image` for image tokens and {glue:text}`update_text` for text tokens (without the {glue:text}`n_largest` dimensions that it changes most {glue:text}`update_few_image` and {glue:text}`update_few_text`; a share of the variance, range over blocks: one is exact, zero no better than the mean, and below zero worse than that; what the same states say of tokens of other pictures is {glue:text}`update_control`); with what the stream carries along for free it is {glue:text}`full_image` and {glue:text}`full_text`.
# - One direction takes {glue:text}`anisotropy_image` of the variance of image tokens and {glue:text}`anisotropy_text` of that of text tokens; without the {glue:text}`n_largest` largest dimensions {glue:text}`anisotropy_few_image` and {glue:text}`anisotropy_few_text`.
# - The intrinsic dimension is {glue:text}`dimension_image` for image tokens and {glue:text}`dimension_text` for text tokens; Gaussian clouds of the same covariance have {glue:text}`gaussian_image` and {glue:text}`gaussian_text`. {glue:text}`scale`.
# - Left out of all ranges and counts, for too few distinct tokens: {glue:text}`left_out`.
# - {glue:text}`order_of_b`; the block whose own contribution to image tokens is the most linear is {glue:text}`peak`.
# - Two numbers come out whatever the data are: in-sample linearity of as many tokens as dimensions or fewer is {glue:text}`few_tokens`; and of copies in a cloud, {glue:text}`copies`.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run embedding_geometry`.

# %% tags=["parameters", "remove-cell", "images"]
model_name = (
    "scans-llava"  # a name of `medlib models`, a Hub id or a local folder
)
n_scenes = 120  # held-out pictures, each with all of its questions [3..]
n_tokens = 24  # tokens of each kind drawn from each prompt; those kept should be several times the dimensions [1..]
every = 2  # measure every so many-th layer [1..]
seed = 0  # draws tokens, folds, groups of scenes and controls [0..]

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd

import medlib
from medlib import figures, scans
from medlib.chapters.embedding_geometry import (
    cloud_shapes,
    embedding_tables,
    linear_steps,
    planted_clouds,
    project_b,
    token_clouds,
    two_traps,
)
from medlib.chapters.embedding_geometry import embedding_figures as draw
from medlib.chapters.embedding_geometry import embedding_prose as say

figures.style()
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    n_scenes=n_scenes,
    n_tokens=n_tokens,
    every=every,
    seed=seed,
)
run = medlib.Run("embedding_geometry", model, parameters, seed)
states = range(0, model.n_layers + 1, every)
steps_at = range(0, model.n_layers, every)

# %% [markdown]
# ## The tokens
#
# Every question about {glue:text}`n_scenes` pictures is read, {glue:text}`n_tokens` tokens of each kind of each prompt.
# Image tokens precede the question and do not see it, so a picture that is asked about again gives the same states again; of the text, what precedes the picture is the same in every prompt, and is not taken at all.
# Rows that repeat an earlier one are no new observations: they are left out and counted.
# Both clouds are cut to the same number of tokens, because every measure below depends on it.

# %%
items = scans.make_items("held-out", n_scenes, seed=seed)
middle = model.n_layers // 2
keep = sorted({0, middle, model.n_layers})
clouds = token_clouds.token_clouds(model, items, n_tokens, seed, keep)
counts = embedding_tables.counts(clouds, model.hidden_size)
counts.style.format(precision=2).hide()

# %% [markdown]
# ## Does the method find what is planted?
#
# As many tokens in as many dimensions as the run has: an exact linear map has to be linear and noise linear by chance only; with no more tokens than dimensions the measure has to refuse, where the formula gives one for noise.
# A cloud of known dimension keeps it when a quarter of it are copies, because they are removed.

# %%
size = clouds["image"].states.shape[1:]
for name, passed, detail in planted_clouds.answers(*size, seed):
    run.check(name, passed, detail)
    print(f"{name}: {detail}")

# %% [markdown]
# ## What could a linear map do?
#
# The score is the share of the variance of the next state that the best linear map explains {cite:p}`razzhigaev2024linear`.
# *Held out* it is fitted on four fifths of the pictures and scored on the others, for text on four fifths of the wordings, since every wording stands under many pictures; *in sample* it is what project B published.
# A held-out score is too low where the fitted tokens are not many times the dimensions, since the map then also fits what is by chance ([how much](../../methods/embedding_geometry.md)).
# The residual stream carries the state along for free, so the block's own contribution, the difference of the two states, is what tells something.

# %%
steps, sums = linear_steps.linear_steps(clouds, steps_at, seed)

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "How much of what a block adds a linear map explains, held out and in sample, with 95 % bootstrap intervals over pictures, the maps held still. Dashed: by chance, that is, the targets of other tokens held out, which is below zero and may lie off the axis, and the rank over the number of tokens less one in sample. Grey band: project B's range in sample. A curve is missing where the tokens are too few for the number to mean anything.", "name": "fig-embedding-update"}, "image": {"alt": "Two panels, image tokens and text tokens, with two curves over blocks and their chance levels: the share of a block's contribution that a linear map explains, held out and in sample."}}
draw.by_kind(
    steps,
    {
        "update_linearity_held_out": "held out",
        "update_linearity": "in sample",
    },
    "linearity of what is added",
    ylim=(-0.3, 1.05),
)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How much of the next state a linear map explains, held out and in sample, and how much a rotation with one scale does (orthogonal Procrustes). 95 % bootstrap intervals over pictures; dashed: by chance.", "name": "fig-embedding-full"}, "image": {"alt": "Two panels, image tokens and text tokens, with three curves over blocks: linearity held out, a rotation with one scale, and linearity in sample, each with its chance level."}}
draw.by_kind(
    steps,
    {
        "linearity_held_out": "linear map, held out",
        "procrustes": "rotation and scale",
        "linearity": "linear map, in sample",
    },
    "share of the next state",
    ylim=(-0.3, 1.05),
)
plt.show()

# %% [markdown]
# ## How stretched are the clouds?
#
# The share of the variance along the first axis, and the mean cosine of two tokens.
# A few huge dimensions are enough to make a cloud a line, so the share is shown without the {glue:text}`n_largest` largest of them too; and each dimension dealt to other tokens keeps every single dimension as it is, and takes away what they do together.

# %%
shapes, without = cloud_shapes.cloud_shapes(clouds, states, seed)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Share of the variance along the first axis (anisotropy), the same without the largest dimensions, and the mean cosine of two tokens, with 95 % jackknife intervals over groups of pictures. Dashed: the share with each dimension dealt to other tokens, and the cosine of unrelated directions, zero. Bands: project B's ranges.", "name": "fig-embedding-anisotropy"}, "image": {"alt": "Three panels of curves over layers for image tokens and text tokens: anisotropy, anisotropy without the largest dimensions, and mean cosine, each with its control."}}
dealt = "dimensions dealt"
chance = {
    "anisotropy": dealt,
    "anisotropy_without_largest": dealt,
    "mean_cosine": "unrelated directions",
}
draw.both_kinds(
    shapes,
    {
        "anisotropy": "first axis, share of variance",
        "anisotropy_without_largest": "without the largest dimensions",
        "mean_cosine": "mean cosine",
    },
    chance,
)
plt.show()

# %% [markdown]
# ## How many dimensions do they have?
#
# TwoNN reads the intrinsic dimension off the ratio of the distances to the two nearest neighbours {cite:p}`facco2017twonn`.
# A Gaussian cloud of the same covariance fills every direction that the cloud has: a cloud with fewer dimensions than that is bent, or in pieces.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Intrinsic dimension by maximum likelihood, duplicates removed, with its 95 % jackknife interval over groups of pictures. Dashed: a Gaussian cloud of the same covariance. A state with too few distinct tokens is not drawn.", "name": "fig-embedding-dimension"}, "image": {"alt": "Curves over layers of the intrinsic dimension of image tokens and of text tokens with interval bands, and dashed curves of Gaussian clouds above them."}}
draw.both_kinds(
    shapes,
    {"dimension": "intrinsic dimension"},
    {"dimension": "Gaussian"},
)
plt.show()

# %% [markdown]
# The nearest neighbours are also where noise lives.
# With fewer tokens they lie further apart, so an estimate that falls with them was measuring noise; one that rises has met the curvature of the cloud, or gaps between its pieces.
# {glue:text}`scale`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Scale check: the maximum-likelihood estimate on all tokens, half and a quarter of them, and the line through the origin on the lowest fifth of the ratios, as project B fitted it. Band: project B's range.", "name": "fig-embedding-scale"}, "image": {"alt": "Two panels, image tokens and text tokens, with four curves of the intrinsic dimension over layers, for all tokens, half, a quarter, and another fit."}}
draw.scale(shapes)
plt.show()

# %% [markdown]
# ## Project B beside this run
#
# The first and the last value over the layers with enough distinct tokens, and the range in brackets; the last column is the least number of distinct tokens.
# Project B's model is larger in every respect, so heights need not agree; the order of image and text tokens is what can be compared.

# %%
both = pd.concat([steps, shapes], ignore_index=True)
project_b.beside_ours(both).style.hide()

# %%
embedding_tables.missing(both).style.hide()

# %% [markdown]
# The table above lists the numbers that are missing, and why; it is empty where nothing was refused.
#
# ## Two traps
#
# ### With no more tokens than dimensions, linearity is one
#
# Project B measured the linearity of {glue:text}`b_tokens` text tokens in {glue:text}`b_hidden` dimensions.
# The same is done here with part of the text tokens of this run, at the block in the middle, and with noise of the same size that has nothing to do with itself.

# %%
text = clouds["text"].states[middle : middle + 2].astype(float)
few = two_traps.few_tokens(text[0], text[1] - text[0], seed)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Linearity of the middle block's contribution over the number of text tokens, and of unrelated noise; in sample, and fitted on four fifths and scored on the rest. Mean and range of three draws; held out, what lies below -1 is drawn there. Grey: dimensions over tokens less one. Left of the line there are no more tokens than dimensions.", "name": "fig-embedding-few"}, "image": {"alt": "Curves of linearity over the number of tokens per dimension: in sample both the states and noise lie at one up to one token per dimension, held out noise lies below zero."}}
draw.few_tokens(few)
plt.show()

# %% [markdown]
# Up to as many tokens as dimensions, in-sample linearity is {glue:text}`few_tokens`.
# The measures of this page refuse such a number and say why.
#
# ### A token that is there twice spoils the dimension
#
# Copies are put among the image tokens of the middle layer, their number held; then the states are taken as they were read, with the pictures that were asked about several times.

# %%
image = clouds["image"]
copied = two_traps.with_copies(image.states[middle].astype(float), seed)
read = two_traps.as_read(image)
read.style.format(precision=2).hide()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Intrinsic dimension of the image tokens of the middle layer with a growing share of exact copies among them, by both fits; mean and range of six draws. Dashed: copies removed. What lies below 0.1 is drawn there.", "name": "fig-embedding-copies"}, "image": {"alt": "Curves of the intrinsic dimension over the share of copies on a logarithmic scale: one fit rises and the other falls to the bottom, the dashed curves without copies stay level."}}
draw.copies(copied)
plt.show()

# %% [markdown]
# By making copies, {glue:text}`copies`.
# On the states as they were read, {glue:text}`repeats_factor`.
#
# ## The numbers
#
# Nothing new is shown here: the numbers in the text above are written into the record, and the rows behind the figures into the table.
# Both can be downloaded under the title of this page.

# %% tags=["hide-input"]
apart = [
    linear_steps.kinds_apart(sums, steps, steps_at, seed),
    cloud_shapes.kinds_apart(without, shapes, states),
]
apart = pd.concat([one for one in apart if len(one)], ignore_index=True)
numbers = {
    "verdict": say.verdict(both, apart),
    "order_of_b": say.order_of_b(both, apart),
    "peak": say.peak(
        *[
            linear_steps.peak(sums["image", metric], steps_at, seed)
            for metric in (linear_steps.MAIN, linear_steps.FEWER)
        ],
        list(steps_at),
        model.n_layers,
        (project_b.PEAK, project_b.BLOCKS),
    ),
}
numbers |= say.curves(both) | say.of_traps(few, read, copied)
numbers |= {
    "n_scenes": (n_scenes, str(n_scenes)),
    "n_tokens": (n_tokens, str(n_tokens)),
    "n_largest": (cloud_shapes.N_LARGEST, str(cloud_shapes.N_LARGEST)),
    "b_tokens": (project_b.TEXT_TOKENS, str(project_b.TEXT_TOKENS)),
    "b_hidden": (project_b.HIDDEN, str(project_b.HIDDEN)),
}
for key, (value, words) in numbers.items():
    run.number(key, value, words)

# %%
pictures = linear_steps.of_pictures(sums, items["scene"].unique(), steps_at)
rows = [
    embedding_tables.results_table(
        steps, shapes, apart, pictures, few, copied, read
    ),
    embedding_tables.drawn(few),
]
run.save(pd.concat(rows, ignore_index=True))

# %% [markdown]
# ## What would change our mind
#
# - Clouds of the same model on pictures of another kind, with another order of image and text tokens.
# - A model whose text tokens, in as many different sentences as there are pictures here, are stretched as its image tokens are: the text of this page comes from few wordings.
# - A held-out linearity that falls to its control: then the in-sample curve was the number of tokens.
# - A dimension that changes with the number of tokens as much as it differs between the kinds.
#
# ## What this cannot show
#
# How a cloud lies says nothing about what it holds, nor whether the model uses it.
# A map that explains much of a block's contribution on average can miss the small part on which an answer hangs.
# The text tokens are those of a few wordings of seven kinds of question and of the chat template, so their cloud is in pieces, a piece for each word, and that is part of every number about text here.
# Wordings share words, and all end with the same pieces of the template, so text held out is not unseen text.
# The pictures are slices of a template with painted lesions and a few others; pictures of patients differ more.
# Intervals are over pictures; they do not cover other wordings or other models.
# The weights of the language model were quantised to 4 bits and de-quantised on loading, if the card says so; the numbers are those of that model.
# Anisotropy and dimension after {cite:t}`razzhigaev2024shape`; the method is on [its own page](../../methods/embedding_geometry.md).
