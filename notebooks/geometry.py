# %% [markdown]
# # Do things of one kind lie together?
#
# {glue:text}`verdict`
# That is so on more than half of the {glue:text}`n_states` states, in every wording that counts.
#
# - On these states the medical domain lies further above its shuffled labels than its control does for: {glue:text}`further`; the control further than the medical domain for: {glue:text}`less_far`.
# - Spelling is much of it: where names that share a piece are not compared, {glue:text}`apart` lie together, and of the controls {glue:text}`apart_control`; the best state adds to state 0, which is spelling alone, for: {glue:text}`gains` (controls: {glue:text}`gains_control`).
# - {cite:t}`marinescu2026knowledge` found drugs to lie together by specialty more than by mechanism, on plain silhouettes after UMAP; here, in the raw states, {glue:text}`two_labels`.
# - UMAP to 30 dimensions shows {glue:text}`n_umap` of {glue:text}`n_cases` cases of a label and a state; the raw states show {glue:text}`n_held` of these and {glue:text}`n_raw_alone` more.
# - A model of this size knows less than one of 70 billion parameters, so how its states lie may have more to do with words and less with medicine.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run geometry`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
chat = False  # put prompts through the chat template of the model
comparisons = "drugs:mechanism/origin drugs:specialty/kind diseases:chapter/latitude diseases:organ_system/subregion symptoms:system/group progression:disease/process"  # medical domain:label/label of the control that it names
n_items = 0  # items drawn from each domain; 0 takes all [0..]
n_shuffles = (
    100  # shuffled labellings that each silhouette is held against [19..]
)
n_fits = 5  # seeds of UMAP, for its silhouettes [1..]
n_umap = (
    6  # states, evenly spaced, whose silhouettes are taken after UMAP too [2..]
)
every = 3  # a picture of one state in so many [1..]
seed = 0  # deals shuffles, halves, draws and resamples, and starts UMAP [0..]

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, display

import medlib
from medlib import figures, knowledge
from medlib.chapters import atlas
from medlib.chapters.geometry import (
    fits,
    kind_figures,
    kind_prose,
    kind_tables,
    kinds,
    slider,
)

figures.style()
model = medlib.load(model_name, chat=chat)
parameters = dict(
    model_name=model_name,
    chat=chat,
    comparisons=comparisons,
    n_items=n_items,
    n_shuffles=n_shuffles,
    n_fits=n_fits,
    n_umap=n_umap,
    every=every,
    seed=seed,
)
run = medlib.Run("geometry", model, parameters, seed)

# %%
wanted = kinds.comparisons(comparisons)
labels = kinds.labels(wanted)
known, said = knowledge.knows(model, list(labels), seed)
run.number("knowledge", said)

# %% [markdown]
# {glue:text}`knowledge`
#
# ## Labels, and the labels they are held against
#
# Each item stands in the templates of its domain that tell nothing but the item.
# A domain's control has sentences of the same form, about as many items, and a label with about as many values: the more labels there are, the lower a silhouette is by itself.
# Where an item has several labels of one sort, its first one counts.
# {glue:text}`left_out`

# %%
of = {domain: kinds.read(model, domain, n_items, seed) for domain in labels}
frames = {domain: frame for domain, (frame, _) in of.items()}
run.number("left_out", "left_out", kind_prose.left_out(frames))
kind_tables.labels(wanted, frames).style.hide()

# %% [markdown]
# ## Does the method find what is planted?
#
# Made-up points, as many and as wide as the states of the first domain: clusters have to be found, and shuffled labels about as often as the level of the test says.
# And groups that an eye reads off a UMAP picture of plain noise must score high in the picture and not in the points: it is so that a picture can mislead.

# %%
items = frames[wanted[0].domain].drop_duplicates("item")
code = pd.factorize(items[wanted[0].label])[0]
score, p, false = fits.made_up_kinds(code, model.hidden_size, n_shuffles, seed)
run.check(
    "planted clusters are found, and shuffled labels are not",
    passed=p <= 0.05 and false <= 4,
    detail=f"silhouette {score:.2f}, p = {p:.3f}; "
    f"{false} of 20 shuffled labellings at p ≤ 0.05",
)
print(run.checks[-1]["detail"])

# %%
drawn, true = fits.clumps_of_noise(len(items), model.hidden_size, seed)
run.check(
    "clumps that UMAP draws of noise are not in the noise",
    passed=drawn > 0.2 and true < 0.05,
    detail=f"silhouette of six clumps in the picture {drawn:.2f}, "
    f"of the same groups in the points {true:.3f}",
)
print(run.checks[-1]["detail"])

# %% [markdown]
# ## By how much
#
# Every state and template is scored by itself; a score is the mean over templates.
# *Above shuffled labels* is the silhouette less the mean silhouette of the same labels when they are dealt to other items.
# The intervals resample items, all templates of one together; an item's neighbours stay as they are.

