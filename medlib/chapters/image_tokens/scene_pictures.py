"""The pictures of this chapter: scenes of which everything is known, and for each what it is held against.

A scene's *twin* is the same slice without the lesion, so what differs between the two is the lesion.  *Shuffled* has
the picture's own pixels in random order: the same grey values and nothing to be seen.  *Black* has nothing at all.
"""

import numpy as np
import pandas as pd

from medlib import scans, vision
from medlib.chapters.grad_cam.lesion_scenes import brain_of, brain_tokens
from medlib.scans.items import questions
from medlib.scans.other_pictures import MODALITIES

VERSIONS = ("as it is", "twin", "shuffled", "black")
COVERED = 0.1  # of an image token, for it to lie over the lesion: a lesion may be smaller than a token, and lie on four


def scenes(count, seed=0, split="held-out"):
    """The first scenes of a split, half of them with a lesion: the columns of `make_scenes`, and `modality`.

    What does not apply to a scene is "".
    """
    table = scans.make_scenes(split, 2 * count, seed)
    while table["lesion"].sum() < count // 2:
        table = pd.concat([table, scans.make_scenes(split, count, seed, first=len(table))], ignore_index=True)
    wanted = {True: count // 2, False: count - count // 2}
    chosen = [own.iloc[: wanted[bool(lesion)]] for lesion, own in table.groupby("lesion")]
    table = pd.concat(chosen).sort_values("scene")
    return table.assign(modality=table["source"].map(MODALITIES).fillna("MRI"))


def count_questions(table, seed=0):
    """How many questions the scans have about these scenes."""
    return sum(len(questions(row, seed)) for row in table.to_dict("records"))


def with_lesion(table, count=None):
    """The scenes with a lesion, the first `count` of them."""
    return table[table["lesion"]].iloc[:count]


def picture(row, version="as it is"):
    """A version of a scene's picture, uint8 `[height, width, 3]`; the scene's own number seeds the order of pixels."""
    drawn, _ = scans.draw(dict(row) | dict(lesion=False) if version == "twin" else row)
    if version == "shuffled":
        order = np.random.default_rng([int(row["scene"]), 7]).permutation(drawn.shape[0] * drawn.shape[1])
        return drawn.reshape(-1, drawn.shape[-1])[order].reshape(drawn.shape)
    return np.zeros_like(drawn) if version == "black" else drawn


def prompts(model, table, question, version="as it is"):
    """An `ImagePrompt` for each scene of a table, all with one question."""
    return [vision.image_prompt(model, picture(row, version), question) for _, row in table.iterrows()]


def distinct(asked):
    """The first of each picture among `ImagePrompt`s, as numbers in the list: repeats hold the same image states."""
    seen = {}
    for number, prompt in enumerate(asked):
        seen.setdefault(prompt.inputs["pixel_values"].float().cpu().numpy().tobytes(), number)
    return list(seen.values())


def over_lesion(row, view):
    """The image tokens over a scene's lesion: bool `[row, column]`, never empty.

    A token lies over it that has a tenth of its area covered; where none has, the one with the most.
    """
    share = np.nan_to_num(view.to_grid(scans.draw(row)[1].astype(float)))
    return (share >= COVERED) | ((share == share.max()) & (share.max() < COVERED))


def over_brain(row, view):
    """The image tokens of a scene that are brain by at least half: bool `[row, column]`."""
    return brain_tokens(view, brain_of(row))
