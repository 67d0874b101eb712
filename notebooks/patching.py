# %% [markdown]
# # When does the answer move from the subject to the last word?
#
# Two prompts that differ in one name alone call for different answers; we move one token's state from one run into the other and see how much of the answer comes with it.
# Of {glue:text}`n_drawn` pairs about {glue:text}`domain`, the model prefers the right answer to the wrong one in {glue:text}`accuracy`; the {glue:text}`n_used` pairs, from {glue:text}`n_couples_used` couples, in which it does and whose clean logit difference lies at least {glue:text}`threshold` above the corrupt one are used.
# At the subject's last token a patch recovers {glue:text}`subject_recovered` of the logit difference at its best layer, {glue:text}`subject_peak` (its neighbours are within the interval); for {glue:text}`control`, the control, {glue:text}`subject_control`.
# At {glue:text}`handover`, for the first time, the last token of the prompt recovers more than half of it; for {glue:text}`control` at {glue:text}`handover_control`.
# The difference is {glue:text}`handover_difference` layers, so the handover is {glue:text}`verdict`.
# {glue:text}`knowledge`

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run patching`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
domain = "drugs"  # the medical domain
control = ""  # a domain of the same form that is not medical; empty: the one that the domain names
n_couples = 20  # couples drawn from each domain; each gives two pairs, A against B and B against A
threshold = 1.0  # pairs whose clean logit difference does not lie so far above the corrupt one, in logits, are dropped
seed = 0  # draws the couples and the bootstrap resamples

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import medlib
from medlib import concepts, figures, hooks, knowledge, sites, stats, summary

figures.style()
control = control or concepts.control(domain)
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    domain=domain,
    control=control,
    n_couples=n_couples,
    threshold=threshold,
    seed=seed,
)
run = medlib.Run("patching", model, parameters, seed)
known, said = knowledge.knows(model, (domain, control), seed)
run.number("knowledge", said)

# %% [markdown]
# ## The pairs
#
# A pair is a clean and a corrupt prompt in the same template with as many tokens, and the answer each calls for; the answers differ in their first token, and neither would be right for the other prompt.
# Pairs come in couples, A against B and B against A, so nothing rests on one answer being likelier than the other; a couple is one unit in the intervals.
# Where only one of the two is left after the model's mistakes are taken out, that balance is lost: {glue:text}`n_single` couples here.


# %%
drawn = {
    name: concepts.couples(name, model.tokenizer, n_couples, seed)
    for name in (domain, control)
}
pd.DataFrame(drawn[domain][0][:4] + drawn[control][0][:2]).style.hide()

# %% [markdown]
# Of all the couples that could be made, these were dropped for this tokenizer:

# %%
candidates = {name: concepts.pairs(name, model.tokenizer)[1] for name in drawn}
pd.DataFrame(
    {
        name: table["reason"].replace("", "kept").value_counts()
        for name, table in candidates.items()
    }
).fillna(0).astype(int)

# %% [markdown]
# ## Does the method find what is planted?
#
# With every block but one taken out of the model, only that one can move anything from the subject to the last one.
# So a patch at the subject must recover everything before that block and nothing after it, and a patch at the last token the reverse.
# The subject has to be one token for that, so a few pairs of cities serve here.

# %%
planted = model.n_layers // 2
pairs = sites.of_one_token(model, concepts.pairs("cities", model.tokenizer)[0])[
    :6
]
with hooks.only(model, planted):
    found = medlib.patch_sweep(model, pairs).merge(
        sites.token_groups(model, pairs)
    )
found["block passed"] = found["layer"] >= planted
found = found.groupby(["group", "block passed"])["recovered"].median()[
    ["subject", "last"]
]
gap = (found - [1, 0, 0, 1]).abs().max()
run.check(
    "the one block left in place moves the answer",
    passed=gap < 0.01,
    detail=f"largest error of P {gap:.0e}",
)
found.to_frame("P").style.format("{:.2f}")

# %% [markdown]
# ## The sweep
#
# Every layer and token of every pair, clean into corrupt, in one walk up the layers (see [the engine](../../methods/replay.md)).
# $P$ is 0 where the patch changes nothing and 1 where it gives the clean run's logit difference.
# The other direction is no second measurement: corrupt into clean for A against B is clean into corrupt for B against A, and both are here.

# %%
swept = {
    name: sites.share_sweep(model, *drawn[name], threshold=threshold)
    for name in (domain, control)
}
no_op = max(table.attrs["no_op"] for table in swept.values())
run.check(
    "no patch, no change",
    passed=True,
    detail=f"{no_op:.0e} of the largest logit",
)
per_pair = {
    name: table.drop_duplicates("pair") for name, table in swept.items()
}
pd.DataFrame(
    {
        name: {
            "pairs drawn": len(pairs),
            f"dropped: clean - corrupt < {threshold:g}": pairs["weak"].sum(),
            "kept apart: wrong when clean": (
                ~pairs["right"] & ~pairs["weak"]
            ).sum(),
            "used": pairs["used"].sum(),
            "couples used": pairs[pairs["used"]]["couple"].nunique(),
        }
        for name, pairs in per_pair.items()
    }
)

# %% [markdown]
# ## Which token holds the answer, layer by layer
#
# The median over pairs, for three places: the subject's last token, the words between, and the last token of the prompt.


# %%
groups = {"subject": "medical", "relation": "other", "last": "difference"}
medians = {
    (name, group): summary.by_layer(
        sites.shares(table, group), "share", np.median, seed
    )
    for name, table in swept.items()
    for group in groups
}

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "How much of the answer one token's state brings with it, by layer: the share P of the logit difference that a patch recovers, clean into corrupt. Median over pairs with its 95 % bootstrap interval over couples. Subject: the last token of the name; relation: the mean of patches of one token each, in the templates that have words between; last: the prompt's last token.", "name": "fig-patching-curves"}, "image": {"alt": "Two panels, the medical domain and its control. In each, three curves over layers with bands: the subject's last token, the words between, the last token of the prompt."}}
_, panels = plt.subplots(1, 2, figsize=(9, 4), sharey=True)
for axes, name in zip(panels, (domain, control), strict=True):
    for group, look in groups.items():
        figures.curve(axes, medians[name, group], look, group, known[name])
    axes.set_title(name if name == domain else f"{name} (control)")
    axes.axhline(0, color="0.8", lw=1, zorder=0)
panels[0].set_ylabel("recovered, P")
panels[0].legend(ncol=3, loc="upper center", bbox_to_anchor=(1, -0.16))
plt.show()

# %% [markdown]
# ## One template, token by token

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The share P that a patch recovers at each layer and token, clean into corrupt: median over the pairs of one template and one length. Tokens of the subject are numbered. Red recovers the answer, blue takes it further away, white changes nothing.", "name": "fig-patching-map"}, "image": {"alt": "A heat map of the recovered share, layers upwards and the prompt's tokens across."}}
used = swept[domain].query("used").copy()
used["length"] = used.groupby("pair")["position"].transform("max") + 1
shape = used.groupby(["template", "length"])["pair"].nunique().idxmax()
shown = used[(used["template"] == shape[0]) & (used["length"] == shape[1])]
heat = shown.pivot_table(
    index="layer", columns="position", values="recovered", aggfunc="median"
)
tokens = shown[shown["pair"] == shown["pair"].iloc[0]].drop_duplicates(
    "position"
)
names = [
    f"subject {position + 1}" if group.startswith("subject") else token.strip()
    for position, group, token in zip(
        tokens["position"], tokens["group"], tokens["token"], strict=True
    )
]
_, axes = plt.subplots(figsize=(7.2, 5))
figures.layer_by_token(
    axes, heat.to_numpy(), names, "recovered, P", known=known[domain]
)
axes.set_title(f"{shown['pair'].nunique()} pairs")
plt.show()

# %% [markdown]
# ## Where the last token takes over
#
# The handover is the first layer at which a patch at the last token recovers more than half of the difference, in the median over pairs.


# %%
handover = {
    name: sites.handover(table, seed=seed) for name, table in swept.items()
}
handover["difference"] = sites.handover(*swept.values(), seed=seed)
pd.DataFrame(handover, index=["layer", "low", "high"]).T.style.format("{:.0f}")

# %% [markdown]
# ## The numbers

# %% tags=["hide-input"]
asked = per_pair[domain].assign(
    correct=lambda t: (t["clean_diff"] > 0).astype(float)
)
accuracy = stats.bootstrap(asked["correct"], seed=seed, groups=asked["couple"])
subject = medians[domain, "subject"].set_index("layer")
top = subject.loc[subject["value"].idxmax()]
there = medians[control, "subject"].set_index("layer").loc[top.name]
kept = asked[asked["used"]]["couple"].value_counts()
run.number("n_couples_used", len(kept))
run.number("n_single", int((kept == 1).sum()))
run.number("threshold", threshold, f"{threshold:g} logits")
run.number(
    "subject_control",
    there["value"],
    f"{there['value']:.0%} ({there['low']:.0%} to {there['high']:.0%})",
)
run.number("domain", domain)
run.number("control", control)
run.number("n_drawn", len(asked))
run.number("n_used", int(asked["used"].sum()))
run.number(
    "accuracy",
    accuracy.value,
    f"{accuracy.value:.0%} (95 % interval {accuracy.low:.0%} to {accuracy.high:.0%})",
)
run.number("subject_peak", top.name, f"layer {top.name}")
run.number(
    "subject_recovered",
    top["value"],
    f"{top['value']:.0%} ({top['low']:.0%} to {top['high']:.0%})",
)
for key, name in (("handover", domain), ("handover_control", control)):
    value, low, high = handover[name]
    run.number(key, value, f"layer {value:.0f} ({low:.0f} to {high:.0f})")
value, low, high = handover["difference"]
run.number(
    "handover_difference", value, f"{value:+.0f} ({low:+.0f} to {high:+.0f})"
)
run.number(
    "verdict",
    "not shown to be particular to " + domain
    if low <= 0 <= high
    else f"{'later' if value > 0 else 'earlier'} for {domain}",
)

# %% tags=["hide-input"]
summaries = [
    table.assign(domain=name, component=group, metric="recovered")
    for (name, group), table in medians.items()
]
sites_found = [
    table.drop(columns="item")
    .rename(columns={"couple": "item", "logit_diff": "value"})
    .assign(
        domain=name,
        variant=table["template"] + ": " + table["item"],
        component="residual",
        metric="logit_diff",
    )
    for name, table in swept.items()
]
columns = [
    "domain",
    "item",
    "variant",
    "layer",
    "position",
    "component",
    "metric",
    "value",
]
run.save(pd.concat([*summaries, pd.concat(sites_found)[columns]]))
medians[domain, "last"].style.format(precision=2).hide()

# %% [markdown]
# ## What would change our mind
#
# - Pairs that keep the subject and change the question: if the same tokens and layers carried those as well, the map would be about copying a word and not about medicine.
# - A patch of attention or MLP outputs alone that points at other layers than the whole residual stream.
# - Other ways to corrupt, in which the handover moves: every patch is relative to what the other run holds {cite:p}`zhang2024patching,heimersheim2024patching`.
#
# ## What this cannot show
#
# A patched state brings everything with it that differs between the runs; it shows where the answer passes, not which layer worked it out, and not where it is stored {cite:p}`hase2023localization`.
# At the last layer the last token recovers everything by construction, and at every token before the subject a patch recovers nothing by construction.
# A subject of several tokens is patched one token at a time, so early layers can recover less than everything although the name is all there.
# Pairs that the model gets wrong are left out, so the map is of answers it gives and not of all that it was asked.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the numbers are those of that model.
# The technique is one of the four of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/patching.md).
