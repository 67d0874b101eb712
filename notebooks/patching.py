# %% [markdown]
# # Where does the answer travel from the drug's name to the last word?
#
# Two prompts that differ in the drug alone call for different answers; we move one token's state from one run into the other and see how much of the answer comes with it.
# Of {glue:text}`n_drawn` pairs drawn, the model tells the right indication from the wrong one in {glue:text}`accuracy`; the {glue:text}`n_used` that it gets right by a margin are used here.
# Up to the middle layers the answer sits at the drug's last token: patched after layer 1 that token alone recovers {glue:text}`subject_first` of the logit difference.
# From {glue:text}`handover` on, the last token of the prompt holds more than half of it.
# For capitals, the control, that happens at {glue:text}`handover_control`; the difference is {glue:text}`handover_difference` layers.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run patching`.

# %% tags=["parameters", "remove-cell"]
model_name = "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
domain = "drugs"  # the medical domain
control = "capitals"  # a domain of the same form that is not medical
n_couples = 24  # couples drawn from each domain; each gives two pairs, A against B and B against A
threshold = 1.0  # pairs whose clean and corrupt logit differences lie closer than this, in logits, are dropped
seed = 0  # draws the couples and the bootstrap resamples

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import medlib
from medlib import concepts, figures, hooks, patching, stats, summary

figures.style()
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name, domain=domain, control=control, n_couples=n_couples, threshold=threshold, seed=seed
)
run = medlib.Run("patching", model, parameters, seed)

# %% [markdown]
# ## The pairs
#
# A pair is a clean and a corrupt prompt in the same template with as many tokens, and the answer each calls for; the answers differ in their first token, and neither would be right for the other prompt.
# Pairs come in couples, A against B and B against A, so nothing rests on one drug being more likely than the other; a couple is one unit in the intervals.


# %%
def draw(domain):
    pairs, candidates = concepts.pairs(domain, model.tokenizer)
    kept = candidates[candidates["kept"]].reset_index(drop=True)
    kept["couple"] = kept[["item", "other"]].apply(lambda names: " / ".join(sorted(names)), axis=1)
    chosen = kept["couple"].drop_duplicates().sample(n_couples, random_state=seed)
    kept = kept[kept["couple"].isin(chosen)]
    return [pairs[i] for i in kept.index], kept.reset_index(drop=True), candidates


drawn = {name: draw(name) for name in (domain, control)}
pd.DataFrame(
    {
        name: {
            "candidates": len(candidates),
            **candidates.query("not kept")["reason"].value_counts(),
            "kept": candidates["kept"].sum(),
            "drawn": len(pairs),
        }
        for name, (pairs, _, candidates) in drawn.items()
    }
).fillna(0).astype(int)

# %%
pd.DataFrame(drawn[domain][0][:4] + drawn[control][0][:2]).style.hide()

# %% [markdown]
# ## Does the method find what is planted?
#
# With every block but one taken out of the model, only that one can move anything from the drug's token to the last one.
# So a patch at the drug must recover everything before that block and nothing after it, and a patch at the last token the reverse.

# %%
planted = model.n_layers // 2
one_token = [
    pair
    for pair in drawn[control][0]
    if (patching.token_groups(model, [pair])["group"] == "subject, earlier").sum() == 0
]
with hooks.only(model, planted):
    found = medlib.patch_sweep(model, one_token[:2]).merge(patching.token_groups(model, one_token[:2]))
found["above"] = found["layer"] >= planted
found = found.groupby(["group", "above"])["recovered"].agg(["min", "max"]).round(3)
expected = pd.Series({("subject", False): 1.0, ("subject", True): 0.0, ("last", False): 0.0, ("last", True): 1.0})
gap = (found.loc[expected.index].sub(expected, axis=0)).abs().to_numpy().max()
run.check("the one block left in place moves the answer", passed=gap < 0.01, detail=f"largest error of P {gap:.3f}")
found

# %% [markdown]
# ## The sweep
#
# Every layer and token of every pair, in both directions, in one walk up the layers (see [the engine](../../methods/replay.md)).
# $P$ is 0 where the patch changes nothing and 1 where it gives the clean run's logit difference.


