# %% [markdown]
# # Does a map of attention or gradient point at what the answer is about?
#
# {glue:text}`verdict`.
#
# - On {glue:text}`n_reported` scenes that had no part in choosing its layer, the hottest token of Grad-CAM touches the lesion in {glue:text}`hit_grad_cam` of them, of Grad-CAM against the other answer in {glue:text}`hit_contrast`, of attention in {glue:text}`hit_attention` and of its rollout through all layers in {glue:text}`hit_rollout`; the centre of the brain does in {glue:text}`hit_centre`, a random token of the brain in {glue:text}`hit_random`, and the token whose brightness stands out most, which needs no model, in {glue:text}`hit_brightness`.
# - {glue:text}`head`.
# - The map of the sum of all logits touches it in {glue:text}`hit_all_logits`. {glue:text}`sum_verdict`.
# - When the picture turns into the same slice without the lesion, token by token ({glue:text}`n_curves` scenes), the answer goes: {glue:text}`deletion_twin`. When the lesion is put back, the answer returns: {glue:text}`insertion_twin`.
# - Do the lesion's tokens carry the answer, whatever the maps say? {glue:text}`causal`.
# - The lesions are painted, so their place is known; they look like no disease in particular.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run grad_cam`.

# %% tags=["parameters", "remove-cell", "images"]
model_name = (
    "scans-llava"  # a name of `medlib models`, a Hub id or a local folder
)
kinds = "lesion side"  # of lesion (always), polarity, side, lobe; the page is about the first
layers = "all"  # layers of the maps, such as "5 10 15", or "all"
n_scenes = (
    40  # scenes with a lesion; half choose the layer, half are reported [6..]
)
n_curves = 10  # of those reported, scenes for deletion and insertion [3..]
n_steps = 10  # steps of deletion and of insertion into a blur, growing from one token [1..]
n_patched = 20  # scenes in which the lesion's tokens are patched [3..]
n_draws = 3  # sets of random tokens beside the lesion's [1..]
stride = 3  # patch every so many-th layer [1..]
n_shown = 4  # scenes drawn [1..]
seed = 0  # draws scenes, random tokens, random weights and the bootstrap resamples [0..]

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd

import medlib
from medlib import figures, vision
from medlib.chapters.grad_cam import (
    filled_curves,
    heat_maps,
    heat_rows,
    logit_sum,
    planted_token,
    tower_head,
)
from medlib.chapters.grad_cam import heat_figures as draw
from medlib.chapters.grad_cam import heat_prose as say
from medlib.chapters.grad_cam import heat_scores as score
from medlib.chapters.grad_cam import lesion_patch as patch
from medlib.chapters.grad_cam import lesion_scenes as scenes

figures.style()
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    kinds=kinds,
    layers=layers,
    n_scenes=n_scenes,
    n_curves=n_curves,
    n_steps=n_steps,
    n_patched=n_patched,
    n_draws=n_draws,
    stride=stride,
    n_shown=n_shown,
    seed=seed,
)
run = medlib.Run("grad_cam", model, parameters, seed)
first, *_ = kinds.split()
chosen_layers = heat_maps.layers_of(model, layers)

# %% [markdown]
# ## The scenes and the questions
#
# Each scene is a slice of a brain that was held out from training, with a lesion painted in; its twin is the same slice without it.
# A scene is the unit of all intervals.
# A map of an answer can only be right where the model knows the answer, so that is asked first: a scene counts half for itself and half for its twin, in the question whether there is a lesion.

# %%
asked = scenes.scenes_asked(n_scenes, kinds.split(), seed)
answered = scenes.answers_given(model, asked)
twins = scenes.twins_asked(asked)
of_twins = scenes.answers_given(model, twins) if len(twins) else None
knows = say.known(answered, of_twins, seed)
knows.style.format(precision=2)

# %% [markdown]
# ## Does the method find what is planted?
#
# In one block of this very model, attention to a single image token is made to write the answer, and all other blocks are skipped.
# The maps of the answer have to name that token, in a corner, in the lesion or in the opposite corner; for the sum of all logits nothing says that it should.

