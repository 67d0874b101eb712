# %% [markdown]
# # Which layers' weights would move a medical answer most?
#
# Every weight is asked how far a small change of it would move the log-probability of the right answer; the saliency of a layer is the mean size of that slope over its weights.
# Here {glue:text}`n_domains` medical domains stand beside controls, questions of the same form without medicine.
# The layer with the steepest slopes is, with the layers that hold 95 % of the bootstrap's peaks, {glue:text}`peaks`.
# Where a medical domain and its control put the layers in the same order, the place of the steepest slopes is no matter of medicine: the rank correlation of the two curves is {glue:text}`alike`.
# Over all layers, medical answers have {glue:text}`levels` times the saliency of their controls; with the answers of other items in the same prompts these ratios are {glue:text}`levels_other`.
# How likely an answer is moves that level in all layers at once, so what can be read is where the ratio leaves its own mean over layers: on {glue:text}`n_shape` of {glue:text}`n_tests` layers, all domains together, at a false discovery rate of 5 % ({glue:text}`shape_by_domain`).
# With the answers of other items it does so on {glue:text}`n_shape_other`, and the number of layers whose ratio moves when the answer is changed is {glue:text}`n_moved`: only there could the excess be about the answer and not about the prompt.
# With the answer of another item in its place, a domain's curve keeps its order to a rank correlation of {glue:text}`labels`: by that test, the order says next to nothing about the answer in {glue:text}`n_blind` of {glue:text}`n_domains` domains.
# With the weights of all blocks in random order it is {glue:text}`scrambled`; as much of the order as that keeps owes nothing to learning.
# {glue:text}`knowledge`

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run saliency`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
domains = "age diseases dosage drugs progression symptoms"  # medical domains, each beside the control that it names
n_items = 16  # items drawn from each domain, evenly over its clusters, each in all its templates
n_steps = 4  # even steps in which the blocks are scrambled, besides a first step of one block
n_permutations = 4999  # permutations behind each p-value
seed = 0  # draws the items, the bootstrap resamples, the permutations and the order of the scrambled weights

# %%
import matplotlib.pyplot as plt
import pandas as pd

import medlib
from medlib import concepts, figures, hooks, knowledge, summary
from medlib.chapters.saliency import (
    saliency_contrast,
    saliency_figures,
    saliency_tables,
    sanity,
)
from medlib.chapters.saliency.saliency_contrast import select

figures.style()
controls = concepts.controls(domains)
every = list(dict.fromkeys([*controls, *controls.values()]))
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    domains=domains,
    n_items=n_items,
    n_steps=n_steps,
    n_permutations=n_permutations,
    seed=seed,
)
run = medlib.Run("saliency", model, parameters, seed)
known, said = knowledge.knows(model, every, seed)
run.number("knowledge", said)

# %% [markdown]
# ## The questions
#
# Each prompt breaks off where the answer belongs; the answer counts by its first token.
# Every item appears in every template.
# What an interval resamples is the cluster: an item with all its templates or, where several items are about one thing (an age, a disease in stages), all of these.
# Beside its own answer every item gets that of another item, which begins with another token and is wrong for it.

# %%
questions = {
    name: saliency_contrast.ask(model, name, n_items, seed) for name in every
}
pd.concat(questions).groupby(level=0, sort=False).head(1)[
    ["prompt", "answer", "other"]
].style.hide()

# %% [markdown]
# ## Does the method find what is planted?
#
# With every block but one taken out of the model, only that one's weights can move the answer: it must have a saliency, and every other block none.

# %%
planted = model.n_layers // 2
few = questions[every[0]].head(4)
with hooks.only(model, planted):
    found = medlib.weight_saliency(
        model, list(few["prompt"]), list(few["answer"])
    )
found = found.query("module == 'block'").set_index("layer")["saliency"]
others = found.drop(planted).max()
run.check(
    "the one block left in place is the one found",
    passed=found[planted] > 0 and others == 0,
    detail=f"block {found.idxmax()} of {model.n_layers}: {found.max():.1e} nats per unit of weight; every other {others:.0f}",
)
print(run.checks[-1]["detail"])

# %% [markdown]
# ## The gradients
#
# One walk up the layers and one down, with the gradients of one block in memory at a time (see [the engine](../../methods/replay.md)).
# A gradient is taken for each prompt alone and its absolute value averaged over the weights.
# Before anything is reported, the walk up has to give the model's own logits.

# %%
tables = {
    name: saliency_contrast.measure(model, asked)
    for name, asked in questions.items()
}
no_op = max(table.attrs["no_op"] for table in tables.values())
run.check(
    "the walk up is the model",
    passed=True,  # the sweep refuses to go on otherwise
    detail=f"{no_op:.0e} of the largest logit",
)
print("Largest difference from the model's own logits:", f"{no_op:.0e}")

# %% [markdown]
# How likely are the answers?
# `own` and `other` are the mean log-probabilities, in nats, of the right answer's first token and of the other item's.
# Where the two lie close together the model hardly tells right from wrong, and its slopes cannot either.

# %% tags=["hide-input"]
likely = {
    name: tables[name].groupby("answer")["log_p"].mean() for name in every
}
pd.DataFrame(
    {
        name: dict(
            items=asked["item"].nunique(),
            clusters=asked["cluster"].nunique(),
            prompts=len(asked),
            own=likely[name]["own"],
            other=likely[name]["other"],
        )
        for name, asked in questions.items()
    }
).T.style.format("{:.1f}").format(
    "{:.0f}", subset=["items", "clusters", "prompts"]
)

# %% [markdown]
# ## Where the slope is steep

# %%
curves = {
    (name, answer, kind): summary.by_layer(
        select(tables[name], answer, kind), "saliency", seed=seed
    )
    for name in every
    for answer in ("own", "other")
    for kind in ("grad", "weight_grad")
}

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "Where slopes are steep in a medical domain and in its control alike, their place says nothing of medicine. Weight saliency by layer: the mean size of the slope of the right answer's log-probability over the attention and MLP weights of a block, on a logarithmic scale. Mean over items and templates with its 95 % bootstrap interval over clusters. Solid: the medical domain; dashed: the control; grey: not known.", "name": "fig-saliency-curves"}, "image": {"alt": "Six panels, one a medical domain, each with two curves over layers on a logarithmic scale, the medical domain and its control, with interval bands."}}
shown = {name: curves[name, "own", "grad"] for name in every}
figures.beside_controls(
    shown,
    controls,
    known,
    "nats / unit of weight",
    yscale="log",
    ylim=saliency_figures.limits(shown.values()),
)
plt.show()

# %% [markdown]
# Weighing each slope by its weight gives the first-order change of the log-probability when the weight is set to zero, in nats.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Each slope times its weight, by layer: the mean size over the attention and MLP weights of a block, on a logarithmic scale, with 95 % bootstrap intervals over clusters. Unlike the slope alone it does not change when weights are scaled up and their inputs down.", "name": "fig-saliency-weighed"}, "image": {"alt": "Six panels, one a medical domain, each with two curves over layers on a logarithmic scale, the medical domain and its control, with interval bands."}}
shown = {name: curves[name, "own", "weight_grad"] for name in every}
figures.beside_controls(
    shown,
    controls,
    known,
    "nats",
    yscale="log",
    ylim=saliency_figures.limits(shown.values()),
)
plt.show()

# %% [markdown]
# ## Medical against control
#
# Layers differ in the size of their gradients whatever the topic, so the curve to read is the ratio of a domain to its control.
# It is one of geometric means: the mean log saliency of the medical prompts minus that of the control prompts, raised again.
# The level of this ratio hangs on how likely the answers are, since an unlikely answer has steeper slopes in every weight.
# So each layer is tested against the ratio's own mean over layers: clusters of both domains exchange their labels at random, and the p-values of all layers and domains are one family after {cite:t}`benjamini1995controlling`.

# %%
ratios = {
    (domain, answer): saliency_contrast.ratio(
        tables[domain], tables[control], seed, answer=answer
    )
    for domain, control in controls.items()
    for answer in ("own", "other")
}
levels = {
    (domain, answer): saliency_contrast.level(
        tables[domain], tables[control], seed, answer=answer
    )
    for domain, control in controls.items()
    for answer in ("own", "other")
}
shapes = {
    what: saliency_contrast.compare_all(
        tables, controls, function, n_permutations, seed
    )
    for what, function in (
        ("own", saliency_contrast.shape),
        ("other", lambda table: saliency_contrast.shape(table, "other")),
        ("moved", saliency_contrast.moved),
    )
}
blocks = {
    what: saliency_contrast.corrected(table[table["module"] == "block"])
    for what, table in shapes.items()
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Where the ratio with right answers and the ratio with other items' answers run together, it is the prompts that differ and not the answers. Saliency on a medical domain divided by that on its control, on a logarithmic scale; ratio of geometric means with its 95 % bootstrap interval over clusters. Circles: layers that leave the ratio's own mean over layers (dotted line) at a false discovery rate of 5 % over all layers and domains.", "name": "fig-saliency-ratio"}, "image": {"alt": "Six panels, one a medical domain, each with two curves over layers around a line at one: the ratio of the domain to its control with right answers and with other items' answers, with interval bands and circles on some layers."}}
clear = blocks["own"].query("clear").groupby("domain")["layer"].agg(list)
saliency_figures.ratios(
    ratios,
    {domain: levels[domain, "own"].value for domain in controls},
    {domain: clear.get(domain, []) for domain in controls},
    controls,
    known,
)
plt.show()

# %% [markdown]
# ## Does the curve know the answer?
#
# A picture of what a model has learned should change when the model is asked for something else, and when what it has learned is destroyed {cite:p}`adebayo2018sanity`.
# So the same curve is drawn with the answers of other items, and with the weights of each matrix in random order, from the last block down, which keeps their sizes and destroys what was learned.
# A map of what was learned would fall towards a rank correlation of zero with the first scrambled blocks, and stay there; one that turns negative has put the layers in the opposite order.
# At each step only the blocks below the scrambled ones are as they were learned; a map that keeps their order shows what comes up through them, or the size of their weights, whatever is made of it above.

# %%
original = pd.concat(
    [
        select(tables[name])
        .drop_duplicates(["item", "layer"])
        .assign(domain=name)
        for name in controls
    ]
)
prompts = original.drop_duplicates(["domain", "item"])
asked = pd.concat(
    [questions[row.domain].iloc[[row.prompt]] for row in prompts.itertuples()]
).assign(domain=list(prompts["domain"]))
cascaded = sanity.cascade(
    model,
    list(asked["prompt"]),
    list(asked["answer"]),
    sanity.evenly(model, n_steps),
    seed=seed,
).query("module == 'block'")
cascaded = cascaded.join(
    asked[["domain", "item", "variant", "cluster"]].reset_index(drop=True),
    on="prompt",
)

# %%
steps = {
    name: sanity.agreement(
        original[original["domain"] == name],
        cascaded[cascaded["domain"] == name],
        seed,
    )
    for name in controls
}
labels = {
    name: summary.rank_agreement(
        select(tables[name]),
        select(tables[name], "other"),
        "saliency",
        seed,
    )
    for name in every
}
kinds = {
    name: summary.rank_agreement(
        select(tables[name]),
        select(tables[name], kind="weight_grad"),
        "saliency",
        seed,
    )
    for name in controls
}
templates = {
    name: summary.rank_of_templates(select(tables[name]), "saliency")
    for name in every
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A map of what was learned would lose its order when that is destroyed, and a map of the answers when they are changed. Rank correlation over layers with the curve as it is, with 95 % bootstrap intervals over clusters. Triangle: with the answers of other items. Solid: with the weights of the last blocks in random order, all blocks compared; dash-dotted: only blocks still intact, where at least five are. Dotted line: the two least alike templates of the same questions.", "name": "fig-saliency-sanity"}, "image": {"alt": "Six panels, one a medical domain: rank correlation with the original curve against the number of scrambled blocks, for all blocks and for those still intact, a triangle for the answers of other items, and a dotted line for the least alike templates."}}
saliency_figures.sanity(steps, labels, templates, controls, known)
plt.show()

# %% [markdown]
# The rule for the answers: where the curve with other answers is more like the true one (lower end of the interval) than the least alike two templates of the same questions are like each other, its order says next to nothing about the answer.
# The rule is lenient: templates differ in their words, the two answers do not.

# %% [markdown]
# ## By weight matrix

# %% tags=["hide-input"] mystnb={"figure": {"caption": "In which weight matrices medical answers have more than their share. The ratio of a medical domain to its control by layer and weight matrix, divided by the ratio's own mean over blocks, as a power of two: 1 is twice that mean, -1 half of it. Dots: clear of zero at a false discovery rate of 5 % over all matrices, layers and domains.", "name": "fig-saliency-modules"}, "image": {"alt": "Six heat maps, one a medical domain, weight matrices down and layers across, coloured by how far the ratio lies above or below its own mean, with dots where this is clear."}}
by_module = saliency_contrast.corrected(
    shapes["own"][shapes["own"]["module"] != "block"]
)
saliency_figures.modules(
    {name: by_module[by_module["domain"] == name] for name in controls},
    controls,
    known,
)
plt.show()

# %% [markdown]
# {glue:text}`n_module` of {glue:text}`n_module_tests` places are clear; on average over the domains the ratio lies highest above its own mean in {glue:text}`module_high` and lowest in {glue:text}`module_low`.

# %% [markdown]
# ## The numbers
#
# For each domain: the layer with the steepest slopes, and the layers that held 95 % of the bootstrap's peaks; the rank correlations of its curve with that of its control, with that of other items' answers, and with that of each slope times its weight; the level of the ratio; and on how many layers the ratio leaves its own mean, with right answers, with others, and by more with the one than with the other.

# %%
peaks = {
    name: saliency_contrast.peaks(select(tables[name]), seed)
    for name in controls
}
alike = {
    domain: saliency_contrast.rank_between(
        select(tables[domain]), select(tables[control]), seed=seed
    )
    for domain, control in controls.items()
}
counts = {
    what: table.groupby("domain")["clear"].sum()
    for what, table in blocks.items()
}
summed = pd.DataFrame(
    {
        domain: {
            "peak": f"{peaks[domain][0]} ({peaks[domain][1]} to {peaks[domain][2]})",
            "control": saliency_tables.text(alike[domain]),
            "other answers": saliency_tables.text(labels[domain]),
            "times weight": saliency_tables.text(kinds[domain]),
            "ratio": saliency_tables.text(levels[domain, "own"]),
            "ratio, others": saliency_tables.text(levels[domain, "other"]),
            "right": counts["own"][domain],
            "others": counts["other"][domain],
            "moved": counts["moved"][domain],
        }
        for domain in controls
    }
).T
summed

# %% tags=["hide-input"]
scrambled = {
    name: table.query("blocks == 'all'").iloc[-1]
    for name, table in steps.items()
}
blind = [name for name in controls if labels[name].low >= templates[name]]
by_name = by_module.groupby("module")["value"].mean()
for key, found in (
    ("alike", alike),
    ("labels", {name: labels[name] for name in controls}),
    ("scrambled", scrambled),
    ("levels", {name: levels[name, "own"] for name in controls}),
    ("levels_other", {name: levels[name, "other"] for name in controls}),
):
    lowest, said = saliency_tables.extremes(found)
    run.number(key, lowest, said)
run.number(
    "peaks",
    peaks[every[0]][0],
    "; ".join(f"layer {row.peak} in {name}" for name, row in summed.iterrows()),
)
run.number("n_domains", len(controls))
run.number("n_tests", len(blocks["own"]))
for key, what in (
    ("n_shape", "own"),
    ("n_shape_other", "other"),
    ("n_moved", "moved"),
):
    run.number(key, int(blocks[what]["clear"].sum()))
run.number(
    "shape_by_domain",
    int(counts["own"].max()),
    ", ".join(f"{name} {counts['own'][name]}" for name in controls),
)
run.number("n_blind", len(blind))
run.number("n_module", int(by_module["clear"].sum()))
run.number("n_module_tests", len(by_module))
run.number("module_high", by_name.idxmax())
run.number("module_low", by_name.idxmin())

# %% tags=["hide-input"]
suffix = {"own": "", "other": "_other_answers"}
saved = [
    *(
        saliency_tables.rows(
            curve, domain=name, component="block", metric=kind + suffix[answer]
        )
        for (name, answer, kind), curve in curves.items()
    ),
    *(
        saliency_tables.rows(
            curve,
            domain=name,
            component="block",
            variant=f"over {controls[name]}",
            metric="grad_ratio" + suffix[answer],
        )
        for (name, answer), curve in ratios.items()
    ),
    saliency_tables.prompt_rows(tables),
    saliency_tables.module_rows(tables, controls, seed),
    saliency_tables.tested_rows(shapes, controls),
    saliency_tables.agreement_rows(
        steps, labels, kinds, alike, levels, controls
    ),
]
run.save(pd.concat(saved))

# %% [markdown]
# ## What would change our mind
#
# - A ratio that leaves its own mean in the same layers with items of both domains whose names take as many tokens, and that does not with the answers of other items: then an excess in some layers would be about the answer and not about the prompt.
# - A model that knows the answers, and a curve whose order changes with the answer by more than it does between templates.
# - A part of the gradient that does change with the answer, such as its difference between the right and a wrong one at the same prompt.
#
# ## What this cannot show
#
# A gradient is a local slope: what an infinitely small change would do, not what the layer contributes.
# A block that writes only where nothing later reads can have steep slopes, since a change of its weights could write elsewhere; each slope times its weight is zero there.
# Its size depends on the norm of the residual stream, by which most models divide every block's input, and on the scale of the weights; so a trend from early to late layers can be about scale alone.
# In early layers every position of the prompt adds to it; in the last block only the last one does, keys and values apart.
# The answer counts by its first token only, and unlikely answers have steeper slopes than likely ones.
# The intervals are over items, not over models, templates or tables; a test that finds nothing with a few items of each domain may find something with more.
# A steep slope does not say that knowledge is stored there, nor that it can be edited there {cite:p}`hase2023localization`.
# A model of a hundred million parameters that hardly tells right answers from others cannot show where one of seventy billion keeps them.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the numbers are those of that model.
# The technique is one of the four of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/saliency.md).