# %%
def sweep(pairs, kept, direction):
    table = medlib.patch_sweep(model, pairs, direction=direction)
    run.check(
        f"no patch, no change ({direction})", passed=True, detail=f"{table.attrs['no_op']:.0e} of the largest logit"
    )
    table = table.merge(patching.token_groups(model, pairs)).join(kept[["couple", "item", "template"]], on="pair")
    table["weak"] = (table["clean_diff"] - table["corrupt_diff"]).abs() < threshold
    return table.assign(right=table["clean_diff"] > 0)


swept = {
    (name, direction): sweep(*drawn[name][:2], direction)
    for name in (domain, control)
    for direction in ("denoise", "noise")
}
per_pair = {name: swept[name, "denoise"].drop_duplicates("pair") for name in (domain, control)}
pd.DataFrame(
    {
        name: {
            "pairs drawn": len(pairs),
            f"dropped: difference under {threshold:g} logits": pairs["weak"].sum(),
            "kept apart: wrong when clean": (~pairs["weak"] & ~pairs["right"]).sum(),
            "used": (~pairs["weak"] & pairs["right"]).sum(),
        }
        for name, pairs in per_pair.items()
    }
)

# %% [markdown]
# ## Which token holds the answer, layer by layer
#
# The median over pairs, for three places: the drug's last token, the words between, and the last token of the prompt.


# %%
def curves(table, group, column="recovered"):
    used = table[(table["group"] == group) & ~table["weak"] & table["right"]]
    mean = used.groupby(["couple", "pair", "layer"], as_index=False)[column].mean()
    return mean.rename(columns={"couple": "item", "pair": "variant"})


groups = {"subject": "medical", "relation": "other", "last": "difference"}
medians = {
    (name, direction, group): summary.by_layer(curves(table, group), "recovered", np.median, seed)
    for (name, direction), table in swept.items()
    for group in groups
}

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "How much of the answer one token's state brings with it, by layer: the share P of the logit difference that a patch recovers, clean into corrupt. Median over pairs with its 95 % bootstrap interval over couples. Left: drugs; right: capitals, the control.", "name": "fig-patching-curves"}, "image": {"alt": "Two panels, drugs and capitals. In each, three curves over layers with bands: the subject's last token, the words between, the last token of the prompt."}}
_, panels = plt.subplots(1, 2, figsize=(9, 4), sharey=True)
for axes, name in zip(panels, (domain, control), strict=True):
    for group, look in groups.items():
        figures.curve(axes, medians[name, "denoise", group], look, group)
    axes.set(title=name if name == domain else f"{name} (control)")
    axes.axhline(0, color="0.8", lw=1, zorder=0)
panels[0].set_ylabel("recovered, P")
panels[0].legend(title="token")
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The other direction, corrupt into clean: the share 1 - P of the answer that one token's state takes away. Median over pairs with its 95 % bootstrap interval over couples.", "name": "fig-patching-noise"}, "image": {"alt": "Two panels, drugs and capitals. In each, three curves over layers with bands: how much a corrupt state at one token takes away."}}
_, panels = plt.subplots(1, 2, figsize=(9, 4), sharey=True)
for axes, name in zip(panels, (domain, control), strict=True):
    for group, look in groups.items():
        flipped = (
            medians[name, "noise", group]
            .assign(value=lambda t: 1 - t["value"], low=lambda t: 1 - t["high"], high=lambda t: 1 - t["low"])
            .set_axis(["layer", "value", "low", "high", "n"], axis=1)
        )
        figures.curve(axes, flipped, look, group)
    axes.set(title=name if name == domain else f"{name} (control)")
    axes.axhline(0, color="0.8", lw=1, zorder=0)
panels[0].set_ylabel("taken away, 1 - P")
panels[0].legend(title="token")
plt.show()

# %% [markdown]
# ## One template, token by token

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The share P that a patch recovers at each layer and token, clean into corrupt: median over the drug pairs of one template and one length. Tokens of the drug's name are numbered. Red recovers the answer, white changes nothing.", "name": "fig-patching-map"}, "image": {"alt": "A heat map, layers upwards and the prompt's tokens across. Recovery starts at the drug's tokens in low layers and moves to the last token in high layers."}}
used = swept[domain, "denoise"].query("right and not weak").copy()
used["length"] = used.groupby("pair")["position"].transform("max") + 1
shape = used.groupby(["template", "length"])["pair"].nunique().idxmax()
shown = used[(used["template"] == shape[0]) & (used["length"] == shape[1])]
heat = shown.pivot_table(index="layer", columns="position", values="recovered", aggfunc="median")
tokens = shown[shown["pair"] == shown["pair"].iloc[0]].drop_duplicates("position")
names = [
    f"drug {position + 1}" if group.startswith("subject") else token.strip()
    for position, group, token in zip(tokens["position"], tokens["group"], tokens["token"], strict=True)
]
_, axes = plt.subplots(figsize=(7.2, 5))
figures.layer_by_token(axes, heat.to_numpy(), names, "recovered, P")
axes.set_title(f"{shown['pair'].nunique()} pairs")
plt.show()