# %%
row = answered.iloc[0]
prompt = scenes.ask(model, row)
in_lesion = scenes.lesion_token(prompt.view, row)
planted = planted_token.find_planted(
    model,
    prompt,
    row["answer"],
    row["wrong"],
    max(1, model.n_layers // 2),
    [0, in_lesion, len(prompt.image) - 1],
)
run.check(
    "the one token that carries the answer is the hottest",
    passed=planted_token.all_found(planted),
    detail=planted_token.told(planted),
)
print(run.checks[-1]["detail"])

# %% [markdown]
# ## Where the maps point
#
# Of every answer five maps, all from the last token of the prompt to the image tokens: attention alone (mean over heads), its rollout from the first layer on {cite:p}`abnar2020rollout`, and three of Grad-CAM {cite:p}`selvaraju2017gradcam` on attention: for the logit of the right answer, for its difference from the other answer, and for the sum of all logits with the maximum over heads.
# The *pointing score* is the share of the hottest token's pixels that lie in the lesion {cite:p}`zhang2016excitation`; a lesion is smaller than a token, so not even the lesion itself reaches 1.
# Rollout is a product over layers, and up to layer 1 it is plain attention; so it is read at the last layer and has no layer chosen.
# Beside each map stands the same of the same model with its weights in random order {cite:p}`adebayo2018sanity`; one order, drawn with the seed, on the reported half.

# %%
found, maps, traces = score.scores(model, answered, chosen_layers)
choosing, reported = score.halves(answered)
with vision.randomised(model, seed):
    noise, noise_maps, _ = score.scores(
        model,
        answered[answered["scene"].isin(reported)],
        chosen_layers,
        "randomised",
    )
found = score.joined(found, noise)
bases = score.baselines(model, answered)
chosen = score.choose_layers(found, choosing)
heads = tower_head.head_of(model)
of_head, head_maps = tower_head.head_scores(model, heads, answered)
compared = score.compared(found, bases, chosen, reported, of_head, seed)

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "How well each map points at the lesion, by layer: mean pointing score over the reported scenes with its 95 % bootstrap interval. Orange, dashed: the same map of the same model with its weights in random order. Horizontal lines: brightness alone (green), the centre of the brain and a random token (grey), which need no map; the tower's own head (pink), and the lesion itself on the grid of tokens, which is the most that a map can reach. At layer 1 the last token has read nothing of the question, so what attention and rollout point at there is no answer's.", "name": "fig-grad-cam-layers"}, "image": {"alt": "A panel for each of five maps with two curves of the pointing score over layers and their interval bands, of the model and of random weights, and horizontal lines for the centre of the brain, a random token, brightness alone, and the lesion itself."}}
curves = score.layer_curves(found, reported, "pointing", seed)
of_first = curves[curves["kind"] == first]
levels = score.levels(compared, first, "pointing")
draw.score_curves(of_first, levels, "pointing score")
plt.show()

# %% [markdown]
# The layer of each map but rollout is the one that points best in the other half of the scenes.
# *Brightness alone* is the token of the brain whose pixels are farthest from the brain's median in the picture itself: it knows no question and no model.
# The table gives the scores of each map on the reported half, and then its pointing score *less* that of each control, with 95 % intervals of the paired differences.
# *hit*: the hottest token touches the lesion; *overlap*: intersection over union of the lesion and the pixels above half of the map's range.

# %%
say.table_of_maps(compared, first)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Pointing score of each map at its layer less that of each control on the same scenes, with 95 % bootstrap intervals. Only a map whose intervals all lie above zero points at the lesion.", "name": "fig-grad-cam-controls"}, "image": {"alt": "For each map four points with horizontal intervals around a line at zero: less the centre of the brain, less a random token, less brightness alone, less random weights."}}
draw.control_differences(
    compared[compared["kind"] == first], "pointing", "difference of scores"
)
plt.show()

# %% [markdown]
# By overlap instead of pointing, beyond all controls: {glue:text}`overlap_beyond`.
# On scenes that the model answers right, Grad-CAM hits in {glue:text}`hit_right`.
# The map of all logits at the middle layer {glue:text}`layer_middle`, where project B read it, hits in {glue:text}`hit_middle`.

# %% [markdown]
# ## Does a layer chosen for one question do for another?
#
# The same maps of another question about the same scenes, at the layer that was chosen for it and at the one that was chosen for the question above.
# {glue:text}`other_kinds`.

