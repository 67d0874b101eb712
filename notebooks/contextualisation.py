# %% [markdown]
# # How far does a picture change the words behind it?
#
# {glue:text}`verdict`.
#
# - One question, "{glue:text}`question`", to {glue:text}`n_pictures` pictures: from the first to the last third of the layers the cosine between one token's states over pictures (SelfSim) falls by {glue:text}`fall`, and beside what random tokens of other prompts give by {glue:text}`fall_adjusted` (below zero: it rises); without the first layer that is {glue:text}`fall_without_first`, without the first and the last {glue:text}`fall_without_ends`.
# - {glue:text}`not_falling`; {glue:text}`other_questions`.
# - The fall less that with the same tiles in another order is {glue:text}`fall_beyond_raw` as the cosine stands, {glue:text}`fall_beyond` beside random tokens (larger than theirs for {glue:text}`others_beyond`) and {glue:text}`image_beyond` for image tokens; another order takes the arrangement away and leaves each tile as it is.
# - Of the tokens behind the picture {glue:text}`most_changed`; SelfSim is lowest at {glue:text}`lowest`, averaging {glue:text}`self_similarity_text` over the last third of the layers.
# - Image tokens at one place of the grid have a SelfSim of {glue:text}`self_similarity_image` in the last third of the layers; {glue:text}`image_direction`.
# - {glue:text}`n_other` of the pictures are no slices of the template; without them the fall is {glue:text}`slices_only`.
# - A cosine is led by the largest dimensions, so everything is measured again without {glue:text}`n_largest` of them, chosen on {glue:text}`n_choose` other pictures.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run contextualisation`.

# %% tags=["parameters", "remove-cell", "images"]
model_name = "scans-llava"  # a model of image and text: a name of `medlib models`, a Hub id or a local folder
questions = "Is there a lesion? | In which plane is this slice? | What is shown?"  # asked of every picture, divided by |; the answer is about the first
n_pictures = 50  # held-out scenes [12..]
n_places = (
    100  # places of the image tokens' grid, all where it has no more [2..]
)
n_choose = 8  # other pictures, on which the large dimensions are chosen [1..]
n_largest = 3  # dimensions left out of each state [1..]
counts = "1 3 10 30"  # numbers of dimensions to leave out, for a table
seed = 0  # draws scenes, shuffled tiles, random tokens, disjoint pairs and resamples [0..]

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import medlib
from medlib import figures
from medlib.chapters.contextualisation import (
    context_figures,
    context_prose,
    context_tables,
    later_layers,
    pictures_read,
    planted_contexts,
    published,
    token_changes,
)

figures.style()
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    questions=questions,
    n_pictures=n_pictures,
    n_places=n_places,
    n_choose=n_choose,
    n_largest=n_largest,
    counts=counts,
    seed=seed,
)
run = medlib.Run("contextualisation", model, parameters, seed)
asked = pictures_read.asked(questions)
question = asked[0]

# %% [markdown]
# ## Does the method find what is planted?
#
# Made-up states of known cosines must give the SelfSim, MEV and IntraSim that they were made with; a SelfSim that falls over the layers must be found to fall, and a level one must not.
# One large dimension must hide a fall, and leaving it out must bring it back.

# %%
for name, passed, detail in planted_contexts.answers(
    n_pictures, model.hidden_size, model.n_layers, seed
):
    run.check(name, passed, detail)
    print(f"{name}: {detail}")

# %% [markdown]
# ## The pictures
#
# Held-out scenes, each asked the same questions; only tokens behind the picture can know of it.
# So two things must hold before anything is measured: a token in front of the picture is the same whatever is shown, and an image token whatever is asked.

# %%
table, pictures = pictures_read.scenes(n_pictures + n_choose, seed)
scenes, shown = table[:n_pictures], pictures[:n_pictures]
shuffled = [pictures_read.shuffled(p, seed + i) for i, p in enumerate(shown)]
black = [np.zeros_like(shown[0])] * 3

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first pictures (above) and the same with their tiles in random order (below).", "name": "fig-contextualisation-pictures"}, "image": {"alt": "Two rows of six pictures: brain slices and other pictures, and the same cut into tiles that are shuffled."}}
figure, panels = plt.subplots(2, 6, figsize=(9, 3.2), layout="constrained")
for (above, below), one, other in zip(panels.T, shown, shuffled, strict=False):
    above.imshow(one)
    below.imshow(other)