# %%
scores = pd.concat(
    kinds.scores(*of[domain], names, n_shuffles, seed).assign(domain=domain)
    for domain, names in labels.items()
)
keys = ["domain", "label", "view", "space"]
by_item = kinds.over_templates(scores)
above = atlas.curves(by_item, keys, "excess", seed)
p = kinds.weakest(scores)

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "Silhouette above that of shuffled labels, raw states at the last token of the item: above zero, things of one kind lie together. Solid: the medical domain; dashed: its control. Mean over items and templates with its 95 % bootstrap interval over items, neighbours held still. State 0 is spelling. Scales differ between panels.", "name": "fig-geometry-silhouette"}, "image": {"alt": "Six panels of curves over states, a medical domain and its control in each, with interval bands around them and a line at zero."}}
kind_figures.silhouettes(wanted, above, known)
plt.show()

# %%
differences = kinds.against_control(by_item, wanted, seed)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The medical domain minus its control: above zero, the medical label lies further above its shuffled labels than the other. Raw states, last token of the item, 95 % bootstrap interval over the items of both. The interval is not corrected for the number of states: by chance it lies clear of zero on one state in forty each way on average, and more often on several at once, since neighbouring states go together.", "name": "fig-geometry-difference"}, "image": {"alt": "Six panels with one curve over states each around a zero line, with interval bands: the medical silhouette minus that of the control."}}
kind_figures.differences(differences, known)
plt.show()

# %% [markdown]
# ## One domain, two labels
#
# The paper compares two labels of the drugs.
# Plain silhouettes favour the label with fewer values, so the comparison is of silhouettes above shuffled labels; the control shows what two labels of that kind differ by without medicine.
# Names of one mechanism often end alike on purpose, so the comparison is made a second time without names that share a piece.

# %%
between = kinds.two_labels(by_item, wanted, seed)
kind_tables.two_labels(between).style.hide()

# %% [markdown]
# The counts are of states whose 95 % interval lies clear of zero, not corrected for their number.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The second label minus the first of the same items, raw states at the last token of the item: below zero, the first label lies together more. Silhouettes above shuffled labels; above with all names, below without comparing names that share a piece. Solid: the medical domain; dashed: its control. 95 % bootstrap interval over items, not corrected for the number of states.", "name": "fig-geometry-two-labels"}, "image": {"alt": "Four panels of curves over states around a zero line, drugs and diseases, with all names and without shared pieces, each with the curve of its control and interval bands."}}
if kind_figures.two_labels(wanted, between, known) is None:
    print("No domain is compared by two labels.")
plt.show()

# %% [markdown]
# ## How much of it is spelling?
#
# Drugs of one mechanism often end alike on purpose (*-pril*, *-olol*), diseases of one organ end in words like *cancer*, and dishes of one kind in *soup*.
# Two things tell spelling from knowledge: what a state has beyond state 0, and what is left when two names that share any piece (a token) are not compared.
# Names can be alike in ways that pieces do not show, so what is left is an upper bound for knowledge, and what is lost holds knowledge too, since names alike often belong to things alike.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Silhouette above shuffled labels when names that share a piece are not compared (thick, with its 95 % bootstrap interval over items), and when all names are compared (thin and dotted). Raw states at the last token of the item. Solid: the medical domain; dashed: its control.", "name": "fig-geometry-spelling"}, "image": {"alt": "Six panels of curves over states: a medical domain and its control without pairs that share a piece, with interval bands, and dotted curves of all pairs."}}
kind_figures.spelling(wanted, above, known)
plt.show()

# %% [markdown]
# ### All labels side by side
#
# On how many of the {glue:text}`n_states` states a label lies together in every wording (largest *p* of the templates, corrected over states by Benjamini-Hochberg, below 0.05; a *p* cannot be below {glue:text}`p_floor`): in the raw states, in 30 principal components, where names that share a piece are not compared, and in wordings that their item opens, if there are such.
# Then what the best state adds to state 0, with its 95 % interval (the state is chosen on one half of the items and scored on the other), and the highest plain silhouette, as the paper gives it, with its state.

# %%
gained = kind_tables.gains(by_item, labels, seed)
overview = kind_tables.overview(wanted, p, gained, by_item)
kind_tables.shown(overview).style.hide()

# %% [markdown]
# {glue:text}`with_opening`
#
# ## Where in the prompt
#
# The paper does not state where it reads the states.
# The mean over an item's tokens sees the whole name, at state 0 already; the last token of the prompt, in templates that go on after the item, is the same word for all items, so what it knows of the item has come by attention.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Silhouette of the medical labels above shuffled labels at three places: the last token of the item, the mean over the item's tokens, and the last token of the prompt; thin and dashed, the control at the last token of the prompt. Raw states; mean over items and templates with its 95 % bootstrap interval over items.", "name": "fig-geometry-places"}, "image": {"alt": "Six panels with three curves over states each, one for each place, with interval bands, and a dashed one for the control."}}
kind_figures.places(wanted, above, known)
plt.show()

# %% [markdown]
# ## After UMAP
#
# The paper takes its silhouettes after UMAP {cite:p}`mcinnes2018umap` to 30 dimensions.
# UMAP pulls neighbours together, so the scores are higher by construction; shuffled labels are scored in the same space.
# It starts at random, so {glue:text}`n_fits` seeds are fitted on each of {glue:text}`n_fit_states` states, in the last two templates that count.

