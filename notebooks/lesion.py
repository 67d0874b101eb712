# %% [markdown]
# # Which layers can the model not do without?
#
# {glue:text}`verdict` (the first {glue:text}`early` set aside).
#
# - With blocks merely absent {glue:text}`peak_absent` looks decisive, at {glue:text}`cost_identity` nats over domains and controls; given the mean of what it adds, its loss costs {glue:text}`cost_mean` nats, and given what it adds to another prompt {glue:text}`cost_resample`.
# - What survives another prompt's addition peaks at {glue:text}`survives`; the first half of the layers holds {glue:text}`half_identity` of the harm with blocks absent, {glue:text}`half_mean` under the mean and {glue:text}`half_resample` under another prompt's addition, where an even spread would give {glue:text}`even`.
# - Of {glue:text}`n_tests` pairs of layer and domain the loss moves the medical questions more than their control in {glue:text}`higher_identity` and less in {glue:text}`lower_identity` with the block absent, in {glue:text}`higher_resample` and {glue:text}`lower_resample` under another prompt's addition (false discovery rate 5 %).
# - {glue:text}`wording`; of pairs of controls, with no medicine in either, the median is {glue:text}`rank_controls`.
# - {glue:text}`knowledge`
# - A model of 135 or 270 million parameters has few layers and knows little; which of its layers one of 70 billion needs has to be measured there.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run lesion`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
chat = False  # put prompts through the chat template of the model
domains = "age diseases dosage drugs progression symptoms"  # medical domains, each beside the control that it names
n_items = 12  # items drawn from each domain, each in all its templates [1..]
n_templates = 2  # of these, templates in which blocks add a mean too, or what they add to another prompt [1..]
n_few = 4  # of the items, those for attention and MLP, the windows and the texts, in one template [1..]
n_texts = 12  # neutral texts [1..]
stride = 1  # the other ways take out every so many-th block, the windows groups of as many [1..]
grader = "local"  # grades from 1 to 10; or "package.module:function"
seed = 0  # draws the items, the other prompts and the bootstrap resamples [0..]

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd

import medlib
from medlib import concepts, figures, hooks, knowledge, lesion, summary
from medlib.chapters.lesion import grading, harm, neutral, orders, ways, windows
from medlib.chapters.lesion import harm_figures as draw
from medlib.chapters.lesion import harm_prose as say

