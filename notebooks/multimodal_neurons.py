# %% [markdown]
# # Which MLP units carry from the picture to the answer?
#
# {glue:text}`verdict`.
#
# - Without the {glue:text}`n_most` first units by the gradient at the image tokens the right answer loses, beyond what as many random units of the same layers cost it, {glue:text}`cost_gradient` (logits); without those by the direct contribution at the last token {glue:text}`cost_contribution`.
# - Random units are mostly nearly silent; beyond units of the same layers that write as much, the first ones cost it {glue:text}`beyond_matched_gradient` by the gradient, and {glue:text}`beyond_matched_contribution` by the contribution.
# - The loss of its own units costs an answer more where it is right than where it is wrong, by {glue:text}`picture_gradient` by the gradient, and by {glue:text}`picture_contribution` by the contribution: units that only raise a word would show no difference, and what is lost where it is wrong is the part that only raises the word.
# - The first units by the contribution lie in blocks {glue:text}`blocks_contribution` of {glue:text}`n_blocks`, those by the gradient in {glue:text}`blocks_gradient`: what is written at the last token in a late block may be an answer that is there already.
# - Against the scene's other question that is {glue:text}`specific_gradient` by the gradient, and {glue:text}`specific_contribution` by the contribution.
# - The two scores agree to a rank correlation of {glue:text}`both_ranks` over all units, {glue:text}`both_within` within layers; of their {glue:text}`n_most` first units they share {glue:text}`both_shared`.
# - Active at the lesion? By the gradient: {glue:text}`map_gradient`.
# - By the contribution: {glue:text}`map_contribution`.
# - The model is right in {glue:text}`accuracy`; of a kind that it cannot answer, nothing can be carried.
# - The slices are made up and the lesions painted, so this says something about methods and about one model, and nothing about patients.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run multimodal_neurons`.

# %% tags=["parameters", "remove-cell", "images"]
model_name = "scans-llava"  # a name of `medlib models` that reads images, a Hub id or a local folder
kinds = "polarity plane"  # two kinds of question about a scene, the first about its lesion
n_scenes = 30  # scenes that both are asked of [12..]
counts = "5 20 80"  # how many units are taken out, fewest first
n_draws = 3  # random sets of units beside each set, for each scene [1..]
n_map = 5  # units whose activity makes a map [1..]
n_curves = 10  # scenes whose picture is filled token by token [3..]
n_steps = 16  # steps of filling from a blur [2..]
n_words = 5  # units of each answer whose words are shown [1..]
seed = 0  # draws the scenes, the halves, random units and bootstrap resamples [0..]

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd

import medlib
from medlib import figures, vision
from medlib.chapters.grad_cam import filled_curves, heat_figures, heat_prose
from medlib.chapters.multimodal_neurons import (
    neuron_curves,
    neuron_effects,
    neuron_maps,
    neuron_questions,
    neuron_removal,
    neuron_scores,
    neuron_tables,
    planted_neuron,
)
from medlib.chapters.multimodal_neurons import neuron_figures as draw
from medlib.chapters.multimodal_neurons import neuron_prose as say

figures.style()
sizes = sorted(int(count) for count in counts.split())
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    kinds=kinds,
    n_scenes=n_scenes,
    counts=counts,
    n_draws=n_draws,
    n_map=n_map,
    n_curves=n_curves,
    n_steps=n_steps,
    n_words=n_words,
    seed=seed,
)
run = medlib.Run("multimodal_neurons", model, parameters, seed)

# %% [markdown]
# ## The questions
#
# Two questions about each of {glue:text}`n_scenes` scenes, held out from training; {glue:text}`repeated` pictures were repeats and were left out.
# Units are chosen on one half of the scenes and tested on the other, each way round, so that none tests what it chose.

# %%
asked = neuron_questions.choose(kinds, n_scenes, seed)
prompts = neuron_questions.prompts_of(model, asked)
lesion_kind, other_kind = kinds.split()
counts = asked.groupby(["question_kind", "answer"], sort=False).agg(
    scenes=("scene", "nunique"),
    in_first_half=("half", lambda half: int((half == 0).sum())),
    such_as=("question", "first"),
)
neuron_tables.shown(counts.reset_index())

# %% [markdown]
# ## Does the method find what is planted?
#
# All MLPs are silent but one, in which one unit alone carries an answer: it reads one image token, writes the answer there and at the last token, and one attention moves what it wrote.
# Both scores have to put it first of all units, and without it the answer has to be gone.

