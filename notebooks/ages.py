# %% [markdown]
# # Is age a line in the model, and does it break at 18?
#
# {glue:text}`verdict`
#
# - A cross-validated linear map reads age with an $R^2$ of {glue:text}`r2_age` at best and {glue:text}`r2_lowest` at worst; miles, the control, with {glue:text}`r2_numbers` at best.
# - Fitted on one sex it orders {glue:text}`ordered_sex` of the pairs of the other (chance 0.50, shuffled ages {glue:text}`ordered_sex_control`); fitted on ages, {glue:text}`ordered_miles` of the miles on the best state, {glue:text}`ordered_miles_mean` on average over layers and {glue:text}`ordered_miles_lowest` at worst.
# - Local anisotropy reaches {glue:text}`likeness_age`, noise of the same covariance {glue:text}`likeness_noise`, and a made-up straight line that is read as well {glue:text}`likeness_line`, {glue:text}`likeness_said`.
# - With digits, last digits and miles taken out, and each step held against the spread of those near it, 17|18 is step number {glue:text}`rank_people` of {glue:text}`n_steps` and 18|19 number {glue:text}`rank_after`; as it stands, 17|18 is number {glue:text}`rank_plain`; among miles, with ages taken out, number {glue:text}`rank_routes`.
# - In every wording and both sexes 17|18 is among the longest 5 % on {glue:text}`n_breaks` of {glue:text}`n_layers` layers ({glue:text}`n_corrected` corrected), as {glue:text}`n_other_breaks` other steps are on some layer; layer by layer, wording by wording and sex by sex, it is in {glue:text}`cells_people` of the cases, among miles in {glue:text}`cells_routes`.
# - A model of this size shows what can happen in a model and not what does in one of 70 billion parameters, and *17-year-old man* is a rare phrase in any.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run ages`.

# %% [markdown]
# {glue:text}`knowledge`

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
chat = False  # put prompts through the chat template of the model
every = 1  # look at every so many layers, from the last one down [1..]
n_shuffles = 5  # control tasks: shuffled ages, read by the same probe [1..]
n_planted = 10  # made-up models for each planted check [1..]
n_umap_states = 3  # states whose cloud is also seen through UMAP [1..]
n_umap_seeds = 5  # fits of UMAP for each of them and each wording [1..]
neighbours = (
    20  # states that make up a neighbourhood, for local anisotropy [3..]
)
seed = 0  # deals folds, shuffles, noise and resamples, and starts UMAP [0..]

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd

import medlib
from medlib import figures, knowledge
from medlib.chapters import atlas
from medlib.chapters.ages import (
    age_prose,
    age_steps,
    age_tables,
    number_figures,
    number_line,
    planted_ages,
)
from medlib.states import states_at

figures.style()
model = medlib.load(model_name, chat=chat)
parameters = dict(
    model_name=model_name,
    chat=chat,
    every=every,
    n_shuffles=n_shuffles,
    n_planted=n_planted,
    n_umap_states=n_umap_states,
    n_umap_seeds=n_umap_seeds,
    neighbours=neighbours,
    seed=seed,
)
run = medlib.Run("ages", model, parameters, seed)
known, said = knowledge.knows(model, ("age", "numbers"), seed)
known |= {"people": known["age"], "routes": known["numbers"]}
run.number("knowledge", said)


def note(numbers):
    """Record numbers for the prose: key -> (value, text)."""
    for key, (value, text) in numbers.items():
        run.number(key, value, text)


# %% [markdown]
# ## The states
#
# Ages from 0 to 100 of a man and of a woman stand in three wordings, and the residual stream is read at the last token of the item: the word *man* or *woman*, which has seen the age.
# The control is plain numbers in sentences of the same form: the lengths of a road and of a trail in miles.
# The last token does not change with the age, so at state 0 all ages are one vector; layers are counted from 1.

# %%
frame = number_line.rows(model)
at_place = states_at(model, list(frame["prompt"]))
states = at_place["entity"]
layers = list(range(model.n_layers, 0, -every))[::-1]
frame.groupby(["domain", "kind"], sort=False).agg(
    prompts=("item", "size"),
    tokens=("tokens", lambda n: f"{n.min()} to {n.max()}"),
    example=("prompt", lambda prompts: prompts.iloc[17]),
).style

# %% [markdown]
# ## Does the method find what is planted?
#
# Made-up men, women, roads and trails, as wide as the states: on a straight line, on a helix without a straight axis, and as noise.
# The probe reads the helix as well as the line {cite:p}`kantamneni2025trigonometry`: a high $R^2$ says that the number is there, not that it lies along a line.
# Local anisotropy tells the two apart where there is little noise.