figures.style()
controls = concepts.controls(domains)
names = [*dict.fromkeys([*controls, *controls.values()])]
model = medlib.load(model_name, chat=chat)
parameters = dict(
    model_name=model_name,
    chat=chat,
    domains=domains,
    n_items=n_items,
    n_templates=n_templates,
    n_few=n_few,
    n_texts=n_texts,
    stride=stride,
    grader=grader,
    seed=seed,
)
run = medlib.Run("lesion", model, parameters, seed)
stride = min(stride, max(1, (model.n_layers - 1) // 2))  # three layers at least
known, said = knowledge.knows(model, names, seed)
run.number("knowledge", said)

# %% [markdown]
# ## The questions
#
# Each prompt breaks off where the answer belongs; the answer counts by its first token.
# Every item appears in every template, and an item with all its templates is one unit in the intervals, or, where several items are about one thing (a disease in its stages), that thing.
# Intervals are over items; they do not cover other wordings or other models.

# %%
questions, fewer, few = {}, {}, {}
for name in names:
    asked = summary.sample_items(concepts.questions(name), n_items, seed)
    questions[name] = asked
    fewer[name] = harm.in_templates(asked, n_templates)
    few[name] = harm.of_clusters(harm.in_templates(asked, 1), n_few, seed)
pd.concat(questions, names=["domain"]).groupby("domain", sort=False).agg(
    items=("item", "nunique"),
    units=("cluster", "nunique"),
    templates=("variant", "nunique"),
    prompts=("prompt", "size"),
    such_as=("prompt", "first"),
)

# %% [markdown]
# ## Does the method find what is planted?
#
# With every block but one taken out of the model, only that one can matter: the sweep has to name it, and give zero for all others.

# %%
planted = max(1, model.n_layers // 2)
with hooks.only(model, planted):
    found = harm.sweep(model, few[names[0]]).groupby("layer")["kl"].mean()
others = found.drop(planted).abs().max()
run.check(
    "the one block left in place is the one found",
    passed=found.idxmax() == planted and others < 1e-4,
    detail=f"block {found.idxmax()} of {model.n_layers}: {found.max():.2f} nats; every other at most {others:.0e}",
)
print(run.checks[-1]["detail"])

# %% [markdown]
# ## What each layer costs
#
# One walk up the layers serves every lesion of every prompt (see [the engine](../../methods/replay.md)).
# Before anything is reported, the walk without a lesion has to give the model's own logits.

# %%
tables = {name: harm.sweep(model, q) for name, q in questions.items()}
no_op = max(table.attrs["no_op"] for table in tables.values())
run.check(
    "no lesion, no change",
    passed=True,  # the sweep stops where it does not hold
    detail=f"{no_op:.0e} of the largest logit",
)
metrics = ["kl", "logprob_drop", "top1_same"]
metrics += ["logit_drop", "direct_drop", "repair"]
curves = harm.curves(tables, metrics, seed)
by = {metric: harm.by_domain(curves, metric) for metric in metrics}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How far the next word moves when one layer is taken out and adds nothing: Kullback-Leibler divergence from the intact to the lesioned model at the last token, on a logarithmic scale. Mean over items and all templates with its 95 % bootstrap interval. Solid: the medical domain; dashed: its control, named after the stroke.", "name": "fig-lesion-kl"}, "image": {"alt": "A panel for each medical domain with two curves over layers on a logarithmic scale, the domain and its control, each with an interval band."}}
figures.beside_controls(by["kl"], controls, known, "KL, nats", yscale="log")
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How often the likeliest next word stays the same without a layer, on the same prompts: share of prompts with its 95 % bootstrap interval. Solid: the medical domain; dashed: its control.", "name": "fig-lesion-top1"}, "image": {"alt": "A panel for each medical domain with two curves over layers between zero and one, the domain and its control, each with an interval band."}}
figures.beside_controls(
    by["top1_same"], controls, known, "likeliest word stays"
)
plt.show()

# %% [markdown]
# ## Is it the lesion or the layer?
#
# A block that passes the stream through unchanged is a state of affairs the next block never met, so harm may be its surprise.
# So the block also adds the *mean* of what it adds to all prompts of a template, or what it adds to another of them (*resample*), on the same {glue:text}`n_items` items in {glue:text}`n_templates` templates; its attention or its MLP alone adds nothing, or that, on {glue:text}`n_few` items in one.

# %%
tables_of_ways = {
    name: ways.ways(model, fewer[name], few[name], tables[name], seed, stride)
    for name in names
}
by_way = ways.curves_of_ways(tables_of_ways, seed)
early = max(1, model.n_layers // 10)
places = ways.places(tables_of_ways, early, seed)
say.places_table(places, by_way, controls)

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "How far the next word moves when a block adds nothing (identity), the mean of what it adds to all prompts of the template, or what it adds to another of them (resample). Divergence on a logarithmic scale, mean over items in the templates named above with its 95 % bootstrap interval; dashed: the control, named after the stroke, under the first and the last.", "name": "fig-lesion-ways"}, "image": {"alt": "A panel for each medical domain with three curves over layers and their interval bands, identity far above mean and resample, and dashed curves of the control."}}
whole = by_way[by_way["component"] == "block"]
three = {how: harm.by_domain(whole, f"kl_{how}") for how in lesion.HOWS}
dashed = ("identity", "resample")
draw.several(three, controls, known, "KL, nats", dashed)
plt.show()

# %% [markdown]
# The table gives the worst layer past the first {glue:text}`early`, what it costs and the share of the harm in the first half of the layers, with 95 % intervals.
# Over the layers, the rank correlation with the absent block is {glue:text}`rank_mean` under the mean and {glue:text}`rank_resample` under another prompt's addition; the loss of the MLP costs more than that of attention in {glue:text}`mlp_worse_identity` of the pairs of layer and medical domain where the part adds nothing, and in {glue:text}`mlp_worse_resample` where it adds what it adds to another prompt.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Attention alone or the MLP alone adds nothing, beside the whole block, on a few items in one template. Divergence on a logarithmic scale, mean with its 95 % bootstrap interval, medical domains.", "name": "fig-lesion-parts"}, "image": {"alt": "A panel for each medical domain with three curves over layers and their interval bands: block, attention and MLP."}}
on_few = ways.curves_of_ways(ways.on(tables_of_ways, few), seed)
parts = {
    part: harm.by_domain(on_few[on_few["component"] == part], "kl_identity")
    for part in lesion.COMPONENTS
}
draw.several(parts, controls, known, "KL, nats")
plt.show()

# %% [markdown]
# ## Does it harm medicine more?
#
# Each medical domain minus its control, tested by shuffling units between the two; all layers and domains of one way are a family.
# The largest excess is {glue:text}`excess_identity` with the block absent, and {glue:text}`excess_resample` under another prompt's addition.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Divergence on the medical domain minus that on its control, block absent (above) and under another prompt's addition (below), each on its own scale. Red: the loss moves the medical questions more. Dots: a permutation test at a false discovery rate of 5 % over the map. The colours end at the 95th percentile; intervals are in the table behind the page.", "name": "fig-lesion-difference"}, "image": {"alt": "Two heat maps, a row for each medical domain and a column for each layer, red and blue around zero, with dots where the difference survives correction."}}
differences = ways.differences_of_ways(tables_of_ways, controls, seed)
draw.difference_maps(differences, known)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Log-probability that the right answer's first token loses when a layer is absent. Mean with 95 % bootstrap interval; arrows: beyond the axis. Below zero, the answer becomes more likely without the layer.", "name": "fig-lesion-drop"}, "image": {"alt": "A panel for each medical domain with points and intervals over layers: the drop of the right answer's log-probability, and the same for the control."}}
drop = by["logprob_drop"]
held = harm.of_controls(drop, controls)
both = [("medical", "medical domain", drop), ("control", "its control", held)]
draw.points(both, controls, known, "drop, nats")
plt.show()

# %% [markdown]
# ## Is it medicine or language?
#
# The same lesions on {glue:text}`n_texts` neutral texts: by how many nats a token the loss grows (the perplexity is its exponential).
# Two halves of the items say how far two curves of so few items can agree ({glue:text}`rank_halves`), two templates how far they do when only the wording changes ({glue:text}`rank_templates`), and two controls what sets agree to that were not made for each other (median {glue:text}`rank_controls`).
# A domain and its control, which differs in wording too, reach {glue:text}`rank_control`; a domain and another's control {glue:text}`rank_unmatched` in the median; a domain and neutral text {glue:text}`rank_neutral`.

# %%
texts = harm.neutral_text(model, neutral.TEXTS[:n_texts])
order = orders.orders(tables, controls, texts, seed)
unmatched = orders.among_controls(tables, controls)
beyond = orders.beyond_wording(tables, controls, seed=seed)
columns = ["domain", "own", "control", "value", "low", "high"]
beyond[columns].style.format(precision=2).hide()

# %% [markdown]
# The table compares single templates on different halves of the items: `own` is the mean rank correlation of two of the domain, `control` that of one of the domain with one of its control, `value` their difference with its 95 % interval.
# Where the interval lies above zero, the control does not explain the whole order; what is left may be wording all the same, since templates of one domain share words.
# Where it does not, these items cannot tell the control from another wording.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "With what the order of the layers agrees: rank correlation over layers of the divergence on medical questions between halves of the domain's items (median and 95 % of random halves), between two of its templates (the median pair), with that on its control, and with the rise of the loss of neutral text (95 % bootstrap interval, units of both sides resampled). Grey band and line: two controls. Grey points: not known to the model.", "name": "fig-lesion-orders"}, "image": {"alt": "For each medical domain four points with horizontal intervals on a scale of rank correlation: two halves of its items, two of its templates, its control, neutral text; a grey band for two controls."}}
draw.draw_orders(order, unmatched, known)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What the loss of each layer costs neutral text: rise of the mean loss per token, on a scale that is logarithmic above 0.01, with its 95 % bootstrap interval over texts.", "name": "fig-lesion-neutral"}, "image": {"alt": "One curve over layers with an interval band: the rise of the loss of neutral text."}}
neutral_cost = summary.by_layer(texts, "rise", seed=seed)
_, axes = plt.subplots(figsize=(7.2, 3))
figures.curve(axes, neutral_cost, "other", "neutral text")
axes.set(ylabel="rise of loss, nats per token")
axes.set_yscale("symlog", linthresh=0.01)
plt.show()

# %% [markdown]
# ## Which neighbours stand in for each other?
#
# Every window of consecutive blocks is taken out, on {glue:text}`n_few` items of each domain in one template, with one seed.
# Single blocks lie along the lower edge, the whole model in the upper corner.

# %%
of_windows, triangles, gaps = {}, {}, {}
for name, asked in few.items():
    swept = harm.sweep(
        model, asked, lesion.lesion_windows, False, stride=stride
    )
    of_windows[name] = swept
    triangles[name] = windows.by_window(swept, "kl", seed=seed)
for name, control in controls.items():
    two = of_windows[name], "kl", of_windows[control]
    gaps[name] = windows.by_window(*two, seed=seed)
pairs = windows.neighbours(of_windows, controls, seed=seed)
pairs.style.format(precision=2).hide()

# %% [markdown]
# Two neighbours that cost together more than the costlier of them alone can stand in for each other, or harm in different ways.
# The table shows the six with the largest excess on the controls, where they were picked (`controls`), and, as `value` with its 95 % interval, their excess on the medical domains, which had no part in the picking.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What a window of blocks costs: the first block taken out across, how many upwards. Mean divergence over a few items of each medical domain in one template, on one logarithmic scale. Grey: not known to the model.", "name": "fig-lesion-windows"}, "image": {"alt": "A triangle of coloured cells for each medical domain, a cell for each window of consecutive blocks: the divergence."}}
medical = {name: triangles[name] for name in controls}
windows.triangles(medical, known, "KL, nats")
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same, each medical domain minus its control; red where the loss moves the medical questions more. On a few items in one template: single cells are uncertain, their intervals are in the table behind the page.", "name": "fig-lesion-windows-difference"}, "image": {"alt": "A triangle of coloured cells for each medical domain, a cell for each window: the difference of divergence from the control, around zero."}}
both = {name: known[name] and known[controls[name]] for name in controls}
windows.triangles(gaps, both, "difference of KL, nats", diverging=True)
plt.show()

# %% [markdown]
# ## Do later layers make up for it?
#
# A block's *direct* effect on the answer is what its lesion would do if no later block saw it; the *total* effect is what it does.
# Where there is a direct loss and the total one is smaller, later blocks make up for part of it {cite:p}`mcgrath2023hydra`; where the total loss is the larger, the block acts through them.
# {glue:text}`repair`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What the lesion of a block takes from the logit of the right answer, less the mean logit of the vocabulary: directly, if no later block saw it, and in fact. Mean with its 95 % bootstrap interval, medical domains; arrows: beyond the axis.", "name": "fig-lesion-repair"}, "image": {"alt": "A panel for each medical domain with points and intervals over layers: the direct and the total effect of each block's lesion on the logit of the right answer."}}
total = ("medical", "total effect", by["logit_drop"])
direct = ("other", "direct effect", by["direct_drop"])
draw.points([total, direct], controls, known, "drop, logits")
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The direct effect less the total effect on the logit of the right answer. Above zero, where there is a direct loss, later blocks make up for part of it. Mean with its 95 % bootstrap interval; arrows: beyond the axis.", "name": "fig-lesion-repair-control"}, "image": {"alt": "A panel for each medical domain with points and intervals over layers around zero: direct less total effect on the domain and on its control."}}
own, held = by["repair"], harm.of_controls(by["repair"], controls)
both = [("medical", "medical domain", own), ("control", "its control", held)]
draw.points(both, controls, known, "direct less total, logits")
plt.show()

# %% [markdown]
# ## What does it write?
#
# The likeliest continuation, before and after the lesion of the layer that costs most and of the median one.
# What is written is graded from 1 to 10; the grader here: {glue:text}`grader`.
# The local grader knows only how far the next word moves, against the intact model's distances between prompts of all domains and neutral texts: 1 is closer than four fifths of the pairs of one template are, 6 about as far as any of these, 10 further than half of all prompts about something else.

# %%
groups = {
    name: harm.in_templates(q, 1)["prompt"] for name, q in questions.items()
}
groups["neutral text"] = neutral.TEXTS[:n_texts]
judge = grading.grader(grader, grading.references(model, groups))
written = grading.written_in_domains(model, few, tables, judge)
shown = ["domain", "prompt", "before", "layer", "after", "kl", "grade"]
medical_texts = written[written["domain"].isin(controls)]
first = medical_texts.groupby(["domain", "layer"], sort=False).head(1)
first[shown].style.format(precision=2).hide()

# %% [markdown]
# Whether the ends of the scale hold: the grades where the likeliest next word stays, and where it changes; and the mean grade of each domain.

# %%
grading.anchors(written).style.format(precision=1)

# %%
grades = written.pivot_table("grade", "domain", "lesion", sort=False)
grades.style.format(precision=1)

# %% [markdown]
# ## The numbers
#
# Nothing new is shown here: the numbers in the text above are written into the record, and the rows behind the figures into the table.
# Both can be downloaded under the title of this page.

# %% tags=["hide-input"]
agreement = ways.agreement_of_ways(tables_of_ways)
numbers = say.of_ways(places, by_way, agreement, controls)
numbers |= say.of_controls(differences) | say.of_repair(curves, controls)
numbers |= say.of_orders(order, unmatched, beyond)
numbers |= say.of_parts(tables_of_ways, controls)
for key, (value, text) in numbers.items():
    run.number(key, value, text)
for key in ("n_items", "n_templates", "n_few", "n_texts", "grader"):
    run.number(key, parameters[key])
run.number("early", early)

# %% tags=["hide-input"]
neutral_cost = neutral_cost.assign(domain="neutral text", metric="loss_rise")
placed = places.assign(metric=places["metric"] + "_" + places["how"])
graded = written.assign(metric="grade", value=written["grade"])
parts = [curves, harm.tested(differences), order, unmatched, beyond, by_way]
of_parts = on_few[on_few["metric"] == "kl_identity"]
parts += [of_parts.assign(metric="kl_identity_on_few")]
parts += [placed, neutral_cost, graded]
parts += [windows.all_rows(triangles, gaps, pairs, controls)]
parts += [harm.items(tables, ["kl", "logprob_drop"])]
run.save(harm.rows(parts))

# %% [markdown]
# ## What would change our mind
#
# - A layer that stays the worst one whatever takes its place, in medicine and not in the controls.
# - A control that shares the prompts' entropy as well as their form, and takes the difference away: a sharp next-word distribution has further to move than a flat one.
# - An order of layers that agrees with neutral text far less than with the domain's own other half: then the layers that medical questions need are their own.
# - Layers further apart that stand in for each other {cite:p}`rushing2024selfrepair`: windows take out neighbours only.
#
# ## What this cannot show
#
# A layer whose loss harms medical questions and their control alike is needed for language, and says nothing about medicine.
# A layer whose loss harms little need not be idle: deep layers can often be removed at little cost {cite:p}`gromov2025deeper`.
# Another prompt of the template differs in its item alone, so that way sees what a layer says about the item and no more.
# And a lesion says where something passes through, not where it is stored {cite:p}`hase2023localization`.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the numbers are those of that model.
# The technique is one of the four of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/lesion.md).