for axes in panels.flat:
    axes.set_axis_off()
plt.show()

# %%
read = pictures_read.read_pictures(model, shown, asked, n_places, seed)
for name, moved in (
    ("a token in front of the picture does not know it", read.front_moves),
    ("an image token does not know the question", read.image_moves),
):
    run.check(
        name, moved < 1e-3, f"moves by at most {moved:.0e} of its largest"
    )

# %%
others = pictures_read.read_pictures(
    model, pictures[n_pictures:], asked, n_places, seed
)
mixed = pictures_read.read_pictures(model, shuffled, asked, n_places, seed)
same = pictures_read.read_pictures(model, black, asked[:1], n_places, seed)
run.number("repeats", read.repeats)
run.number("front", read.front)

# %% [markdown]
# The {glue:text}`front` tokens in front of the picture are left out, and so are {glue:text}`repeats` image states, which are the same for every other question.
#
# ## What a black picture leaves
#
# Asked of one and the same black picture, a token's states cannot differ.

# %%
ordered = context_tables.largest_dimensions(
    others, max([n_largest, *map(int, counts.split())])
)
largest = {kind: dims[:, :n_largest] for kind, dims in ordered.items()}
raw = context_tables.looks(read)
without = context_tables.looks(read, largest)
mixed_looks = context_tables.looks(mixed)
at_black = context_tables.alike(same)
run.check(
    "one picture leaves SelfSim at one",
    abs(at_black["value"] - 1).max() < 1e-4,
    f"least {at_black['value'].min():.6f}",
)

# %% [markdown]
# ## SelfSim over layers
#
# The mean cosine between one token's states over pictures, as a mean over the tokens behind the picture.

# %%
curves = context_tables.curves(raw + without, seed)
of_mixed = context_tables.self_similarities_of(mixed_looks, seed)

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "How alike one token of the question is to itself over pictures, mean cosine (left), and less that of random tokens of other prompts (right), with 95 % bootstrap intervals over pictures. Blue: pictures; orange, dashed: the same with their tiles shuffled; grey: one black picture; green, dotted: random tokens. Crosses: the published values of another model at the layers of the same relative depth.", "name": "fig-contextualisation-selfsim"}, "image": {"alt": "Two panels of curves over layers with interval bands: the cosine of a token with itself over pictures, shuffled pictures, a black picture at one, random tokens and published values; and the same less random tokens."}}
context_figures.with_controls(curves, of_mixed, at_black, question)
plt.show()

# %% [markdown]
# ## Later against earlier layers
#
# SelfSim of the first third of the layers minus that of the last, so that a positive number says that later layers are more picture-specific.
# The interval resamples pictures with all their pairs; the p-value flips the signs of disjoint pairs of pictures.

# %%
later = later_layers.later(raw + without, seed)
against = later_layers.against(raw, mixed_looks, seed)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How far SelfSim falls from the first to the last third of the layers, with 95 % bootstrap intervals over pictures: as the cosine stands (left) and less random tokens (right), for each question and for image tokens. Blue: all dimensions; black: without the largest; orange: what the fall exceeds that on shuffled pictures by.", "name": "fig-contextualisation-falls"}, "image": {"alt": "Two panels with a row for each question and one for image tokens, three points with horizontal intervals in each, around zero."}}
context_figures.falls(later, against)
plt.show()

# %% [markdown]
# The same of the tokens of the first question with other numbers of dimensions left out, and with all layers, without the first, and without the first and the last, with 95 % intervals over pictures: states beside the embedding and beside the read-out differ from all others in what random tokens have in common.
# The verdict asks all of these ways.

# %%
numbers_of = [int(count) for count in counts.split()]
by_count = later_layers.by_count(read, ordered["text"], numbers_of, seed)
of_first = by_count[by_count["variant"] == question]
context_prose.table_of_ways(of_first).style.hide()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "SelfSim less that of random tokens, with all dimensions and without the largest, which were chosen on other pictures: each question, and image tokens at one place of the grid. 95 % bootstrap intervals over pictures.", "name": "fig-contextualisation-spaces"}, "image": {"alt": "A panel for each question and one for image tokens with two curves over layers and their interval bands."}}
context_figures.spaces(curves, asked)
plt.show()

