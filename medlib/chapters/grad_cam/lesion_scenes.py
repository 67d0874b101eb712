"""Scenes with a lesion, each with its twin: the same slice, drawn without the lesion.

The mask of the lesion says where a map of the answer should point, the brain where it could have pointed, and the twin
what the picture would be if the answer were another.
"""

import hashlib

import numpy as np
import pandas as pd

from medlib import scans, vision
from medlib.errors import MedlibError
from medlib.prompts import answer_tokens
from medlib.scans import items, slices, volumes
from medlib.vision.walk import own_logits

TISSUE = 0.5  # share of a token's pixels that are brain, for it to be a brain token


def scenes_asked(n, kinds, seed=0, split="held-out"):
    """Questions of some kinds about the first `n` scenes with a lesion: a data frame, one row a question.

    >>> scenes_asked(12, ["lesion", "side"]).groupby("question_kind").scene.nunique()

    The columns are those of `scans.make_items`; not every scene has every kind.  A picture that repeats an earlier one
    is left out, and `attrs["repeated"]` says how many were.  Raises `MedlibError` for a kind that asks nothing about a
    lesion, and fewer than 6 scenes.
    """
    allowed = ("lesion", "polarity", "side", "lobe")
    if wrong := [kind for kind in kinds if kind not in allowed] or not kinds:
        raise MedlibError(f"kinds={kinds!r} holds {wrong!r}; give at least one of {', '.join(allowed)}.")
    if n < 6:
        raise MedlibError(f"{n} scenes were asked for; half choose a layer and half an interval needs at least 3.")
    parts, seen, repeated, first = [], set(), 0, 0
    while len(seen) < n:
        made = scans.make_items(split, 4 * n, seed, first)
        first += 4 * n
        for _, part in made[made["lesion"]].groupby("scene", sort=False):
            picture = hashlib.sha256(scans.draw(part.iloc[0])[0].tobytes()).digest()
            repeated += picture in seen
            if picture not in seen and len(seen) < n:
                seen.add(picture)
                parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table = table[table["question_kind"].isin(kinds)].reset_index(drop=True)
    table.attrs["repeated"] = repeated
    return table


def twin_of(row):
    """The same scene without its lesion, as a dict; all else of its picture stays, noise included."""
    return dict(row) | dict(lesion=False, polarity="", side="", lobe="")


def brain_of(row):
    """Which pixels of a slice's picture show brain: bool `[120, 120]`."""
    volume = volumes.load(row["template"])
    return slices.sample((volume.t1, volume.origin), items.view_of(row)) > 0


def brain_tokens(view, brain):
    """Which image tokens are brain by at least half: bool `[row, column]`."""
    return np.nan_to_num(view.to_grid(brain)) >= TISSUE


def lesion_token(view, row):
    """The number of the image token that holds most of a scene's lesion."""
    return int(np.nanargmax(view.to_grid(scans.draw(row)[1])))


def brain_centre_map(view, brain):
    """A map that knows only where the middle of the brain is: the nearer, the hotter; `[row, column]`, pixels."""
    boxes, middle = view.boxes(), np.argwhere(brain).mean(0) + 0.5
    down, across = (boxes[..., axis] + boxes[..., axis + 2] for axis in (0, 1))
    return -np.hypot(down / 2 - middle[0], across / 2 - middle[1])


def random_brain_map(view, brain, seed):
    """The brain's tokens in random order, all others after them: `[row, column]`."""
    order = vision.random_map(view, seed)
    return np.where(brain_tokens(view, brain), order + order.size, order)


def ask(model, row, picture=None):
    """The prompt of a question about its scene, or about another picture: an `ImagePrompt`."""
    return vision.image_prompt(model, scans.draw(row)[0] if picture is None else picture, row["question"])


def said(prompt, answer):
    """An answer as it stands after the prompt: with a space before it, unless the prompt ends in white space."""
    return answer if prompt.text[-1:].isspace() else f" {answer}"


def answers_given(model, table):
    """What the model answers: the table with `given`, `right`, `wrong` and `margin` added.

    `given`: of the answers that the kind of question has, the one whose first token is likeliest; `wrong`: the
    likeliest of those that are not right; `margin`: logit of the right one less that of `wrong`.
    """
    rows = []
    for row in table.to_dict("records"):
        prompt, every = ask(model, row), items.QUESTIONS[row["question_kind"]][1]
        tokens = answer_tokens(model, [prompt] * len(every), [said(prompt, answer) for answer in every])
        scores = dict(zip(every, own_logits(model, prompt.inputs)[0, -1].cpu()[tokens].tolist(), strict=True))
        right = scores.pop(row["answer"])
        other = max(scores, key=scores.get)
        given = row["answer"] if right > scores[other] else other
        rows.append((given, given == row["answer"], other, right - scores[other]))
    found = table.assign(**dict(zip(("given", "right", "wrong", "margin"), zip(*rows, strict=True), strict=True)))
    found.attrs = table.attrs
    return found


def twins_asked(table):
    """The questions whether there is a lesion, about the twins: the right answer is "no".

    The rows draw the twins, and keep the scenes' numbers.
    """
    rows = [twin_of(row) | dict(answer="no") for row in table.to_dict("records") if row["question_kind"] == "lesion"]
    return pd.DataFrame(rows)