# %%
found = planted_neuron.check(
    model,
    prompts[0],
    asked["answers"][0],
    layer=max(1, model.n_layers // 2),
    unit=7,
    at=len(prompts[0].image) // 2,
    seed=seed,
)
run.check("a planted unit is first, and takes the answer along", **found)
print(run.checks[-1]["detail"])

# %% [markdown]
# ## Which units come first?
#
# The *gradient* is what a unit passes on times the slope of the right answer's logit, summed over the image tokens {cite:p}`schwettmann2023multimodal`.
# The *contribution* is what a unit passes on where the answer is produced, times what it writes, read through the unembedding {cite:p}`pan2024multimodal`.
# A contribution is no logit, since the final norm stands between; so it only ranks here, the effects further down are read after the norm, and a third score, the *direct* one, takes the contribution through the norm.

# %%
measured = neuron_scores.measure(model, asked, prompts)
run.check(
    "no change, no effect",
    passed=True,  # a walk stops where it does not hold
    detail=f"{measured.no_op:.0e} of the largest logit",
)
accuracy = neuron_effects.accuracy(measured, asked, seed)
neuron_tables.shown(accuracy)

# %% [markdown]
# ## What do they write?
#
# The first units of each answer, by their mean score over scenes, and the words that each raises most, norms left out.
# A contribution contains the unembedding, so that its units write the answer is no finding; that those of the gradient do would be one.
# The answer is among the words of {glue:text}`says_gradient`; by the contribution of {glue:text}`says_contribution`.

# %%
words, others = {}, {}
for score in neuron_removal.WHERE:
    words[score] = neuron_scores.words(
        model, measured, asked, prompts, score, n_words
    )
    others[score] = neuron_scores.words_of_random(
        model, asked, prompts, words[score], seed
    )
columns = ["question_kind", "answer", "layer", "unit", "score", "words"]
neuron_tables.shown(words["gradient"], columns, precision=3)

# %% tags=["hide-input"]
neuron_tables.shown(words["contribution"], columns)

# %% [markdown]
# ## What is lost without them?
#
# Units are set to zero where their score speaks: by the gradient at the image tokens, by the contribution at the last token.
# Beside each set stand {glue:text}`n_draws` sets of as many other units of the same layers, drawn anew for each scene.
# A score of activation times weight picks loud units, so the second control is one more unit of the same layer for each first one, which writes as long a vector in the same prompt: by the gradient these write {glue:text}`loud_gradient` of what the first ones do, by the contribution {glue:text}`loud_contribution`.

# %%
taken = neuron_removal.take_out(
    model, asked, prompts, measured, sizes, n_draws, seed
)
effects = neuron_effects.effects(taken, seed)
of_picture = neuron_effects.of_picture(taken, asked, seed)
specificity = neuron_effects.specificity(taken, seed)
loudness = neuron_effects.loudness(taken, seed)

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "What the right answer loses when units are set to zero: drop of its logit less the mean logit, against the number of units. Solid: the first units, chosen on the other half of the scenes; dashed: as many random units of the same layers; dotted: as many that write as much. Mean over scenes with its 95 % bootstrap interval. Left: the contribution; right: the gradient.", "name": "fig-neurons-drop"}, "image": {"alt": "Four panels, two kinds of question by two scores, each with three lines and intervals over the number of units: the first units, random ones, and ones that write as much."}}
draw.costs(effects, "drop", "drop of the answer, logits")
plt.show()

# %% [markdown]
# In answers that the loss turns wrong, less those that it turns right, beyond random units: by the gradient {glue:text}`lost_gradient`; by the contribution {glue:text}`lost_contribution`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The share of scenes whose answer turns from right to wrong when units are set to zero, less the share that turns right: the right answer comes first among the answers of its kind, or not. Lines and intervals as above.", "name": "fig-neurons-lost"}, "image": {"alt": "Four panels, two kinds of question by two scores, each with two lines and intervals over the number of units: the share of right answers lost."}}
draw.costs(effects, "lost", "right answers lost")
plt.show()

# %% [markdown]
# ## Is it the picture or the word?
#
# Units that raise a word whatever the picture shows would cost that answer as much, and they would be no way from the picture.
# So the units of an answer are also taken out where it is wrong, and what it loses there is held against what it loses where it is right.
# Only units at the image tokens can be said to carry something from the picture: those at the last token may write what attention has brought there before, and up to which layer the tokens of a lesion still move the answer, the chapters on image tokens and on maps measure.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What an answer loses without the largest set of its own first units: where it is right (circle), where it is wrong (square), and the difference with its 95 % bootstrap interval over scenes (diamond). Above zero, what the units do depends on the picture; what is lost where the answer is wrong does not.", "name": "fig-neurons-pictured"}, "image": {"alt": "Four rows, two kinds of question by two scores: two points for scenes in which the answer is right and wrong, and a third for their difference with an interval."}}
draw.pictured(of_picture)
plt.show()