# %%
passed, detail = planted_ages.lines(
    model.hidden_size, neighbours, n_shuffles, seed
)
run.check(
    "a line and a helix are read, noise and shuffled numbers are not, and "
    "only the line is a line",
    passed,
    detail,
)
print(detail)

# %% [markdown]
# Next, walks on which people have a break at 17|18, or an odd number 18, or two fast steps from 17 to 19, or nothing.
# The step past 18, from 17 to 19, tells a break from an odd number and not from a fast stretch; 18|19 tells it from a fast stretch.

# %%
passed, detail = planted_ages.breaks(model.hidden_size, n_planted, seed)
run.check(
    "a break is found, and told from an odd number and a fast stretch; "
    "where none is, none is",
    passed,
    detail,
)
print(detail)

# %% [markdown]
# ## Can age be read off?
#
# A ridge regression reads the number off the raw states, wording by wording, scored on numbers that it was not fitted on.
# Ages are read better than miles on {glue:text}`n_r2_age` of {glue:text}`n_layers` layers and worse on {glue:text}`n_r2_numbers` (95 % interval of the difference clear of zero, not corrected; by chance about {glue:text}`n_chance` each way).
# Given shuffled ages, the same probe has an $R^2$ of {glue:text}`r2_control` at best {cite:p}`hewitt2019control`, which is no strong test: an age that was not seen in the fit has nothing to be remembered by.

# %%
reading = number_line.by_domain(
    frame,
    states,
    number_line.readings,
    layers,
    n_shuffles=n_shuffles,
    seed=seed,
)
r2 = atlas.curves(reading, ["domain"], "explained", seed)
r2_control = atlas.curves(reading, ["domain"], "control", seed)
r2_difference = number_line.age_less_miles(reading, seed)
note(age_prose.reading(r2, r2_control, r2_difference))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How well a linear map reads the number off the raw states: cross-validated coefficient of determination, mean over kinds and wordings with its 95 % bootstrap interval over numbers. Solid: ages of persons; dashed: lengths of roads and trails, the control. The axis need not begin at 0.", "name": "fig-ages-probe"}, "image": {"alt": "Two curves over layers with interval bands, one for ages and one for miles."}}
number_figures.read(r2, known)
plt.show()

