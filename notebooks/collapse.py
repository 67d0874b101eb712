# %% [markdown]
# # Does a layer's cloud of states collapse?
#
# A cloud is what the items of one domain look like to one layer, in one wording.
# It collapses where its effective rank falls below {glue:text}`deep` of its best before and of its best after: few directions in between, and a recovery.
# Of {glue:text}`n_clouds` clouds of medical domains, read at three places, {glue:text}`n_raw` collapse, and of {glue:text}`n_clouds_control` of their controls, {glue:text}`n_raw_control` (the 95 % interval of the depth lies below the bound); what the controls show as well is not a matter of medicine.
# Of the medical ones, {glue:text}`n_opening` are means over items that hold the first token that the model reads.
#
# Are a few very large dimensions the cause?
# With the {glue:text}`n_largest` dimensions left out that are largest on the *other* domains, {glue:text}`n_without` medical and {glue:text}`n_without_control` control clouds collapse; with all states scaled to one length, {glue:text}`n_rms` and {glue:text}`n_rms_control`.
# The deepest fall of a medical cloud goes down to {glue:text}`deepest`.
# The largest dimension of the medical domains is {glue:text}`largest`.
#
# Leaving these dimensions out changes the silhouette of the labels by {glue:text}`silhouette_collapsed` in the collapsed medical clouds and by {glue:text}`silhouette_other` in the other ones; in the controls by {glue:text}`silhouette_collapsed_control` and {glue:text}`silhouette_other_control` (95 % bootstrap intervals over items).
#
# {glue:text}`knowledge`

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run collapse`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
domains = "age diseases dosage drugs progression symptoms"  # medical domains, each beside the control that it names
n_items = 48  # items drawn from each domain, as many from its control: an effective rank grows with their number
n_largest = (
    3  # dimensions left out of each state, the largest of the other domains
)
place = "mean"  # where the curves are read: entity (its last token), mean (over the entity) or last (of the prompt)
seed = 0  # draws items, groups to leave out and resamples

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import medlib
from medlib import concepts, figures, knowledge, stats, summary
from medlib.chapters import collapse

figures.style()
controls = concepts.controls(domains)
names = list(dict.fromkeys(n for pair in controls.items() for n in pair))
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    domains=domains,
    n_items=n_items,
    n_largest=n_largest,
    place=place,
    seed=seed,
)
run = medlib.Run("collapse", model, parameters, seed)
known, said = knowledge.knows(model, names, seed)
run.number("knowledge", said)

# %% [markdown]
# ## Does the method find what is planted?
#
# Made-up clouds, as many and as wide as the states, are planted in the middle third of the layers of two made-up domains.
# One huge dimension has to look like a collapse and be gone when the largest dimensions of the other domain are left out; a cloud of two directions has to stay; noise must show neither.


# %%
def layers_found(kind, way):
    """The layers at which made-up clouds collapse."""
    made_up = [
        collapse.made_up(n_items, model.hidden_size, model.n_layers, kind, s)
        for s in (seed, seed + 1)
    ]
    means = {i: collapse.shares(x).mean(axis=1) for i, x in enumerate(made_up)}
    rows = pd.DataFrame(dict(variant="made up", cluster=range(n_items)))
    largest = collapse.largest_of_others(means, n_largest)[0]
    which = ["effective_rank"]
    found = collapse.clouds(made_up[0], rows, largest, which, [way], seed)
    dips = collapse.dips(found["effective_rank"][0], ["made up"])
    return dips.query("collapsed")["layer"].tolist()


planted = list(collapse.middle(model.n_layers))
for kind, way, expected in (
    ("noise", "raw", []),
    ("huge dimension", "raw", planted),
    ("huge dimension", "without largest", []),
    ("few directions", "raw", planted),
    ("few directions", "without largest", planted),
):
    found = layers_found(kind, way)
    run.check(
        f"{kind}, {way}",
        passed=found == expected,
        detail=f"{len(found)} layers collapse, {len(expected)} planted",
    )
    print(f"{kind}, {way}:", run.checks[-1]["detail"])

# %% [markdown]
# ## The states
#
# Every item stands in every template, and the residual stream is read at three places: the last token of the item (*entity*), the mean over the item's tokens (*mean*), and the last token of the prompt (*last*).
# Where an item opens the prompt, and no special token stands before it, its mean takes in the first token that the model reads, which often carries activations far larger than any other {cite:p}`sun2024massive`.

# %%
frames = {name: collapse.items(name, n_items, seed) for name in names}
states = {
    name: collapse.read(model, list(frame["prompt"]))
    for name, frame in frames.items()
}
pd.DataFrame(
    {
        name: dict(
            items=frame["item"].nunique(),
            prompts=len(frame),
            labels=frame["label"].nunique(),
            example=frame["prompt"].iloc[0],
        )
        for name, frame in frames.items()
    }
).T.style

# %%
at = {
    where: {name: states[name][where] for name in names}
    for where in collapse.PLACES
}
means = {
    where: {n: collapse.shares(x).mean(axis=1) for n, x in of.items()}
    for where, of in at.items()
}
largest = {
    where: collapse.largest_of_others(of, n_largest)
    for where, of in means.items()
}

# %% [markdown]
# ## Where does a cloud collapse?
#
# Each template is a cloud of its own.
# Its *depth* at a layer is its effective rank over the smaller of two numbers: the best rank at any layer before, and the best at any layer after.

# %%
signs = {
    (where, name): collapse.clouds(
        at[where][name],
        frames[name],
        largest[where][name],
        collapse.SIGNS if where == place else ["effective_rank"],
        seed=seed,
    )
    for where in collapse.PLACES
    for name in names
}
depths = pd.concat(
    collapse.dips(
        found["effective_rank"][i], collapse.templates(frames[name])
    ).assign(place=where, domain=name, space=way)
    for (where, name), found in signs.items()
    for i, way in enumerate(collapse.WAYS)
)

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "Depth of each cloud: its effective rank over the smaller of the best before and the best after, the deepest of the templates, 1 and above in white. Columns: states as they are, scaled to one length, and without the dimensions that are largest on the other domains. Rows: the three places to read, each medical domain above its control. A dot marks a collapse in one template at least; domains that the model does not know are in brackets.", "name": "fig-collapse-depth"}, "image": {"alt": "Nine heat maps, domains by layers: three ways to prepare the states by three places to read them. Dark cells are low effective ranks between higher ones, and dots mark collapses."}}
figure, panels = plt.subplots(
    3, 3, figsize=(9.6, 9.6), sharex=True, sharey=True, layout="constrained"
)
order = [name for pair in controls.items() for name in pair]
for (i, where), (j, way) in (
    (row, column)
    for row in enumerate(collapse.PLACES)
    for column in enumerate(collapse.WAYS)
):
    axes = panels[i, j]
    here = depths[(depths["place"] == where) & (depths["space"] == way)]
    cell = here.groupby(["domain", "layer"])
    deepest = cell["value"].min().unstack().loc[order]
    mesh = axes.pcolormesh(
        deepest.columns,
        range(len(order)),
        deepest,
        cmap="rocket",
        vmin=0,
        vmax=1,
    )
    dots = cell["collapsed"].any().unstack().loc[order].to_numpy()
    rows, columns = np.nonzero(dots)
    axes.plot(
        deepest.columns[columns],
        rows,
        "o",
        ms=3,
        mfc="white",
        mec="0.2",
        mew=0.6,
    )
    axes.hlines(
        np.arange(1.5, len(order) - 1, 2), *axes.get_xlim(), color="0.6", lw=0.5
    )
    axes.set_title(f"{where}, {way}", fontsize="medium")
    axes.set_yticks(
        range(len(order)), [n if known[n] else f"({n})" for n in order]
    )
for axes in panels[-1]:
    axes.set_xlabel("layer")
panels[0, 0].invert_yaxis()
figure.colorbar(
    mesh,
    ax=panels,
    label="depth (effective rank over that of both sides)",
    shrink=0.5,
)
plt.show()

# %% [markdown]
# The counts are of clouds, templates apart, and not corrected: of clouds that lie on the bound itself, at most 2.5 % would be counted by chance.
# Layers next to each other are alike, so the clouds of one domain and template that collapse are few events, not many.

# %%
kind = (
    depths["domain"]
    .isin(list(controls))
    .map({True: "medical", False: "control"})
)
counts = (
    depths.assign(kind=kind)
    .groupby(["place", "variant", "space", "kind"])["collapsed"]
    .sum()
    .unstack(["space", "kind"])
)
counts[list(collapse.WAYS)].style

# %% [markdown]
# ## The effective rank
#
# The curves are the mean over templates at the place *{glue:text}`place`*.
# By default that is the mean over the item, the one place where every token of it has a say; the figure above shows the other two.
# The signs are of the centred cloud, but for the mean cosine: there the common direction is what is measured.

# %%
ranks = {
    (name, way): collapse.curve(
        signs[place, name]["effective_rank"][i], log=True
    )
    for name in names
    for i, way in enumerate(collapse.WAYS)
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Effective rank: the number of equally strong directions with the same entropy, mean over templates. Lines with markers and bands: states as they are, with the 95 % jackknife interval over items. Thin lines: scaled to one length (dotted) and without the largest dimensions of the other domains (full), in the colour of their domain. The more items, the higher a rank can be.", "name": "fig-collapse-rank"}, "image": {"alt": "Six panels of effective rank over layers, one for each medical domain with its control: raw states with bands, scaled and without the largest dimensions as thin lines."}}
raw = {name: ranks[name, "raw"] for name in names}
figure, panels = figures.beside_controls(raw, controls, known, "effective rank")
thin = {"rms": (":", "scaled"), "without largest": ("-", "without largest")}
for domain, axes in panels.items():
    for look, name in (("medical", domain), ("control", controls[domain])):
        colour = (
            figures.LOOKS[look]["color"] if known[name] else figures.NOT_KNOWN
        )
        for way, (dashes, words) in thin.items():
            curve = ranks[name, way]
            axes.plot(
                curve["layer"],
                curve["value"],
                color=colour,
                ls=dashes,
                lw=0.9,
                label=f"{words}, {look}",
            )
top = max(axes.get_ylim()[1] for axes in panels.values())
for axes in panels.values():
    axes.set_ylim(0, top)
figure.legends[0].remove()
figures.legend(figure, panels.values(), ncol=3)
plt.show()

# %% [markdown]
# A cloud can also be narrow without being flat: its states may all point the same way.
# The mean cosine says so, and how much of it is the work of a few dimensions is seen when these are left out.

# %%
cosines = {
    (name, way): collapse.curve(signs[place, name]["mean_cosine"][i])
    for name in names
    for i, way in enumerate(collapse.WAYS)
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean cosine of two states of one cloud, mean over templates, with the 95 % jackknife interval over items; one is a single direction. Thin lines: without the largest dimensions of the other domains.", "name": "fig-collapse-cosine"}, "image": {"alt": "Six panels of mean cosine over layers, one for each medical domain with its control, each also without the largest dimensions."}}
figure, panels = figures.beside_controls(
    {name: cosines[name, "raw"] for name in names},
    controls,
    known,
    "mean cosine",
)
for domain, axes in panels.items():
    for look, name in (("medical", domain), ("control", controls[domain])):
        curve = cosines[name, "without largest"]
        axes.plot(
            curve["layer"],
            curve["value"],
            color=figures.LOOKS[look]["color"]
            if known[name]
            else figures.NOT_KNOWN,
            lw=0.9,
            ls=figures.LOOKS[look]["linestyle"],
            label=f"without largest, {look}",
        )
    axes.set_ylim(-0.05, 1.02)
figure.legends[0].remove()
figures.legend(figure, panels.values(), ncol=2)
plt.show()

# %% [markdown]
# ## Which dimensions are large?
#
# Each dimension's share of the squared length of a state, averaged over items, templates and domains.
# Evenly spread, each would have {glue:text}`even` %.

# %%
sides = {"medical": list(controls), "control": list(controls.values())}
mean_share = {
    side: np.mean([means[place][name] for name in of], axis=0)
    for side, of in sides.items()
}
top = np.argsort(-np.max(mean_share["medical"], axis=0), kind="stable")[:8]

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The eight dimensions that reach the largest share of the squared length at any state of the medical domains, in the order of that share, and the same dimensions in the controls.", "name": "fig-collapse-dimensions"}, "image": {"alt": "Two heat maps of eight dimensions by states, medical domains and controls: the share of the squared length that each dimension takes."}}
figure, panels = plt.subplots(
    1, 2, figsize=(9, 3), sharey=True, layout="constrained"
)
for axes, (side, share) in zip(panels, mean_share.items(), strict=True):
    mesh = axes.pcolormesh(
        range(len(share)),
        range(len(top)),
        100 * share[:, top].T,
        cmap="rocket_r",
        vmin=0,
        vmax=100 * max(s[:, top].max() for s in mean_share.values()),
    )
    axes.set(title=f"{side} domains", xlabel="layer")
    axes.set_yticks(range(len(top)), top)
panels[0].invert_yaxis()
panels[0].set_ylabel("dimension")
figure.colorbar(mesh, ax=panels, label="share of the squared length, %")
plt.show()

# %%
in_common = {
    domain: collapse.overlap(
        means[place][domain], means[place][control], n_largest
    )[1:].mean()
    for domain, control in controls.items()
}
pd.DataFrame(
    [
        {
            "dimension": dimension,
            **{
                f"peak, {side}, %": 100 * share[:, dimension].max()
                for side, share in mean_share.items()
            },
            **{
                f"at state, {side}": share[:, dimension].argmax()
                for side, share in mean_share.items()
            },
            **{
                f"states above 10 %, {side}": collapse.stretches(
                    share[:, dimension] > 0.1
                )
                for side, share in mean_share.items()
            },
        }
        for dimension in top
    ]
).style.format(precision=0).hide()

# %% [markdown]
# Of its {glue:text}`n_largest` largest dimensions, a medical domain shares {glue:text}`in_common` with its control (mean over layers; the range is that of the domains).
#
# ## Do the labels show again?
#
# The silhouette says whether items with one label lie closer together than to the others.
# If a few large dimensions hide the labels, it has to rise when they are left out, and most where the cloud collapses.
# The label is the first that the domain's table names.

# %%
ways = ["raw", "without largest"]
scores = pd.concat(
    collapse.silhouettes(
        at[where][name], frames[name], largest[where][name], ways
    ).assign(place=where, domain=name)
    for where in collapse.PLACES
    for name in names
)
of_place = scores[scores["place"] == place]
curves = {
    key: summary.by_layer(part, "value", seed=seed)
    for key, part in of_place.groupby(["domain", "space"])
}
labelled = {
    domain: control
    for domain, control in controls.items()
    if (domain, "raw") in curves and (control, "raw") in curves
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Silhouette by the first label of each domain, mean over items and templates. Lines with markers and bands: states as they are, with the 95 % bootstrap interval over items. Thin lines: without the largest dimensions of the other domains. The levels of a domain and its control are not comparable, since their labels differ in number.", "name": "fig-collapse-silhouette"}, "image": {"alt": "Six panels of silhouettes over layers, one for each medical domain with its control, as the states are and without the largest dimensions."}}
figure, panels = figures.beside_controls(
    {name: curves[name, "raw"] for pair in labelled.items() for name in pair},
    labelled,
    known,
    "silhouette",
    centre=0,
)
for domain, axes in panels.items():
    for look, name in (("medical", domain), ("control", controls[domain])):
        curve = curves[name, "without largest"]
        axes.plot(
            curve["layer"],
            curve["value"],
            color=figures.LOOKS[look]["color"]
            if known[name]
            else figures.NOT_KNOWN,
            lw=0.9,
            ls=figures.LOOKS[look]["linestyle"],
            label=f"without largest, {look}",
        )
limits = np.array([axes.get_ylim() for axes in panels.values()])
for axes in panels.values():
    axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())
figure.legends[0].remove()
figures.legend(figure, panels.values(), ncol=2)
plt.show()

# %%
keys = ["place", "domain", "variant", "layer"]
gained = scores.pivot(
    index=[*keys, "item", "cluster"], columns="space", values="value"
)
gained["gain"] = gained["without largest"] - gained["raw"]
flags = depths[depths["space"] == "raw"]
gained = gained.reset_index().merge(flags[[*keys, "collapsed"]], on=keys)


def gain(key, part):
    """Record how far the silhouette rises without the largest dimensions."""
    units = part.groupby(["domain", "cluster"])[["gain", "raw"]].mean()
    if len(units) < 3:
        return run.number(key, "none", "no number, as there are none,")
    value, low, high = stats.bootstrap(units["gain"], seed=seed)
    text = f"{value:+.3f} ({low:+.3f} to {high:+.3f}, from {units['raw'].mean():.2f})"
    return run.number(key, value, text)


for end, of in (("", sides["medical"]), ("_control", sides["control"])):
    here = gained[gained["domain"].isin(of)]
    gain(f"silhouette_collapsed{end}", here[here["collapsed"]])
    gain(f"silhouette_other{end}", here[~here["collapsed"]])

# %% [markdown]
# ## The numbers

# %% tags=["hide-input"]
run.number("deep", collapse.DEEP)
run.number("n_largest", n_largest)
run.number("place", place)
run.number("even", 100 / model.hidden_size, f"{100 / model.hidden_size:.2f}")
words = {"raw": "raw", "rms": "rms", "without largest": "without"}
total = {}
for way, word in words.items():
    for side, end in (("medical", ""), ("control", "_control")):
        part = depths[(depths["space"] == way) & (kind == side)]
        total[word + end] = int(part["collapsed"].sum())
        run.number(f"n_{word}{end}", total[word + end])
        if way == "raw":
            run.number(f"n_clouds{end}", len(part))
opens = {
    (name, variant): collapse.opens(model, frames[name]["prompt"].iloc[rows])
    for name in names
    for variant, rows in collapse.templates(frames[name]).items()
}
fallen = depths[
    (kind == "medical") & depths["collapsed"] & (depths["space"] == "raw")
]
opening = np.array(
    [opens[n] for n in zip(fallen["domain"], fallen["variant"], strict=True)],
    dtype=bool,
)
run.number("n_opening", int((opening & (fallen["place"] == "mean")).sum()))
keys = ["place", "domain", "variant", "layer"]
medical = (
    depths[kind == "medical"].set_index([*keys, "space"])["value"].unstack()
)
where = medical["raw"].idxmin()
row = depths.set_index([*keys, "space"]).loc[(*where, "raw")]
run.number(
    "deepest",
    row["value"],
    f"{row['value']:.2f} of the rank on both sides ({row['low']:.2f} to {row['high']:.2f}; {where[1]}, layer {where[3]}, template {where[2]}, place {where[0]}), and {medical.loc[where, 'without largest']:.2f} without the largest dimensions",
)
first = mean_share["medical"][:, top[0]]
other = mean_share["control"][:, top[0]]
run.number(
    "largest",
    int(top[0]),
    f"number {top[0]}, with up to {100 * first.max():.0f} % of the squared length (state {first.argmax()}; in the controls up to {100 * other.max():.0f} %, state {other.argmax()})",
)
common = pd.Series(in_common)
run.number(
    "in_common",
    common.mean(),
    f"{100 * common.mean():.0f} % ({100 * common.min():.0f} to {100 * common.max():.0f} %)",
)

# %%
size = {
    name: collapse.max_over_median(
        at[place][name], frames[name], largest[place][name]
    )
    for name in names
}
share = pd.concat(
    collapse.share_of(
        at[place][name], frames[name], largest[place][name]
    ).assign(domain=name)
    for name in names
)
run.save(
    collapse.results_table(depths, signs, scores, frames, size, share, place)
)

# %%
whole = {
    (sign, way, name): signs[place, name][sign][i][:, :, 0].mean()
    for sign in collapse.SIGNS
    for i, way in enumerate(collapse.WAYS)
    for name in order
} | {
    ("max_over_median", way, name): size[name][i].mean()
    for i, way in enumerate(collapse.WAYS)
    for name in order
}
pd.Series(whole).unstack([0, 1]).loc[
    order, [*collapse.SIGNS, "max_over_median"]
].style.format(precision=2, na_rep="")

# %% [markdown]
# The table gives each sign's mean over layers and templates at the place *{glue:text}`place`*.
#
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
# The models in which {cite:t}`marinescu2026knowledge` saw a collapse have hundreds of times as many weights; a small model's large dimensions need not be theirs.
# The method is on [its own page](../../methods/collapse.md).
