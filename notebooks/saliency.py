# %% [markdown]
# # Which layers' weights would move a medical answer most?
#
# {glue:text}`verdict`.
#
# - The slopes of the right answer's log-probability by the weights, mean size over each layer, are steepest in {glue:text}`peaks`; with another item's answer in its place a domain's curve keeps its order of layers to a rank correlation of {glue:text}`labels`.
# - {glue:text}`differs`.
# - Only where the ratio changes with the answer is it about the answer and not about the prompt: {glue:text}`changes`.
# - With the weights of all blocks in random order, the order of layers is {glue:text}`scrambled`: where it is kept, it owes nothing to learning.
# - {glue:text}`knowledge`
# - What the weights of a model of this size show says nothing about where one of seventy billion parameters keeps its answers.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run saliency`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
chat = False  # put prompts through the chat template of the model
domains = "age diseases dosage drugs progression symptoms"  # medical domains, each beside the control that it names
n_items = 16  # items drawn from each domain, evenly over its clusters, each in all its templates [1..]
n_few = 8  # of these, items whose curve is taken again with scrambled weights, each in one template [1..]
n_steps = 3  # even steps in which the blocks are scrambled, besides a first step of one block [1..]
n_orders = 5  # random orders of the scrambled weights [1..]
n_permutations = 4999  # permutations behind each p-value [19..]
seed = 0  # draws the items, the bootstrap resamples, the permutations and the first of the random orders [0..]

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd

import medlib
from medlib import concepts, figures, hooks, knowledge
from medlib.chapters.saliency import saliency_contrast as contrast
from medlib.chapters.saliency import saliency_figures as drawn
from medlib.chapters.saliency import saliency_prose as prose
from medlib.chapters.saliency import saliency_reference as reference
from medlib.chapters.saliency import saliency_tables, sanity

figures.style()
controls = concepts.controls(domains)
every = list(dict.fromkeys([*controls, *controls.values()]))
model = medlib.load(model_name, chat=chat)
parameters = dict(
    model_name=model_name,
    chat=chat,
    domains=domains,
    n_items=n_items,
    n_few=n_few,
    n_steps=n_steps,
    n_orders=n_orders,
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
questions = {name: contrast.ask(model, name, n_items, seed) for name in every}
pd.concat(questions).groupby(level=0, sort=False).head(1)[
    ["prompt", "answer", "other"]
].style.hide()

# %% [markdown]
# ## Does the method find what is planted?
#
# With every block but one taken out of the model, only that one's weights can move the answer: it must have a saliency, and every other block none.

# %%
planted, few = max(1, model.n_layers // 2), questions[every[0]].head(4)
asked = list(few["prompt"]), list(few["answer"])
with hooks.only(model, planted):
    found = medlib.weight_saliency(model, *asked)
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
tables = {name: contrast.measure(model, questions[name]) for name in every}
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
likely = saliency_tables.asked(questions, tables)
likely.style.format("{:.1f}", subset=["own", "other"])

# %% [markdown]
# ## Where the slope is steep

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "Where slopes are steep in a medical domain and in its control alike, their place says nothing of medicine. Weight saliency by layer: the mean size of the slope of the right answer's log-probability over the attention and MLP weights of a block, on a logarithmic scale. Mean over items and templates with its 95 % bootstrap interval over clusters. Solid: the medical domain; dashed: the control; grey: not known.", "name": "fig-saliency-curves"}, "image": {"alt": "Six panels, one a medical domain, each with two curves over layers on a logarithmic scale, the medical domain and its control, with interval bands."}}
curves = contrast.curves(tables, seed)
drawn.by_layer(curves, "grad", controls, known, "nats / unit of weight")
plt.show()

