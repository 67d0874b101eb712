# %% [markdown]
# # Which words do image tokens hold?
#
# {glue:text}`verdict_words`.
#
# - Of {glue:text}`n_word_tests` pairs of state and comparison {glue:text}`n_follow` follow the picture by log-probability and {glue:text}`n_against` go the other way, {glue:text}`n_read` follow it by the ten first words (false discovery rate 5 %); the largest is {glue:text}`strongest_word`. The lens is the model's own read-out after the last layer alone: {glue:text}`last_state`.
# - Answer words are {glue:text}`share_picture` of the ten first words of a picture, {glue:text}`share_twin` of its twin without the lesion, {glue:text}`share_shuffled` of its own pixels in random order and {glue:text}`share_black` of a black one, {glue:text}`share_verdict`.
# - Of the words that come first at a picture's tokens, {glue:text}`like_other` come first at those of another scene too, {glue:text}`like_shuffled` at those of its own pixels in random order and {glue:text}`like_black` at those of a black picture (range over states). {glue:text}`first_words`.
# - {glue:text}`verdict_neurons`: {glue:text}`neuron_share` of the words against {glue:text}`random_share`; of a layer's ten commonest words random neurons share {glue:text}`shared_words`.
# - {glue:text}`verdict_patches`; {glue:text}`spread`.
# - Image tokens come before the question: {glue:text}`n_questions` questions were about {glue:text}`n_pictures` pictures, and each picture counts once.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run image_tokens`.

# %% tags=["parameters", "remove-cell", "images"]
model_name = "scans-llava"  # a name of `medlib models` that reads pictures, a Hub id or a local folder
n_scenes = 60  # held-out scenes, half of them with a lesion [12..]
n_neurons = 20  # of these, scenes for the neurons [3..]
n_pairs = 12  # pictures with a lesion whose answer is traced [5..]
every = 5  # every so many-th state and block is read [1..]
neurons = 10  # the strongest of each image token, and as many random ones [1..]
question = "Is there a lesion?"  # put to every picture
yes = "yes"  # the answer that is right where there is a lesion
no = "no"  # and where there is none
least = (
    1.0  # logits by which a lesion has to move the answer to be traced [0..]
)
seed = 0  # draws the random neurons and tokens, shuffles and resamples [0..]

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import medlib
from medlib import figures, scans
from medlib.chapters.image_tokens import (
    answer_words,
    image_sites,
    lens_words,
    matched_words,
    neuron_words,
    planted_words,
    scene_pictures,
    token_tables,
    word_tests,
)
from medlib.chapters.image_tokens import token_figures as draw
from medlib.chapters.image_tokens import token_prose as say

figures.style()
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name,
    n_scenes=n_scenes,
    n_neurons=n_neurons,
    n_pairs=n_pairs,
    every=every,
    neurons=neurons,
    question=question,
    yes=yes,
    no=no,
    least=least,
    seed=seed,
)
run = medlib.Run("image_tokens", model, parameters, seed)

# %% [markdown]
# ## The pictures and the words
#
# Held-out scenes, of which everything is known because they were drawn: plane, modality, and the lesion with its mask.
# Each has its controls: the *twin* without the lesion, its own pixels *shuffled*, and a *black* picture.
# Words that are looked for are the answers to the questions about the scans, fixed before any result.

# %%
scenes = scene_pictures.scenes(n_scenes, seed)
asked = scene_pictures.prompts(model, scenes, question)
kept = scene_pictures.distinct(asked)
scenes, asked = scenes.iloc[kept], [asked[i] for i in kept]
lesions = scene_pictures.with_lesion(scenes)
clean = [asked[i] for i in np.flatnonzero(scenes["lesion"])]
twins = scene_pictures.prompts(model, lesions, question, "twin")
masks = [scans.draw(row)[1] for _, row in lesions.iterrows()]
inside = np.stack(
    [
        scene_pictures.over_lesion(row, prompt.view)
        for (_, row), prompt in zip(lesions.iterrows(), clean, strict=True)
    ]
)
brain = np.stack(
    [
        scene_pictures.over_brain(row, prompt.view)
        for (_, row), prompt in zip(lesions.iterrows(), clean, strict=True)
    ]
)
run.number("n_pictures", len(asked))
run.number("n_questions", scene_pictures.count_questions(scenes, seed))
tokens = answer_words.word_tokens(model)
random = matched_words.matched_words(
    model, tokens, token_tables.LESION_WORDS, seed
)
token_tables.looked_for(model, tokens).style.hide()

