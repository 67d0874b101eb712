# %% [markdown]
# # When does the answer move from the subject to the last word?
#
# {glue:text}`verdict`
#
# - Prompts that differ in one name alone call for different answers: we moved the states of one part of the prompt from one run of {glue:text}`model` into the other, in {glue:text}`n_couples_used` couples of the {glue:text}`n_domains` of {glue:text}`n_asked` medical domains that it knows, and saw at which layer those of the last token alone bring more than half of the answer with them, the handover.
# - {glue:text}`handover_said`
# - {glue:text}`handover_differences`
# - The words between name and last token carry at most {glue:text}`between_most`.
# - Whether the step takes many layers in a model of 70 billion parameters, or differs there from the controls, a model of this size cannot show.
#
# {glue:text}`apart`
# {glue:text}`knowledge`

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run patching`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
chat = False  # put prompts through the chat template of the model
domains = "age diseases dosage drugs progression symptoms"  # medical domains, each beside the control that it names
n_couples = 12  # couples patched in each domain and control; each gives two pairs, A against B and B against A [1..]
n_couples_parts = 10  # of these, the couples in which attention and MLP outputs are patched too; 0: none [0..]
n_couples_weak = 2  # couples patched in each medical domain whose difference is under the threshold, to show what that does; 0: none [0..]
n_pairs_map = 4  # most pairs in each map of single tokens [1..]
threshold = 1.0  # couples whose clean logit difference does not lie so far above the corrupt one, in logits, are not used [0..]
seed = 0  # draws the couples and the bootstrap resamples [0..]

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML

import medlib
from medlib import concepts, figures, knowledge
from medlib.chapters.patching import (
    couples,
    patch_figures,
    patch_prose,
    patch_tables,
    sites,
    token_heat,
)

figures.style()
model = medlib.load(model_name, chat=chat)
parameters = dict(
    model_name=model_name,
    chat=chat,
    domains=domains,
    n_couples=n_couples,
    n_couples_parts=n_couples_parts,
    n_couples_weak=n_couples_weak,
    n_pairs_map=n_pairs_map,
    threshold=threshold,
    seed=seed,
)
run = medlib.Run("patching", model, parameters, seed)

# %%
controls = concepts.controls(domains)
names = list(dict.fromkeys([*controls, *controls.values()]))
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
    name: couples.draw(model, name, n_couples, threshold, seed)
    for name in names
}
patch_tables.examples(drawn).style.hide()

# %% [markdown]
# What became of all the pairs that could be made.
# A domain with fewer than {glue:text}`fewest` usable couples is left out.
# "Backward" are pairs of couples in which the model prefers each answer where it is wrong.

# %%
couples.counts(drawn)

# %% [markdown]
# ## Does the method find what is planted?
#
# With every block but one taken out of the model, only that one can move anything from the subject to the last token.
# So a patch of the subject must recover everything before that block and nothing after it, a patch of the last token the reverse, and one of the words between nothing at any layer.

# %%
planted, error = sites.planted(model, seed)
run.check(
    "the one block left in place moves the answer",
    passed=error < 0.01,
    detail=f"largest error of P {error:.0e}",
)
(planted.round(2) + 0.0).style.format("{:.2f}")  # never -0.00

# %% [markdown]
# ## The sweep
#
# Three parts of every prompt are patched at every layer, clean into corrupt: all tokens of the subject at once, all tokens between, and the last one (see [the engine](../../methods/replay.md)).
# The subject is the whole phrase that stands for the item, also where the other prompt shares some of its words.
# $P$ is 0 where the patch changes nothing and 1 where it gives the clean run's logit difference.

# %%
few = couples.too_few(drawn)
usable = {name: one for name, one in drawn.items() if name not in few}
swept = {
    name: sites.sweep_parts(model, *one[:2]) for name, one in usable.items()
}
no_op = max(table.attrs["no_op"] for table in swept.values())
detail = f"{no_op:.0e} of the largest logit"
run.check("no patch, no change", passed=True, detail=detail)
curves = {name: sites.curves(table, seed=seed) for name, table in swept.items()}

# %% [markdown]
# ## Which part of the prompt holds the answer, layer by layer

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "How much of the answer the states of one part of the prompt bring with them, by layer: the share P of the logit difference that a patch recovers, clean into corrupt. Median over pairs with its 95 % bootstrap interval over couples; thin and dashed the control; n: couples of the domain and of its control, fewer for the words between, which not every template has. Subject: all tokens of the name; between: all tokens from there to the last; last: the prompt's last token.", "name": "fig-patching-curves"}, "image": {"alt": "Six panels, one for each medical domain. In each, curves over layers with bands: the subject falls from one, the last token rises to one, the words between stay below; the control's curves dashed beside them, with bands of their own."}}
patch_figures.beside_control(curves, controls, known, few)
plt.show()

# %% [markdown]
# ## Where the last token takes over
#
# The handover is the first layer at which a patch of the last token recovers more than half of the difference, in the median over pairs; the figure has the point between two layers at which the straight line through their medians passes one half.
# Medical minus control, in layers, where both are known: {glue:text}`handover_listed`.
# The {glue:text}`n_differences` intervals are not corrected for their number; {glue:text}`by_chance` of them would miss zero by chance.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Where the last token takes over: the layer, interpolated, at which a patch of the last token recovers half of the logit difference, for each medical domain and its control, and the difference of the two. 95 % bootstrap intervals over couples; grey: not known to the model.", "name": "fig-patching-handover"}, "image": {"alt": "Two panels. Left, a dot with an interval for each medical domain and its control along the layers; right, their difference around a line at zero."}}
handovers = {
    "handover": sites.handovers(swept, controls, seed),
    "handover_interpolated": sites.handovers(
        swept, controls, seed, sites.crossing
    ),
}
patch_figures.forest(
    handovers["handover_interpolated"], controls, known, model.n_layers
)
plt.show()

# %% [markdown]
# ## What is divided by, and the pairs that are wrong when clean
#
# Clean and corrupt logit difference of the pairs in the figures, and apart from them those of the pairs that the model gets wrong when clean: median with its 95 % interval over couples, and how $P$ of the last token rises at the handover.
# Few pairs of one domain are wrong, so the last rows have all known domains together, and all known controls.
# A pair that is wrong when clean is the partner of one that is right, so its $P$ is what the opposite patch takes away there.

# %% tags=["hide-input"]
by_side = patch_tables.sides(swept, seed)
together = patch_tables.pooled(swept, controls, known)
patch_tables.side_by_side(
    pd.concat([by_side, patch_tables.sides(together, seed)])
).style.hide()

# %% [markdown]
# ## Is what suffices also what is needed?
#
# A patch from clean into corrupt (denoising) asks which states suffice for the answer; one from corrupt into clean (noising) asks which are needed.
# It is no second measurement: corrupt into clean for A against B is clean into corrupt for B against A, and both were patched, so over whole couples the medians agree by construction and only single pairs can tell the two apart.
# A difference would mean that the model keeps the answer in two places, each enough alone, or that states act together; here the largest median difference is {glue:text}`gap_most`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How far apart the two directions are on the same pair: the absolute difference of the share of the logit difference that a patch of clean states brings back in the corrupt run and the share that a patch of corrupt states takes away in the clean run. Median over pairs with its 95 % bootstrap interval over couples; thin and dashed the control; n: couples. Zero: what suffices is what is needed.", "name": "fig-patching-directions"}, "image": {"alt": "Six panels, one for each medical domain, with curves over layers for subject and last token, and the control's dashed."}}
gaps = {
    name: sites.curves(table, "gap", sites.ENDS, seed)
    for name, table in swept.items()
}
patch_figures.beside_control(gaps, controls, known, few, "distance of shares")
plt.show()

# %% [markdown]
# ## Attention or MLP?
#
# Here what one block's attention or MLP gives out is patched instead of the whole residual stream, in fewer couples (n in the titles).
# Over known medical domains and layers, the largest median share that one block's attention recovers at the last token is {glue:text}`attention_most`, and the largest of an MLP {glue:text}`mlp_most`.
# Where attention stands out at the last token, it fetches the answer there.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "At the last token: the share P that a patch of one block's attention or MLP output recovers there. Median over pairs with its 95 % bootstrap interval over couples; thin and dashed the control; n: couples of the domain and of its control.", "name": "fig-patching-parts-last"}, "image": {"alt": "Six panels, one for each medical domain, with one curve for attention and one for MLP over layers, and the control's dashed."}}
of_blocks = sites.sweep_blocks(model, usable, n_couples_parts)
missing = {name: few.get(name, "not patched") for name in names}
at_last = patch_tables.at_part(of_blocks, "last", seed)
patch_figures.beside_control(at_last, controls, known, missing)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "At the subject: the share P that a patch of one block's attention or MLP output recovers at the tokens of the name. Median over pairs with its 95 % bootstrap interval over couples; thin and dashed the control; n: couples of the domain and of its control.", "name": "fig-patching-parts-subject"}, "image": {"alt": "Six panels, one for each medical domain, with one curve for attention and one for MLP over layers, and the control's dashed."}}
at_subject = patch_tables.at_part(of_blocks, "subject", seed)
patch_figures.beside_control(at_subject, controls, known, missing)
plt.show()

# %% [markdown]
# ## One template, token by token

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The share P that a patch recovers at each layer and single token, clean into corrupt: median over n pairs of one template and length in each domain. A token is named by its text where all these prompts share it, or else by its place in the subject. Red recovers the answer, blue takes it further away, white changes nothing; where a domain is not known, grey recovers and white does not. Beyond the ends of the scale colours stay the same.", "name": "fig-patching-map"}, "image": {"alt": "Six heat maps, one for each medical domain, layers upwards and the prompt's tokens across."}}
maps = {
    name: sites.token_map(model, *drawn[name][:2], n_pairs_map)
    for name in controls
    if name not in few
}
patch_figures.maps(controls, maps, known, few)
plt.show()

# %% [markdown]
# The same, one domain at a time; the mouse shows token, layer and share.

# %% tags=["hide-input"]
HTML(token_heat.page(maps, known, f"sites-{model.name}-tokens"))

# %% [markdown]
# ## How good is the estimate that costs two passes?
#
# Attribution patching estimates all sites from one gradient {cite:p}`nanda2023attribution`.
# How its order of the sites agrees with the exact one is a rank correlation over the sites of a pair, layers and parts of the prompt; the figure has the median over pairs.
# Over the domains the medians run from {glue:text}`estimate_residual` for the residual stream, {glue:text}`estimate_attention` for attention outputs and {glue:text}`estimate_mlp` for MLP outputs.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Rank correlation of attribution patching with the exact map, over the sites of a pair: median over pairs with its 95 % bootstrap interval over couples, for the residual stream and for the outputs of attention and MLP.", "name": "fig-patching-estimate"}, "image": {"alt": "A row for each domain with three dots and intervals between minus one and one."}}
exact = {("residual", name): table for name, table in swept.items()} | of_blocks
estimated = sites.estimates(model, usable, exact, n_couples_parts)
agreement = patch_tables.agreements(exact, estimated, seed)
ranks = "rank correlation of estimate and exact map"
patch_figures.dots(agreement, known, ranks)
plt.show()

# %% [markdown]
# Where it fails shows layer by layer.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Exact P (solid, with its 95 % interval over couples) and its first-order estimate (dashed) by layer, for patches of the residual stream; median over pairs; n: couples. Where the dashed curve leaves the solid one, the estimate fails.", "name": "fig-patching-linear"}, "image": {"alt": "Six panels, one for each medical domain; solid and dashed curves over layers for subject and last token."}}
first_order = {
    name: sites.curves(estimated["residual", name], parts=sites.ENDS, seed=seed)
    for name in swept
}
ends = patch_tables.only(curves, sites.ENDS)
patch_figures.against_estimate(ends, first_order, controls, known, few)
plt.show()

# %% [markdown]
# ## What a small denominator does
#
# $P$ divides by the difference of the clean and the corrupt run; where that is small, any change is a large share.
# The largest $|P|$ of a couple under the threshold is {glue:text}`largest_share`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What a small denominator does: the largest |P| of each pair over all sites, and the largest change of its logit difference, against the difference of the clean and the corrupt run. Dotted: the threshold below which couples are not used. On the left a small difference makes large shares; on the right it makes no large changes of the logits.", "name": "fig-patching-denominator"}, "image": {"alt": "Two scatter plots on logarithmic axes. Left, the largest share rises to the left of the threshold; right, the largest change in logits does not."}}
weak = {
    name: couples.draw(model, name, n_couples_weak, threshold, seed, weak=True)
    for name in controls
}
spans = patch_tables.spans(model, swept, weak)
run.number("largest_share", *patch_tables.largest(spans, threshold))
patch_figures.denominators(spans, threshold)
plt.show()

# %% [markdown]
# ## The numbers

# %% tags=["hide-input"]
told = (drawn, curves, gaps, at_last, handovers, agreement)
settings = (controls, known, model.n_layers, threshold)
for key, (value, text) in patch_prose.numbers(*told, *settings).items():
    run.number(key, value, text)
run.number("model", model.name)
patch_tables.answers(drawn, seed).style.format(precision=2)

# %% tags=["hide-input"]
medians = {"recovered": curves, "direction_gap": gaps}
at_parts = {"last": at_last, "subject": at_subject}
rows = [
    patch_tables.results_of(
        exact, medians, handovers, agreement, by_side, controls
    ),
    patch_tables.drawn(at_parts, first_order, spans),
]
run.save(pd.concat(rows, ignore_index=True))
handovers["handover_interpolated"].style.format(precision=2).hide()

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
# In the first layers the name recovers everything by construction, and at the last layer the last token does; at every token before the subject a patch recovers nothing, and all parts together recover everything at every layer.
# A part of several tokens is patched at once, so its curve does not say which of them matters; the maps do, for one template each.
# Pairs that the model gets wrong stand apart, so the map is of answers it gives and not of all that it was asked.
# The intervals cover the draw of couples; they do not cover the choice of templates, of the threshold or of the weights.
# What is a layer's work in a model of a few hundred million parameters may be spread over many in one of 70 billion, so no layer number here carries over.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the numbers are those of that model.
# The technique is one of the four of {cite:t}`marinescu2026knowledge`; its method is on [its own page](../../methods/patching.md).
