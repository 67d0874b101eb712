# %% [markdown]
# # Do drugs lie together by specialty, and ages along a line?
#
# Among {glue:text}`n_drugs` drugs, those of one mechanism lie closer together than those of one specialty on {glue:text}`n_fair_mechanism` of {glue:text}`n_states` states; it is the other way round on {glue:text}`n_fair_specialty` (silhouettes above those of shuffled labels, 95 % interval of the difference clear of zero).
# Specialty ahead of mechanism is what {cite:t}`marinescu2026knowledge` found in larger models, most of all in Llama-3.3-70B, on plain silhouettes after UMAP.
# How much of this is spelling?
# The last piece of the name, before any block has run, puts mechanisms {glue:text}`start_mechanism` above shuffled labels; their best state puts them {glue:text}`best_mechanism` above, and where no two drugs of one mechanism share that last piece, {glue:text}`spelled_mechanism` at most (in brackets 95 % intervals, for the last number the range of {glue:text}`n_draws` draws, and where the best is found).
#
# A linear map reads a person's age with an $R^2$ of {glue:text}`r2_age`, and in the same way the length of a road or trail in miles with {glue:text}`r2_numbers`.
# A break between the ages 17 and 18 that holds in every wording is there on {glue:text}`n_breaks` of {glue:text}`n_layers` layers; in the wording that shows it most often, it is there on {glue:text}`most_people`, and the same break between roads and trails, where nobody comes of age, on {glue:text}`most_routes`.
#
# {glue:text}`knowledge`

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run geometry`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
n_shuffles = 200  # shuffled labellings that each silhouette is held against
n_draws = 5  # draws of one drug for each ending and mechanism
neighbours = 20  # states that make up a neighbourhood, for local anisotropy
seed = 0  # deals shuffles, folds, draws and resamples, and starts UMAP

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import medlib
from medlib import (
    atlas,
    concepts,
    figures,
    geometry,
    knowledge,
    results,
    summary,
)

figures.style()
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    n_shuffles=n_shuffles,
    n_draws=n_draws,
    neighbours=neighbours,
    seed=seed,
)
run = medlib.Run("geometry", model, parameters, seed)
known, said = knowledge.knows(model, ("drugs", "age", "numbers"), seed)
run.number("knowledge", said)

# %% [markdown]
# ## The states
#
# Each drug and each age is put into three templates, and the residual stream is read at the last token of the item (`entity`) and at the last token of the prompt (`last`).
# The control of the ages is plain numbers, the lengths of roads and trails in miles, in sentences of the same form.
# In the template called *late* the item ends the prompt, so there the two places are one.

# %%
drugs = concepts.prompts("drugs")
names = {"age": "value", "number": "value", "sex": "kind"}
ages, numbers = (
    concepts.prompts(name).rename(columns=names) for name in ("age", "numbers")
)
pd.DataFrame(
    {
        name: dict(
            items=f["item"].nunique(),
            prompts=len(f),
            example=f["prompt"].iloc[40],
        )
        for name, f in dict(drugs=drugs, age=ages, numbers=numbers).items()
    }
).T.style

# %%
at_drug, at_age, at_number = (
    medlib.activations(model, list(f["prompt"]), at="entity")
    for f in (drugs, ages, numbers)
)
going_on = [f[f["variant"] != "late"] for f in (drugs, ages)]
last_drug, last_age = (
    medlib.activations(model, list(f["prompt"]), at="last") for f in going_on
)

# %% [markdown]
# ## Does the method find what is planted?
#
# Made-up points, as many and as wide as the states: clusters of specialties, a line of ages, a break at 17|18.
# What was planted has to be found each time, and what was not must be found about as often as the level of the test says.

# %%
LABELS = ["mechanism", "specialty"]
generator = np.random.default_rng(seed)
late = drugs[drugs["variant"] == "late"]
specialty, names = pd.factorize(late["specialty"])
noise = generator.normal(size=(len(late), model.hidden_size))
centres = generator.normal(size=(len(names), model.hidden_size))
made_up = centres[specialty] + 2 * noise
found = geometry.silhouette_test(made_up, specialty, n=n_shuffles)
false = sum(
    geometry.silhouette_test(made_up, labels, n=n_shuffles)["p"] <= 0.05
    for labels in generator.permuted(np.tile(specialty, (20, 1)), axis=1)
)
run.check(
    "planted clusters are found, and shuffled labels are not",
    passed=found["p"] <= 0.01 and false <= 4,
    detail=f"silhouette {found['silhouette']:.2f}, p = {found['p']:.3f}; "
    f"{false} of 20 shuffled labellings at p ≤ 0.05",
)
print(run.checks[-1]["detail"])

# %%
age = ages.loc[ages["variant"] == "late", "value"].to_numpy()
along = generator.normal(size=model.hidden_size)
line = np.outer(age, along) + noise[: len(age)]
r2 = geometry.ridge_probe(line, age, groups=age)["r2"]
other = generator.permutation(age.max() + 1)[age]
no_r2 = geometry.ridge_probe(line, other, groups=other)["r2"]
likeness = geometry.local_anisotropy(line, neighbours)
ball = geometry.local_anisotropy(noise[: len(age)], neighbours)
run.check(
    "a planted line is a line, and shuffled ages are not",
    passed=r2 > 0.99 and no_r2 < 0.2 and likeness > 0.9 and ball < 0.5,
    detail=f"R2 {r2:.2f}, shuffled {no_r2:.2f}; "
    f"local anisotropy {likeness:.2f}, of noise {ball:.2f}",
)
print(run.checks[-1]["detail"])


# %%
def has_break(height):
    """Plant a break so many steps high in a made-up walk of ages, and test."""
    walk = generator.normal(size=(101, model.hidden_size)).cumsum(axis=0)
    noisy = walk + 0.3 * generator.normal(size=(2, *walk.shape))
    noisy[0, 18:] += height * along
    age = np.arange(len(walk))
    test = geometry.step_test(noisy[0], age, 17, noisy[1], exclude=(9, 99))
    return test["p"] <= 0.05


found, false = (sum(has_break(h) for _ in range(20)) for h in (1, 0))
run.check(
    "a planted break is found, and none where none was planted",
    passed=found == 20 and false <= 4,
    detail=f"{found} of 20 with a break as high as a step, "
    f"{false} of 20 without, at p ≤ 0.05",
)
print(run.checks[-1]["detail"])

# %% [markdown]
# ## Drugs
#
# Every layer, template and space is scored by itself; a score is the mean over the templates.
# There are {glue:text}`n_mechanisms` mechanisms and {glue:text}`n_specialties` specialties, and more labels score lower by themselves, so each score is held against the mean score of its own labels when they are dealt to other drugs: *above shuffled labels*.
# The intervals resample drugs, all templates of one together; a drug's neighbours stay as they are.
# There is no control domain for the drugs here; shuffled labels, and the spelling of the names, are what they are held against.

# %%
scores = atlas.over(
    at_drug, drugs, atlas.silhouettes, labels=LABELS, n=n_shuffles, seed=seed
)
by = ["space", "label"]
plain, above = (atlas.curves(scores, by, c, seed) for c in ("score", "excess"))
side_by_side = scores.pivot(
    index=["space", "item", "variant", "layer"],
    columns="label",
    values=["score", "excess"],
)
differences = side_by_side.xs("specialty", axis=1, level="label").sub(
    side_by_side.xs("mechanism", axis=1, level="label")
)
plain_difference, difference = (
    atlas.curves(differences.reset_index(), ["space"], column, seed)
    for column in ("score", "excess")
)
tests = scores.drop_duplicates([*by, "layer", "variant"])
p = atlas.in_every_template(tests, by)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Silhouette of drugs labelled by mechanism and by specialty, at the last token of the name; mean over drugs and templates with its 95 % bootstrap interval. Dotted: the mean of shuffled labels, in the same colour. Above, the states as they are; below, their 30 first principal components.", "name": "fig-geometry-silhouette"}, "image": {"alt": "Two panels of curves over layers, mechanism and specialty with interval bands, each with a dotted curve of its shuffled labels below it."}}
looks = {"mechanism": "medical", "specialty": "control"}
titles = {"raw": "raw states", "pca30": "30 principal components"}
_, panels = plt.subplots(2, 1, figsize=(7.2, 6.6), sharex=True)
for axes, space in zip(panels, titles, strict=True):
    for label, look in looks.items():
        here = "space == @space and label == @label"
        figures.curve(axes, plain.query(here), look, label, known["drugs"])
        null = tests.query(here).groupby("layer")["null_mean"].mean()
        colour = figures.LOOKS[look]["color"]
        axes.plot(null, color=colour, ls=":", label=f"{label}, shuffled")
    axes.set(ylabel="silhouette", title=titles[space])
panels[0].set_xlabel("")
panels[1].legend(ncol=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
plt.show()

# %% [markdown]
# In the raw states, mechanisms score above shuffled labels in every template on {glue:text}`n_raw_mechanism` of {glue:text}`n_states` states, specialties on {glue:text}`n_raw_specialty` (largest *p* of the templates, Benjamini-Hochberg over states, below 0.05); in the principal components on {glue:text}`n_pca30_mechanism` and {glue:text}`n_pca30_specialty`.

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "Specialty minus mechanism, raw states. Below zero, drugs of one mechanism lie closer together than drugs of one specialty. Solid: silhouettes above their shuffled labels, the fair comparison; dashed: the plain silhouettes, which favour the labelling with fewer labels. 95 % bootstrap interval over drugs, not corrected for the number of layers.", "name": "fig-geometry-difference"}, "image": {"alt": "Two curves over layers around a zero line, with interval bands: the difference of silhouettes between specialty and mechanism, plain and above shuffled labels."}}
_, axes = plt.subplots()
for curve, look, label in (
    (difference, "medical", "above shuffled labels"),
    (plain_difference, "control", "plain silhouettes"),
):
    figures.curve(
        axes, curve.query("space == 'raw'"), look, label, known["drugs"]
    )
axes.axhline(0, color="0.6", lw=1)
axes.set(ylabel="specialty minus mechanism")
axes.legend()
plt.show()

# %% [markdown]
# The plain silhouettes of specialties are higher than those of mechanisms on {glue:text}`n_plain_specialty` of {glue:text}`n_states` states and lower on {glue:text}`n_plain_mechanism`; plain silhouettes are what the paper compares, though after UMAP, and they depend on how many labels each side has.

# %% [markdown]
# ### How much of it is spelling?
#
# Drugs of one mechanism often end alike, on purpose: *-pril*, *-olol*, *-azole*.
# State 0 is the embedding of the last piece of the name and nothing else, so what groups there is spelling.
# To take the shared last piece away, one drug is drawn for each ending and mechanism, {glue:text}`n_spelled` drugs with at least one other of their mechanism, {glue:text}`n_draws` times.
# What is left above shuffled labels is at most {glue:text}`spelled_mechanism` for mechanisms and {glue:text}`spelled_specialty` for specialties (in brackets the range of the draws, which says how much the draw matters and is no interval over drugs).
# As many drugs of each mechanism drawn at random, endings and all, score {glue:text}`matched_mechanism` at most: so part of the fall is the smaller number, and the rest the ending.

# %%
drugs["ending"] = atlas.endings(model, drugs["prompt"])


def above_shuffled(kept):
    drawn = atlas.over(
        at_drug[:, kept.index],
        kept,
        atlas.silhouettes,
        spaces=["raw"],
        labels=LABELS,
        n=n_shuffles,
        seed=seed,
    )
    return drawn.groupby(["label", "layer"])["excess"].mean()


def over_draws(draws):
    table = pd.concat(draws, axis=1).agg(["mean", "min", "max"], axis=1)
    return table.set_axis(["value", "low", "high"], axis=1).reset_index()


spelled, matched = [], []
for draw in range(n_draws):
    kept = atlas.one_of_each(drugs, ["ending", "mechanism"], seed=seed + draw)
    kept = kept[kept.groupby("mechanism")["item"].transform("nunique") > 1]
    as_many = atlas.as_many(drugs, kept, "mechanism", seed=seed + draw)
    spelled.append(above_shuffled(kept))
    matched.append(above_shuffled(as_many))
spelled, matched = over_draws(spelled), over_draws(matched)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Silhouette above shuffled labels when no two drugs share both mechanism and last piece of the name, raw states; mean over draws and templates, the band from the lowest to the highest draw. Dash-dotted: as many drugs of each mechanism drawn at random. Dotted: all drugs.", "name": "fig-geometry-spelling"}, "image": {"alt": "Curves over layers of mechanism and specialty with bands, a curve of a matched draw for mechanism, and dotted curves of all drugs."}}
_, axes = plt.subplots()
for label, look in looks.items():
    few = spelled[spelled["label"] == label]
    figures.curve(axes, few, look, f"{label}, no shared ending", known["drugs"])
    everything = above.query("space == 'raw' and label == @label")
    axes.plot(
        *(everything[name] for name in ("layer", "value")),
        color=figures.LOOKS[look]["color"],
        ls=":",
        label=f"{label}, all drugs",
    )
few = matched.query("label == 'mechanism'")
figures.curve(
    axes, few, "difference", "mechanism, as many at random", known["drugs"]
)
axes.axhline(0, color="0.6", lw=1)
axes.set(ylabel="silhouette above shuffled labels")
axes.legend(ncol=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
plt.show()

# %% [markdown]
# ### At the last token of the prompt
#
# In the two templates that go on after the drug, the last token is the same word for all drugs, so shared spelling can reach it only by way of attention.
# There mechanisms score at most {glue:text}`last_mechanism` above shuffled labels, specialties {glue:text}`last_specialty`.

# %%
# At state 0 the last token is one vector for all items, so it begins at 1.
layers = range(1, model.n_layers + 1)
at_last = atlas.over(
    last_drug,
    going_on[0],
    atlas.silhouettes,
    layers,
    ["raw"],
    labels=LABELS,
    n=n_shuffles,
    seed=seed,
)
at_last = atlas.curves(at_last, ["label"], "excess", seed)

# %% [markdown]
# ### Pictures
#
# UMAP {cite:p}`mcinnes2018umap` is for looking; nothing here rests on it.
# The trustworthiness (*trust.*) on each picture falls below 1 as drugs far apart are drawn as neighbours.
# The largest six specialties are coloured.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Drugs at the last token of the name in the template called late, each layer drawn by its own UMAP to two dimensions. The axes have no meaning, and neither have the sizes of the clumps.", "name": "fig-geometry-umap"}, "image": {"alt": "Four clouds of points, one for each of four layers, the six largest specialties coloured and the other drugs grey."}}
chosen = [0, model.n_layers // 3, 2 * model.n_layers // 3, model.n_layers]
clouds = {layer: at_drug[layer, late.index] for layer in chosen}
pictures = {layer: geometry.umap2(x, seed) for layer, x in clouds.items()}
largest = late["specialty"].value_counts().index[:6]
shown = late["specialty"].isin(largest).to_numpy()
figure, panels = plt.subplots(2, 2, figsize=(7.2, 7.6))
for axes, (layer, picture) in zip(panels.flat, pictures.items(), strict=True):
    points = picture["points"]
    axes.scatter(*points[~shown].T, s=8, color="0.85", linewidths=0)
    title = f"state {layer}, trust. {picture['trustworthiness']:.2f}"
    figures.scatter(axes, points[shown], late["specialty"][shown], title)
handles = axes.get_legend_handles_labels()
figure.legend(*handles, ncol=3, loc="upper center", bbox_to_anchor=(0.5, 0.08))
plt.show()

# %% [markdown]
# The paper takes its silhouettes after UMAP to 30 dimensions.
# For these four layers, the same drugs score like this in the three spaces:

# %%
in_umap = pd.DataFrame(
    dict(layer=layer, space=space, label=label, value=score)
    for layer, cloud in clouds.items()
    for space, x in geometry.spaces(cloud, seed=seed, umap=True).items()
    for label in LABELS
    for score in [geometry.silhouette(x, late[label])]
)
in_umap.pivot(
    index=["layer", "space"], columns="label", values="value"
).style.format("{:.2f}")

# %% [markdown]
# ## Ages
#
# A ridge regression reads the age off the states, scored on ages it has not seen: all rows of one age stay in one fold.
# The same is done for the lengths of roads and trails.

# %%
of_domain = [("age", at_age, ages), ("numbers", at_number, numbers)]
explained = pd.concat(
    atlas.over(x, f, atlas.probe, layers, seed=seed).assign(domain=domain)
    for domain, x, f in of_domain
)
r2 = atlas.curves(explained, ["domain", "space"], "explained", seed)
raw = explained.query("space == 'raw'")
better = raw.pivot(
    index=["item", "variant", "layer"], columns="domain", values="explained"
).eval("difference = age - numbers")
r2_difference = summary.by_layer(better.reset_index(), "difference", seed=seed)
r2_last = summary.by_layer(
    atlas.over(last_age, going_on[1], atlas.probe, layers, ["raw"], seed=seed),
    "explained",
    seed=seed,
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How well a linear map reads the number off the raw states: cross-validated coefficient of determination, mean over templates with its 95 % bootstrap interval over ages. Solid: ages of persons; dashed: lengths of roads and trails, the control. Cut off below 0.", "name": "fig-geometry-probe"}, "image": {"alt": "Two curves over layers with interval bands, ages and numbers, one for ages and one for numbers."}}
both = {"age": "medical", "numbers": "control"}
_, axes = plt.subplots()
for domain, look in both.items():
    curve = r2.query("space == 'raw' and domain == @domain")
    figures.curve(axes, curve, look, domain, known[domain])
axes.set(ylabel="cross-validated $R^2$", ylim=(0, 1.02))
axes.legend()
plt.show()

# %% [markdown]
# Ages are read better than numbers on {glue:text}`n_r2_age` of {glue:text}`n_layers` layers and worse on {glue:text}`n_r2_numbers` (95 % interval of the difference clear of zero).
# At the last token of the prompt the best $R^2$ is {glue:text}`last_r2`.
#
# A number that can be read off by a linear map need not lie along a straight line: the local anisotropy says how line-like the cloud is around each state.

# %%
anisotropy = pd.concat(
    atlas.over(x, f, atlas.line_likeness, layers, k=neighbours).assign(
        domain=domain
    )
    for domain, x, f in of_domain
)
spread = (
    anisotropy.query("space == 'raw'")
    .groupby(["domain", "layer"])["value"]
    .agg(value="mean", low="min", high="max")
    .reset_index()
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Local anisotropy of the raw states: one is a curve, and the dotted line is a ball of noise with as many points and dimensions. Mean over templates, the band from the lowest to the highest of the three.", "name": "fig-geometry-anisotropy"}, "image": {"alt": "Two curves over layers with bands, ages and numbers, and a dotted line for noise."}}
_, axes = plt.subplots()
for domain, look in both.items():
    figures.curve(
        axes, spread.query("domain == @domain"), look, domain, known[domain]
    )
axes.axhline(ball, label="noise", **figures.LOOKS["chance"])
axes.set(ylabel="local anisotropy", ylim=(0, 1))
axes.legend()
plt.show()

# %% [markdown]
# ### Is there a break at 17|18?
#
# The length of each step, from one age to the next, is divided by that of the same step between roads or between trails, which takes out what the digits do to both alike.
# The steps 9|10 and 99|100, where a digit is added, are left out.
# Then the step 17|18 is ranked among the other {glue:text}`n_steps`.
# Roads divided by trails, and trails by roads, show what such a rank is worth where nobody comes of age.

# %%
people = [(k, v) for k in ("man", "woman") for v in ("road", "trail")]
routes = [("trail", "road"), ("road", "trail")]
steps = atlas.over(
    np.concatenate([at_age, at_number], axis=1),
    pd.concat([ages, numbers], ignore_index=True),
    atlas.one_step,
    layers,
    ["raw"],
    at=17,
    pairs=people + routes,
    exclude=(9, 99),
)
steps["who"] = steps["kind"].replace(["man", "woman"], "people")
break_p = atlas.in_every_template(steps, ["who"])

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Where the step 17|18 ranks among the steps from one age to the next: the share of the other steps that are shorter, each divided by the same step of the routes. Thin lines: templates; thick: their mean. Above: men and women; below, the control: one kind of route by the other. 100 is the longest step; 50 is expected without a break.", "name": "fig-geometry-break"}, "image": {"alt": "Two panels of percentile curves over layers: above, the rank of the step from 17 to 18 for men and women in each template; below, for trails against roads and roads against trails."}}
looks = dict(man="medical", woman="other", trail="control", road="difference")
_, panels = plt.subplots(2, 1, figsize=(7.2, 7), sharex=True, sharey=True)
for i, (kind, look) in enumerate(looks.items()):
    axes, colour = panels[i // 2], figures.LOOKS[look]["color"]
    ranks = steps[steps["kind"] == kind].pivot_table(
        index="layer", columns="variant", values="percentile"
    )
    axes.plot(ranks, color=colour, lw=0.8, alpha=0.4)
    mean = ranks.mean(axis=1).rename("value").reset_index()
    name = f"{kind} by {'routes' if i < 2 else dict(routes)[kind]}"
    figures.curve(axes, mean, look, name, known["age" if i < 2 else "numbers"])
for axes in panels:
    axes.axhline(50, **figures.LOOKS["chance"])
    axes.set(ylabel="percentile of 17|18", ylim=(-3, 103))
    axes.legend(ncol=2, loc="lower center", bbox_to_anchor=(0.5, 1))
panels[0].set_xlabel("")
plt.show()

# %% [markdown]
# Undivided, the step 17|18 is longer than {glue:text}`undivided` % of the other steps at most.
# A break is counted where it is among the longest for both sexes and against both kinds of route (each *p* at most 0.05).
# In every template at once, corrected over layers, that is so on {glue:text}`n_breaks` of {glue:text}`n_layers` layers; template by template, uncorrected, on {glue:text}`breaks_people`; and for one kind of route against the other on {glue:text}`breaks_routes`.
# The count for persons asks four tests to agree, that for routes asks one.
# A break that persons show against both kinds of route is not made by one of the kinds of route alone; a break in one wording only is not one of age in general.

# %% [markdown]
# ## Does a layer collapse?
#
# A cloud that falls onto few directions scores low whatever its labels, so the effective rank stands beside the scores.
# For drugs it is lowest at {glue:text}`lowest_rank`; there the first principal component takes {glue:text}`lowest_share` % of the variance.
# A few huge dimensions can do this by themselves: the largest activation is {glue:text}`largest_activation` times the median one.

# %%
shape = pd.concat(
    atlas.over(x, f, atlas.spread, layers, ["raw"]).assign(domain=domain)
    for domain, x, f in [("drugs", at_drug, drugs), *of_domain]
)
names = ["effective_rank", "mean_cosine", "first_component", "max_over_median"]
shape = shape.melt(["domain", "space", "variant", "layer"], names, "metric")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Effective rank of the raw states: the number of equally strong directions with the same entropy. Mean over templates, the band from the lowest to the highest of the three. There are 304 drugs and 202 ages and numbers in each template.", "name": "fig-geometry-rank"}, "image": {"alt": "Three curves over layers with bands: the effective rank of the states of drugs, ages and numbers."}}
ranks = shape.query("metric == 'effective_rank'")
_, axes = plt.subplots()
for domain, look in {"drugs": "other", **both}.items():
    of_templates = ranks.query("domain == @domain").groupby("layer")["value"]
    curve = of_templates.agg(value="mean", low="min", high="max")
    figures.curve(axes, curve.reset_index(), look, domain, known[domain])
axes.set(ylabel="effective rank", yscale="log")
axes.legend()
plt.show()

# %% [markdown]
# ## The numbers

# %%
for key, value in dict(
    n_drugs=drugs["item"].nunique(),
    n_mechanisms=drugs["mechanism"].nunique(),
    n_specialties=drugs["specialty"].nunique(),
    n_spelled=kept["item"].nunique(),
    n_draws=n_draws,
    n_layers=model.n_layers,
    n_states=model.n_layers + 1,
    n_steps=int(steps["n"].iloc[0]),
    n_breaks=int((break_p.query("who == 'people'")["p"] <= 0.05).sum()),
).items():
    run.number(key, value)
for key, higher, lower, curve in (
    ("fair", "specialty", "mechanism", difference.query("space == 'raw'")),
    ("plain", "specialty", "mechanism", plain_difference.query("space=='raw'")),
    ("r2", "age", "numbers", r2_difference),
):
    run.number(f"n_{key}_{higher}", int((curve["low"] > 0).sum()))
    run.number(f"n_{key}_{lower}", int((curve["high"] < 0).sum()))
for (space, label), found in p.groupby(by):
    run.number(f"n_{space}_{label}", int((found["p"] < 0.05).sum()))


# %%
def best(key, curve, digits=2):
    """Record the highest point of a curve, as the prose quotes it."""
    top = curve.loc[curve["value"].idxmax()]
    value, low, high = (
        f"{top[x]:.{digits}f}" for x in ("value", "low", "high")
    )
    text = f"{value} ({low} to {high}, state {int(top['layer'])})"
    run.number(key, top["value"], text)


for label in LABELS:
    curve = above.query("space == 'raw' and label == @label")
    best(f"best_{label}", curve)
    best(f"start_{label}", curve.query("layer == 0"))
    best(f"spelled_{label}", spelled.query("label == @label"), digits=3)
    best(f"last_{label}", at_last.query("label == @label"))
best("matched_mechanism", matched.query("label == 'mechanism'"), digits=3)
for domain in both:
    best(f"r2_{domain}", r2.query("space == 'raw' and domain == @domain"))
best("last_r2", r2_last)

# %%
worst = steps.groupby(["who", "variant", "layer"])["p"].max() <= 0.05
counts = worst.groupby(["who", "variant"]).sum().unstack("who")
counts["routes"] = counts[["road", "trail"]].max(axis=1)
for who in ("people", "routes"):
    run.number(f"most_{who}", counts[who].max())
    each = ", ".join(f"{n} ({name})" for name, n in counts[who].items())
    run.number(f"breaks_{who}", each)
undivided = max(
    geometry.step_test(x, ages["value"], 17, exclude=(9, 99))["percentile"]
    for x in at_age[1:]
)
run.number("undivided", undivided, f"{undivided:.0f}")
drug_shape = shape.query("domain == 'drugs'").pivot_table(
    index="layer", columns="metric", values="value"
)
least = drug_shape["effective_rank"].idxmin()
rank, share = drug_shape.loc[least, ["effective_rank", "first_component"]]
largest = drug_shape.loc[least, "max_over_median"]
run.number("lowest_rank", rank, f"{rank:.0f} (state {least})")
run.number("lowest_share", share, f"{100 * share:.0f}")
run.number("largest_activation", largest, f"{largest:.0f}")

# %% tags=["hide-input"]
silhouette, excess = "silhouette_" + plain["label"], "_above_shuffled"
by_item = scores.query("space == 'raw'").groupby([*by, "layer", "item"])
by_variant = scores.groupby([*by, "layer", "variant"])
means = [group["score"].mean().reset_index() for group in (by_item, by_variant)]
trust = pd.Series({k: v["trustworthiness"] for k, v in pictures.items()})
at_the_end = dict(space="raw", variant="last token of the prompt")
of_drugs = [
    plain.assign(metric=silhouette),
    above.assign(metric=silhouette + excess),
    plain_difference.assign(metric="silhouette_difference"),
    difference.assign(metric="silhouette_difference" + excess),
    *(
        f.rename(columns={"score": "value"}).assign(
            metric="silhouette_" + f["label"]
        )
        for f in means
    ),
    p.assign(metric="p_silhouette_" + p["label"], value=p["p"]),
    spelled.assign(
        metric="silhouette_" + spelled["label"] + excess,
        space="raw",
        variant="no shared ending",
    ),
    matched.assign(
        metric="silhouette_" + matched["label"] + excess,
        space="raw",
        variant="as many at random",
    ),
    at_last.assign(
        metric="silhouette_" + at_last["label"] + excess, **at_the_end
    ),
    in_umap.query("space == 'umap30'").assign(
        metric="silhouette_" + in_umap["label"], variant="late"
    ),
    trust.rename_axis("layer")
    .reset_index(name="value")
    .assign(metric="trustworthiness", space="umap2", variant="late"),
]
of_ages = [
    r2.assign(metric="ridge_r2"),
    raw.groupby(["domain", "space", "item", "layer"])["explained"]
    .mean()
    .reset_index(name="value")
    .assign(metric="ridge_r2"),
    r2_difference.assign(
        metric="ridge_r2_difference",
        domain="age",
        space="raw",
        variant="minus numbers",
    ),
    r2_last.assign(metric="ridge_r2", domain="age", **at_the_end),
    anisotropy.assign(metric="local_anisotropy"),
    *(
        steps.assign(
            metric=f"step_{name}",
            domain="age",
            value=steps[name],
            variant=steps["kind"].str.cat(
                [steps["against"], steps["variant"]], " / "
            ),
        )
        for name in ("percentile", "p")
    ),
]
of_drugs = [f.assign(domain="drugs") for f in of_drugs]
table = pd.concat([*of_drugs, *of_ages, shape])
table = table[table.columns.intersection(results.COLUMNS)]
run.save(table.assign(component="residual stream"))

# %%
columns = {
    label: above.query("space == 'raw' and label == @label") for label in LABELS
} | {
    f"R² {domain}": r2.query("space == 'raw' and domain == @domain")
    for domain in both
}
pd.DataFrame(
    {name: curve.set_index("layer")["value"] for name, curve in columns.items()}
).style.format("{:.2f}", na_rep="")

# %% [markdown]
# ## What would change our mind
#
# - A model whose specialties stay above shuffled labels when drugs with a shared ending are dropped: then a layer would hold what a drug is for, and not how it is spelled.
# - Names written in another way, such as brand names, that keep the mechanisms together.
# - A break at 17|18 in every wording, and none between two other things that are numbered.
#
# ## What this cannot show
#
# Names of drugs are not given at random: *-pril* and *-olol* stand for a mechanism.
# So spelling and mechanism cannot be taken fully apart; dropping shared endings also drops the drugs that are most alike in fact, and earlier pieces of the names may be shared still.
# A specialty holds several mechanisms, and some drugs belong to several specialties but count for one, which holds its silhouette down.
# The intervals hold the neighbours still, and those of $R^2$ the predictions; they do not cover another choice of drugs, or other folds; the best layer is the best of many, so its score is a little too high.
#
# What can be read off need not be read by the model; a control task {cite:p}`hewitt2019control` takes out only what any labels would give.
# A ridge regression finds a line that carries age next to anything else the states hold; a number on a ring or a helix can pass this test too {cite:p}`engels2024features`.
# The paper does not publish how its $R^2$ was made, so its values and these are not the same measure.
# A break is looked for as a long step; a turn without a longer step would go unseen.
# In pictures by UMAP, distances between clumps are not to be read: how far such pictures may be trusted is disputed {cite:p}`chari2023specious,lause2024elephant`.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the geometry is that of the rounded model.
# The technique is one of the four of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/geometry.md).