# %% [markdown]
# ## Do they serve this question alone?
#
# The same units are set to zero while the scene's other question is asked; on it, too, they are held against random units.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What the largest set of first units costs, beyond random units: on the question that they were chosen for (circle), on the other question about the same picture (square), and the difference within scenes with its 95 % bootstrap interval (diamond). Above zero, they serve their own question more.", "name": "fig-neurons-served"}, "image": {"alt": "Four rows, two kinds of question by two scores: two points for the own and the other question, and a third for their difference with an interval."}}
draw.served(specificity)
plt.show()

# %% [markdown]
# ## Do the two scores agree?
#
# Ranks are compared over all units and within layers, since both scores may merely prefer the same layers; for the same reason the first units are compared with sets of the same layers.
# The contribution as published and the *direct* one, through the final norm, have rank correlations of {glue:text}`norm_ranks` and share {glue:text}`norm_shared` of their first units.
# The two halves of the scenes share, by the gradient, {glue:text}`halves_gradient`; by the contribution, {glue:text}`halves_contribution`.

# %%
pairs = {
    "gradient and contribution": ("gradient", "contribution"),
    "contribution and direct": ("contribution", "direct"),
}
agreements = {
    name: neuron_scores.agreement(measured, asked, *pair, sizes, seed)
    for name, pair in pairs.items()
}
halves = {
    score: neuron_scores.halves(measured, asked, score, sizes)
    for score in neuron_removal.WHERE
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The share of first units that the two scores have in common (black), and that the two halves of the scenes have in common by each score. Grey: where 95 % of draws lie if the second score's units are replaced by as many of the same layers.", "name": "fig-neurons-shared"}, "image": {"alt": "A panel for each answer with three lines over the number of first units, the shares in common, and a grey band for chance."}}
first = "gradient and contribution"
shares = {first: agreements[first]}
shares |= {f"halves, {score}": table for score, table in halves.items()}
draw.sharing(shares, sizes)
plt.show()

# %% tags=["hide-input"]
ranks = agreements[first][agreements[first]["k"].isna()]
columns = ["question_kind", "answer", "metric", "value", "low", "high", "n"]
neuron_tables.shown(ranks, columns, precision=3)

# %% [markdown]
# ## Are they active at the lesion?
#
# The map of a unit is how strongly it is active at each image token; a set's is the mean of its units, each scaled to its own largest value.
# Units are again those of the other half of the scenes.
# A map fails unless it beats every baseline by both scores.

# %%
chosen = asked, prompts, measured, lesion_kind, n_map
scores, maps = neuron_maps.scored(model, *chosen, seed=seed)
with vision.randomised(model, seed):
    noise, noise_maps = neuron_maps.scored(model, *chosen, draws=0, seed=seed)
scores = neuron_maps.with_random_weights(scores, noise)
compared = neuron_maps.compared(scores, seed)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Where the first units are active, over the picture: bright is more. White: the lesion's outline. The first scenes of the set, not chosen by their maps.", "name": "fig-neurons-maps"}, "image": {"alt": "Brain slices under a coloured grid of image tokens, two rows for the two scores, with the outline of the lesion."}}
shown_maps = draw.first_scenes(maps)
draw.examples(asked, prompts, shown_maps, lesion_kind)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Whether the first units' map points at the lesion: share of the hottest token's pixels that lie in it (left), and overlap of the region hotter than half of the range with it (right), beside the middle of the brain, tokens of the brain in random order, the tokens whose brightness stands out in the picture itself, random units of the same layers, and the same units with the weights of the model in random order. Mean over scenes with a lesion, with its 95 % bootstrap interval.", "name": "fig-neurons-hits"}, "image": {"alt": "Two panels of points with intervals for two scores: the map of the first units and its five baselines."}}
draw.hits(compared)
plt.show()

# %% tags=["hide-input"]
differences = compared[compared["less"] != ""]
columns = ["score", "measure", "less", "value", "low", "high", "n"]
neuron_tables.shown(differences, columns, precision=3)

# %% [markdown]
# ### Does the answer go with their map?
#
# As for maps of attention and gradient, the picture of {glue:text}`n_curves` scenes is filled token by token, hottest first (*deletion*), or a filled one is restored (*insertion*) {cite:p}`petsiuk2018rise`; from the twin, the same slice without its lesion, and from a blur.
# When the picture turns into its twin, the answer goes {glue:text}`deletion_twin`; when the lesion is put back, it returns {glue:text}`insertion_twin`.
# Deletion into the blur: {glue:text}`deletion_blur`.
# Insertion into the blur: {glue:text}`insertion_blur`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Probability of the answer as tokens are filled in the order of the first units' map, or restored: mean over scenes, on a logarithmic axis from one token in a hundred on; bands: 95 % bootstrap intervals of the lesion's own order (black) and of a random one (light blue). Controls are grey. Curves that lie on each other fill the same tokens first.", "name": "fig-neurons-curves"}, "image": {"alt": "Four panels with curves of the probability of the answer over the share of tokens: deletion and insertion, filled from the twin and from a blur."}}
filled = neuron_curves.filled(
    model,
    asked,
    prompts,
    maps,
    noise_maps,
    lesion_kind,
    n_curves,
    n_steps,
    seed,
)
areas = filled_curves.areas(filled, filled_curves.CONTROLS, seed)
mean_curves = filled_curves.mean_curves(filled, seed)
heat_figures.filling(mean_curves, draw.FILLED)
plt.show()

# %% [markdown]
# ## The numbers
#
# Nothing new is shown here: the numbers in the text above are written into the record, and the rows behind the figures into the table.
# Both can be downloaded under the title of this page.

# %% tags=["hide-input"]
verdict = say.verdict(effects, of_picture, specificity, accuracy)
numbers = {"verdict": verdict}
numbers |= say.of_effects(effects) | say.of_specificity(specificity)
numbers |= say.of_pictures(of_picture) | say.of_accuracy(accuracy)
numbers |= say.of_loudness(loudness)
numbers |= say.of_maps(compared)
for fill in filled_curves.FILLS:
    numbers |= heat_prose.of_curves(
        areas, fill, filled_curves.CONTROLS, neuron_curves.MAPS
    )
numbers |= say.of_agreement(agreements[first], "both")
numbers |= say.of_agreement(agreements["contribution and direct"], "norm")
for score in neuron_removal.WHERE:
    blocks = {
        kind: neuron_effects.first_blocks(
            measured, asked, score, kind, sizes[-1]
        )
        for kind in (lesion_kind, other_kind)
    }
    numbers |= say.of_blocks(blocks, score)
    numbers |= say.of_halves(halves[score], f"halves_{score}")
    numbers |= say.of_words(words[score], others[score], score)
for key, (value, text) in numbers.items():
    run.number(key, value, text)
for key in ("n_scenes", "n_draws", "n_curves"):
    run.number(key, parameters[key])
run.number("n_blocks", model.n_layers)
run.number("repeated", asked.attrs["repeated"])

# %% tags=["hide-input"]
n_tokens = int(prompts[0].view.in_picture().sum())
rows = [
    neuron_tables.rows(
        effects,
        of_picture,
        loudness,
        specificity,
        accuracy,
        agreements,
        halves,
        compared,
        areas,
        words,
        taken,
        lesion_kind,
    ),
    neuron_tables.drawn(
        specificity, shown_maps, mean_curves, n_tokens, lesion_kind
    ),
]
run.save(pd.concat(rows, ignore_index=True))

# %% [markdown]
# ## What would change our mind
#
# - Sets of units, chosen together and not one by one, that cost the answer more than the first units do: a score of single units misses what several do for each other.
# - Units set to what they are in the scene without its lesion, in place of zero, that cost nothing: then zero was a surprise, and not a loss.
# - The same first units in a model trained again from another seed, or none of them.
# - Another question about the same lesion, such as its side: units that it needs as well would be units of the lesion and not of this answer.
#
# ## What this cannot show
#
# Zero is a state that a unit may never have, and later layers can make up for what is missing {cite:p}`mcgrath2023hydra`, so a small effect does not prove that a unit does nothing.
# Units of the last blocks, at the last token, write the word that the model is about to say; that they cost a right answer more than a wrong one is nearly bound to be so in a model that answers right, and is no proof that they read the picture.
# Units that write as much are matched in length alone: they may be active for other reasons, and the loudest first units may have none as loud beside them.
# The gradient at the image tokens is of first order; how far such an estimate there is from what patching does, the chapter on image tokens measures.
# The picture may reach the answer through attention alone, or through many units that each do little; neither score would show it.
# Half of the scenes choose each set, so an interval over scenes is one for these sets, and not for those that other scenes would choose.
# The model was trained once, from one seed; intervals are over scenes, and do not cover another training.
# A unit active at the lesion need not tell anything about it: a bright spot is also just bright.
# The weights of the language model were quantised to 4 bits and de-quantised on loading, if its card says so.
# The method is on [its own page](../../methods/multimodal_neurons.md).