# %% tags=["hide-input"]
others = score.other_kinds(found, chosen, reported, first, seed)
say.table_of_other_kinds(others)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first reported scenes: the picture with the outline of the lesion, and the maps over it at their layers. Each map has its own colours, from its least to its largest value; so even a map of nothing has a hottest token.", "name": "fig-grad-cam-overlays"}, "image": {"alt": "A row for each scene: a grey slice with a small outlined lesion, then the same slice under coloured maps, each with the outline."}}
shown = score.shown(answered, first, reported, n_shown)
overlays = draw.to_show(
    model, shown, maps, noise_maps, head_maps, chosen, traces
)
draw.overlays(overlays)
plt.show()

# %% [markdown]
# ## Why not the sum of all logits?
#
# A number added to all logits changes no probability, and yet it changes their sum: a model may have any sum of logits and say the same.
# So each model here is held against one with all logits shifted by minus twice their mean: the same probabilities for every input, and the opposite sum.
# {glue:text}`sum_verdict`.
# In that model the map of the sum, at the same layer, has a pointing score of {glue:text}`shifted_points`.
# Grad-CAM of a single logit is not free of this either (rank correlation {glue:text}`like_shifted_answer` with its shifted self); that of the difference of two answers is, for the shift cancels.
# The maps for the answer and for the other one agree to {glue:text}`like_answers`, the map for the answer and that for all logits to {glue:text}`like_answer_sum`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How like two maps of one layer are: Spearman's correlation over image tokens, mean over all scenes with its 95 % bootstrap interval. In the last two panels the second map is of a model with the same probabilities for every input.", "name": "fig-grad-cam-sum"}, "image": {"alt": "Five panels with a curve over layers between minus one and one and its interval band: the rank correlation of two maps."}}
alike = logit_sum.likeness(traces)
alike = alike[alike["kind"] == first]
alike_curves = logit_sum.likeness_curves(alike, seed)
draw.likeness_panels(alike_curves)
plt.show()
of_reported = score.shown(answered, first, reported, n_scenes)
shifted = logit_sum.shifted_pointing(
    model, of_reported, traces, chosen[first, "all_logits"]
)

# %% [markdown]
# ## Does the answer go with the map?
#
# The picture is filled token by token, hottest first (*deletion*), or a filled one is restored (*insertion*) {cite:p}`petsiuk2018rise`.
# Filled from the twin, only tokens of the lesion can change anything, and every token is a step; filled from a blur of the picture, the model meets what it never saw, and the steps grow from one token on, since a lesion has two or three.
# Deletion into the blur: {glue:text}`deletion_blur`.
# Insertion into the blur: {glue:text}`insertion_blur`.
# Where the lesion's own order does no better than a random one, the test could not tell a good map from a bad one, and is void.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Probability of the answer as tokens are filled in the order of a map, or restored: mean over scenes, on a logarithmic axis from one token in a hundred on. Maps are in colours, controls in grey; bands: 95 % bootstrap intervals of the lesion's own order (black) and of a random one (light blue). Curves that lie on each other fill the same tokens first.", "name": "fig-grad-cam-curves"}, "image": {"alt": "Four panels with curves of the probability of the answer over the share of tokens: deletion and insertion, filled from the twin and from a blur."}}
some = score.shown(answered, first, reported, n_curves)
ordered = filled_curves.at_chosen(
    maps, noise_maps, chosen, chosen_layers, head_maps
)
filled = filled_curves.filled_curves(
    model, some, ordered, steps=n_steps, seed=seed
)
areas = filled_curves.areas(filled, filled_curves.CONTROLS, seed)
mean_curves = filled_curves.mean_curves(filled, seed)
draw.filling(mean_curves)
plt.show()

