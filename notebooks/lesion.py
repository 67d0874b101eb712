# %% [markdown]
# # Which layers can the model not do without?
#
# Each layer is taken out in turn, and we look at how far the model's next word moves, on {glue:text}`n_prompts` prompts about {glue:text}`n_domains` medical domains and a control of the same form for each.
# The layer whose loss does most harm is {glue:text}`peaks`; among the controls it is {glue:text}`peaks_control`.
# After the first {glue:text}`early` layers the median layer costs {glue:text}`median_kl` nats, and the first half of the model holds {glue:text}`early_half` of the harm that is left, {glue:text}`early_half_control` among the controls.
#
# Two wordings of the same medical questions order the layers alike to a rank correlation of {glue:text}`rank_templates`, and two halves of the items in the same wordings to {glue:text}`rank_halves`.
# The order on the control, in other words about other things, agrees with it to {glue:text}`rank_control`, and that on neutral text to {glue:text}`rank_neutral`: as far as these reach the agreement of two wordings, the order of the layers holds nothing medical.
# Of {glue:text}`n_tests` pairs of layer and domain, the loss moves the medical questions more than their control in {glue:text}`n_higher` and less in {glue:text}`n_lower` (false discovery rate 5 %); without the correction it is {glue:text}`n_uncorrected`, where {glue:text}`n_chance` are expected by chance.
# The largest excess over a control is {glue:text}`excess`.
#
# Blocks that add the mean of what they add to other prompts, in place of nothing, keep the order of the layers to a rank correlation of {glue:text}`rank_mean`, and blocks that add what they add to another prompt to {glue:text}`rank_resample`.
# Later layers make up for part of what a layer takes from the answer in {glue:text}`n_repaired` of the {glue:text}`n_tests` pairs, and make the harm larger in {glue:text}`n_deepened` (95 % interval clear of zero, not corrected).
# Intervals are over items, all templates of one together; they do not cover other wordings or other models.
# {glue:text}`knowledge`

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run lesion`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
domains = "age diseases dosage drugs progression symptoms"  # medical domains, each beside the control that it names
n_items = 12  # items drawn from each domain, each in all its templates
n_few = 4  # of these, items for the other ways, the windows and the texts
n_texts = 12  # neutral texts
stride = 1  # the other ways take out every so many-th block, the windows groups of as many
grader = "local"  # grades from 1 to 10; or "package.module:function"
seed = 0  # draws the items and the bootstrap resamples

# %%
import matplotlib.pyplot as plt
import pandas as pd

import medlib
from medlib import concepts, figures, hooks, knowledge, lesion, summary
from medlib.chapters.lesion import grading, harm, harm_prose, neutral, windows

figures.style()
controls = concepts.controls(domains)
names = [*dict.fromkeys([*controls, *controls.values()])]
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    domains=domains,
    n_items=n_items,
    n_few=n_few,
    n_texts=n_texts,
    stride=stride,
    grader=grader,
    seed=seed,
)
run = medlib.Run("lesion", model, parameters, seed)
known, said = knowledge.knows(model, names, seed)
run.number("knowledge", said)

# %% [markdown]
# ## The questions
#
# Each prompt breaks off where the answer belongs; the answer counts by its first token.
# Every item appears in every template, and an item with all its templates is one unit in the intervals, or, where several items are about one thing (a disease in its stages), that thing.

# %%
questions = {
    name: summary.sample_items(concepts.questions(name), n_items, seed)
    for name in names
}
few = {name: harm.one_template(q, n_few, seed) for name, q in questions.items()}
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
planted = model.n_layers // 2
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
# ## The sweep
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
print("Largest difference without a lesion:", run.checks[-1]["detail"])

# %% [markdown]
# ## What each layer costs

# %%
early = max(1, model.n_layers // 10)
metrics = ["kl", "logprob_drop", "top1_same"]
metrics += ["logit_drop", "direct_drop", "repair"]
curves = harm.curves(tables, metrics, seed)
differences = harm.differences(tables, controls, "kl", seed)

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "How far the next word moves when one layer is taken out: Kullback-Leibler divergence from the intact to the lesioned model at the last token, on a logarithmic scale. Mean over items and templates with its 95 % bootstrap interval. Solid: the medical domain; dashed: its control, named after the stroke.", "name": "fig-lesion-kl"}, "image": {"alt": "A panel for each medical domain with two curves over layers on a logarithmic scale, the domain and its control, each with an interval band."}}
_, axes = figures.beside_controls(
    harm.by_domain(curves, "kl"), controls, known, "KL, nats", yscale="log"
)
harm_prose.one_scale(axes)
plt.show()

# %% [markdown]
# The first layers are usually needed for any text, since all others build on what they write.
# So the table also names the worst layer after the first {glue:text}`early`, with the 95 % interval of which layer that is, and its relative depth.
# `kept` is the share of prompts whose likeliest word stays the same without the worst layer.

# %% tags=["hide-input"]
depths = {
    first: harm.depths(tables, early=first, seed=seed) for first in (0, early)
}
peaks = harm_prose.peaks(curves, depths, controls, model.n_layers)
peaks.style.format(precision=2)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same, each medical domain minus its control. Above zero the layer's loss moves the medical questions more. 95 % bootstrap interval, units of both domains resampled; not corrected for the number of layers. Circles: clear of zero by a permutation test at a false discovery rate of 5 % over all layers and domains.", "name": "fig-lesion-difference"}, "image": {"alt": "A panel for each medical domain with one curve over layers around a zero line, with an interval band: the difference of divergence between the domain and its control. Circles mark what survives correction."}}
_, axes = figures.differences(
    harm.by_domain(differences.assign(metric="kl"), "kl"),
    controls,
    known,
    "difference, nats",
)
harm_prose.one_scale(axes, linear=0.1)
for domain, part in differences[differences["q"] < 0.05].groupby("domain"):
    axes[domain].plot(
        part["layer"], part["value"], "o", mfc="none", mec="k", markersize=9
    )
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Log-probability that the right answer's first token loses when a layer is taken out. Mean with 95 % bootstrap interval. Below zero, the answer becomes more likely without the layer.", "name": "fig-lesion-drop"}, "image": {"alt": "A panel for each medical domain with two curves over layers and their interval bands: the drop of the right answer's log-probability, and the same for the control."}}
_, axes = figures.beside_controls(
    harm.by_domain(curves, "logprob_drop"), controls, known, "drop, nats", 0.0
)
harm_prose.one_scale(axes, linear=0.1)
plt.show()

# %% [markdown]
# ## Is it medicine or language?
#
# The same lesions on {glue:text}`n_texts` neutral texts, none of them medical: by how many nats a token the loss grows (the perplexity is its exponential).
# If the layers that medical questions need are those that any text needs, the order of the layers is shared.
# Two halves of the domain's own items say how far two curves of so few items can agree, and two of its templates how far they do when only the wording changes; the control differs in wording too.

# %%
texts = harm.neutral_text(model, neutral.TEXTS[:n_texts])
neutral_cost = summary.by_layer(texts, "rise", seed=seed)
orders = harm.orders(tables, controls, texts, seed)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "With what the order of the layers agrees: rank correlation over layers of the divergence on medical questions between halves of the domain's items (median and 95 % of random halves), between two of its templates (the median pair), with that on its control, and with the rise of the loss of neutral text (95 % bootstrap interval, units of both sides resampled). Grey: not known to the model.", "name": "fig-lesion-orders"}, "image": {"alt": "For each medical domain four points with horizontal intervals on a scale of rank correlation: two halves of its items, two of its templates, its control, neutral text."}}
_, axes = plt.subplots(
    figsize=(7.2, 0.7 * len(controls) + 1), layout="constrained"
)
harm_prose.draw_orders(axes, orders, known)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What the loss of each layer costs neutral text: rise of the mean loss per token, on a scale that is logarithmic above 0.01, with its 95 % bootstrap interval over texts.", "name": "fig-lesion-neutral"}, "image": {"alt": "One curve over layers with an interval band: the rise of the loss of neutral text."}}
_, axes = plt.subplots(figsize=(7.2, 3))
figures.curve(axes, neutral_cost, "other", "neutral text")
axes.set(ylabel="rise of loss, nats per token")
axes.set_yscale("symlog", linthresh=0.01)
plt.show()

# %% [markdown]
# ## Is it the lesion or the layer?
#
# A block that passes the stream through unchanged is a state of affairs the next block never met.
# So the block, its attention or its MLP also adds the *mean* of what it adds to the other prompts, or what it adds to another of them (*resample*), on {glue:text}`n_few` items in one template.
# The table holds the rank correlation over layers of each curve with that of the whole block adding nothing.

# %%
ways = {
    name: harm.ways(model, few[name], tables[name], seed, stride)
    for name in names
}
by_way = harm.curves_of_ways(ways, seed)
agreement = harm.agreement_of_ways(by_way)
agreement.style.format(precision=2)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The whole block adds nothing (identity), the mean of what it adds to all prompts, or what it adds to another prompt of the same wording. Divergence on a logarithmic scale, mean with its 95 % bootstrap interval, medical domains.", "name": "fig-lesion-ways"}, "image": {"alt": "A panel for each medical domain with three curves over layers and their interval bands: identity, mean and resample."}}
whole = by_way[by_way["component"] == "block"]
figure, axes = figures.panels(controls, sharey=True)
for look, how in zip(("medical", "other", "control"), lesion.HOWS, strict=True):
    for name, table in harm.by_domain(whole, f"kl_{how}").items():
        if name in controls:
            figures.curve(axes[name], table, look, how, known[name])
for one in axes.values():
    one.set(yscale="log", ylabel="KL, nats")
    one.label_outer()
figures.legend(figure, axes.values())
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Attention alone or the MLP alone adds nothing, beside the whole block. Divergence on a logarithmic scale, mean with its 95 % bootstrap interval, medical domains.", "name": "fig-lesion-parts"}, "image": {"alt": "A panel for each medical domain with three curves over layers and their interval bands: block, attention and MLP."}}
identity = by_way[by_way["how"] == "identity"]
figure, axes = figures.panels(controls, sharey=True)
for look, part in zip(
    ("medical", "other", "control"), lesion.COMPONENTS, strict=True
):
    of_part = identity[identity["component"] == part]
    for name, table in harm.by_domain(of_part, "kl_identity").items():
        if name in controls:
            figures.curve(axes[name], table, look, part, known[name])
for one in axes.values():
    one.set(yscale="log", ylabel="KL, nats")
    one.label_outer()
figures.legend(figure, axes.values())
plt.show()

# %% [markdown]
# The loss of {glue:text}`worse_part` costs more than that of the other part in {glue:text}`n_worse_part` of the pairs of layer and medical domain.
#
# ## Which neighbours stand in for each other?
#
# Every window of consecutive blocks is taken out, on the same items in one template.
# Single blocks lie along the lower edge, the whole model in the upper corner.

# %%
of_windows = {
    name: harm.sweep(model, q, medlib.lesion_windows, False, stride=stride)
    for name, q in few.items()
}
triangles = {
    name: windows.by_window(table, "kl", seed=seed)
    for name, table in of_windows.items()
}
gaps = {
    name: windows.by_window(
        of_windows[name], "kl", of_windows[control], seed=seed
    )
    for name, control in controls.items()
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What a window of blocks costs: the first block taken out across, how many upwards. Mean divergence on the medical domains, on one logarithmic scale.", "name": "fig-lesion-windows"}, "image": {"alt": "A triangle of coloured cells for each medical domain, a cell for each window of consecutive blocks: the divergence."}}
medical = {name: triangles[name] for name in controls}
windows.triangles(medical, known, "KL, nats")
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same, each medical domain minus its control; red where the loss moves the medical questions more. On few items: single cells are uncertain, their intervals are in the table behind the page.", "name": "fig-lesion-windows-difference"}, "image": {"alt": "A triangle of coloured cells for each medical domain, a cell for each window: the difference of divergence from the control, around zero."}}
both = {name: known[name] and known[controls[name]] for name in controls}
windows.triangles(gaps, both, "difference of KL, nats", diverging=True)
plt.show()

# %%
beyond = pd.concat(
    windows.beyond_single(of_windows[name]).assign(domain=name)
    for name in controls
)
neighbours = beyond[beyond["groups"] == 2].nlargest(6, "value")
neighbours[["domain", "first", "last", "value"]].style.format(
    precision=2
).hide()

# %% [markdown]
# Two neighbours that cost together more than the costlier of them alone can stand in for each other, or harm in different ways; the table shows the six with the largest excess.
#
# ## Do later layers make up for it?
#
# A block's *direct* effect on the answer is what its lesion would do if no later block saw it; the *total* effect is what it does.
# Where the direct effect is the larger, later blocks make up for part of the loss {cite:p}`mcgrath2023hydra`; where it is smaller, the block acts through them.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What the lesion of a block takes from the logit of the right answer, less the mean logit of the vocabulary: directly (dotted), if no later block saw it, and in fact (solid). Mean with its 95 % bootstrap interval. Dotted above solid: later blocks make up for part of it.", "name": "fig-lesion-repair"}, "image": {"alt": "A panel for each medical domain with two curves over layers and their interval bands: the direct and the total effect of each block's lesion on the logit of the right answer."}}
total = harm.by_domain(curves, "logit_drop")
direct = harm.by_domain(curves, "direct_drop")
figure, axes = figures.panels(controls)
for name, one in axes.items():
    figures.curve(one, total[name], "medical", "total effect", known[name])
    figures.curve(one, direct[name], "other", "direct effect", known[name])
    one.axhline(0, color="0.6", lw=1, zorder=0)
    one.set(ylabel="drop, logits")
    one.label_outer()
harm_prose.one_scale(axes, linear=0.1)
figures.legend(figure, axes.values())
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Self-repair: the direct effect less the total effect on the logit of the right answer. Above zero, later blocks make up for part of the loss. Mean with its 95 % bootstrap interval; solid: the medical domain, dashed: its control.", "name": "fig-lesion-repair-control"}, "image": {"alt": "A panel for each medical domain with two curves over layers around zero, with interval bands: self-repair on the domain and on its control."}}
_, axes = figures.beside_controls(
    harm.by_domain(curves, "repair"),
    controls,
    known,
    "self-repair, logits",
    0.0,
)
harm_prose.one_scale(axes, linear=0.1)
plt.show()

# %% [markdown]
# ## What does it write?
#
# The likeliest continuation, before and after the lesion of the layer that costs most and of the median one, one question of each domain.
# The grade, 1 for no change to 10 for gibberish, is {glue:text}`grader`.
# The local one compares the lesion with a change of prompt: one more for each tenth of all pairs of the domain's prompts whose next-word distributions lie closer to each other than the lesioned model's lies to the intact one's.

# %%
texts_written = []
for name, table in tables.items():
    cost = table.groupby("layer")["kl"].mean().sort_values(ascending=False)
    layers = {cost.index[0]: "worst", cost.index[len(cost) // 2]: "median"}
    alike = questions[name]["variant"] == few[name]["variant"].iloc[0]
    prompts = [*questions[name].loc[alike, "prompt"]]
    reference = grading.divergences(model, prompts)
    judge = grading.grader(grader, reference)
    found = harm.written(model, few[name], table, [*layers], judge)
    lesioned = found["layer"].map(layers)
    texts_written.append(found.assign(domain=name, lesion=lesioned))
texts_written = pd.concat(texts_written, ignore_index=True)
shown = ["domain", "prompt", "before", "layer", "after", "kl", "grade"]
medical_texts = texts_written[texts_written["domain"].isin(controls)]
medical_texts.groupby(["domain", "layer"], sort=False).head(1)[
    shown
].style.format(precision=2).hide()

# %% [markdown]
# The mean grade of each domain, on {glue:text}`n_few` prompts:

# %%
grades = texts_written.pivot_table(
    index="domain", columns="lesion", values="grade", sort=False
)
grades.style.format(precision=1)

# %% [markdown]
# ## The numbers

# %% tags=["hide-input"]
for key, (value, text) in harm_prose.answer(
    curves, differences, orders, agreement, depths, controls, early
).items():
    run.number(key, value, text)
run.number("n_prompts", sum(map(len, questions.values())))
run.number("n_domains", len(controls))
run.number("n_few", n_few)
run.number("n_texts", texts["item"].nunique())
run.number("grader", grader)
run.number("early", early)
worse, share, text = harm_prose.worse_part(by_way, controls)
run.number("worse_part", worse)
run.number("n_worse_part", share, text)

# %% tags=["hide-input"]
items = pd.concat(
    table.rename(columns={metric: "value"})[
        ["item", "variant", "layer", "value"]
    ]
    .astype({"value": float})
    .assign(domain=name, metric=metric)
    for name, table in tables.items()
    for metric in ("kl", "logprob_drop")
)
table = pd.concat(
    [
        curves,
        differences.drop(columns=["p", "q"]),
        orders,
        by_way,
        neutral_cost.assign(domain="neutral text", metric="loss_rise"),
        *(windows.rows(table, name, "kl") for name, table in triangles.items()),
        *(
            windows.rows(table, name, f"kl minus {controls[name]}")
            for name, table in gaps.items()
        ),
        texts_written.assign(metric="grade", value=texts_written["grade"]),
        items,
    ]
)
table["component"] = table["component"].fillna("block")
run.save(table[table.columns.intersection(medlib.results.COLUMNS)])
differences.nsmallest(10, "p")[
    ["domain", "variant", "layer", "value", "low", "high", "p", "q"]
].style.format(precision=3).hide()

# %% [markdown]
# ## What would change our mind
#
# - Lesions by the mean or by another prompt that order the layers otherwise than the absent block does: then part of the curve is the surprise of a block that meets a state it never met in training.
# - A control that shares the prompts' entropy as well as their form, and takes the difference away: a sharp next-word distribution has further to move than a flat one.
# - An order of layers that agrees with neutral text far less than with the domain's own other half: then the layers that medical questions need are their own.
# - Layers further apart that stand in for each other {cite:p}`rushing2024selfrepair`: windows take out neighbours only.
#
# ## What this cannot show
#
# A layer whose loss harms medical questions and their control alike is needed for language, and says nothing about medicine.
# A layer whose loss harms little need not be idle: deep layers can often be removed at little cost {cite:p}`gromov2025deeper`.
# And a lesion says where something passes through, not where it is stored {cite:p}`hase2023localization`.
# A model of 135 or 270 million parameters has few layers and knows little; where one of 70 billion keeps its knowledge has to be measured there.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the numbers are those of that model.
# The technique is one of the four of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/lesion.md).