# %% [markdown]
# ## Does the method find what is planted?
#
# Words are planted at the image tokens of one layer, one each: the lens has to read them there.
# And with every block but one taken out, what the picture holds can reach the last token in that block alone: up to it the image tokens have to recover everything and the last token nothing, from it on the other way round.

# %%
middle = max(1, model.n_layers // 2)
firsts = [own[0] for own in tokens.values()]
share = planted_words.planted_share(model, asked[0], middle, firsts)
run.check(
    "words planted at image tokens are those that the lens reads",
    passed=share == 1,
    detail=f"{share:.0%} of {len(asked[0].image)} tokens at layer {middle}",
)
print(run.checks[-1]["detail"])
handed = planted_words.planted_handover(
    model, asked[0], asked[1], middle, list(tokens)
)
run.check(
    "the one block left in place hands the picture over",
    passed=planted_words.furthest(handed) < 0.01,
    detail=f"largest error of P {planted_words.furthest(handed):.0e} over {len(handed)} sites, block {middle}",
)
print(run.checks[-1]["detail"])

# %% [markdown]
# ## What does the lens read?
#
# The state of each image token goes through the model's own final norm and unembedding, as if the model stopped there.
# After the last layer that has to give the model's own logits.

# %%
states = lens_words.every(model, every)
black = scene_pictures.prompts(model, scenes.iloc[:1], question, "black")
shuffled = scene_pictures.prompts(model, scenes, question, "shuffled")
versions = dict(
    zip(scene_pictures.VERSIONS, (asked, twins, shuffled, black), strict=True)
)
found = {
    version: lens_words.read(model, own, tokens | random, states)
    for version, own in versions.items()
}
no_op = max(own.no_op for own in found.values())
run.check(
    "the lens after the last layer gives the model's own logits",
    passed=True,  # the lens stops where it does not hold
    detail=f"{no_op:.0e} of the largest logit",
)
first_words = token_tables.side_by_side(model, found).reset_index()
first_words.style.format(escape="html").hide()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How far the words that come first at a picture's image tokens are the same as those at another's: the share of tokens whose word has a partner. Against another scene, the same pixels in random order, and a black picture. Mean over pictures with its 95 % bootstrap interval.", "name": "fig-image-tokens-likeness"}, "image": {"alt": "Three curves over layers between zero and one with interval bands: words in common with another scene, with the shuffled picture and with a black one."}}
likenesses = token_tables.likeness(found, seed)
gaps = token_tables.beyond(found, seed)
draw.likeness(likenesses)
plt.show()

# %% [markdown]
# Where the words are as like those of a black picture, or of the picture's own pixels in random order, as those of another scene, they are not what the picture shows.
# {glue:text}`first_words` (95 % intervals over pictures, state by state, not corrected).
#
# ## Do the words follow what is known?
#
# *By place*: lesion words at tokens over the lesion less those at the other tokens, less the same at the same places of the twin, against random words: as many, like them in length, in how they are written, and in their place in the vocabulary, mean of ten sets.
# *Own word*: the word of the picture's own answer less the other answers of its kind, at the tokens over the lesion against the twin's (polarity, side, lobe), or at all tokens against the shuffled picture's (modality, plane).
# Left out for too few pictures: {glue:text}`left_out`.

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "Whether words at image tokens follow the picture over the whole list of the lens: log-probability of the right words beyond the others, in the picture (blue), in its control (orange, dashed; by place: of random words) and their difference (black) with its 95 % bootstrap interval over pictures. Dots at the foot: a permutation test over pictures at a false discovery rate of 5 % over all panels and states. State 0 is what enters the first block.", "name": "fig-image-tokens-words"}, "image": {"alt": "A panel for each comparison with three curves over layers: the picture, its control, and their difference with an interval band around zero."}}
covered = inside.reshape(len(inside), -1)
tests, missing = word_tests.all_tests(found, scenes, covered, states, seed)
if len(tests):
    draw.comparisons(tests, "log_p")
    plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same by how many of the ten first words of a token are the right ones: what is seen in a list of words, and blind to words further down.", "name": "fig-image-tokens-share"}, "image": {"alt": "A panel for each comparison with three curves over layers: the picture, its control, and their difference with an interval band around zero."}}
