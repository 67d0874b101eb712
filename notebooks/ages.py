# %% [markdown]
# # Is age a line in the model, and does it break at 18?
#
# A linear map reads the age of a person off the state at the end of *17-year-old man* with a cross-validated $R^2$ of {glue:text}`r2_age` at best, and {glue:text}`r2_lowest` at worst; the length of a road or trail, the control, with {glue:text}`r2_numbers` at best (95 % intervals over ages).
# A probe fitted on one sex puts {glue:text}`ordered_sex` of the ages of the other in order, where chance is 0.50 and shuffled ages give {glue:text}`ordered_sex_control`; one fitted on ages puts {glue:text}`ordered_miles` of the miles in order, which says whether the line is one of age or of number.
# A straight line is another matter: the cloud of ages is line-like around each state to {glue:text}`likeness_age` at most, that of miles to {glue:text}`likeness_numbers`, and noise of the same covariance to {glue:text}`likeness_noise` there, where a straight line has 1.
#
# Once digits, last digits and the step of the control are taken out, the step 17|18 stands out as number {glue:text}`rank_people` of {glue:text}`n_steps` for men and women, and as number {glue:text}`rank_routes` for roads and trails, which do not come of age (mean over all layers and wordings; *p* = {glue:text}`p_people` and {glue:text}`p_routes`).
# The step past it, from 17 to 19, is number {glue:text}`rank_past`: it would not stand out if 18 alone were an odd number.
# What else stands out, in order: {glue:text}`others`.
# Layer by layer, which asks for more: in all wordings and for both sexes at once, 17|18 is among the longest 5 % of steps on {glue:text}`n_breaks` of {glue:text}`n_layers` layers, corrected for the number of layers on {glue:text}`n_corrected`; between roads and trails on {glue:text}`n_breaks_routes` and {glue:text}`n_corrected_routes`.
# Without taking numerals out, the same step is number {glue:text}`rank_plain` for people; a table further down shows every choice of what is taken out.
#
# {glue:text}`knowledge`

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run ages`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
every = 1  # look at every so many layers, from the last one down
n_shuffles = 5  # control tasks: shuffled ages, read by the same probe
n_planted = 10  # made-up models for each planted check
n_umap_states = 3  # states whose cloud is also seen through UMAP
n_umap_seeds = 3  # fits of UMAP for each of them
neighbours = 20  # states that make up a neighbourhood, for local anisotropy
seed = 0  # deals folds, shuffles, noise and resamples, and starts UMAP

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import medlib
from medlib import concepts, figures, geometry, knowledge, results, summary
from medlib.chapters import atlas
from medlib.chapters.ages import made_up_lines, number_figures, number_line

figures.style()
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
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
run.number("knowledge", said)

# %% [markdown]
# ## The states
#
# Ages from 0 to 100 of a man and of a woman stand in three wordings, and the residual stream is read at the last token of the item: the word *man* or *woman*, which has seen the age.
# The control is plain numbers in sentences of the same form: the lengths of a road and of a trail in miles.
# The last token does not change with the age, so at state 0 all ages are one vector; layers are counted from 1.

# %%
columns = {"age": "value", "number": "value", "sex": "kind"}
frame = pd.concat(
    [
        concepts.prompts(domain).rename(columns=columns).assign(domain=domain)
        for domain in ("age", "numbers")
    ],
    ignore_index=True,
)
frame["family"] = frame["domain"].map({"age": "people", "numbers": "routes"})
frame["tokens"] = number_line.token_counts(model, frame)
states = medlib.activations(model, list(frame["prompt"]), at="entity")
layers = list(range(model.n_layers, 0, -every))[::-1]
of_domain = {
    domain: (states[:, part.index], part)
    for domain, part in frame.groupby("domain")
}
frame.groupby(["domain", "kind"], sort=False).agg(
    prompts=("item", "size"),
    tokens=("tokens", lambda n: f"{n.min()} to {n.max()}"),
    example=("prompt", lambda prompts: prompts.iloc[17]),
).style

# %% [markdown]
# ## Does the method find what is planted?
#
# Made-up men, women, roads and trails, as wide as the states: on a straight line, on a helix without a straight axis, as noise, and on random walks.
# The probe reads the helix as well as the line {cite:p}`kantamneni2025trigonometry`: a high $R^2$ says that the number is there, not that it lies along a line.
# Local anisotropy tells the two apart.

# %%
PEOPLE, ROUTES = ["man", "woman"], ["road", "trail"]
generator = np.random.default_rng(seed)
made_up = made_up_lines.frame()
people = made_up["kind"].isin(PEOPLE).to_numpy()
planted = {
    "line": made_up_lines.straight(model.hidden_size, generator),
    "helix": made_up_lines.helix(model.hidden_size, generator),
    "noise": generator.normal(size=(len(made_up), model.hidden_size)),
}
found = pd.DataFrame(
    {
        name: number_line.readings(x[people], made_up[people], n_shuffles, seed)
        .assign(
            likeness=geometry.local_anisotropies(x[people], neighbours),
        )[["explained", "control", "likeness"]]
        .mean()
        for name, x in planted.items()
    }
)
read, control, likeness = found.to_numpy()
run.check(
    "a line and a helix are read, noise and shuffled numbers are not, and "
    "only the line is a line",
    passed=read[:2].min() > 0.95
    and max(read[2], *control) < 0.2
    and likeness[0] > 0.9 > 0.6 > likeness[1:].max(),
    detail="; ".join(
        f"{name}: R2 {x.explained:.2f}, shuffled {x.control:.2f}, "
        f"local anisotropy {x.likeness:.2f}"
        for name, x in found.items()
    ),
)
print(run.checks[-1]["detail"])

# %% [markdown]
# Next, walks on which people have a break at 17|18, or an odd number 18, or neither.

# %%
AGAINST = dict(man=ROUTES, woman=ROUTES, road=["trail"], trail=["road"])
FAMILIES = {"people": PEOPLE, "routes": ROUTES}


def top_five(family, apart=1, n=n_planted, **what):
    """How often 17|18 is among the five longest steps of made-up walks."""
    ranks = []
    for _ in range(n):
        walk = made_up_lines.walk(model.hidden_size, generator, **what)
        table = number_line.step_table(walk, made_up, apart)
        table = number_line.breaks(table.assign(layer=0, variant=""), AGAINST)
        ranks.append(number_line.rank_by(table, 17, FAMILIES)[family])
    return sum(rank <= 5 for rank in ranks)


gap, no_gap = top_five("people", gap=1), top_five("people", n=2 * n_planted)
past_gap, past_spike = (
    top_five("people", apart=2, **{what: 1}) for what in ("gap", "spike")
)
control_gap = top_five("routes", gap=1)
allowed = 1 + n_planted // 4
run.check(
    "a break is found and told from an odd number; where none is, none is",
    passed=gap == past_gap == n_planted
    and max(no_gap / 2, past_spike, control_gap) <= allowed,
    detail=f"17|18 among the five longest of 100: {gap} of {n_planted} with a "
    f"break, {no_gap} of {2 * n_planted} without, {control_gap} of "
    f"{n_planted} in the control; 17 to 19 of 99: {past_gap} of {n_planted} "
    f"with a break, {past_spike} with an odd 18",
)
print(run.checks[-1]["detail"])

# %% [markdown]
# ## Can age be read off?
#
# A ridge regression reads the number off the raw states, wording by wording, scored on numbers that it was not fitted on.
# Ages are read better than miles on {glue:text}`n_r2_age` of {glue:text}`n_layers` layers and worse on {glue:text}`n_r2_numbers` (95 % interval of the difference clear of zero, not corrected; by chance about {glue:text}`n_chance` each way).
# Given shuffled ages, the same probe has an $R^2$ of {glue:text}`r2_control` at best, so its selectivity {cite:p}`hewitt2019control` is its $R^2$.
# That is no strong test: an age that was not seen in the fit has nothing to be remembered by.
# The strong one is the next section's.

# %%
reading = pd.concat(
    atlas.over(
        x, f, number_line.readings, layers, ["raw"], n_shuffles=n_shuffles
    ).assign(domain=domain)
    for domain, (x, f) in of_domain.items()
)
r2 = atlas.curves(reading, ["domain"], "explained", seed)
r2_control = atlas.curves(reading, ["domain"], "control", seed)
each = reading.groupby(["domain", "cluster", "variant", "layer"])["explained"]
better = each.mean().unstack("domain").eval("difference = age - numbers")
better = better.reset_index().rename(columns={"cluster": "item"})
r2_difference = summary.by_layer(better, "difference", seed=seed)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How well a linear map reads the number off the raw states: cross-validated coefficient of determination, mean over kinds and wordings with its 95 % bootstrap interval over numbers. Solid: ages of persons; dashed: lengths of roads and trails, the control. The axis need not begin at 0.", "name": "fig-ages-probe"}, "image": {"alt": "Two curves over layers with interval bands, one for ages and one for miles."}}
LOOKS = {"age": "medical", "numbers": "control"}
_, axes = plt.subplots()
for domain, look in LOOKS.items():
    figures.curve(
        axes, r2.query("domain == @domain"), look, domain, known[domain]
    )
axes.set(
    xlabel="layer",
    ylabel="cross-validated $R^2$",
    ylim=(max(0, r2["low"].min() - 0.05), 1.005),
)
axes.legend()
plt.show()

# %% [markdown]
# ### Where is it bent?
#
# What the probe reads, minus the true number, shows where the line is bent: above zero the model's age runs ahead.
# A probe pulls towards the middle, so some fall from left to right belongs to the method, and the miles show how much.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Residuals of the probe, out of fold: number read minus true number, at three states. Above zero, it reads too high; the few numbers read worst lie outside. Lines: mean over both kinds and three wordings; bands: their whole range. Dotted: 17|18.", "name": "fig-ages-residuals"}, "image": {"alt": "Three panels, one for each state, with the residual against the number, for ages and for miles, each with a band."}}
chosen = [layers[0], layers[len(layers) // 2], layers[-1]]
number_figures.residuals(reading[reading["layer"].isin(chosen)], known)
plt.show()

# %% [markdown]
# ## Is it age, or number?
#
# A probe is fitted on one kind of words and read on another; the score is the share of pairs of numbers that it puts in the right order, which does not ask for the same scale.
# In the control task each number has the name of another one, the same for all kinds: a probe that merely tells *17* from *18* would do well there too.
# From one sex to the other, {glue:text}`ordered_sex` are in order at best; from ages to miles {glue:text}`ordered_miles`, from miles to ages {glue:text}`ordered_ages`.

# %%
TASKS = {
    "men to women": (["man"], ["woman"]),
    "women to men": (["woman"], ["man"]),
    "road to trail": (["road"], ["trail"]),
    "trail to road": (["trail"], ["road"]),
    "ages to miles": (PEOPLE, ROUTES),
    "miles to ages": (ROUTES, PEOPLE),
}
transfer = atlas.over(
    states,
    frame,
    number_line.transfers,
    layers,
    ["raw"],
    pairs=TASKS,
    n_shuffles=n_shuffles,
    seed=seed,
)
moved, moved_control = (
    atlas.curves(transfer, ["task"], column, seed)
    for column in ("ordered", "control")
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Share of pairs of numbers in the right order when a probe is fitted on one kind of words and read on another, mean over wordings with its 95 % bootstrap interval over numbers (the numbers that each is compared with are held still). Dotted curves: the same probe with shuffled numbers, the control task. Dotted line: chance.", "name": "fig-ages-transfer"}, "image": {"alt": "Three panels of curves over layers: between men and women, between road and trail, and between ages and miles, each with its control task near one half."}}
figure, panels = figures.panels(
    ("man and woman", "road and trail", "age and miles"), 2.9, sharey=True
)
looks = ("medical", "control", "other")
for (axes, look), tasks in zip(
    zip(panels.values(), looks, strict=True),
    (list(TASKS)[i : i + 2] for i in (0, 2, 4)),
    strict=True,
):
    for task, style in zip(tasks, (look, "difference"), strict=True):
        both = known["age"] and known["numbers"]
        shown = (
            both
            if look == "other"
            else known["age" if look == "medical" else "numbers"]
        )
        figures.curve(axes, moved.query("task == @task"), style, task, shown)
        null = moved_control.query("task == @task")
        axes.plot(
            null["layer"],
            null["value"],
            color=figures.LOOKS[style]["color"] if shown else figures.NOT_KNOWN,
            ls=":",
        )
    axes.axhline(0.5, **figures.LOOKS["chance"])
    axes.set(ylim=(0, 1.02), ylabel="share of pairs in order", xlabel="layer")
    axes.label_outer()
    axes.legend(fontsize="x-small", loc="lower right")
plt.show()

# %% [markdown]
# ## Is it a line around each age?
#
# Local anisotropy is 1 where the nearest {glue:text}`neighbours` states lie along a curve.
# A Gaussian cloud of the same covariance around the mean of each kind is drawn beside it: what lies above it is shape, not only length.
# Through UMAP, as in the paper, the ages score {glue:text}`umap_age` and noise {glue:text}`umap_noise` (range over {glue:text}`n_umap` fits, {glue:text}`n_umap_states` states): how far UMAP makes a line of anything.

# %%
likeness = pd.concat(
    atlas.over(
        x, f, number_line.line_likeness, layers, k=neighbours, seed=seed
    ).assign(domain=domain)
    for domain, (x, f) in of_domain.items()
)
shape, noise = (
    atlas.curves(likeness, ["space", "domain"], column, seed)
    for column in ("value", "noise")
)
seen = sorted(
    {
        layers[i]
        for i in np.linspace(0, len(layers) - 1, n_umap_states + 2).astype(int)[
            1:-1
        ]
    }
)
late = frame["variant"] == "late"
umap = pd.concat(
    atlas.over(
        states[:, late & (frame["domain"] == domain)],
        frame[late & (frame["domain"] == domain)],
        number_line.in_umap,
        seen,
        ["raw"],
        seeds=range(seed, seed + n_umap_seeds),
        k=neighbours,
    ).assign(domain=domain)
    for domain in LOOKS
).assign(space="umap30")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Local anisotropy in three spaces: the raw states, their 30 first principal components, and UMAP to 30 dimensions at a few states. Mean over kinds and wordings with its 95 % bootstrap interval over numbers, the neighbours held still; UMAP: one wording, mean and range over seeds. Dotted or crosses: Gaussian noise of the same covariance, in the same colour. One is a curve.", "name": "fig-ages-anisotropy"}, "image": {"alt": "Three panels, raw states, principal components and UMAP, with curves or points for ages and miles and a dotted curve of noise for each."}}
figure, panels = figures.panels(
    ("raw states", "30 components", "UMAP to 30"), 2.9, sharey=True
)
for (space, axes), (domain, look) in (
    (a, b)
    for a in zip(("raw", "pca30", "umap30"), panels.values(), strict=True)
    for b in LOOKS.items()
):
    if space == "umap30":
        fits = umap.query("domain == @domain").groupby("layer")
        curve, null = (
            fits[name].agg(value="mean", low="min", high="max").reset_index()
            for name in ("value", "noise")
        )
    else:
        here = "space == @space and domain == @domain"
        curve, null = shape.query(here), noise.query(here)
    figures.curve(axes, curve, look, domain, known[domain])
    colour = (
        figures.LOOKS[look]["color"] if known[domain] else figures.NOT_KNOWN
    )
    axes.plot(
        null["layer"],
        null["value"],
        ls=":",
        marker="x" if space == "umap30" else "",
        color=colour,
        label=f"noise like {domain}",
    )
    axes.set(ylim=(0, 1.02), ylabel="local anisotropy", xlabel="layer")
    axes.label_outer()
figures.legend(figure, panels.values())
plt.show()

# %% [markdown]
# ## Is there a break at 17|18?
#
# The logarithm of the length of each step, from one number to the next, is regressed on what numerals do by themselves: the digits that are added (9|10, 99|100), the last digit (so 17|18 is held against 7|8 and 27|28, and the turn of a decade is one of them), the tokens that are added, the size of the number, and the same step of the control.
# For people the control is the mean of road and trail; roads are held against trails and trails against roads, which shows what the test finds where nobody comes of age.
# How much a step stands out is its residual over its standard error (*t*), with the step itself left out of the fit.

# %%
steps, past = (
    atlas.over(
        states, frame, number_line.step_table, layers, ["raw"], apart=apart
    )
    for apart in (1, 2)
)
found = number_line.breaks(steps, AGAINST)
family_of = frame.drop_duplicates("kind").set_index("kind")["family"]
found["family"] = found["kind"].map(family_of)
overall = {
    family: number_line.over_all(found[found["family"] == family])
    for family in FAMILIES
}
known_family = {"people": known["age"], "routes": known["numbers"]}

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "How much each step from one number to the next stands out, once numerals and the control are taken out: mean t over all layers, both kinds and three wordings; the line is the range of kinds and wordings. Star: the step 17|18. The five longest are named. Above: ages of men and women; below, the control: lengths of roads and trails.", "name": "fig-ages-steps"}, "image": {"alt": "Two panels of a hundred points, one for each step, with vertical ranges; the step from 17 to 18 is a black star in each, with its rank."}}
number_figures.standing_out(overall, 17, known_family)
plt.tight_layout()
plt.show()

# %% [markdown]
# Layer by layer, the rank of 17|18 among all steps:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Where 17|18 ranks among all steps at each layer: the share of the other steps that stand out less. Thin lines: wordings; thick: their mean. Above: men and women; below, the control: roads by trails and trails by roads. 50 is expected without a break.", "name": "fig-ages-ranks"}, "image": {"alt": "Two panels of percentile curves over layers: men and women above, road and trail below, with the dotted line at 50."}}
number_figures.ranks(found, 17, known_family)
plt.tight_layout()
plt.show()

# %% [markdown]
# In every wording and for both kinds at once, 17|18 is among the longest 5 % on {glue:text}`n_breaks` layers for people and on {glue:text}`n_breaks_routes` for routes (largest *p* of six; corrected over layers by Benjamini-Hochberg, {glue:text}`n_corrected` and {glue:text}`n_corrected_routes`).
# Of all {glue:text}`n_steps` steps of people, {glue:text}`n_other_breaks` others do so somewhere, and the one on most layers, {glue:text}`most_breaks`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How much each step stands out at each layer (t, mean of both kinds and three wordings); arrows: 17|18. Above: people; below: routes. Red: longer than numerals and the control explain.", "name": "fig-ages-map"}, "image": {"alt": "Two heat maps, layers upwards and steps across, with arrows at the step from 17 to 18."}}
number_figures.by_layer(found, 17, known_family)
plt.show()

# %% [markdown]
# ### Does it depend on what is taken out?
#
# The rank of 17|18 among all steps, 1 the longest, as effects are added to the regression one after the other; the last row is the step from 17 to 19, among the steps to the next but one.
# If 18 alone lay off the line, 17|18 would stand out and the step past it would not.
# With every effect taken out, a road by trails or a trail by roads comes to number {glue:text}`rank_one_route` at best, though neither comes of age: that is how far the rank of one kind alone may be trusted.

# %%
CHOICES = {
    "nothing": (),
    "the control": ("control",),
    "and size, digits, tokens": number_line.EFFECTS[:-1],
    "and the last digit": number_line.EFFECTS,
}
groups = FAMILIES | {kind: [kind] for kind in AGAINST}
sensitivity = pd.DataFrame(
    {
        name: number_line.rank_by(
            number_line.breaks(steps, AGAINST, effects), 17, groups
        )
        for name, effects in CHOICES.items()
    }
    | {
        "the same, from 17 to 19": number_line.rank_by(
            number_line.breaks(past, AGAINST), 17, groups
        )
    }
).T.rename_axis("taken out")
sensitivity.style

# %% [markdown]
# ## What does it look like?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The states of one wording (late) along their first two principal components at three states, coloured by the number. Above: men and women; below: road and trail. In brackets the share of the variance in the picture.", "name": "fig-ages-pictures"}, "image": {"alt": "Six clouds of points, three states for people above and routes below, coloured by age or length, the two kinds as circles and triangles."}}
number_figures.pictures(states[:, late], frame[late], chosen)
plt.show()

# %% [markdown]
# ## The numbers


# %% tags=["hide-input"]
def best(key, curve, lowest=False):
    """Record the highest (or lowest) point of a curve, as prose quotes it."""
    top = curve.loc[
        curve["value"].idxmin() if lowest else curve["value"].idxmax()
    ]
    low, high = (f"{top[x]:.2f}" for x in ("low", "high"))
    text = f"{top['value']:.2f} ({low} to {high}, state {int(top['layer'])})"
    run.number(key, top["value"], text)
    return int(top["layer"])


for domain in LOOKS:
    best(f"r2_{domain}", r2.query("domain == @domain"))
    at = best(
        f"likeness_{domain}",
        shape.query("space == 'raw' and domain == @domain"),
    )
    if domain == "age":
        there = noise.query(
            "space == 'raw' and domain == 'age' and layer == @at"
        )
        value = there["value"].item()
        run.number("likeness_noise", value, f"{value:.2f}")
best("r2_lowest", r2.query("domain == 'age'"), lowest=True)
best("r2_control", r2_control.query("domain == 'age'"))
sexes = moved["task"].isin(["men to women", "women to men"])
at = best("ordered_sex", moved[sexes])
value = moved_control[sexes].query("layer == @at")["value"].max()
run.number("ordered_sex_control", value, f"{value:.2f}")
best("ordered_miles", moved.query("task == 'ages to miles'"))
best("ordered_ages", moved.query("task == 'miles to ages'"))
for key, column in (("age", "value"), ("noise", "noise")):
    fits = umap.query("domain == 'age'")[column]
    text = f"{fits.mean():.2f} ({fits.min():.2f} to {fits.max():.2f})"
    run.number(f"umap_{key}", fits.mean(), text)
for key, value in dict(
    n_layers=len(layers),
    n_chance=round(len(layers) * 0.025, 1),
    n_steps=len(overall["people"]),
    n_umap=n_umap_seeds,
    n_umap_states=len(seen),
    neighbours=neighbours,
    n_r2_age=int((r2_difference["low"] > 0).sum()),
    n_r2_numbers=int((r2_difference["high"] < 0).sum()),
    rank_past=sensitivity["people"].iloc[-1],
    rank_one_route=int(sensitivity.loc["and the last digit", ROUTES].min()),
    rank_plain=sensitivity.loc["nothing", "people"],
).items():
    run.number(key, value)

# %% tags=["hide-input"]
everywhere = {
    family: number_line.in_every_wording(found[found["family"] == family])
    for family in FAMILIES
}
for family, end in (("people", ""), ("routes", "_routes")):
    here = overall[family].query("step == 17").iloc[0]
    run.number(f"rank_{family}", int(here["rank"]))
    run.number(f"p_{family}", here["p"], f"{here['p']:.2f}")
    table = everywhere[family].query("step == 17")
    run.number(f"n_breaks{end}", int((table["p"] <= 0.05).sum()))
    run.number(f"n_corrected{end}", int((table["corrected"] <= 0.05).sum()))
others = overall["people"].query("step != 17")["step"].head(4)
text = ", ".join(f"{step}|{step + 1}" for step in others)
run.number("others", text)
counts = everywhere["people"].query("p <= 0.05").groupby("step").size()
run.number("n_other_breaks", int(counts.drop(17, errors="ignore").size))
most = counts.idxmax() if len(counts) else None
run.number(
    "most_breaks",
    "none does" if most is None else f"{most}|{most + 1}, on {counts.max()}",
)

# %% tags=["hide-input"]
by_step = found.groupby(["family", "step", "layer"], as_index=False)["t"].mean()
domain_of = {"people": "age", "routes": "numbers"}
by_number = reading.groupby(["domain", "cluster", "layer"])
tables = [
    r2.assign(metric="ridge_r2", space="raw"),
    r2_control.assign(metric="ridge_r2_control_task", space="raw"),
    r2_difference.assign(
        metric="ridge_r2_difference",
        domain="age",
        space="raw",
        variant="minus numbers",
    ),
    *(
        by_number[column]
        .mean()
        .reset_index(name="value")
        .assign(metric=metric, space="raw", item=lambda f: f["cluster"])
        for column, metric in (
            ("explained", "ridge_r2"),
            ("residual", "ridge_residual"),
        )
    ),
    *(
        curve.assign(metric=metric, variant=curve["task"], space="raw")
        for curve, metric in (
            (moved, "probe_ordered"),
            (moved_control, "probe_ordered_control_task"),
        )
    ),
    shape.assign(metric="local_anisotropy"),
    noise.assign(metric="local_anisotropy_of_noise"),
    *(
        umap.assign(
            metric=metric,
            value=umap[column],
            variant="late, seed " + umap["seed"].astype(str),
        ).drop(columns="seed")
        for column, metric in (
            ("value", "local_anisotropy"),
            ("noise", "local_anisotropy_of_noise"),
        )
    ),
    *(
        f.assign(
            metric=metric,
            domain=f["family"].map(domain_of),
            item=[f"{step}|{step + 1}" for step in f["step"]],
            value=f[column],
            space="raw",
        )
        for f, column, metric in (
            (by_step, "t", "step_t"),
            *(
                (
                    t.assign(family=family),
                    "p",
                    "p_step_in_every_wording",
                )
                for family, t in everywhere.items()
            ),
        )
    ),
    found.query("step == 17").assign(
        metric="step_percentile",
        domain=lambda f: f["family"].map(domain_of),
        item="17|18",
        value=lambda f: f["percentile"],
        space="raw",
        variant=lambda f: f["kind"] + " / " + f["variant"],
    ),
]
table = pd.concat(tables)
table = table[table.columns.intersection(results.COLUMNS)]
run.save(table.assign(component="residual stream"))

# %%
pd.DataFrame(
    {
        "R² age": r2.query("domain == 'age'").set_index("layer")["value"],
        "R² numbers": r2.query("domain == 'numbers'").set_index("layer")[
            "value"
        ],
        "p of 17|18": everywhere["people"]
        .query("step == 17")
        .set_index("layer")["p"],
    }
).style.format("{:.2f}")

# %% [markdown]
# ## What would change our mind
#
# - A break at 17|18 among things that are numbered and do not come of age.
# - No break where the words are *person* or *patient*: a man is grown up, so *17-year-old man* is an unusual phrase, and the break would be one of wording and not of age.
# - A model in which 17|18 stands out before any last digit is taken out, and another in which it does not when it is.
# - A probe fitted on ages that orders miles as well as it orders ages: then the line would be one of number.
#
# ## What this cannot show
#
# A model of this size shows what can happen in a model, not what does in one of 70 billion parameters.
# What can be read off need not be read by the model.
# A step is the length of a difference; a turn without a longer step goes unseen.
# The regression has {glue:text}`n_steps` steps, two of which add a digit, so what a new digit does is known badly, and steps near them are held against a wide error.
# Layers are no independent trials: a state carries the states below it, so the mean over layers is one look, and its *p* is a rank among steps, no smaller than one in {glue:text}`n_steps`.
# The choice of 17|18 was made before by {cite:t}`marinescu2026knowledge`; the choice of effects was not, and the table above shows each.
# The intervals resample ages; they do not cover other folds, other words or other wordings, and the best layer is the best of many.
# Two sexes and three wordings are few; the ranges in the figures are whole ranges and not intervals.
# In pictures and spaces made by UMAP, distances are not to be read {cite:p}`chari2023specious,lause2024elephant`.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the geometry is that of the rounded model.
# The method is on [its own page](../../methods/ages.md).
