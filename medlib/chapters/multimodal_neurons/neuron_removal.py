"""Units taken out: what the answer loses without the first units, and without as many others of the same layers.

The units of a scene were chosen on the other half of the scenes.  They are set to zero where their score speaks: those
of the gradient at the image tokens, those of the contribution at the token that produces the answer.  What counts is
read after the model's own final norm: the logit of the right answer less the mean logit of the vocabulary, and whether
the right answer still comes first among the answers of its kind.

Random units are mostly nearly silent, so beside them stand units that are matched with the first ones in how much they
write (neuron_matches.py).  Units that raise a word whatever the picture shows would pass such a test too.  So a wrong
answer's units are taken out as well, and what that answer loses where it is wrong is held against what it loses where
it is right.
"""

from functools import cache, partial

import numpy as np
import pandas as pd
import torch

from medlib.chapters.multimodal_neurons.neuron_matches import matched_units, written, written_norms
from medlib.chapters.multimodal_neurons.neuron_questions import tokens_of
from medlib.chapters.multimodal_neurons.neuron_scores import first_units, mean_scores
from medlib.vision.multimodal_neurons import positions_of, random_units, state_without, units_by_layer
from medlib.vision.walk import Walk

WHERE = {"gradient": "image", "contribution": "last"}


def take_out(model, asked, prompts, measured, counts, draws, seed=0):
    """Zero the first units and random ones on every question: a row for each question, set of units and draw.

    >>> found = take_out(model, asked, prompts, measured, [5, 20], draws=3)

    `counts`: how many units; `draws`: random sets of as many units of the same layers, drawn anew for each scene.  On
    a question of the kind that the units were chosen for, all counts; on the scene's other question, the largest one.
    Columns: `scene`, `question_kind` (that is asked), `chosen_for` (the kind that the units were chosen for, for its
    right answer in this scene), `score`, `k`, `units` ("first", "random"), `draw`, `drop` (of the right answer's logit
    less the mean logit), `lost` (1 if the answer was right and is not, -1 the other way round, else 0), `written` (the
    mean length of what the units write where they are zeroed, of first and matched ones).  Rows with `units` "matched"
    are of other units of the same layers that write as much, on the question that the first ones were chosen for.  Rows
    with `units` "wrong" are of the largest set for an answer that is wrong here (`wrong_answer`), and their `drop` is
    that answer's own.
    """
    random, rows = np.random.default_rng(seed), []

    @cache
    def chosen(score, kind, answer, half, k):
        means = mean_scores(measured, asked, score, kind, answer, half)
        return units_by_layer(model, first_units(measured, means, k))

    for row, prompt in zip(asked.itertuples(), prompts, strict=True):
        walk, tokens = Walk(model, prompt.inputs), tokens_of(model, prompt, row.answers)
        own, wrong = (row.answers.index(answer) for answer in (row.answer, wrong_answer(asked, row)))
        before = margin(walk, walk.states[-1], tokens, own)
        loud = cache(partial(_loud, walk, prompt))
        of_scene = asked[asked["scene"] == row.scene].set_index("question_kind")["answer"]
        for chosen_for, answer in of_scene.items():
            used = counts if chosen_for == row.question_kind else [max(counts)]
            for score, where in WHERE.items():
                for k in used:
                    first = chosen(score, chosen_for, answer, 1 - row.half, k)
                    sets = [("first", 0, first)]
                    sets += [("random", draw, random_units(model, first, random)) for draw in range(draws)]
                    sizes = {}
                    if chosen_for == row.question_kind:
                        norms = {layer: loud(layer, where) for layer in first}
                        sets.append(("matched", 0, matched_units(norms, first)))
                        sizes = {name: written(norms, units) for name, _, units in sets if name != "random"}
                    for name, draw, units in sets:
                        state = state_without(walk, units, positions_of(prompt, where))
                        drop, lost = np.subtract(before, margin(walk, state, tokens, own))
                        labels = dict(question_kind=row.question_kind, chosen_for=chosen_for, score=score, k=k)
                        labels |= dict(units=name, draw=draw, drop=drop, lost=lost, written=sizes.get(name, np.nan))
                        rows.append(dict(scene=row.scene, **labels))
        for score, where in WHERE.items():
            units = chosen(score, row.question_kind, row.answers[wrong], 1 - row.half, max(counts))
            state = state_without(walk, units, positions_of(prompt, where))
            drop = margin(walk, walk.states[-1], tokens, wrong)[0] - margin(walk, state, tokens, wrong)[0]
            labels = dict(question_kind=row.question_kind, chosen_for=row.question_kind, score=score, k=max(counts))
            labels |= dict(units="wrong", draw=0, drop=drop, lost=np.nan, written=np.nan)
            rows.append(dict(scene=row.scene, **labels))
    return pd.DataFrame(rows)


def _loud(walk, prompt, layer, where):
    return written_norms(walk, layer, positions_of(prompt, where))


def wrong_answer(asked, row):
    """The answer after the right one, of those that are right somewhere, in a circle: each is wrong equally often."""
    right = set(asked.loc[asked["question_kind"] == row.question_kind, "answer"])
    answers = [answer for answer in row.answers if answer in right]
    return answers[(answers.index(row.answer) + 1) % len(answers)]


@torch.no_grad()
def margin(walk, state, tokens, own):
    """The logit of answer `own` less the mean logit, and whether it comes first among the answers (1 or 0)."""
    logits = walk.replay.tail(state[:, -1:])[0, -1].double()
    return float(logits[tokens[own]] - logits.mean()), float(logits[tokens].argmax() == own)
