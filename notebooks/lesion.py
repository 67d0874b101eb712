# %% [markdown]
# # Which layers can the model not do without?
#
# Each layer is taken out in turn, and we look at how far the model's next word moves.
# On {glue:text}`n_prompts` prompts about {glue:text}`n_items` {glue:text}`domain`, the layer whose loss does most harm is {glue:text}`peak`: without it the next-word distribution moves by {glue:text}`peak_kl` nats, and by {glue:text}`peak_control` nats on {glue:text}`control`, a control of the same form (difference {glue:text}`peak_difference`).
# After the first {glue:text}`early` layers the median layer costs {glue:text}`median_kl` nats.
# The excess of {glue:text}`domain` over {glue:text}`control` is greatest at {glue:text}`excess_layer`, {glue:text}`excess` nats.
# On {glue:text}`n_higher` of {glue:text}`n_layers` layers the loss moves {glue:text}`domain` more than {glue:text}`control`, on {glue:text}`n_lower` less (95 % interval of the difference clear of zero, not corrected; by chance {glue:text}`n_chance` on average, and more is common, since neighbouring layers go together).
# With blocks that add the mean of what they add to other prompts in place of nothing, the order of the layers keeps a rank correlation of {glue:text}`rank_mean`, with what they add to another prompt {glue:text}`rank_resample`; of a block's two parts, the loss of {glue:text}`worse_part` costs more on {glue:text}`n_worse_part` layers.
# The order of the layers agrees with that of neutral text to a rank correlation of {glue:text}`neutral_rank`, with that of {glue:text}`control` to one of {glue:text}`control_rank`: what they share is no matter of medicine.
# Later layers make up for part of what a layer takes from the answer on {glue:text}`n_repaired` layers, and make the harm larger on {glue:text}`n_deepened` (95 % interval clear of zero, not corrected); two neighbours cost most beyond their single harm at {glue:text}`standing_in`.
# {glue:text}`knowledge`

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run lesion`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
domain = "drugs"  # the medical domain
control = ""  # a domain of the same form that is not medical; empty: the one that the domain names
n_items = 40  # items drawn from each domain, each in all its templates
n_few = 5  # of these, items for the other ways, the windows and the texts
grader = "local"  # grades from 1 to 10; or "package.module:function"
seed = 0  # draws the items and the bootstrap resamples

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import medlib
from medlib import (
    concepts,
    figures,
    grading,
    hooks,
    knowledge,
    lesion,
    neutral,
    stats,
    summary,
    windows,
)

figures.style()
control = control or concepts.control(domain)
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    domain=domain,
    control=control,
    n_items=n_items,
    n_few=n_few,
    grader=grader,
    seed=seed,
)
run = medlib.Run("lesion", model, parameters, seed)
known, said = knowledge.knows(model, (domain, control), seed)
run.number("knowledge", said)

# %% [markdown]
# ## The questions
#
# Each prompt breaks off where the answer belongs; the answer counts by its first token.
# Every item appears in every template, and an item with all its templates is one unit in the intervals.

# %%
questions = {
    name: summary.sample_items(concepts.questions(name), n_items, seed)
    for name in (domain, control)
}
pd.DataFrame(
    {
        name: dict(
            items=q["item"].nunique(),
            templates=q["variant"].nunique(),
            prompts=len(q),
        )
        for name, q in questions.items()
    }
).T

# %%
pd.concat(questions).groupby(level=0).head(2)[["prompt", "answer"]].style.hide()

# %% [markdown]
# ## Does the method find what is planted?
#
# With every block but one taken out of the model, only that one can matter: the sweep has to name it, and give zero for all others.

# %%
planted = model.n_layers // 2
with hooks.only(model, planted):
    found = (
        medlib.lesion_sweep(model, list(questions[domain]["prompt"][:4]))
        .groupby("layer")["kl"]
        .mean()
    )
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
def sweep(questions, function=medlib.lesion_sweep, **options):
    table = function(
        model, list(questions["prompt"]), list(questions["answer"]), **options
    )
    labels = questions[["item", "variant"]].reset_index(drop=True)
    return table.join(labels, on="prompt"), table.attrs["no_op"]


(medical, no_op), (other, no_op_control) = (
    sweep(questions[domain]),
    sweep(questions[control]),
)
run.check(
    "no lesion, no change",
    passed=True,
    detail=f"{max(no_op, no_op_control):.0e} of the largest logit",
)
print(
    "Largest difference from the model's own logits without a lesion:",
    run.checks[-1]["detail"],
)

# %% [markdown]
# ## What each layer costs

# %%
curves = {
    name: summary.by_layer(table, "kl", seed=seed)
    for name, table in (("medical", medical), ("control", other))
}
difference = summary.difference_by_layer(medical, other, "kl", seed=seed)
drop = summary.by_layer(medical, "logprob_drop", seed=seed)

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "How far the next word moves when one layer is taken out: Kullback-Leibler divergence from the intact to the lesioned model at the last token, on a logarithmic scale. Mean over items and templates with its 95 % bootstrap interval over items. Solid: the medical domain; dashed: the control.", "name": "fig-lesion-kl"}, "image": {"alt": "Two curves over layers, the medical domain and its control, on a logarithmic scale, each with an interval band."}}
_, axes = plt.subplots()
for look, name in (("medical", domain), ("control", control)):
    label = name if look == "medical" else f"{name} (control)"
    figures.curve(axes, curves[look], look, label, known[name])
axes.set(yscale="log", ylabel="KL(intact ‖ lesioned), nats")
axes.legend()
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same, the medical domain minus its control. Above zero the layer's loss moves the medical questions more. 95 % bootstrap interval, items of both domains resampled; not corrected for the number of layers.", "name": "fig-lesion-difference"}, "image": {"alt": "One curve over layers around a zero line, with an interval band: the difference of divergence between the medical domain and its control."}}
_, axes = plt.subplots()
figures.curve(
    axes,
    difference,
    "difference",
    f"{domain} minus {control}",
    all(known.values()),
)
axes.axhline(0, color="0.6", lw=1)
axes.set(yscale="symlog", ylabel="difference of KL, nats")
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Log-probability that the right answer's first token loses when a layer is taken out, on the medical questions. Mean with 95 % bootstrap interval over items. Below zero, the answer becomes more likely without the layer.", "name": "fig-lesion-drop"}, "image": {"alt": "One curve over layers with an interval band: the drop of the right answer's log-probability."}}
_, axes = plt.subplots()
figures.curve(axes, drop, "medical", domain, known[domain])
axes.axhline(0, color="0.6", lw=1)
axes.set(ylabel="drop of log-probability, nats")
plt.show()

# %% [markdown]
# The smallest rank correlation over layers between the curves of any two templates is {glue:text}`templates`; 1 would be full agreement on which layers matter.

# %% [markdown]
# ## Is it the lesion or the layer?
#
# A block that passes the stream through unchanged is a state of affairs the next block never met.
# So the block, its attention or its MLP also adds the *mean* of what it adds to all these prompts, or what it adds to another of them (*resample*), on {glue:text}`n_few` of the items.
# The table holds the rank correlation over layers of each curve with that of the whole block passing nothing on.

# %%
few = {
    name: summary.sample_items(q, n_few, seed) for name, q in questions.items()
}
ways = pd.concat(
    sweep(few[name], how=how, component=component, seed=seed)[0].assign(
        domain=name, how=how, component=component
    )
    for name in few
    for component in lesion.COMPONENTS
    for how in lesion.HOWS
)
by_way = pd.concat(
    summary.by_layer(part, "kl", seed=seed).assign(
        domain=name, component=component, how=how
    )
    for (name, component, how), part in ways.groupby(
        ["domain", "component", "how"]
    )
)
of_way = by_way.pivot(
    index="layer", columns=["domain", "component", "how"], values="value"
)
agreement = of_way[domain].corrwith(
    of_way[domain, "block", "identity"], method="spearman"
)
agreement.unstack("how").loc[[*lesion.COMPONENTS], [*lesion.HOWS]].style.format(
    precision=2
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Nine lesions of each layer, on the medical domain: the whole block, its attention or its MLP adds nothing (identity), the mean of what it adds to all prompts, or what it adds to another prompt. Divergence on a logarithmic scale, mean over items and templates with its 95 % bootstrap interval over items.", "name": "fig-lesion-ways"}, "image": {"alt": "Three panels, block, attention and MLP, each with three curves over layers and their interval bands: identity, mean and resample."}}
looks = dict(zip(lesion.HOWS, ("medical", "other", "control"), strict=True))
_, panels = plt.subplots(1, 3, figsize=(9.4, 3.8), sharey=True)
for axes, component in zip(panels, lesion.COMPONENTS, strict=True):
    for how, look in looks.items():
        here = "domain == @domain and component == @component and how == @how"
        figures.curve(axes, by_way.query(here), look, how, known[domain])
    axes.set(yscale="log", title=component)
panels[0].set_ylabel("KL(intact ‖ lesioned), nats")
panels[1].legend(ncol=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))
plt.show()

# %% [markdown]
# ## Which neighbours stand in for each other?
#
# Every window of consecutive blocks is taken out, on the same items in one template.
# Single blocks lie along the lower edge, the whole model in the upper corner.

# %%
one_template = {
    name: q[q["variant"] == q["variant"].iloc[0]] for name, q in few.items()
}
of_windows = {
    name: sweep(q, medlib.lesion_windows)[0] for name, q in one_template.items()
}
triangles = windows.by_window(of_windows[domain], "kl", seed=seed)
gaps = windows.by_window(
    of_windows[domain], "kl", of_windows[control], seed=seed
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What a window of blocks costs: the first block taken out across, how many upwards. Left: the medical domain, mean divergence on a logarithmic scale. Right: the medical domain minus its control; red where its loss moves the medical questions more.", "name": "fig-lesion-windows"}, "image": {"alt": "Two triangles of coloured cells, one for each window of consecutive blocks: divergence on the medical domain, and its difference from the control."}}
_, (left, right) = plt.subplots(1, 2, figsize=(9.4, 4.2), layout="constrained")
windows.triangle(left, triangles, "KL, nats", known[domain], log=True)
left.set_title(domain)
windows.triangle(
    right, gaps, "difference, nats", all(known.values()), diverging=True
)
right.set_title(f"{domain} minus {control}")
plt.show()

# %%
beyond = windows.beyond_single(of_windows[domain])
neighbours = beyond[beyond["last"] == beyond["first"] + 1].nlargest(3, "value")
neighbours.style.format(precision=2).hide()

# %% [markdown]
# Two neighbours that cost together more than the costlier of them alone can stand in for each other, or harm in different ways; the table shows the three with the largest excess.
#
# ## Do later layers make up for it?
#
# A block's *direct* effect on the answer is what its lesion would do if no later block saw it; the *total* effect is what it does.
# Where the direct effect is the larger, later blocks make up for part of the loss {cite:p}`mcgrath2023hydra`; where it is smaller, the block acts through them.

# %%
repair = medical.assign(repair=medical["direct_drop"] - medical["logit_drop"])
effects = {
    column: summary.by_layer(repair, column, seed=seed)
    for column in ("direct_drop", "logit_drop", "repair")
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What the lesion of a block takes from the logit of the right answer, less the mean logit of the vocabulary: directly (dotted), if no later block saw it, and in fact (solid). Mean with its 95 % bootstrap interval over items. Dotted above solid: later blocks make up for part of it.", "name": "fig-lesion-repair"}, "image": {"alt": "Two curves over layers with interval bands: the direct and the total effect of each block's lesion on the logit of the right answer."}}
_, axes = plt.subplots()
figures.curve(
    axes, effects["logit_drop"], "medical", "total effect", known[domain]
)
figures.curve(
    axes, effects["direct_drop"], "other", "direct effect", known[domain]
)
axes.axhline(0, color="0.6", lw=1)
axes.set(ylabel="drop of the answer's logit", yscale="symlog")
axes.legend()
plt.show()

# %% [markdown]
# ## Is it medicine or language?
#
# The same lesions on {glue:text}`n_texts` neutral texts, none of them medical: by how much the perplexity grows.

# %%
texts = medlib.lesion_texts(model, neutral.TEXTS)
losses = texts.pivot(index="text", columns="layer", values="loss")
costs = losses.drop(columns=0).sub(losses[0], axis=0)
found = stats.bootstrap(costs.to_numpy(), seed=seed)
neutral_cost = pd.DataFrame({"layer": costs.columns, **found._asdict()})

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Each layer's harm to medical questions beside its harm to neutral text, both on logarithmic scales: a dot a layer. Along the diagonal, a layer is needed for medical questions as it is for any text; the five furthest from the line through the others are numbered.", "name": "fig-lesion-neutral"}, "image": {"alt": "A scatter plot of layers: rise of the loss of neutral text across, divergence on medical questions upwards, a few layers numbered."}}
both = curves["medical"].merge(neutral_cost, on="layer", suffixes=("", "_text"))
drawn = both[(both["value"] > 0) & (both["value_text"] > 0)]
x, y = np.log(drawn["value_text"]), np.log(drawn["value"])
off = (y - np.polyval(np.polyfit(x, y, 1), x)).abs()
_, axes = plt.subplots(figsize=(5.4, 4.4))
axes.plot(
    drawn["value_text"],
    drawn["value"],
    "o",
    color=figures.LOOKS["medical"]["color"] if known[domain] else "0.7",
)
for row in drawn.loc[off.nlargest(5).index].itertuples():
    axes.annotate(
        row.layer,
        (row.value_text, row.value),
        xytext=(4, 4),
        textcoords="offset points",
    )
axes.set(
    xscale="log",
    yscale="log",
    xlabel="neutral text: rise of loss, nats per token",
    ylabel=f"{domain}: KL, nats",
)
plt.show()

# %% [markdown]
# ## What does it write?
#
# The likeliest continuation, before and after the lesion of the layer that costs most and of the median one.
# The grade, 1 for no change to 10 for gibberish, is {glue:text}`grader`.
# The local one compares the lesion with a change of prompt: one more for each tenth of all pairs of these prompts whose next-word distributions lie closer to each other than the lesioned model's lies to the intact one's.

# %%
prompts = list(one_template[domain]["prompt"])
reference = grading.divergences(model, prompts)
judge = grading.grader(grader, reference)
ordered = curves["medical"].sort_values("value", ignore_index=True)
chosen = [int(ordered["layer"].iloc[i]) for i in (-1, len(ordered) // 2)]
before = grading.continuations(model, prompts)
written = pd.concat(
    pd.DataFrame(
        {
            "prompt": prompts,
            "layer": layer,
            "before": before,
            "after": grading.continuations(model, prompts, without=layer),
            "kl": of_windows[domain]
            .query("first == last == @layer")["kl"]
            .to_numpy(),
        }
    )
    for layer in chosen
)
written["grade"] = judge(written)
written.groupby("layer").head(4).style.hide()

# %% [markdown]
# ## The numbers

# %% tags=["hide-input"]
early = max(1, model.n_layers // 10)
late = curves["medical"].query("layer > @early")["value"]
peak = (
    curves["medical"]
    .set_index("layer")
    .loc[lambda table: table["value"].idxmax()]
)
at_peak = curves["control"].set_index("layer").loc[peak.name]
run.number("domain", domain)
run.number("control", control)
run.number("n_items", questions[domain]["item"].nunique())
run.number("n_prompts", len(questions[domain]))
run.number("n_layers", model.n_layers)
run.number("peak", peak.name, f"layer {peak.name}")
run.number(
    "peak_kl",
    peak["value"],
    f"{peak['value']:.2f} (95 % interval {peak['low']:.2f} to {peak['high']:.2f})",
)
run.number(
    "peak_control",
    at_peak["value"],
    f"{at_peak['value']:.2f} ({at_peak['low']:.2f} to {at_peak['high']:.2f})",
)
gap = difference.set_index("layer")
excess = gap.loc[gap["value"].idxmax()]
for key, row in (("peak_difference", gap.loc[peak.name]), ("excess", excess)):
    run.number(
        key,
        row["value"],
        f"{row['value']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})",
    )
run.number("excess_layer", excess.name, f"layer {excess.name}")
run.number("early", early)
run.number("median_kl", late.median(), f"{late.median():.2f}")
run.number("n_higher", int((difference["low"] > 0).sum()))
run.number("n_lower", int((difference["high"] < 0).sum()))
run.number("n_chance", 0.05 * model.n_layers, f"{0.05 * model.n_layers:.1f}")
run.number(
    "templates",
    summary.rank_of_templates(medical, "kl"),
    f"{summary.rank_of_templates(medical, 'kl'):.2f}",
)

# %% tags=["hide-input"]
run.number("n_few", n_few)
run.number("n_texts", len(neutral.TEXTS))
run.number("grader", grader)
for how in ("mean", "resample"):
    rank = agreement["block", how]
    run.number(f"rank_{how}", rank, f"{rank:.2f}")
parts = of_way[domain].xs("identity", axis=1, level="how")
counts = {
    part: int((parts[part] > parts[other]).sum())
    for part, other in (("attention", "mlp"), ("mlp", "attention"))
}
worse = max(counts, key=counts.get)
run.number("worse_part", {"attention": "attention", "mlp": "the MLP"}[worse])
run.number(
    "n_worse_part", counts[worse], f"{counts[worse]} of {model.n_layers}"
)
rank = stats.spearman(both["value"], both["value_text"])
run.number("neutral_rank", rank, f"{rank:.2f}")
rank = stats.spearman(both["value"], curves["control"]["value"])
run.number("control_rank", rank, f"{rank:.2f}")
run.number("n_repaired", int((effects["repair"]["low"] > 0).sum()))
run.number("n_deepened", int((effects["repair"]["high"] < 0).sum()))
first, last = neighbours.iloc[0][["first", "last"]].astype(int)
excess = neighbours.iloc[0]["value"]
run.number(
    "standing_in",
    excess,
    f"layers {first} and {last} (by {excess:.2f} nats)",
)

# %% tags=["hide-input"]
table = pd.concat(
    [
        by_way.assign(metric="kl_" + by_way["how"]),
        *(
            effects[name].assign(domain=domain, metric=name)
            for name in ("direct_drop", "logit_drop", "repair")
        ),
        neutral_cost.assign(domain="neutral text", metric="loss_rise"),
        *(
            table.assign(
                domain=domain,
                metric=metric,
                layer=table["last"],
                variant="from block " + table["first"].astype(str),
                component="window",
            )
            for metric, table in (
                ("kl", triangles),
                (f"kl minus {control}", gaps),
            )
        ),
        written.assign(
            domain=domain,
            metric="grade",
            value=written["grade"],
            item=written["prompt"],
        ),
        *(
            curve.assign(domain=name, metric="kl")
            for name, curve in zip(
                (domain, control), curves.values(), strict=True
            )
        ),
        difference.assign(
            domain=domain, variant=f"minus {control}", metric="kl_difference"
        ),
        drop.assign(domain=domain, metric="logprob_drop"),
        *(
            frame.rename(columns={metric: "value"})[
                ["item", "variant", "layer", "value"]
            ].assign(domain=name, metric=metric)
            for name, frame in ((domain, medical), (control, other))
            for metric in ("kl", "logprob_drop")
        ),
    ]
)
columns = [
    "domain",
    "item",
    "variant",
    "layer",
    "component",
    "metric",
    "value",
    "low",
    "high",
    "n",
]
table["component"] = table["component"].fillna("block")
run.save(table[columns])
curves["medical"].style.format(precision=3).hide()

# %% [markdown]
# ## What would change our mind
#
# - Lesions by the mean or by another prompt that order the layers otherwise than the absent block does: then part of the curve is the surprise of a block that meets a state it never met in training.
# - A control that shares the prompts' entropy as well as their form, and takes the difference away: a sharp next-word distribution has further to move than a flat one.
# - Layers further apart that stand in for each other: windows take out neighbours only {cite:p}`rushing2024selfrepair`.
#
# ## What this cannot show
#
# A layer whose loss harms medical questions and their control alike is needed for language, and says nothing about medicine.
# A layer whose loss harms little need not be idle: deep layers can often be removed at little cost {cite:p}`gromov2025deeper`.
# And a lesion says where something passes through, not where it is stored {cite:p}`hase2023localization`.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the numbers are those of that model.
# The technique is one of the four of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/lesion.md).
