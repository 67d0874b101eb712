# %% [markdown]
# # Which layers can the model not do without?
#
# Each layer is taken out in turn, and we look at how far the model's next word moves.
# On {glue:text}`n_prompts` prompts about {glue:text}`n_items` {glue:text}`domain`, the layer whose loss does most harm is {glue:text}`peak`: without it the next-word distribution moves by {glue:text}`peak_kl` nats, and by {glue:text}`peak_control` nats on {glue:text}`control`, a control of the same form (difference {glue:text}`peak_difference`).
# After the first {glue:text}`early` layers the median layer costs {glue:text}`median_kl` nats.
# The excess of {glue:text}`domain` over {glue:text}`control` is greatest at {glue:text}`excess_layer`, {glue:text}`excess` nats.
# On {glue:text}`n_higher` of {glue:text}`n_layers` layers the loss moves {glue:text}`domain` more than {glue:text}`control`, on {glue:text}`n_lower` less (95 % interval of the difference clear of zero, not corrected; by chance {glue:text}`n_chance` on average, and more is common, since neighbouring layers go together).
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
seed = 0  # draws the items and the bootstrap resamples

# %%
import matplotlib.pyplot as plt
import pandas as pd

import medlib
from medlib import concepts, figures, hooks, knowledge, summary

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
def sweep(questions):
    table = medlib.lesion_sweep(
        model, list(questions["prompt"]), list(questions["answer"])
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
table = pd.concat(
    [
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
run.save(table.assign(component="block"))
curves["medical"].style.format(precision=3).hide()

# %% [markdown]
# ## What would change our mind
#
# - Another lesion, such as the mean of other prompts' states in place of nothing, that points at other layers: an absent block is a state of affairs the next block never met in training.
# - A control that shares the prompts' entropy as well as their form, and takes the difference away: a sharp next-word distribution has further to move than a flat one.
# - Pairs of layers that stand in for each other: one layer at a time cannot see them {cite:p}`mcgrath2023hydra,rushing2024selfrepair`.
#
# ## What this cannot show
#
# A layer whose loss harms medical questions and their control alike is needed for language, and says nothing about medicine.
# A layer whose loss harms little need not be idle: deep layers can often be removed at little cost {cite:p}`gromov2025deeper`.
# And a lesion says where something passes through, not where it is stored {cite:p}`hase2023localization`.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the numbers are those of that model.
# The technique is one of the four of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/lesion.md).