# %% [markdown]
# What the probe reads, minus the true number, shows where the line is bent: above zero the model's age runs ahead.
# A probe pulls towards the middle, so some fall from left to right belongs to the method, and the miles show how much.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Residuals of the probe, out of fold: number read minus true number, at three states. Above zero, it reads too high; the few numbers read worst lie outside. Lines: mean over both kinds and three wordings; bands: their whole range. Dotted: 17|18.", "name": "fig-ages-residuals"}, "image": {"alt": "Three panels, one for each state, with the residual against the number, for ages and for miles, each with a band."}}
chosen = [layers[0], layers[len(layers) // 2], layers[-1]]
of_chosen = reading[reading["layer"].isin(chosen)]
number_figures.residuals(of_chosen, known)
plt.show()

# %% [markdown]
# ## Is it age, or number?
#
# A probe is fitted on one kind of words and read on another; the score is the share of pairs of numbers that it puts in the right order, which does not ask for the same scale.
# In the control task each number has the name of another one, the same for all kinds: a probe that merely tells *17* from *18* would do well there too.
# From ages to miles {glue:text}`ordered_miles` of the pairs are in order at best and {glue:text}`ordered_miles_mean` on average over layers; from miles to ages {glue:text}`ordered_ages` and {glue:text}`ordered_ages_mean`.
# The intervals do not cover the choice of the best layer.

# %%
transfer = atlas.over(
    states,
    frame,
    number_line.transfers,
    layers,
    ["raw"],
    pairs=number_line.TASKS,
    n_shuffles=n_shuffles,
    seed=seed,
)
moved, moved_control = (
    atlas.curves(transfer, ["task"], column, seed)
    for column in ("ordered", "control")
)
note(age_prose.carried(moved, moved_control))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Share of pairs of numbers in the right order when a probe is fitted on one kind of words and read on another, mean over wordings with its 95 % bootstrap interval over numbers (the numbers that each is compared with are held still). Dotted curves: the same probe with shuffled numbers, the control task. Dotted line: chance.", "name": "fig-ages-transfer"}, "image": {"alt": "Three panels of curves over layers: between men and women, between road and trail, and between ages and miles, each with its control task near one half."}}
number_figures.carried(moved, moved_control, number_line.TASKS, known)
plt.show()

# %% [markdown]
# ## Is it a line around each age?
#
# Local anisotropy is 1 where the nearest {glue:text}`neighbours` states lie along a curve without noise.
# A Gaussian cloud of the same covariance around the mean of each kind is drawn beside it: what lies above it is shape, not only length.
# A made-up straight line with so much noise that a probe reads it as well as the best state has {glue:text}`likeness_line`, and a helix without a straight axis {glue:text}`likeness_helix`.
# Through UMAP, as in the paper, the ages score {glue:text}`umap_age` and noise {glue:text}`umap_noise` (mean and range over fits, {glue:text}`n_umap` seeds for ages and one for noise, {glue:text}`n_umap_states` states, three wordings): how far UMAP makes a line of anything.

# %%
likeness = number_line.by_domain(
    frame,
    states,
    number_line.line_likeness,
    layers,
    atlas.SPACES,
    k=neighbours,
    seed=seed,
)
shape, noise = (
    atlas.curves(likeness, ["space", "domain"], column, seed)
    for column in ("value", "noise")
)

# %%
seen = number_line.spread_out(layers, n_umap_states)
seeds = range(seed, seed + n_umap_seeds)
umap = number_line.by_domain(
    frame, states, number_line.in_umap, seen, seeds=seeds, k=neighbours
)
best = float(r2.query("domain == 'age'")["value"].max())
noisy = planted_ages.noisy_likeness(model.hidden_size, best, neighbours, seed)
note(age_prose.likeness(shape, noise, noisy, umap))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Local anisotropy in three spaces: the raw states, their 30 first principal components, and UMAP to 30 dimensions at a few states. Mean over kinds and wordings with its 95 % bootstrap interval over numbers, the neighbours held still; UMAP: mean and range over seeds and wordings. Dotted or crosses: Gaussian noise of the same covariance, in the same colour. One is a curve without noise.", "name": "fig-ages-anisotropy"}, "image": {"alt": "Three panels, raw states, principal components and UMAP, with curves or points for ages and miles and a dotted curve of noise for each."}}
number_figures.likeness(shape, noise, umap, known)
plt.show()

# %% [markdown]
# ## Is there a break at 17|18?
#
# The logarithm of the length of each step, from one number to the next, is regressed on what numerals do by themselves: the digits that are added (9|10, 99|100), the last digit (so 17|18 is held against 7|8 and 27|28, and the turn of a decade is one of them), the tokens that are added, the size of the number, and the same step of the control.
# For people the control is the mean of road and trail, for routes the mean of man and woman: the same test turned round, in which a step that is long for people alone is a short one.
# How much a step stands out is its residual over its standard error (*t*), with the step itself left out of the fit; what is left scatters more among small numbers, so *t* is then held against the spread of the {glue:text}`near` nearest steps.

# %%
steps, past = (
    atlas.over(
        states, frame, age_steps.step_table, layers, ["raw"], apart=apart
    )
    for apart in (1, 2)
)
found = age_steps.breaks(steps)
numbers, sensitivity, overall, everywhere = age_prose.breaking(
    found, past, steps
)
note(numbers)

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "How much each step from one number to the next stands out, once numerals and the control are taken out: mean t over all layers, both kinds and three wordings, in units of the spread of the nearest steps; the line is the range of kinds and wordings. Star: the step 17|18. The five longest are named. Above: ages of men and women; below, the control: lengths of roads and trails.", "name": "fig-ages-steps"}, "image": {"alt": "Two panels of a hundred points, one for each step, with vertical ranges; the step from 17 to 18 is a black star in each, with its rank."}}
number_figures.standing_out(overall, age_prose.AT, known)
plt.tight_layout()
plt.show()

# %% [markdown]
# What else stands out among people, in order: {glue:text}`others`.
# A rank among all steps is no calibrated *p*; among the steps below 20 alone, which scatter alike, the rank of 17|18 gives *p* = {glue:text}`p_people` for people and {glue:text}`p_routes` for routes, and cannot give less than 0.05.
# Layer by layer, the rank of 17|18 among all steps:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Where 17|18 ranks among all steps at each layer: the share of the other steps that stand out less. Thin lines: wordings; thick: their mean. Above: men and women by routes; below, the control: road and trail by people. 50 is expected without a break.", "name": "fig-ages-ranks"}, "image": {"alt": "Two panels of percentile curves over layers: men and women above, road and trail below, with the dotted line at 50."}}
number_figures.ranks(found, age_prose.AT, known)
plt.tight_layout()
plt.show()

# %% [markdown]
# In every wording and for both kinds at once, 17|18 is among the longest 5 % on {glue:text}`n_breaks` layers for people and on {glue:text}`n_breaks_routes` for routes (largest rank of six; corrected over layers by Benjamini-Hochberg, {glue:text}`n_corrected` and {glue:text}`n_corrected_routes`).
# Of all {glue:text}`n_steps` steps of people, {glue:text}`n_other_breaks` others do so somewhere, and the one on most layers, {glue:text}`most_breaks`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How much each step stands out at each layer (t, mean of both kinds and three wordings); arrows: 17|18. Above: people; below: routes. Red: longer than numerals and the control explain.", "name": "fig-ages-map"}, "image": {"alt": "Two heat maps, layers upwards and steps across, with arrows at the step from 17 to 18."}}
number_figures.by_layer(found, age_prose.AT, known)
plt.show()