if len(tests):
    draw.comparisons(tests, "share")
    plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Where lesion words gain by the lesion: log-probability of any of them beyond that of random words at each image token, less that at the same token of the twin, in the state where the comparison by place is largest. Purple: more than in the twin, orange: less; white: as much. Outlined: the lesion. Tokens behind the lesion in reading order can see it, tokens before it cannot.", "name": "fig-image-tokens-maps"}, "image": {"alt": "Three brain slices with a coloured grid over each and the outline of the lesion."}}
gain = token_tables.gain(found, scenes["lesion"].to_numpy())
state = token_tables.largest_by_place(tests, states)
few = range(min(3, len(clean)))
heats = [clean[i].on_grid(gain[i, states.index(state)]) for i in few]
draw.maps(
    [clean[i] for i in few],
    heats,
    [masks[i] for i in few],
    [f"{lesions['plane'].iloc[i]}, state {state}" for i in few],
)
plt.show()

# %% [markdown]
# ## Which words do neurons write?
#
# The neuron's gate pre-activation times the gradient of the answer's logit, the strongest {glue:text}`neurons` of each token, each read through the unembedding; words are counted over tokens and pictures.
# Beside them as many random neurons of the same layers, drawn anew for each picture.
# The answer is "{glue:text}`yes`" for every picture: with each picture's own answer its neurons would be chosen for writing it.
# The last block is left out: what it writes at image tokens no later token sees, so no neuron there has a gradient.

# %%
blocks = lens_words.blocks(model, states)
answer = image_sites.as_written(asked[0], yes)
counts = neuron_words.count_words(
    model, asked[:n_neurons], answer, blocks, neurons, seed
)
written = token_tables.written(counts).reset_index()
written.style.format(escape="html").hide()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Answer words among the words that neurons write (left) and the part of each picture's ten commonest words (right): the strongest neurons and random ones of the same layers. Mean over pictures; band: the 95 % bootstrap interval of the difference, laid on the random ones. Dots: false discovery rate 5 % over layers.", "name": "fig-image-tokens-neurons"}, "image": {"alt": "Two panels with two curves over layers each, strongest and random neurons, and an interval band."}}
against = neuron_words.against_random(
    neuron_words.measures(counts, tokens), seed
)
draw.neurons(against)
plt.show()

# %% [markdown]
# Few words standing for many tokens is what any set of neurons gives whose tokens are alike; it is no sign of meaning.
#
# ## Where does the answer leave the picture?
#
# The picture with the lesion is patched into its twin, part by part, at every layer: what comes back is what the part carries there.
# {glue:text}`n_moved` pictures have a lesion that moves the answer by the threshold; {glue:text}`n_traced` are traced, and the figure {glue:text}`counts`.