# %%
chosen = np.linspace(0, model.n_layers, n_umap).round().astype(int).tolist()
seeds = range(seed, seed + n_fits)
fitted = pd.concat(
    fits.in_umap(
        states["entity"], frame, labels[domain], chosen, seeds, n_shuffles, seed
    ).assign(domain=domain)
    for domain, (frame, states) in of.items()
)
held = fits.held_in_raw(fitted)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Silhouette above shuffled labels after UMAP to 30 dimensions, the line through the mean of its seeds and the band from the lowest to the highest, beside that of the same raw states (dotted). Solid: the medical domain; dashed: its control. Mean over two templates; no interval over items.", "name": "fig-geometry-umap30"}, "image": {"alt": "Six panels of curves over a few states: after UMAP the medical domain and its control with bands over seeds, and dotted curves of the raw states."}}
kind_figures.after_umap(wanted, held, known)
plt.show()

# %% [markdown]
# Of {glue:text}`n_cases` cases of a label and a state, things of one kind lie together in {glue:text}`n_umap` after UMAP with every seed in both templates; in {glue:text}`n_held` of these the raw states agree, and in {glue:text}`n_raw_alone` more only the raw states show it (*p* at most 0.05, not corrected).
# The seed alone moves a score by up to {glue:text}`seed_spread`.
#
# ## Pictures
#
# UMAP to two dimensions is for looking; nothing here rests on it.
# Each picture starts from that of an earlier state and is turned onto it, so that pictures can be followed; distances between clumps and their sizes are not to be read {cite:p}`chari2023specious,lause2024elephant`.
# The trustworthiness (*trust.*), here {glue:text}`trust`, falls below 1 as things far apart are drawn as neighbours.

# %%
layers = sorted({*range(0, model.n_layers + 1, every), model.n_layers})
last = {d: kinds.last_template(frame) for d, frame in frames.items()}
rows = {domain: frames[domain].iloc[at] for domain, at in last.items()}
drawn = {
    d: slider.pictures(of[d][1]["entity"][:, at], layers, seed)
    for d, at in last.items()
}
shown = {c.domain: c for c in wanted}  # the last label named of each domain

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Items at the last token of their name in one template, some states of each domain drawn by UMAP to two dimensions: medical domains above, their controls below. The six largest labels have a colour and a marker each, the other items are grey. The axes have no meaning.", "name": "fig-geometry-umap"}, "image": {"alt": "A grid of clouds of points: a row for each domain and a column for each of four states, the largest six labels in colours and markers of their own."}}
sides = {d: label for c in shown.values() for d, label in c.sides}
some = [layers[round(i)] for i in np.linspace(0, len(layers) - 1, 4)]
slider.grid({d: (drawn[d], rows[d][sides[d]]) for d in sides}, some)
plt.show()

# %% [markdown]
# The same with all labels, and a slider over the states; the mouse shows an item, and a click on a label hides it.

# %% tags=["hide-input"]
for c in shown.values():
    name = f"slider-{model.name}-{c.domain}-{c.label}"
    display(HTML(slider.comparison(c, drawn, rows, name)))

# %%
kind_tables.trust(drawn).style.format("{:.2f}")

# %% [markdown]
# ## The numbers

# %%
numbers = kind_prose.numbers(
    overview, differences, between, wanted, held, drawn, n_shuffles
)
for key, (value, text) in (numbers | {"n_fits": (n_fits, None)}).items():
    run.number(key, value, text)
run.save(
    kind_tables.results_table(
        scores, above, p, differences, between, gained, fitted, drawn
    )
)

# %%
pd.DataFrame(
    {
        name: kinds.of_side(above, side).set_index("layer")["value"]
        for c in wanted
        for side, name in zip(c.sides, c.names, strict=True)
    }
).style.format("{:.2f}")

# %% [markdown]
# ## What would change our mind
#
# - A medical label that stays above its control, and above zero, when names that share a piece are not compared, at the last token of the prompt: then the kind of a thing, and not how it is spelled, would have come that far.
# - Names written in another way, such as brand names or plain-language names of diseases, that keep the kinds together.
# - Labels that lie together after UMAP with every seed and not in the raw states: then UMAP would find what distances do not show, or make it up.
#
# ## What this cannot show
#
# Names are not given at random: *-pril* and *-olol* stand for a mechanism, and *carcinoma* for a kind of disease.
# So spelling and knowledge cannot be taken fully apart; names without a shared piece can still look alike, and a piece that is shared by accident drops a pair that says something.
# A medical label and that of its control have about as many values, and need not be equally hard: countries are not mechanisms, so a difference of the two is one of these two labels.
# An item that belongs to several kinds counts for one, which holds its silhouette down.
# The intervals hold the neighbours still; they do not cover another choice of items, of labels or of templates.
#
# A silhouette sees blobs: kinds on rings, lines or in directions of little variance can be there without it {cite:p}`engels2024features`.
# That kinds lie together does not say that the model uses it; a control task {cite:p}`hewitt2019control` takes out only what any labels would give.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the geometry is that of the rounded model.
# The technique is one of the four of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/geometry.md).