# %% [markdown]
# ### What is taken out, and does it matter?
#
# How many times longer numerals make a step, over and above the same step of the control, as the regression fits it: the steps 9|10 and 99|100 by the digits and tokens that they add, which is one effect for both where they add as many, and a last digit against the mean of all last digits (mean over layers, wordings and the two kinds, and the range over layers).

# %%
factors = age_steps.numeral_lengths(steps)
age_steps.factors_shown(factors)

# %% [markdown]
# The rank of 17|18 among all steps, 1 the longest, as effects are added to the regression one after the other.
# The last digit was added after the results were first seen, and the rank goes from {glue:text}`rank_digits` to {glue:text}`rank_people` with it.
# With a fellow as the control (men by women, roads by trails), what both sexes share is taken out too, and 17|18 is number {glue:text}`rank_fellow` for people; a road or a trail alone comes to number {glue:text}`rank_one_route` at best.
# The last row is the step from 17 to 19, number {glue:text}`rank_past`: it would not stand out if 18 alone were odd, and it would in a fast stretch from 17 to 19 as much as in a break.

# %%
sensitivity.style

# %% [markdown]
# ### Elsewhere in the prompt
#
# The same at the mean over the tokens of the item and at the last token of the prompt; in the wording `late`, the prompt ends with the item.

# %%
elsewhere = age_steps.at_places(at_place, frame, layers)
ages = (frame["domain"] == "age").to_numpy()
reads = {
    place: atlas.over(
        x[:, ages],
        frame[ages],
        number_line.readings,
        layers[::-3],
        ["raw"],
        n_shuffles=1,
    )
    for place, x in at_place.items()
}
pd.DataFrame(age_prose.places(reads, elsewhere)).T.style

# %% [markdown]
# ## What does it look like?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The states of one wording (late) along their first two principal components at three states, each kind around its own mean, coloured by the number. Above: men and women; below: road and trail. In brackets the share of the variance within kinds in the picture.", "name": "fig-ages-pictures"}, "image": {"alt": "Six clouds of points, three states for people above and routes below, coloured by age or length, the two kinds as circles and triangles."}}
late = frame["variant"] == "late"
flat = number_figures.flattened(states[:, late], frame[late], chosen)
number_figures.pictures(flat)
plt.show()

# %% tags=["remove-cell"]
counted = dict(
    n_umap=n_umap_seeds,
    n_umap_states=len(seen),
    neighbours=neighbours,
    near=age_steps.NEAR,
)
note({key: (value, str(value)) for key, value in counted.items()})

# %% tags=["remove-cell"]
read = r2, r2_control, r2_difference, reading
ordered, shapes = (moved, moved_control), (shape, noise)
table = age_tables.table(
    read, ordered, shapes, umap, elsewhere, everywhere, factors
)
drawn = age_tables.drawn(overall, flat, of_chosen)
run.save(pd.concat([table, drawn], ignore_index=True))

# %% [markdown]
# ## What would change our mind
#
# - A break at 17|18 among things that are numbered and do not come of age.
# - No break where the words are *person* or *patient*: a man is grown up, so *17-year-old man* is an unusual phrase, and the break would be one of wording and not of age.
# - A step 17|18 that stands out in every wording and for both sexes on neighbouring layers, before any last digit is taken out, with 18|19 an ordinary step.
# - A probe fitted on ages that orders miles as well as it orders ages: then the line would be one of number.
#
# ## What this cannot show
#
# What can be read off need not be read by the model.
# A step is the length of a difference; a turn without a longer step goes unseen.
# The regression has {glue:text}`n_steps` steps, two of which add a digit, so what a new digit does is known badly, and steps near them are held against a wide error.
# Layers are no independent trials: a state carries the states below it, so the mean over layers is one look.
# The choice of 17|18 was made before by {cite:t}`marinescu2026knowledge`; the choice of effects was not, and the table above shows each.
# The intervals resample ages; they do not cover other folds, other words or other wordings, and the best layer is the best of many.
# Two sexes and three wordings are few; the ranges in the figures are whole ranges and not intervals.
# In pictures and spaces made by UMAP, distances are not to be read {cite:p}`chari2023specious,lause2024elephant`.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the geometry is that of the rounded model.
# The method is on [its own page](../../methods/ages.md).