# %%
scene_numbers = lesions["scene"].tolist()
chosen = image_sites.traced(
    model,
    clean,
    twins,
    inside,
    brain,
    scene_numbers,
    (yes, no),
    n_pairs,
    least,
    seed,
)
exact, estimated = image_sites.sweeps(model, chosen)
run.check(
    "patching nothing changes nothing",
    passed=True,  # the sweep stops where it does not hold
    detail=f"{exact.attrs['no_op']:.0e} of the largest logit",
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What a patch of one part of the prompt brings back of the answer, from the picture with the lesion into its twin. 0: the answer of the twin, 1: that of the picture with the lesion. Median over pictures with its 95 % bootstrap interval; dashed: the estimate from one gradient. Left: parts of the picture; right: where the answer goes. Grey curves on both sides: the answer does not hang on the lesion in enough pictures.", "name": "fig-image-tokens-patches"}, "image": {"alt": "Two panels with three curves over layers each: image tokens over the lesion, as many others, all others; all image tokens, the words after the picture, the last token; dashed estimates beside them."}}
curves = image_sites.curves(exact, seed)
estimates = image_sites.curves(estimated, seed)
draw.parts(curves, estimates, chosen.known)
plt.show()

# %% [markdown]
# All image tokens recover less than one half from layer {glue:text}`leaves`, and the last token more than one half from layer {glue:text}`reaches`.
# The tokens over the lesion recover more than as many others in {glue:text}`ahead` layers (95 % intervals, layer by layer, not corrected).
# That is little to ask: outside the lesion the two pictures are the same pixel by pixel, so a token there can bring back only what the vision tower and earlier blocks have carried to it.
# The comparison says that what the lesion changes is not spread evenly over the brain's tokens; it cannot say that a token over the lesion carries more than any other that differs as much.
# How far it is spread shows in all the others together: {glue:text}`spread`.
# A token with less than a tenth of its area under the lesion counts as one of the others.
#
# Over layers and parts the rank correlation of the estimate from one gradient with the patch is {glue:text}`agreement`.
# {glue:text}`estimate`.
#
# ## The numbers
#
# Nothing new is shown here: the numbers in the text above are written into the record, and the rows behind the figures into the table.
# Both can be downloaded under the title of this page.

# %% tags=["hide-input"]
handovers = image_sites.handovers(exact, seed)
lead = image_sites.lead_of_lesion(exact, seed)
agreed = image_sites.agreement(exact, estimated, seed)
shares = token_tables.answer_shares(found, seed)
numbers = say.of_words(tests, missing)
numbers |= say.of_lens(likenesses, gaps, shares)
shared = neuron_words.shared_with_random(counts)
numbers |= say.of_neurons(against, shared)
numbers |= say.of_patches(chosen, handovers, lead, agreed, model.n_layers)
numbers |= say.of_parts(curves, estimates)
for key, (value, text) in numbers.items():
    run.number(key, value, text)
for key in ("neurons", "yes"):
    run.number(key, parameters[key])
rows = [
    token_tables.rows(
        tests,
        against,
        likenesses,
        gaps,
        shares,
        curves,
        estimates,
        handovers,
        exact,
    ),
    token_tables.map_rows(heats, scene_numbers[: len(heats)], state),
]
run.save(pd.concat(rows, ignore_index=True))

# %% [markdown]
# ## What would change our mind
#
# - Answer words among the ten first words at image tokens that follow the picture where those of its control do not: then the tokens speak, in the model's own vocabulary.
# - Strongest neurons whose words random neurons of the same layers do not write, and that name what is in the picture.
# - Tokens over the lesion that carry no more of the answer than others: then what the lesion says is spread by the vision tower before the first block, and no map over tokens can show where it is.
# - A lens trained for the middle layers that reads what the plain one does not.
#
# ## What this cannot show
#
# The lens asks what would come next after an image token, and image tokens were never trained to say what comes next; a word that is not read may be held in another form.
# A word that is read need not be used: only the patches are about cause, and they trace one answer.
# Neuron attribution multiplies thousands of directions by an unembedding, and always gives words.
# The model was trained once, from one seed; intervals are over pictures, and do not cover another training.
# The pictures are slices of one brain template with painted lesions; what holds here says nothing about patients.
# The lens on image tokens is that of {cite:t}`neo2025interpreting`, the neuron attribution that of {cite:t}`schwettmann2023multimodal` on pre-activations; the method is on [its own page](../../methods/image_tokens.md).