# %% [markdown]
# ## Which tokens change most?
#
# Of the tokens behind the picture {glue:text}`most_changed`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How far each token of the first question, and of the closing pieces of the template, is from itself over pictures: one minus SelfSim, states upwards.", "name": "fig-contextualisation-tokens"}, "image": {"alt": "A heat map, tokens of the prompt behind the picture across and states upwards: one minus the mean cosine over pictures."}}
change_map = token_changes.change_map(raw[0])
context_figures.change_map(change_map, read.tokens[question])
plt.show()

# %%
changes = token_changes.of_questions(raw, read.tokens, seed)
first = changes[changes["variant"] == question]
context_prose.table_of_tokens(first).style.format(escape="html").hide()

# %% [markdown]
# ## Three measures, beside random tokens
#
# SelfSim and MEV are of one token over pictures, IntraSim of the tokens of one prompt; image tokens are compared at the same place of the grid.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "SelfSim, IntraSim and MEV of the tokens behind the picture (first question) and of image tokens, each beside the same measure of as many random tokens of different prompts. Bands: 95 % intervals over pictures, by bootstrap, for MEV by leaving groups of pictures out. Crosses: published values of another model, drawn at the text tokens.", "name": "fig-contextualisation-measures"}, "image": {"alt": "Six panels, three measures for text and for image tokens, each with a curve over layers as it stands and one of random tokens."}}
context_figures.measures(curves, question)
plt.show()

# %% [markdown]
# The published values stand beside ours at the layers of the same relative depth, ours with 95 % intervals and then less random tokens; model, pictures and question differ, so that shapes can be compared and levels cannot.

# %%
own = curves[(curves["variant"] == question) & (curves["space"] == "raw")]
published.beside(own, model.n_layers).style.format(
    {"published": "{:.4f}"}
).hide()

# %% [markdown]
# ## The numbers
#
# Nothing new is shown here: the numbers in the text above are written into the record, and the rows behind the figures into the table.
# Both can be downloaded under the title of this page.

# %% tags=["hide-input"]
lead = token_changes.lead(raw[0], seed)
lowest = later_layers.lowest(raw[0], seed)
ways = pd.concat([later, by_count], ignore_index=True)
slices = (scenes["kind"] != "other").to_numpy()
numbers = context_prose.of_later(ways, against, asked)
numbers |= context_prose.of_image(later, against)
told, of_slices = context_prose.of_slices(raw, slices, question, seed)
numbers |= told
numbers |= context_prose.of_curves(curves, question, model.n_layers)
numbers |= context_prose.of_tokens(first, lead)
numbers |= context_prose.of_lowest(lowest, model.n_layers)
for key, (value, text) in numbers.items():
    run.number(key, value, text)
for key in ("n_pictures", "n_choose", "n_largest"):
    run.number(key, parameters[key])
run.number("question", question)

# %% tags=["hide-input"]
items = context_tables.of_pictures(raw, scenes["scene"])
parts = {
    "scans": [curves, later, by_count.drop(columns="count"), changes, items],
    "scans against shuffled": [against],
    "slices alone": [] if of_slices is None else [of_slices],
    "scans, shuffled": [of_mixed],
    "black picture": [at_black],
    "published": [context_tables.of_published(model.n_layers)],
}
parts["scans"] += [
    context_tables.of_change_map(change_map, read.tokens[question], question),
    context_tables.of_shown(scenes, panels.shape[1]),
]
run.save(context_tables.results_table(parts))

# %% [markdown]
# ## What would change our mind
#
# - A SelfSim that falls over the layers in every way to measure it, for every question, and further than with shuffled pictures both as the cosine stands and beside random tokens: then later layers are more picture-specific.
# - A fall that goes with the answer: pictures with different answers further apart than pictures with one answer.
# - The same curves on real images and on a model of billions of parameters.
#
# ## What this cannot show
#
# A cosine that falls says that states differ, not what they say: picture-specific is not the same as right.
# One question to many pictures varies the picture alone, so nothing here says how tokens change with the words around them, which is what {cite:t}`ethayarajh2019contextual` measured.
# The intervals are over pictures of one making; they cover no other pictures, questions or models.
# Shuffled pictures are pictures that the model was not trained on, so they can move states more for that alone; and where a tile is as large as an image token, every patch is still there, so a fall that shuffled pictures share can be owed to what patches show.
# Part of what differs between pictures is their kind: some are no slices of the template.
# The baseline of text tokens holds pairs of the same piece of template, which no choice of pictures can change.
# The language model's weights were quantised to 4 bits and de-quantised on loading, if the card says so.
# The method is on [its own page](../../methods/contextualisation.md).
