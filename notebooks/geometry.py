# %% [markdown]
# # Do things of one kind lie together?
#
# In every wording and on more than half of the {glue:text}`n_states` states, things of one kind lie closer together than the same labels dealt at random for: {glue:text}`together`; among the controls, for: {glue:text}`together_control`.
# On more than half of the states the medical domain lies further above its shuffled labels than its control does for: {glue:text}`further`; the control further than the medical domain for: {glue:text}`less_far` (95 % interval of the difference clear of zero, not corrected; by chance {glue:text}`n_chance` states each way on average, and more is common, since neighbouring states go together).
#
# How much of it is spelling?
# State 0 is the embedding of the last piece of a name and nothing else.
# The best state adds to it for: {glue:text}`gains`; among the controls, for: {glue:text}`gains_control` (95 % interval of the gain clear of zero; the state is chosen on one half of the items and scored on the other).
# Where names that share a piece are not compared, labels still lie together in every wording on more than half of the states for: {glue:text}`apart`; among the controls, for: {glue:text}`apart_control`.
#
# {cite:t}`marinescu2026knowledge` found in larger models that drugs lie together by specialty more than by mechanism, on plain silhouettes after UMAP.
# Here, in the raw states, {glue:text}`ahead`.
# Of {glue:text}`n_umap` cases of a label and a state in which things of one kind lie together after UMAP, whatever its seed, {glue:text}`n_held` hold in the raw states too.
#
# {glue:text}`knowledge`

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run geometry`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
comparisons = "drugs:mechanism/origin drugs:specialty/kind diseases:chapter/latitude diseases:organ_system/subregion symptoms:system/group progression:disease/process"  # medical domain:label/label of the control that it names
n_items = 0  # items drawn from each domain; 0 takes all
n_shuffles = 100  # shuffled labellings that each silhouette is held against
n_fits = 5  # seeds of UMAP, for its silhouettes
n_umap = 4  # states, evenly spaced, whose silhouettes are taken after UMAP too
every = 3  # a picture of one state in so many
seed = 0  # deals shuffles, halves, draws and resamples, and starts UMAP

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, display

import medlib
from medlib import figures, geometry, knowledge, results, summary
from medlib.chapters import atlas
from medlib.chapters.geometry import kinds, slider

figures.style()
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    comparisons=comparisons,
    n_items=n_items,
    n_shuffles=n_shuffles,
    n_fits=n_fits,
    n_umap=n_umap,
    every=every,
    seed=seed,
)
run = medlib.Run("geometry", model, parameters, seed)
wanted = kinds.comparisons(comparisons)
labels = kinds.labels(wanted)
known, said = knowledge.knows(model, list(labels), seed)
run.number("knowledge", said)

# %% [markdown]
# ## Labels, and the labels they are held against
#
# Each item stands in the templates of its domain that tell nothing but the item.
# A domain's control has sentences of the same form, about as many items, and a label with about as many values: the more labels there are, the lower a silhouette is by itself.
# Where an item has several labels of one sort, its first one counts.

# %%
of = {domain: kinds.read(model, domain, n_items, seed) for domain in labels}
frames = {domain: frame for domain, (frame, _) in of.items()}
pd.DataFrame(
    [
        dict(
            domain=domain,
            label=label,
            values=frames[domain][label].nunique(),
            items=frames[domain]["item"].nunique(),
            templates=frames[domain]["variant"].nunique(),
        )
        for comparison in wanted
        for domain, label in comparison.sides
    ]
).style.hide()

# %% [markdown]
# ## Does the method find what is planted?
#
# Made-up points, as many and as wide as the states of the first domain: clusters have to be found, and shuffled labels about as often as the level of the test says.
# And groups that an eye reads off a UMAP picture of plain noise must score high in the picture and not in the points: it is so that a picture can mislead.

# %%
generator = np.random.default_rng(seed)
domain, label = wanted[0].domain, labels[wanted[0].domain][-1]
items = frames[domain].drop_duplicates("item")
code, names = pd.factorize(items[label])
noise = generator.normal(size=(len(items), model.hidden_size))
centres = generator.normal(size=(len(names), model.hidden_size))
made_up = 0.6 * centres[code] + noise
found = geometry.silhouette_test(made_up, code, n=n_shuffles)
false = sum(
    geometry.silhouette_test(made_up, dealt, n=n_shuffles)["p"] <= 0.05
    for dealt in generator.permuted(np.tile(code, (20, 1)), axis=1)
)
run.check(
    "planted clusters are found, and shuffled labels are not",
    passed=found["p"] <= 0.05 and false <= 4,
    detail=f"silhouette {found['silhouette']:.2f}, p = {found['p']:.3f}; "
    f"{false} of 20 shuffled labellings at p ≤ 0.05",
)
print(run.checks[-1]["detail"])

# %%
drawn, true = kinds.clumps_of_noise(len(items), model.hidden_size, seed)
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
    kinds.scores(frame, states, labels[domain], n_shuffles, seed).assign(
        domain=domain
    )
    for domain, (frame, states) in of.items()
)
keys = ["domain", "label", "view", "space"]
by_item = kinds.over_templates(scores)
above = atlas.curves(by_item, keys, "excess", seed)
tests = scores.drop_duplicates([*keys, "layer", "variant"])
p = atlas.in_every_template(tests, keys)

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "Silhouette above that of shuffled labels, raw states at the last token of the item: above zero, things of one kind lie together. Solid: the medical domain; dashed: its control. Mean over items and templates with its 95 % bootstrap interval over items, neighbours held still. State 0 is spelling. Scales differ between panels.", "name": "fig-geometry-silhouette"}, "image": {"alt": "Six panels of curves over states, a medical domain and its control in each, with interval bands around them and a line at zero."}}
figure, panels = figures.panels(c.title for c in wanted)
for c in wanted:
    axes = panels[c.title]
    for side, look, name in zip(
        c.sides,
        ("medical", "control"),
        ("medical domain", "its control"),
        strict=True,
    ):
        curve = kinds.of_side(above, side)
        figures.curve(axes, curve, look, name, known[side[0]])
kinds.finish(figure, panels, "above shuffled")
plt.show()

# %% [markdown]
# In every template by itself, and with *p* corrected over states, the table further down counts the states.

# %%
differences = {
    c: summary.difference_by_layer(
        *(kinds.of_side(by_item, side) for side in c.sides), "excess", seed=seed
    )
    for c in wanted
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The medical domain minus its control: above zero, the medical label lies further above its shuffled labels than the other. Raw states, last token of the item, 95 % bootstrap interval over the items of both, not corrected for the number of states. Grey where the model does not show that it knows both.", "name": "fig-geometry-difference"}, "image": {"alt": "Six panels with one curve over states each around a zero line, with interval bands: the medical silhouette minus that of the control."}}
figure, panels = figures.panels(c.title for c in wanted)
for c, curve in differences.items():
    axes = panels[c.title]
    both = known[c.domain] and known[c.control]
    figures.curve(axes, curve, "difference", "medical minus control", both)
kinds.finish(figure, panels, "difference")
plt.show()

# %% [markdown]
# ## One domain, two labels
#
# The paper compares two labels of the drugs.
# Plain silhouettes favour the label with fewer values, so the comparison is of silhouettes above shuffled labels; the control shows what two labels of that kind differ by without medicine.

# %%
twice = [
    (one, other)
    for one, other in zip(wanted, wanted[1:], strict=False)
    if one.domain == other.domain
]
between = {
    (domain, column): summary.by_layer(
        kinds.between_labels(by_item, domain, other, one, column),
        "difference",
        seed=seed,
    )
    for pair in twice
    for (domain, one), (_, other) in zip(*(c.sides for c in pair), strict=True)
    for column in ("excess", "score")
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The second label minus the first of the same items, raw states at the last token of the item: below zero, the first label lies together more. Silhouettes above shuffled labels. Solid: the medical domain; dashed: its control. 95 % bootstrap interval over items, not corrected for the number of states.", "name": "fig-geometry-two-labels"}, "image": {"alt": "Two panels of curves over states around a zero line, drugs and diseases, each with the curve of its control and interval bands."}}
titles = {
    pair: "\n".join(
        f"{one[0]}: {other[1]} − {one[1]}".replace("_", " ")
        for one, other in zip(*(c.sides for c in pair), strict=True)
    )
    for pair in twice
}
options = dict(figsize=(3.6 * len(titles), 3.2), sharey=True)
figure, panels = (
    figures.panels(titles.values(), **options) if titles else (None, {})
)
for pair, title in titles.items():
    for domain, look, name in (
        (pair[0].domain, "medical", "medical domain"),
        (pair[0].control, "control", "its control"),
    ):
        curve = between[domain, "excess"]
        figures.curve(panels[title], curve, look, name, known[domain])
if titles:
    kinds.finish(figure, panels, "second − first label")
    plt.show()
else:
    print("No domain is compared by two labels.")

# %% [markdown]
# ## How much of it is spelling?
#
# Drugs of one mechanism often end alike on purpose (*-pril*, *-olol*), diseases of one organ end in words like *cancer*, and dishes of one kind in *soup*.
# Two things tell spelling from knowledge: what a state has beyond state 0, and what is left when two names that share any piece (a token) are not compared.
# Names can be alike in ways that pieces do not show, so what is left is an upper bound for knowledge, and what is lost holds knowledge too, since names alike often belong to things alike.

# %%
gained = pd.DataFrame(
    [
        dict(domain=domain, label=label, view=view)
        | kinds.gain(kinds.of_side(by_item, (domain, label), view), seed)
        for domain, names in labels.items()
        for label in names
        for view in ("item", "mean")
    ]
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Silhouette above shuffled labels when names that share a piece are not compared (thick, with its 95 % bootstrap interval over items), and when all names are compared (thin and dotted). Raw states at the last token of the item. Solid: the medical domain; dashed: its control.", "name": "fig-geometry-spelling"}, "image": {"alt": "Six panels of curves over states: a medical domain and its control without pairs that share a piece, with interval bands, and dotted curves of all pairs."}}
figure, panels = figures.panels(c.title for c in wanted)
for c in wanted:
    axes = panels[c.title]
    for side, look, name in zip(
        c.sides, ("medical", "control"), ("medical", "control"), strict=True
    ):
        curve = kinds.of_side(above, side, "apart")
        label = f"{name}, no shared piece"
        figures.curve(axes, curve, look, label, known[side[0]])
        everything = kinds.of_side(above, side)
        colour = axes.lines[-1].get_color()
        xy = everything["layer"], everything["value"]
        axes.plot(*xy, color=colour, ls=":", lw=1.2, label=f"{name}, all names")
kinds.finish(figure, panels, "above shuffled")
plt.show()

# %% [markdown]
# ### All labels side by side
#
# On how many of the {glue:text}`n_states` states a label lies together in every wording (largest *p* of the templates, corrected over states by Benjamini-Hochberg, below 0.05): in the raw states, in 30 principal components, and where names that share a piece are not compared.
# Then what the best state adds to state 0, with its 95 % interval, and the highest plain silhouette, as the paper gives it, with its state.

# %% tags=["hide-input"]
sides = [side for c in wanted for side in c.sides]


def together(view="item", space="raw"):
    """On how many states each label lies together in every template."""
    return {
        side: int((kinds.of_side(p, side, view, space)["p"] < 0.05).sum())
        for side in sides
    }


def highest(side):
    """The highest plain silhouette, and its state."""
    curve = kinds.of_side(by_item, side).groupby("layer")["score"].mean()
    return f"{curve.max():.2f} ({curve.idxmax()})"


of_item = gained[gained["view"] == "item"].set_index(["domain", "label"])
summed = pd.DataFrame(
    {
        "raw": together(),
        "30 components": together(space="pca30"),
        "no shared piece": together("apart"),
        "gain over state 0": {
            side: "{value:.2f} ({low:.2f} to {high:.2f})".format(**row)
            for side, row in of_item.iterrows()
        },
        "highest (state)": {side: highest(side) for side in sides},
    },
    index=pd.MultiIndex.from_tuples(sides),
)
names = [name for c in wanted for name in (c.name, c.control_name)]
summed.set_axis(names).style

# %% [markdown]
# ## Where in the prompt
#
# The paper does not state where it reads the states.
# The mean over an item's tokens sees the whole name, at state 0 already; the last token of the prompt, in templates that go on after the item, is the same word for all items, so what it knows of the item has come by attention.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Silhouette of the medical labels above shuffled labels at three places: the last token of the item, the mean over the item's tokens, and the last token of the prompt; thin and dashed, the control at the last token of the prompt. Raw states; mean over items and templates with its 95 % bootstrap interval over items.", "name": "fig-geometry-places"}, "image": {"alt": "Six panels with three curves over states each, one for each place, with interval bands, and a dashed one for the control."}}
figure, panels = figures.panels(c.title for c in wanted)
looks = {
    "item": ("medical", "item's last token"),
    "mean": ("other", "mean over the item"),
    "end": ("difference", "prompt's last token"),
}
for c in wanted:
    axes = panels[c.title]
    for view, (look, name) in looks.items():
        curve = kinds.of_side(above, c.sides[0], view)
        figures.curve(axes, curve, look, name, known[c.domain])
    at_end = kinds.of_side(above, c.sides[1], "end")
    colour = figures.LOOKS["control"]["color"]
    xy = at_end["layer"], at_end["value"]
    axes.plot(*xy, color=colour, ls="--", lw=1, label="control, prompt's last")
kinds.finish(figure, panels, "above shuffled")
plt.show()

# %% [markdown]
# ## After UMAP
#
# The paper takes its silhouettes after UMAP {cite:p}`mcinnes2018umap` to 30 dimensions.
# UMAP pulls neighbours together, so the scores are higher by construction; shuffled labels are scored in the same space.
# It starts at random, so {glue:text}`n_fits` seeds are fitted on each of {glue:text}`n_fit_states` states, in one template, the last.

# %%
chosen = np.linspace(0, model.n_layers, n_umap).round().astype(int).tolist()
fits = pd.concat(
    kinds.in_umap(
        states["entity"],
        frame,
        labels[domain],
        chosen,
        range(seed, seed + n_fits),
        n_shuffles,
        seed,
    ).assign(domain=domain)
    for domain, (frame, states) in of.items()
)
held = kinds.held_in_raw(fits)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Silhouette above shuffled labels after UMAP to 30 dimensions, the line through the mean of its seeds and the band from the lowest to the highest, beside that of the same raw states (dotted). Solid: the medical domain; dashed: its control. One template; no interval over items.", "name": "fig-geometry-umap30"}, "image": {"alt": "Six panels of curves over a few states: after UMAP the medical domain and its control with bands over seeds, and dotted curves of the raw states below."}}
figure, panels = figures.panels(c.title for c in wanted)
for c in wanted:
    axes = panels[c.title]
    for (domain, label), look, name in zip(
        c.sides, ("medical", "control"), ("medical", "control"), strict=True
    ):
        here = held[(held["domain"] == domain) & (held["label"] == label)]
        curve = here.rename(columns={"after": "value"})
        figures.curve(axes, curve, look, f"{name}, UMAP", known[domain])
        xy, colour = (here["layer"], here["raw"]), axes.lines[-1].get_color()
        axes.plot(*xy, color=colour, ls=":", lw=1.2, label=f"{name}, raw")
kinds.finish(figure, panels, "above shuffled")
plt.show()

# %% [markdown]
# Of {glue:text}`n_cases` cases of a label and a state, things of one kind lie together in {glue:text}`n_umap` after UMAP with every seed; in {glue:text}`n_held` of these the raw states agree, and in {glue:text}`n_raw_alone` more only the raw states show it (*p* at most 0.05, not corrected).
# The seed alone moves a score by up to {glue:text}`seed_spread`.

# %% [markdown]
# ## Pictures
#
# UMAP to two dimensions is for looking; nothing here rests on it.
# Each picture starts from that of an earlier state and is turned onto it, so that pictures can be followed; distances between clumps and their sizes are not to be read {cite:p}`chari2023specious,lause2024elephant`.
# The trustworthiness (*trust.*) falls below 1 as things far apart are drawn as neighbours.

# %%
shown = {c.domain: c for c in wanted}  # the last label named of each domain
layers = sorted({*range(0, model.n_layers + 1, every), model.n_layers})
last = {
    domain: np.flatnonzero(f["variant"] == f["variant"].iloc[-1])
    for domain, f in frames.items()
}
drawn = {
    domain: slider.pictures(
        of[domain][1]["entity"][:, last[domain]], layers, seed
    )
    for c in shown.values()
    for domain in (c.domain, c.control)
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Items at the last token of their name in one template, some states of each domain drawn by UMAP to two dimensions: medical domains above, their controls below. The six largest labels are coloured, the other items grey. The axes have no meaning.", "name": "fig-geometry-umap"}, "image": {"alt": "A grid of clouds of points: a row for each domain and a column for each of four states, the largest six labels in colours of their own."}}
slider.grid(
    {
        domain: (drawn[domain], frames[domain].iloc[last[domain]][label])
        for c in sorted(shown.values())
        for domain, label in (c.sides)
    },
    [layers[round(i)] for i in np.linspace(0, len(layers) - 1, 4)],
)
plt.show()

# %% [markdown]
# The same with all labels, and a slider over the states; the mouse shows an item, and a click on a label hides it.

# %% tags=["hide-input"]
for c in shown.values():
    of_page = {
        f"{domain} by {label}": (
            domain,
            frames[domain].iloc[last[domain]],
            label,
        )
        for domain, label in c.sides
    }
    html = slider.page(
        {title: drawn[domain] for title, (domain, _, _) in of_page.items()},
        {title: rows["item"] for title, (_, rows, _) in of_page.items()},
        {title: rows[label] for title, (_, rows, label) in of_page.items()},
        f"slider-{model.name}-{c.domain}-{c.label}",
    )
    display(HTML(html))

# %% [markdown]
# ## The numbers


# %%
half = (model.n_layers + 1) / 2
does = {
    "together": summed["raw"] > half,
    "apart": summed["no shared piece"] > half,
    "gains": of_item["low"].reindex(summed.index) > 0,
}
for key, kept in does.items():
    for start, ending in ((0, ""), (1, "_control")):
        chosen_names = [
            name
            for name, keep in zip(names[start::2], kept[start::2], strict=True)
            if keep
        ]
        text = ", ".join(chosen_names) or "none"
        run.number(key + ending, len(chosen_names), text)

# %%
clear = {
    "further": {c.name: (d["low"] > 0).sum() for c, d in differences.items()},
    "less_far": {c.name: (d["high"] < 0).sum() for c, d in differences.items()},
}
for key, counts in clear.items():
    chosen_names = [name for name, count in counts.items() if count > half]
    run.number(key, len(chosen_names), ", ".join(chosen_names) or "none")
ahead = [
    f"{domain} lie together more by {other} than by {one} on "
    f"{(curve['low'] > 0).sum()} of {len(curve)} states and less on "
    f"{(curve['high'] < 0).sum()}"
    for pair in twice
    for (domain, one), (_, other) in zip(*(c.sides for c in pair), strict=True)
    for curve in [between[domain, "excess"]]
]
said = "; ".join(ahead) or "no domain is compared by two labels"
run.number("ahead", len(ahead), said.replace("_", " "))

# %%
agree = held["in_umap"] & held["in_raw"]
by_chance = 0.025 * (model.n_layers + 1)
spread = (held["high"] - held["low"]).max()
for key, value, text in (
    ("n_states", model.n_layers + 1, None),
    ("n_chance", by_chance, f"{by_chance:.1f}"),
    ("n_fits", n_fits, None),
    ("n_fit_states", len(chosen), None),
    ("n_cases", len(held), None),
    ("n_umap", int(held["in_umap"].sum()), None),
    ("n_held", int(agree.sum()), None),
    ("n_raw_alone", int((held["in_raw"] & ~held["in_umap"]).sum()), None),
    ("seed_spread", spread, f"{spread:.2f}"),
):
    run.number(key, value, text)


# %% tags=["hide-input"]
def rows(table, ending, **more):
    """A table as rows of the results: metrics are named after the label."""
    metric = "silhouette_" + table["label"] + ending
    places = {
        "item": "residual stream",
        "mean": "residual stream, mean over the item",
        "end": "residual stream, last token of the prompt",
        "apart": "residual stream, no shared piece",
    }
    if "view" in table:
        more["component"] = table["view"].map(places)
    table = table.assign(metric=metric, **more)
    return table[table.columns.intersection(results.COLUMNS)]


main = by_item.query("view == 'item' and space == 'raw'")
by_template = scores.groupby([*keys, "layer", "variant"], as_index=False)
trust = [
    (domain, layer, picture["trustworthiness"], "trustworthiness", "umap2")
    for domain, pictures in drawn.items()
    for layer, picture in pictures.items()
]
seeds = "seed " + fits["draw"].astype(str)
everything = [
    rows(above, "_above_shuffled"),
    rows(
        main.drop(columns="variant").assign(value=main["excess"].round(4)),
        "_above_shuffled",
    ),
    rows(by_template["score"].mean().rename(columns={"score": "value"}), ""),
    rows(p.assign(value=p["p"]), "_p_corrected"),
    *(
        rows(
            curve.assign(label=c.label),
            "_minus_control",
            domain=c.domain,
            space="raw",
        )
        for c, curve in differences.items()
    ),
    *(
        rows(
            between[domain, column].assign(label=other),
            f"_minus_{one}" + ("_above_shuffled" if column == "excess" else ""),
            domain=domain,
            space="raw",
        )
        for pair in twice
        for (domain, one), (_, other) in zip(
            *(c.sides for c in pair), strict=True
        )
        for column in ("excess", "score")
    ),
    rows(gained, "_gain_over_state_0", space="raw"),
    *(
        rows(
            fits.assign(value=fits[column]),
            ending,
            variant=seeds,
            component="residual stream, last template",
        )
        for column, ending in (("excess", "_above_shuffled"), ("p", "_p"))
    ),
    pd.DataFrame(
        trust, columns=["domain", "layer", "value", "metric", "space"]
    ),
]
table = pd.concat(everything, ignore_index=True)
run.save(table.fillna({"component": "residual stream"}))

# %%
columns = {}
for c in wanted:
    for side in c.sides:
        name = f"{side[0]} by {side[1]}"
        curve = kinds.of_side(above, side).set_index("layer")["value"]
        columns[name] = curve
pd.DataFrame(columns).style.format("{:.2f}")

# %% [markdown]
# ## What would change our mind
#
# - A medical label that stays above its control, and above zero, when names that share a piece are not compared, at the last token of the prompt: then the kind of a thing, and not how it is spelled, would have come that far.
# - Names written in another way, such as brand names or plain-language names of diseases, that keep the kinds together.
# - Labels that lie together after UMAP with every seed and not in the raw states: then UMAP would find what distances do not show, or make it up.
#
# ## What this cannot show
#
# A model of this size says little about one of 70 billion parameters: it knows less, so that how its states lie may have more to do with words and less with medicine.
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