# %% [markdown]
# Weighing each slope by its weight gives the first-order change of the log-probability when the weight is set to zero, in nats.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Each slope times its weight, by layer: the mean size over the attention and MLP weights of a block, on a logarithmic scale, with 95 % bootstrap intervals over clusters. Unlike the slope alone it does not change when weights are scaled up and their inputs down.", "name": "fig-saliency-weighed"}, "image": {"alt": "Six panels, one a medical domain, each with two curves over layers on a logarithmic scale, the medical domain and its control, with interval bands."}}
drawn.by_layer(curves, "weight_grad", controls, known, "nats")
plt.show()

# %% [markdown]
# ## Medical against control
#
# Layers differ in the size of their gradients whatever the topic, so the curve to read is the ratio of a domain to its control, one of geometric means.
# Its level, the mean over layers, is {glue:text}`levels`; with the answers of other items {glue:text}`levels_other`.
# An unlikely answer has steeper slopes in every weight, so the level follows how likely the answers are, but not that alone.
# {glue:text}`level`.
# What is tested is where the ratio differs from its own mean over layers: clusters of both domains exchange their labels at random, and the p-values of all layers and domains are one family after {cite:t}`benjamini1995controlling`, at a false discovery rate of 5 %.
# Any two sets of questions differ so.
# The reference is the ratio of one control to another, for every two that are known; unlike a domain and its control, these are not matched in form.

