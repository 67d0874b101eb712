# %% [markdown]
# # When does the answer move from the subject to the last word?
#
# Two prompts that differ in one name alone call for different answers; we move the states of one part of the prompt from one run into the other and see how much of the answer comes with it.
# In {glue:text}`model` this was done in {glue:text}`n_couples_used` couples of prompts from {glue:text}`n_domains` of {glue:text}`n_asked` medical domains; {glue:text}`left_out`.
# In the first layers the name holds the answer, by construction; the layer at which a patch of the last token alone recovers more than half of the logit difference, the handover, is {glue:text}`handover_domains`.
# {glue:text}`handover_verdict`
# The words between name and last token carry at most {glue:text}`between_most` (the largest median over layers of any medical domain).
# {glue:text}`knowledge`

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run patching`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
domains = "age diseases dosage drugs progression symptoms"  # medical domains, each beside the control that it names
n_couples = 12  # couples patched in each domain and control; each gives two pairs, A against B and B against A
n_couples_parts = 5  # of these, the couples in which attention and MLP outputs are patched too; 0: none
n_couples_weak = 2  # couples patched in each medical domain whose difference is under the threshold, to show what that does; 0: none
n_pairs_map = 4  # most pairs in each map of single tokens
threshold = 1.0  # couples whose clean logit difference does not lie so far above the corrupt one, in logits, are not used
seed = 0  # draws the couples and the bootstrap resamples

# %%
import matplotlib.pyplot as plt

import medlib
from medlib import concepts, figures, hooks, knowledge
from medlib.chapters.patching import patch_figures, patch_tables, sites

figures.style()
controls = concepts.controls(domains)
names = list(dict.fromkeys([*controls, *controls.values()]))
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    domains=domains,
    n_couples=n_couples,
    n_couples_parts=n_couples_parts,
    n_couples_weak=n_couples_weak,
    n_pairs_map=n_pairs_map,
    threshold=threshold,
    seed=seed,
)
run = medlib.Run("patching", model, parameters, seed)
known, said = knowledge.knows(model, names, seed)
run.number("knowledge", said)

# %% [markdown]
# ## The pairs
#
# A pair is a clean and a corrupt prompt in the same template with as many tokens, and the answer each calls for; the answers differ in their first token, and neither would be right for the other prompt.
# Pairs come in couples, A against B and B against A, so nothing rests on one answer being likelier than the other; a couple is one unit in the intervals.
# A couple is used if the clean logit difference lies at least {glue:text}`threshold` above the corrupt one; then at least one of its pairs is right when clean, and only such pairs are in the figures.

# %%
drawn = {
    name: sites.draw(model, name, n_couples, threshold, seed) for name in names
}
patch_tables.examples(drawn).style.hide()

# %% [markdown]
# What became of all the pairs that could be made.
# A domain with fewer than {glue:text}`fewest` usable couples is left out.
# "Backward" are pairs of couples in which the model prefers each answer where it is wrong.

# %%
sites.counts(drawn)

# %% [markdown]
# ## Does the method find what is planted?
#
# With every block but one taken out of the model, only that one can move anything from the subject to the last token.
# So a patch of the subject must recover everything before that block and nothing after it, a patch of the last token the reverse, and one of the words between nothing at any layer.

# %%
planted = model.n_layers // 2
pairs, table = concepts.couples("cities", model.tokenizer, 3, seed)
with hooks.only(model, planted):
    found = sites.sweep_parts(model, pairs, table)
found["block passed"] = found["layer"] >= planted
found = found.groupby(["group", "block passed"])["share"].median()
expected = found * 0.0
expected[[("subject", False), ("last", True)]] = 1
gap = (found - expected).abs().max()
run.check(
    "the one block left in place moves the answer",
    passed=gap < 0.01,
    detail=f"largest error of P {gap:.0e}",
)
found.to_frame("P").style.format("{:.2f}")

# %% [markdown]
# ## The sweep
#
# Three parts of every prompt are patched at every layer, clean into corrupt: all tokens of the subject at once, all tokens between, and the last one (see [the engine](../../methods/replay.md)).
# $P$ is 0 where the patch changes nothing and 1 where it gives the clean run's logit difference.

# %%
few = {
    name: f"too few couples ({one.labels['couple'].nunique()})"
    for name, one in drawn.items()
    if one.labels["couple"].nunique() < sites.FEWEST
}
swept = {
    name: sites.sweep_parts(model, *drawn[name][:2])
    for name in names
    if name not in few
}
no_op = max(table.attrs["no_op"] for table in swept.values())
run.check(
    "no patch, no change",
    passed=True,
    detail=f"{no_op:.0e} of the largest logit",
)
curves = {name: sites.curves(table, seed=seed) for name, table in swept.items()}

# %% [markdown]
# ## Which part of the prompt holds the answer, layer by layer

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "How much of the answer the states of one part of the prompt bring with them, by layer: the share P of the logit difference that a patch recovers, clean into corrupt. Median over pairs with its 95 % bootstrap interval over couples; thin and dashed the control. Subject: all tokens of the name; between: all tokens from there to the last, where there are any; last: the prompt's last token.", "name": "fig-patching-curves"}, "image": {"alt": "Six panels, one for each medical domain. In each, curves over layers with bands: the subject falls from one, the last token rises to one, the words between stay below; the control's curves dashed beside them."}}
patch_figures.beside_control(curves, controls, known, few)
plt.show()

# %% [markdown]
# ## Where the last token takes over
#
# The handover is the first layer at which a patch of the last token recovers more than half of the difference, in the median over pairs.
# The {glue:text}`n_differences` intervals of differences are not corrected for their number; {glue:text}`by_chance` of them would miss zero by chance.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Where the last token takes over: the first layer at which a patch of the last token recovers more than half of the logit difference, for each medical domain and its control, and the difference of the two. 95 % bootstrap intervals over couples; grey: not known to the model.", "name": "fig-patching-handover"}, "image": {"alt": "Two panels. Left, a dot with an interval for each medical domain and its control along the layers; right, their difference around a line at zero."}}
handover = sites.handovers(swept, controls, seed)
patch_figures.forest(handover, controls, known, model.n_layers)
plt.show()

# %% [markdown]
# ## Is what suffices also what is needed?
#
# A patch from clean into corrupt (denoising) asks which states suffice for the answer; one from corrupt into clean (noising) asks which are needed.
# It is no second measurement: corrupt into clean for A against B is clean into corrupt for B against A, and both were patched.
# So over couples of which both pairs are used, the median share brought back and the median share taken away are one number by construction, and only single pairs can tell the two apart.
# For one pair they differ where the model keeps the answer in two places, or where states act together.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How far apart the two directions are on the same pair: the absolute difference of the share of the logit difference that a patch of clean states brings back in the corrupt run and the share that a patch of corrupt states takes away in the clean run. Median over pairs with its 95 % bootstrap interval over couples; thin and dashed the control. Zero: what suffices is what is needed.", "name": "fig-patching-directions"}, "image": {"alt": "Six panels, one for each medical domain, with curves over layers for subject and last token, and the control's dashed."}}
ends = ("subject", "last")
gaps = {
    name: sites.curves(table, "gap", ends, seed)
    for name, table in swept.items()
}
patch_figures.beside_control(gaps, controls, known, few, "distance of shares")
plt.show()

# %% [markdown]
# ## Attention or MLP?
#
# Here what one block's attention or MLP gives out is patched instead of the whole residual stream, in fewer couples.
# One block adds little to what all have added, so these shares are small; where attention stands out at the last token, it fetches the answer there.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "At the last token: the share P that a patch of one block's attention or MLP output recovers there. Median over pairs with its 95 % bootstrap interval over couples; thin and dashed the control.", "name": "fig-patching-parts-last"}, "image": {"alt": "Six panels, one for each medical domain, with one curve for attention and one for MLP over layers, and the control's dashed."}}
fewer = {
    name: patch_tables.first_couples(drawn[name], n_couples_parts)
    for name in swept
    if n_couples_parts >= sites.FEWEST
}
of_parts = {
    (part, name): sites.sweep_parts(model, *one, component=part, parts=ends)
    for name, one in fewer.items()
    for part in ("attention", "mlp")
}
not_patched = {name: few.get(name, "not patched") for name in names}
patch_figures.beside_control(
    patch_tables.at_part(of_parts, "last", seed), controls, known, not_patched
)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "At the subject: the share P that a patch of one block's attention or MLP output recovers at the tokens of the name. Median over pairs with its 95 % bootstrap interval over couples; thin and dashed the control.", "name": "fig-patching-parts-subject"}, "image": {"alt": "Six panels, one for each medical domain, with one curve for attention and one for MLP over layers, and the control's dashed."}}
patch_figures.beside_control(
    patch_tables.at_part(of_parts, "subject", seed),
    controls,
    known,
    not_patched,
)
plt.show()

# %% [markdown]
# ## One template, token by token

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The share P that a patch recovers at each layer and single token, clean into corrupt: median over pairs of one template and length in each domain. Tokens of the subject are numbered, the others are those of the first pair. Red recovers the answer, blue takes it further away, white changes nothing; where a domain is not known, grey recovers and white does not. Beyond the ends of the scale colours stay the same.", "name": "fig-patching-map"}, "image": {"alt": "Six heat maps, one for each medical domain, layers upwards and the prompt's tokens across."}}
maps = {
    name: sites.token_map(model, *drawn[name][:2], n_pairs_map)
    for name in controls
    if name not in few
}
patch_figures.maps(controls, maps, known, few)
plt.show()

# %% [markdown]
# ## How good is the estimate that costs two passes?
#
# Attribution patching estimates all sites from one gradient {cite:p}`nanda2023attribution`.
# How its order of the sites agrees with the exact one is a rank correlation over the sites of a pair, layers and parts of the prompt; the figure has the median over pairs.
# Over the domains the medians run from {glue:text}`estimate_residual` for the residual stream, {glue:text}`estimate_attention` for attention outputs and {glue:text}`estimate_mlp` for MLP outputs.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Rank correlation of attribution patching with the exact map, over the sites of a pair: median over pairs with its 95 % bootstrap interval over couples, for the residual stream and for the outputs of attention and MLP.", "name": "fig-patching-estimate"}, "image": {"alt": "A row for each domain with three dots and intervals between minus one and one."}}
exact = {("residual", name): table for name, table in swept.items()} | of_parts
estimated = {
    (part, name): sites.sweep_parts(
        model,
        *(drawn[name][:2] if part == "residual" else fewer[name]),
        component=part,
        parts=sites.PARTS if part == "residual" else ends,
        estimate=True,
    )
    for part, name in exact
}
agreement = patch_tables.agreements(exact, estimated, seed)
patch_figures.dots(
    agreement, known, "rank correlation of estimate and exact map"
)
plt.show()

# %% [markdown]
# Where it fails shows layer by layer.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Exact P (solid, with its 95 % interval over couples) and its first-order estimate (dashed) by layer, for patches of the residual stream; median over pairs. Where the dashed curve leaves the solid one, the estimate fails.", "name": "fig-patching-linear"}, "image": {"alt": "Six panels, one for each medical domain; solid and dashed curves over layers for subject and last token."}}
first_order = {
    name: sites.curves(estimated["residual", name], seed=seed) for name in swept
}
_, panels = patch_figures.overlay(
    controls,
    [
        (patch_tables.only(curves, ends), dict(ls="-"), ", exact"),
        (first_order, dict(ls="--", marker=""), ", estimate"),
    ],
    known,
    "recovered, P",
    few,
)
next(iter(panels.values())).set_ylim(-1, 2)
plt.show()

# %% [markdown]
# ## What a small denominator does
#
# $P$ divides by the difference of the clean and the corrupt run; where that is small, any change is a large share.
# The largest $|P|$ of a couple under the threshold is {glue:text}`largest_share`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What a small denominator does: the largest |P| of each pair over all sites, and the largest change of its logit difference, against the difference of the clean and the corrupt run. Dotted: the threshold below which couples are not used. On the left a small difference makes large shares; on the right it makes no large changes of the logits.", "name": "fig-patching-denominator"}, "image": {"alt": "Two scatter plots on logarithmic axes. Left, the largest share rises to the left of the threshold; right, the largest change in logits does not."}}
weak = {
    name: sites.draw(model, name, n_couples_weak, threshold, seed, weak=True)
    for name in controls
}
spans = patch_tables.spans(model, swept, weak)
run.number("largest_share", *patch_tables.largest(spans, threshold))
patch_figures.denominators(spans, threshold)
plt.show()

# %% [markdown]
# ## The numbers

# %% tags=["hide-input"]
for key, (value, text) in patch_tables.numbers(
    drawn, curves, handover, agreement, controls, few, threshold
).items():
    run.number(key, value, text)
run.number("model", model.name)
patch_tables.answers(drawn, seed).style.format(precision=2)

# %% tags=["hide-input"]
run.save(
    patch_tables.results_of(
        exact,
        {"recovered": curves, "direction_gap": gaps},
        handover,
        agreement,
        controls,
    )
)
handover.style.format(precision=0).hide()

# %% [markdown]
# ## What would change our mind
#
# - Pairs that keep the subject and change the question: if the same parts and layers carried those as well, the map would be about copying a word and not about medicine.
# - A handover that moves with the number of words between subject and end, and not with what is asked.
# - Other ways to corrupt, in which the handover moves: every patch is relative to what the other run holds {cite:p}`zhang2024patching,heimersheim2024patching`.
#
# ## What this cannot show
#
# A patched state brings everything with it that differs between the runs; it shows where the answer passes, not which layer worked it out, and not where it is stored {cite:p}`hase2023localization`.
# At the last layer the last token recovers everything by construction, at every token before the subject a patch recovers nothing, and all parts together recover everything at every layer.
# A part of several tokens is patched at once, so its curve does not say which of them matters; the maps do, for one template each.
# Pairs that the model gets wrong are left out, so the map is of answers it gives and not of all that it was asked.
# The intervals cover the draw of couples; they do not cover the choice of templates, of the threshold or of the weights.
# What is a layer's work in a model of a few hundred million parameters may be spread over many in one of 70 billion, so no layer number here carries over.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the numbers are those of that model.
# The technique is one of the four of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/patching.md).