# %% [markdown]
# ## Do the lesion's tokens carry the answer?
#
# A map is a claim; this is a test of what it claims about.
# In the run of a scene, at one layer, the states of the tokens that the lesion touches are taken from its twin's run, and beside it those of as many other tokens of the brain.
# {glue:text}`causal`.
# How far the lesion's tokens move it beside random ones, where they enter the first block: {glue:text}`times_random`.
# The random ones are a weak control by their making: outside the lesion the twin is the same picture, so their states are nearly the same in both, and differ only by what the tower spread to them.
# They show that it matters where the patched tokens lie; that other tokens do not matter to the answer they cannot show.
# The share that the lesion's tokens have in what the whole picture does, where they enter the first block, is {glue:text}`share_moved`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "By how many logits the answer moves towards the twin's when tokens are taken from the twin at one layer (0: what enters the first block): mean over scenes with 95 % bootstrap intervals. Dotted, with a grey band: the whole picture.", "name": "fig-grad-cam-patch"}, "image": {"alt": "Two curves over layers with interval bands: the lesion's tokens and as many random tokens of the brain, and a dotted line with a band for the whole picture."}}
pairs = answered[answered["question_kind"] == "lesion"].head(n_patched)
patched = patch.lesion_patch(
    model, pairs, range(0, model.n_layers + 1, stride), n_draws, seed
)
moved = patch.patch_curves(patched, seed)
span = patch.whole_span(patched, seed)
draw.patch_figure(moved, span)
plt.show()

# %% [markdown]
# ## The numbers

# %% tags=["hide-input"]
numbers = {"verdict": say.verdict(compared, knows, first)}
numbers |= say.of_scores(compared, first)
numbers |= say.of_middle(found, reported, first, model, seed)
numbers |= say.on_right(found, answered, chosen, reported, first, seed)
numbers |= say.of_sum(logit_sum.likeness_means(alike, seed))
numbers |= say.of_shifted(shifted, seed)
numbers |= say.of_other_kinds(others, compared, knows, first)
for fill in filled_curves.FILLS:
    numbers |= say.of_curves(areas, fill, filled_curves.CONTROLS)
numbers["causal"] = patch.causal_verdict(patched, moved, seed)
numbers["share_moved"] = patch.share_moved(patched, 0, seed)
numbers["times_random"] = patch.times_random(patched, 0, seed)
numbers["head"] = tower_head.head_said(compared, first)
for key, (value, text) in numbers.items():
    run.number(key, value, text)
for key in ("n_scenes", "n_curves", "n_patched"):
    run.number(key, parameters[key])
run.number("repeated", asked.attrs["repeated"])
run.number("left_out", patched.attrs["left_out"])

# %% [markdown]
# Of {glue:text}`n_scenes` scenes half chose the layers; {glue:text}`repeated` pictures were left out since they repeat another, and {glue:text}`left_out` of {glue:text}`n_patched` scenes had too little brain beside the lesion to be patched.

# %% tags=["hide-input"]
at = score.at_layers(found, chosen)
curves = curves.assign(metric="pointing_by_layer")
tables = compared, curves, knows, alike_curves, moved, areas, at
n_tokens = int(prompt.view.in_picture().sum())
rows = [
    heat_rows.rows(*tables, others, shifted, first),
    heat_rows.drawn(shown, overlays, mean_curves, n_tokens, span, first),
]
run.save(pd.concat(rows, ignore_index=True))

# %% [markdown]
# ## What would change our mind
#
# - A map that points beyond every control at a layer chosen on other scenes, in a model that knows the answer, and by which the answer goes sooner than by the middle of the brain: then it may be shown to a reader, with these numbers beside it.
# - A tower whose own head does not point: then the lesion is not in the image tokens, and no map of the language model could find it.
# - Tokens of the lesion that do not move the answer while the whole picture does: then the answer hangs on something else in the picture, and a map that points elsewhere may be the right one.
#
# ## What this cannot show
#
# Attention from the last token is one step of many: what image tokens tell each other, or words of the question, before, no map of one layer sees.
# At layer 1 the last token has read nothing of the question: a map that points there points at what stands out, and not at what the answer is about.
# The lesions are brighter or darker than what lies around them, so a map has to beat brightness alone; one that does may still follow something else that marks a painted spot.
# Grad-CAM is of first order in the attention to image tokens; how far an estimate of first order there is from what patching does, the chapter on image tokens measures.
# After the tower, a token's state is not only about its own patch, so a map may be right about the token and wrong about the pixels.
# A map of the model with random weights has a hottest token too, and looks as convincing.
# The model was trained once, from one seed; intervals are over scenes, and do not cover another training.
# The lesions are painted and the brain is an average, so this is about the maps and not about patients.
# The method is on [its own page](../../methods/grad_cam.md).
