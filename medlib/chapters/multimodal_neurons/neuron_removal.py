"""Units taken out: what the answer loses without the first units, and without as many others of the same layers.

The units of a scene were chosen on the other half of the scenes.  They are set to zero where their score speaks: those
of the gradient at the image tokens, those of the contribution at the token that produces the answer.  What counts is
read after the model's own final norm: the logit of the right answer less the mean logit of the vocabulary, and whether
the right answer still comes first among the answers of its kind.
"""

import numpy as np
import pandas as pd
import torch

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
    less the mean logit), `lost` (1 if the answer was right and is not, -1 the other way round, else 0).
    """
    random, rows = np.random.default_rng(seed), []
    sets = {}
    for row, prompt in zip(asked.itertuples(), prompts, strict=True):
        walk, tokens = Walk(model, prompt.inputs), tokens_of(model, prompt, row.answers)
        own = row.answers.index(row.answer)
        before = margin(walk, walk.states[-1], tokens, own)
        of_scene = asked[asked["scene"] == row.scene].set_index("question_kind")["answer"]
        for chosen_for, answer in of_scene.items():
            used = counts if chosen_for == row.question_kind else [max(counts)]
            for score, where in WHERE.items():
                key = score, chosen_for, answer, 1 - row.half
                if key not in sets:
                    sets[key] = first_units(measured, mean_scores(measured, asked, *key), max(counts))
                for k in used:
                    first = units_by_layer(model, sets[key].head(k))
                    drawn = [("random", draw, random_units(model, first, random)) for draw in range(draws)]
                    for name, draw, units in [("first", 0, first), *drawn]:
                        state = state_without(walk, units, positions_of(prompt, where))
                        drop, lost = np.subtract(before, margin(walk, state, tokens, own))
                        labels = dict(question_kind=row.question_kind, chosen_for=chosen_for, score=score, k=k)
                        rows.append(dict(scene=row.scene, **labels, units=name, draw=draw, drop=drop, lost=lost))
    return pd.DataFrame(rows)


@torch.no_grad()
def margin(walk, state, tokens, own):
    """The logit of the right answer less the mean logit, and whether it comes first among the answers (1 or 0)."""
    logits = walk.replay.tail(state[:, -1:])[0, -1].double()
    return float(logits[tokens[own]] - logits.mean()), float(logits[tokens].argmax() == own)