# %% [markdown]
# ## Where the last token takes over
#
# The handover is the first layer at which a patch at the last token recovers more than half of the difference, in the median over pairs.


# %%
def first_above_half(recovered, axis):
    """The first layer at which the median over pairs exceeds one half; at the last layer it is 1 by construction."""
    return (np.median(recovered, axis=axis) > 0.5).argmax(axis=-1) + 1.0


def last_token(name):
    table = curves(swept[name, "denoise"], "last").pivot(index=["item", "variant"], columns="layer", values="recovered")
    return table.to_numpy(), table.index.get_level_values("item").to_numpy()


(drug, drug_couples), (capital, capital_couples) = last_token(domain), last_token(control)
handover = {
    domain: stats.bootstrap(drug, first_above_half, seed=seed, groups=drug_couples),
    control: stats.bootstrap(capital, first_above_half, seed=seed, groups=capital_couples),
    "difference": stats.bootstrap_difference(
        drug, capital, first_above_half, seed=seed, groups=(drug_couples, capital_couples)
    ),
}
pd.DataFrame(handover, index=["layer", "low", "high"]).T

# %% [markdown]
# ## The numbers

# %% tags=["hide-input"]
asked = per_pair[domain].assign(correct=lambda t: (t["clean_diff"] > 0).astype(float))
accuracy = stats.bootstrap(asked["correct"], seed=seed, groups=asked["couple"])
start = medians[domain, "denoise", "subject"].set_index("layer").loc[1]
run.number("n_drawn", len(asked))
run.number("n_used", int((~asked["weak"] & asked["right"]).sum()))
run.number(
    "accuracy", accuracy.value, f"{accuracy.value:.0%} (95 % interval {accuracy.low:.0%} to {accuracy.high:.0%})"
)
run.number("subject_first", start["value"], f"{start['value']:.0%} ({start['low']:.0%} to {start['high']:.0%})")
for key, name in (("handover", domain), ("handover_control", control)):
    value, low, high = handover[name]
    run.number(key, value, f"layer {value:.0f} ({low:.0f} to {high:.0f})")
value, low, high = handover["difference"]
run.number("handover_difference", value, f"{value:+.0f} ({low:+.0f} to {high:+.0f})")

# %% tags=["hide-input"]
summaries = [
    table.assign(domain=name, variant=direction, component=group, metric="recovered")
    for (name, direction, group), table in medians.items()
]
sites = [
    table.drop(columns="item")
    .rename(columns={"couple": "item", "logit_diff": "value"})
    .assign(domain=name, variant=table["template"] + ", " + direction, component="residual", metric="logit_diff")
    for (name, direction), table in swept.items()
]
columns = ["domain", "item", "variant", "layer", "position", "component", "metric", "value"]
run.save(pd.concat([*summaries, pd.concat(sites)[columns]]))
medians[domain, "denoise", "last"].style.format(precision=2).hide()

# %% [markdown]
# ## What would change our mind
#
# - Pairs that keep the drug and change the question: if the same tokens and layers carried those as well, the map would be about copying a word and not about medicine.
# - A patch of attention or MLP outputs alone that points at other layers than the whole residual stream.
# - Other ways to corrupt, in which the handover moves: every patch is relative to what the other run holds {cite:p}`zhang2024patching,heimersheim2024patching`.
#
# ## What this cannot show
#
# A patched state brings everything with it that differs between the runs; it shows where the answer passes, not which layer worked it out, and not where it is stored {cite:p}`hase2023localization`.
# At the last layer the last token recovers everything by construction, and at every token before the subject a patch recovers nothing by construction.
# A drug's name of several tokens is patched one token at a time, so early layers can recover less than everything although the name is all there.
# Pairs that the model gets wrong are left out, so the map is of answers it gives and not of all that it was asked.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the numbers are those of that model.
# The technique is one of the four of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/patching.md).
