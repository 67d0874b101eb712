# %% [markdown]
# # Which layers' weights would move a medical answer most?
#
# Every weight is asked how far a small change of it would move the log-probability of the right answer; the saliency of a layer is the mean size of that slope over its weights.
# On {glue:text}`n_items` {glue:text}`domain`, {glue:text}`n_prompts` prompts in all, it is greatest in {glue:text}`peak`: {glue:text}`peak_saliency` thousandths of a nat per unit of weight, against {glue:text}`median_saliency` in the median layer.
# Divided by that of {glue:text}`control`, questions of the same form, it is greatest in {glue:text}`ratio_peak`, {glue:text}`ratio` times; on {glue:text}`n_higher` of {glue:text}`n_layers` layers {glue:text}`domain` have more, on {glue:text}`n_lower` less (95 % interval clear of one, not corrected).
# With the answers of other items in both domains it is {glue:text}`n_higher_other` and {glue:text}`n_lower_other`: the level of the ratio hangs on how likely the answers are, and only its slope over layers can be read.
# With every item's answer replaced by another's, the curve over layers keeps its order to a rank correlation of {glue:text}`shuffled`, and the ratio to one of {glue:text}`ratio_shuffled`.
# By that test the order of the layers says {glue:text}`verdict` about the answer; the model prefers the right answers to the others by {glue:text}`own` against {glue:text}`other` nats, so where these lie close together the test is weak.
# {glue:text}`knowledge`

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run saliency`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
domain = "drugs"  # the medical domain
control = ""  # a domain of the same form that is not medical; empty: the one that the domain names
n_items = 16  # items drawn from each domain, each in all its templates
seed = 0  # draws the items, the bootstrap resamples and the order of the scrambled weights

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.colors import LogNorm

import medlib
from medlib import concepts, figures, hooks, knowledge, stats, summary
from medlib.prompts import answer_tokens, encode
from medlib.saliency import weight_matrices

figures.style()
control = control or concepts.control(domain)
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    domain=domain,
    control=control,
    n_items=n_items,
    seed=seed,
)
run = medlib.Run("saliency", model, parameters, seed)
known, said = knowledge.knows(model, (domain, control), seed)
run.number("knowledge", said)

# %% [markdown]
# ## The questions
#
# Each prompt breaks off where the answer belongs; the answer counts by its first token.
# Every item appears in every template, and an item with all its templates is one unit in the intervals.
# Beside its own answer every item gets that of another item: the answers in alphabetical order, moved on by half the list.


# %%
def with_others_answers(questions):
    items = questions.drop_duplicates("item").sort_values(
        "answer", kind="stable"
    )
    moved = dict(
        zip(
            items["item"],
            np.roll(items["answer"], len(items) // 2),
            strict=True,
        )
    )
    return questions.assign(other=questions["item"].map(moved))


questions = {
    name: with_others_answers(
        summary.sample_items(concepts.questions(name), n_items, seed)
    )
    for name in (domain, control)
}
pd.concat(questions).groupby(level=0).head(2)[
    ["prompt", "answer", "other"]
].style.hide()

# %% [markdown]
# How well does the model know the answers, and how alike are the two domains?
# `own` and `other` are the mean log-probabilities, in nats, of the right answer and of the other item's; `tokens` is the mean number of tokens in an item's name.


# %% tags=["hide-input"]
@torch.no_grad()
def log_probability(prompts, answers):
    tokens = answer_tokens(model, prompts, answers)
    logits = [
        model.hf(torch.tensor([ids], device=model.device)).logits[0, -1].float()
        for ids in encode(model, prompts)
    ]
    return float(
        np.mean(
            [
                row.log_softmax(-1)[token].item()
                for row, token in zip(logits, tokens, strict=True)
            ]
        )
    ), tokens


level = {}
for name, q in questions.items():
    own, tokens = log_probability(list(q["prompt"]), list(q["answer"]))
    other, other_tokens = log_probability(list(q["prompt"]), list(q["other"]))
    run.check(
        f"the other answers are others ({name})",
        passed=(changed := float((tokens != other_tokens).float().mean()))
        > 0.9,
        detail=f"the first token differs in {changed:.0%} of the prompts",
    )
    names = [
        model.tokenizer(f" {item}", add_special_tokens=False)["input_ids"]
        for item in q["item"].unique()
    ]
    level[name] = dict(
        items=len(names),
        prompts=len(q),
        tokens=np.mean([*map(len, names)]),
        own=own,
        other=other,
    )
pd.DataFrame(level).T.style.format(precision=1).format(
    "{:.0f}", subset=["items", "prompts"]
)

# %% [markdown]
# ## Does the method find what is planted?
#
# With every block but one taken out of the model, only that one's weights can move the answer: it must have a saliency, and every other block none.

# %%
planted = model.n_layers // 2
few = questions[domain].head(4)
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
def saliency(name, answers="answer", kind="grad"):
    q = questions[name].reset_index(drop=True)
    found = medlib.weight_saliency(
        model, list(q["prompt"]), list(q[answers]), kind=kind
    )
    table = found.attrs["per_prompt"].join(q[["item", "variant"]], on="prompt")
    return table.assign(log=np.log(table["saliency"])), found.attrs["no_op"]


tables, no_op = {}, []
for name, answers, kind in (
    (domain, "answer", "grad"),
    (control, "answer", "grad"),
    (domain, "other", "grad"),
    (control, "other", "grad"),
    (domain, "answer", "weight_grad"),
):
    tables[name, answers, kind], difference = saliency(name, answers, kind)
    no_op.append(difference)
blocks = {
    key: table.query("module == 'block'") for key, table in tables.items()
}
run.check(
    "the walk up is the model",
    passed=True,
    detail=f"{max(no_op):.0e} of the largest logit",
)
print(
    "Largest difference from the model's own logits:", run.checks[-1]["detail"]
)

# %% [markdown]
# ## Where the slope is steep

# %%
curves = {
    key: summary.by_layer(table, "saliency", seed=seed)
    for key, table in blocks.items()
}
medical, other = (
    curves[domain, "answer", "grad"],
    curves[control, "answer", "grad"],
)

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "Weight saliency by layer: the mean size of the slope of the right answer's log-probability over the attention and MLP weights of a block, on a logarithmic scale. Mean over items and templates with its 95 % bootstrap interval over items. Solid: the medical domain; dashed: the control.", "name": "fig-saliency-curves"}, "image": {"alt": "Two curves over layers, the medical domain and its control, on a logarithmic scale, each with an interval band."}}
_, axes = plt.subplots()
figures.curve(axes, medical, "medical", domain, known[domain])
figures.curve(axes, other, "control", f"{control} (control)", known[control])
axes.set(yscale="log", ylabel="saliency, nats per unit of weight")
axes.legend()
plt.show()

# %% [markdown]
# Layers differ in the size of their gradients whatever the topic, so the curve to read is the ratio of {glue:text}`domain` to {glue:text}`control`.
# The ratio is one of geometric means: the mean log saliency of the medical prompts minus that of the control prompts, raised again; items of both domains are resampled for its interval.


# %%
def ratio(answers, module="block"):
    own, other = (tables[name, answers, "grad"] for name in (domain, control))
    own, other = own[own["module"] == module], other[other["module"] == module]
    logs = summary.difference_by_layer(own, other, "log", seed=seed)
    return logs.assign(**np.exp(logs[["value", "low", "high"]]))


ratios = {answers: ratio(answers) for answers in ("answer", "other")}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Saliency on the medical domain divided by that on its control, on a logarithmic scale. Solid: with the right answers; dotted: with the answers of other items in both domains. Ratio of geometric means with its 95 % bootstrap interval over items; not corrected for the number of layers.", "name": "fig-saliency-ratio"}, "image": {"alt": "Two curves over layers around a line at one, each with an interval band: the ratio of the medical domain to its control with right answers and with the answers of other items."}}
_, axes = plt.subplots()
figures.curve(
    axes, ratios["answer"], "difference", "right answers", all(known.values())
)
figures.curve(
    axes,
    ratios["other"],
    "other",
    "answers of other items",
    all(known.values()),
)
axes.axhline(1, color="0.6", lw=1)
axes.set(yscale="log", ylabel=f"{domain} / {control}")
axes.set_yticks([0.5, 1, 2], ["0.5", "1", "2"])
axes.minorticks_off()
axes.legend()
plt.show()

# %% [markdown]
# ## Does the curve know the answer?
#
# A picture of what a model has learned should change when it is asked for something else {cite:p}`adebayo2018sanity`.
# So the same curve is drawn with the answers of other items, and once with the weights of every matrix put in random order, which keeps their sizes and destroys what was learned.
# The rule: where the curve with other answers is more like the true one (lower end of the interval) than the least alike two templates of the same questions are like each other, it says next to nothing about the answer.
# The rule is lenient: templates differ in their words, the two answers do not.


# %%
generator = torch.Generator().manual_seed(seed)
with torch.no_grad():  # the model is spent after this
    for weight in (
        weight
        for block in model.blocks
        for weight in weight_matrices(block).values()
    ):
        order = torch.randperm(weight.numel(), generator=generator).to(
            weight.device
        )
        weight.copy_(weight.flatten()[order].view_as(weight))
one_template = questions[domain].drop_duplicates("item").reset_index(drop=True)
scrambled = medlib.weight_saliency(
    model, list(one_template["prompt"]), list(one_template["answer"])
)
scrambled = (
    scrambled.attrs["per_prompt"]
    .query("module == 'block'")
    .join(one_template[["item", "variant"]], on="prompt")
)

# %%
own = blocks[domain, "answer", "grad"]
same_prompts = own[own["variant"] == scrambled["variant"].iloc[0]]
alike = {
    key: summary.rank_agreement(one, other, "saliency", seed)
    for key, one, other in (
        ("answers of other items", own, blocks[domain, "other", "grad"]),
        (
            f"the same, {control}",
            blocks[control, "answer", "grad"],
            blocks[control, "other", "grad"],
        ),
        ("weights in random order", same_prompts, scrambled),
        (
            "each slope times its weight",
            own,
            blocks[domain, "answer", "weight_grad"],
        ),
    )
}
templates = summary.rank_of_templates(own, "saliency")
pd.DataFrame(alike, index=["rank correlation", "low", "high"]).T.style.format(
    precision=3
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The medical curve with the right answers, with the answers of other items, and with the weights of every matrix in random order (one template), each divided by its own mean over layers. Mean with 95 % bootstrap interval over items. Where curves coincide, the answer, or the learning, made no difference to them.", "name": "fig-saliency-sanity"}, "image": {"alt": "Three curves over layers with interval bands: right answers, other answers, weights in random order."}}
_, axes = plt.subplots()
for table, look, label in (
    (own, "medical", "right answers"),
    (blocks[domain, "other", "grad"], "other", "answers of other items"),
    (scrambled, "chance", "weights in random order"),
):
    curve = summary.by_layer(table, "saliency", seed=seed)
    scale = curve["value"].mean()
    figures.curve(
        axes,
        curve.assign(**curve[["value", "low", "high"]] / scale),
        look,
        label,
        known[domain],
    )
axes.set(yscale="log", ylabel="saliency / mean over layers")
axes.legend()
plt.show()

# %% [markdown]
# The smallest rank correlation between the curves of any two templates is {glue:text}`templates`; that of the curves with right and with other answers is {glue:text}`shuffled`.
# For {glue:text}`control` it is {glue:text}`shuffled_control`, beside {glue:text}`templates_control` between templates; with the weights in random order it is {glue:text}`scrambled`.
# The level of the ratio falls by a factor of {glue:text}`ratio_level` with other answers.
# Its shape, each curve divided by its mean over layers, changes with the answers on {glue:text}`n_ratio_changed` of {glue:text}`n_layers` layers (95 % interval of the change clear of zero; not corrected; by chance {glue:text}`n_chance` on average, and more is common, since neighbouring layers go together), and on none by more than a factor of {glue:text}`ratio_change`.
# One thing that differs between the domains whatever the answer is the prompt: a name takes {glue:text}`tokens` tokens in {glue:text}`domain`, {glue:text}`tokens_control` in {glue:text}`control`.

# %% [markdown]
# ## By weight matrix

# %%
modules = [
    name
    for name in tables[domain, "answer", "grad"]["module"].unique()
    if name != "block"
]
by_module = {
    (name, module): summary.by_layer(
        table[table["module"] == module], "saliency", seed=seed
    )
    for name, table in (
        (name, tables[name, "answer", "grad"]) for name in (domain, control)
    )
    for module in modules
}
module_ratios = {
    module: ratio("answer", module).set_index("layer") for module in modules
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: saliency on the medical domain by layer and weight matrix, on a logarithmic scale. Right: its ratio to the control, as a power of two, so that 1 is twice as much and -1 half; a dot where its 95 % bootstrap interval is clear of one. The intervals are in the data of this page.", "name": "fig-saliency-modules"}, "image": {"alt": "Two heat maps, layers upwards and weight matrices across: saliency on the medical domain, and its ratio to the control with dots where the interval is clear of one."}}
_, (left, right) = plt.subplots(1, 2, figsize=(9, 5), layout="constrained")
heat = pd.DataFrame(
    {
        module: by_module[domain, module].set_index("layer")["value"]
        for module in modules
    }
)
bar = {"label": "saliency, nats per unit of weight"}
sns.heatmap(
    heat,
    ax=left,
    norm=LogNorm(),
    cmap="rocket" if known[domain] else "Greys",
    cbar_kws=bar,
    yticklabels=False,
)
left.invert_yaxis()
left.set(ylabel="layer", title=domain)
heat = np.log2(
    pd.DataFrame(
        {module: table["value"] for module, table in module_ratios.items()}
    )
)
figures.layer_by_token(
    right,
    heat.to_numpy(),
    modules,
    "log2 of the ratio",
    known=all(known.values()),
)
for place, table in enumerate(module_ratios.values()):
    clear = table.index[(table["low"] > 1) | (table["high"] < 1)]
    right.plot([place] * len(clear), clear, ".", color="black", ms=3)
right.set(title=f"{domain} / {control}", ylabel="")
left.set_yticks(np.arange(4.5, len(heat), 5), range(5, len(heat) + 1, 5))
left.set_xticks(left.get_xticks(), modules, rotation=45, ha="right")
plt.show()

# %% [markdown]
# Over all layers the matrix with the steepest slopes is {glue:text}`module_peak`.
# Weighing each slope by its weight, which is the first-order change when the weight is set to zero, gives the layers the same order to a rank correlation of {glue:text}`kinds`.

# %% [markdown]
# ## The numbers


# %% tags=["hide-input"]
def shape_change(name):
    """How each prompt's log saliency moves with another answer, layer by layer, less its mean over layers."""
    table = blocks[name, "answer", "grad"]
    moved = (
        table["log"].to_numpy()
        - blocks[name, "other", "grad"]["log"].to_numpy()
    )
    table = table.assign(moved=moved)
    return table.assign(
        moved=moved - table.groupby("prompt")["moved"].transform("mean")
    )


def text(row, form="{:.2f}", scale=1, words="95 % interval "):
    value, low, high = (
        form.format(scale * row[column]) for column in ("value", "low", "high")
    )
    return f"{value} ({words}{low} to {high})"


medical, other = (
    curves[name, "answer", "grad"].set_index("layer")
    for name in (domain, control)
)
right_ratio, other_ratio = (
    ratios[answers].set_index("layer") for answers in ("answer", "other")
)
moved = summary.difference_by_layer(
    shape_change(domain), shape_change(control), "moved", seed=seed
)
peak, top = medical["value"].idxmax(), right_ratio["value"].idxmax()
median = (medical["value"] - medical["value"].median()).abs().idxmin()
ratios_alike = stats.spearman(right_ratio["value"], other_ratio["value"])
blind = alike["answers of other items"].low >= templates
steepest = max(
    modules, key=lambda module: by_module[domain, module]["value"].mean()
)

# %% tags=["hide-input"]
run.number("n_items", level[domain]["items"])
run.number("n_prompts", level[domain]["prompts"])
run.number("n_layers", model.n_layers)
run.number("n_chance", 0.05 * model.n_layers, f"{0.05 * model.n_layers:.1f}")
run.number("peak", peak, f"layer {peak}")
run.number(
    "peak_saliency",
    medical.loc[peak, "value"],
    text(medical.loc[peak], scale=1000),
)
run.number(
    "median_saliency",
    medical.loc[median, "value"],
    text(medical.loc[median], scale=1000, words=""),
)
run.number("ratio_peak", top, f"layer {top}")
run.number("ratio", right_ratio.loc[top, "value"], text(right_ratio.loc[top]))
run.number("n_higher", int((right_ratio["low"] > 1).sum()))
run.number("n_lower", int((right_ratio["high"] < 1).sum()))
run.number("n_higher_other", int((other_ratio["low"] > 1).sum()))
run.number("n_lower_other", int((other_ratio["high"] < 1).sum()))
shift = np.exp(np.log(right_ratio["value"] / other_ratio["value"]).mean())
run.number("ratio_level", shift, f"{shift:.2f}")
templates_control = summary.rank_of_templates(
    blocks[control, "answer", "grad"], "saliency"
)
run.number("templates_control", templates_control, f"{templates_control:.2f}")
run.number("domain", domain)
run.number("control", control)
for key, name in (
    ("shuffled", "answers of other items"),
    ("shuffled_control", f"the same, {control}"),
    ("scrambled", "weights in random order"),
    ("kinds", "each slope times its weight"),
):
    run.number(key, alike[name].value, text(alike[name]._asdict(), "{:.3f}"))
run.number("ratio_shuffled", ratios_alike, f"{ratios_alike:.2f}")
run.number(
    "n_ratio_changed", int(((moved["low"] > 0) | (moved["high"] < 0)).sum())
)
largest = np.exp(moved["value"].abs().max())
run.number("ratio_change", largest, f"{largest:.2f}")
run.number("templates", templates, f"{templates:.2f}")
run.number("verdict", "next to nothing" if blind else "something")
for name, suffix in ((domain, ""), (control, "_control")):
    for key in ("own", "other", "tokens"):
        run.number(key + suffix, level[name][key], f"{level[name][key]:.1f}")
run.number("module_peak", steepest, steepest)

# %% tags=["hide-input"]
names = {"answer": "", "other": "_other_answers"}
rows = [
    *(
        curve.assign(
            domain=name, component="block", metric=kind + names[answers]
        )
        for (name, answers, kind), curve in curves.items()
    ),
    *(
        table[["item", "variant", "layer"]].assign(
            value=table["saliency"],
            domain=name,
            component="block",
            metric=kind + names[answers],
        )
        for (name, answers, kind), table in blocks.items()
    ),
    *(
        curve.assign(domain=name, component=module, metric="grad")
        for (name, module), curve in by_module.items()
    ),
    *(
        curve.assign(
            domain=domain,
            component="block",
            variant=f"over {control}",
            metric=f"grad_ratio{names[answers]}",
        )
        for answers, curve in ratios.items()
    ),
    *(
        curve.reset_index().assign(
            domain=domain,
            component=module,
            variant=f"over {control}",
            metric="grad_ratio",
        )
        for module, curve in module_ratios.items()
    ),
    summary.by_layer(scrambled, "saliency", seed=seed).assign(
        domain=domain, component="block", metric="grad_scrambled_weights"
    ),
]
run.save(pd.concat(rows))
medical.reset_index().style.format(
    "{:.2e}", subset=["value", "low", "high"]
).hide()

# %% [markdown]
# ## What would change our mind
#
# - Items of both domains whose names take as many tokens, and a ratio of the same shape between them: then an excess in some layers would not be about long, rare names.
# - A model that knows the answers. Here the first token of the right answer has a mean log-probability of {glue:text}`own` nats and that of another item's {glue:text}`other`; on {glue:text}`control` they are {glue:text}`own_control` and {glue:text}`other_control`. Where the model hardly tells right from wrong, its slopes cannot either.
# - A part of the gradient that does change with the answer, such as its difference between the right and a wrong one at the same prompt.
#
# ## What this cannot show
#
# A gradient is a local slope: what an infinitely small change would do, not what the layer contributes.
# Its size depends on the norm of the residual stream, by which most models divide every block's input, and on the scale of the weights; so a trend from early to late layers can be about scale alone.
# In early layers every position of the prompt adds to it; in the last block only the last one does, keys and values apart.
# The answer counts by its first token only, and unlikely answers have steeper slopes than likely ones.
# A steep slope does not say that knowledge is stored there, nor that it can be edited there {cite:p}`hase2023localization`.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the numbers are those of that model.
# The technique is one of the four of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/saliency.md).