# %%
ratios = contrast.against_controls(contrast.ratio, tables, controls, seed)
levels = contrast.against_controls(contrast.level, tables, controls, seed)
tests = contrast.tests(tables, controls, n_permutations, seed)
blocks = {
    what: contrast.corrected(table[table["module"] == "block"])
    for what, table in tests.items()
}
compared = {
    answer: reference.compare(tables, controls, known, answer, seed)
    for answer in contrast.ANSWERS
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Where the ratio with right answers and the ratio with other items' answers run together, it is the prompts that differ and not the answers; where it stays in the band, it differs from its mean no more than the ratio of two non-medical sets does. Saliency on a medical domain divided by that on its control, on a logarithmic scale; ratio of geometric means with its 95 % bootstrap interval over clusters. Circles: layers where the ratio differs from its mean (dotted line) at a false discovery rate of 5 % over all layers and domains. Band around the mean: root mean square over every two known controls, which are not matched in form.", "name": "fig-saliency-ratio"}, "image": {"alt": "Six panels, one a medical domain, each with two curves over layers around a line at one: the ratio of the domain to its control with right answers and with other items' answers, with interval bands, circles on some layers, and a band for the ratio of two controls."}}
band = reference.band(tables, controls, known)
drawn.ratios(ratios, levels, blocks["own"], band, controls, known)
plt.show()

# %% [markdown]
# How far two controls differ: the root mean square over layers of log2 of their ratio over its mean.

# %% tags=["hide-input"]
saliency_tables.two_controls(compared["own"]).style.format(precision=2)

# %% [markdown]
# ## Does the curve know the answer?
#
# A map of what a model has learned should change when the model is asked for something else, and when what it has learned is destroyed {cite:p}`adebayo2018sanity`.
# So the same curve is drawn with the answers of other items, and with the weights of each matrix in random order, from the last block down, which keeps their sizes and destroys what was learned; in {glue:text}`n_orders` random orders, since one is one draw.
# A rank correlation with the original near zero or below means that the order of layers is lost; one near that of the templates means that the order owes nothing to learning, but to the sizes of weights and the depth of layers.
# At each step only the blocks below the scrambled ones are as they were learned.

# %%
orders = contrast.orders(tables, controls, seed)
own_questions = {name: questions[name] for name in controls}
steps = sanity.over_orders(
    model, own_questions, tables, n_few, n_steps, n_orders, seed
)
spread = sanity.spread_of_orders(steps)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A map of what was learned would lose its order when that is destroyed, and a map of the answers when they are changed. Rank correlation over layers with the curve as it is. Triangle: with the answers of other items, with its 95 % bootstrap interval over clusters. Solid: with the weights of the last blocks in random order, all blocks compared; dash-dotted: only blocks still intact, where at least five are; both the median over random orders, with bars from the lowest to the highest. Dotted line: the two least alike templates of the same questions.", "name": "fig-saliency-sanity"}, "image": {"alt": "Six panels, one a medical domain: rank correlation with the original curve against the number of scrambled blocks, for all blocks and for those still intact, a triangle for the answers of other items, and a dotted line for the least alike templates."}}
drawn.sanity(
    spread, orders["other answers"], orders["templates"], controls, known
)
plt.show()

# %% [markdown]
# The rule for the answers: where the curve with other answers is more like the true one (lower end of the interval) than the least alike two templates of the same questions are like each other, its order says next to nothing about the answer.
# Of the domains that are known, so it is in {glue:text}`blind`.
# The rule is lenient: templates differ in their words, the two answers do not.

# %% [markdown]
# ## By weight matrix

# %% tags=["hide-input"] mystnb={"figure": {"caption": "In which weight matrices medical answers have more than their share. The ratio of a medical domain to its control by layer and weight matrix, divided by the ratio's own mean over blocks, as a power of two: 1 is twice that mean, -1 half of it. Dots: clear of zero at a false discovery rate of 5 % over all matrices, layers and domains.", "name": "fig-saliency-modules"}, "image": {"alt": "Six heat maps, one a medical domain, weight matrices down and layers across, coloured by how far the ratio lies above or below its own mean, with dots where this is clear."}}
of_matrices = tests["own"][tests["own"]["module"] != "block"]
by_module = contrast.corrected(of_matrices)
drawn.modules(by_module, controls, known)
plt.show()

# %% [markdown]
# {glue:text}`modules`.

# %% [markdown]
# ## The numbers
#
# For each domain: the layer with the steepest slopes and its 95 % bootstrap interval; the rank correlations of its curve with that of its control, with that of other items' answers, with that of each slope times its weight, and with that of all blocks scrambled (median, lowest and highest of the random orders); the level of the ratio with right and with other answers; the size of its shape, where domain and control are known; and on how many layers it differs from its mean, does so with other answers, and changes with the answer.
# A change can come from the medical prompts or from the control's, whose answers were changed too; the answer at the top says from which most of it comes.

# %%
shares = reference.terms(tables, controls, blocks["moved"])
saliency_tables.summed(
    orders, spread, levels, blocks, compared["own"], controls
)

# %% tags=["hide-input"]
names = [name for name in controls if known[name]]
labels = {name: orders["other answers"][name] for name in names}
moved, pair = blocks["moved"], (controls, known)
run.number("verdict", *prose.verdict(moved, shares, compared["own"], *pair))
run.number("differs", *prose.differs(blocks["own"], *compared.values(), *pair))
run.number("changes", *prose.changes(moved, shares, *pair))
run.number("peaks", *prose.peaks(orders["peak"]))
run.number("labels", *prose.extremes(labels))
run.number("scrambled", *prose.scrambled(spread, names))
run.number("blind", *prose.blind(orders, names))

# %% tags=["hide-input"]
for key, answer in (("levels", "own"), ("levels_other", "other")):
    found = {name: levels[name, answer] for name in controls}
    run.number(key, *prose.extremes(found))
run.number("level", *prose.level(levels, likely, *pair))
run.number("modules", *prose.modules(by_module, reference.judged(*pair)))
run.number("n_orders", n_orders)

# %% tags=["hide-input"]
saved = [
    saliency_tables.curve_rows(curves, ratios, controls),
    saliency_tables.prompt_rows(tables),
    saliency_tables.module_rows(tables, controls, seed),
    saliency_tables.tested_rows(tests, controls),
    saliency_tables.agreement_rows(
        steps, orders, levels, compared["own"], controls
    ),
]
run.save(pd.concat(saved))

# %% [markdown]
# ## What would change our mind
#
# - A ratio that differs from its own mean by more than that of two non-medical sets matched in form, in the same layers with items whose names take as many tokens, and that does not with the answers of other items: then an excess in some layers would be about the answer and not about the prompt.
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
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the numbers are those of that model.
# The technique is one of the four of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/saliency.md).
