"""Does the answer go with the tokens at which the first units are active, and come back with them?

The picture is filled in the order of the units' map, from its twin without the lesion and from a blur of itself, as
maps of attention and gradient are in their chapter (`grad_cam/filled_curves.py`).
"""

import pandas as pd

from medlib.chapters.grad_cam.filled_curves import bases, of_prompt
from medlib.chapters.multimodal_neurons.neuron_removal import WHERE
from medlib.errors import MedlibError

MAPS = {score: f"first units by the {score}" for score in WHERE}
RANDOMISED = {score: f"{score} randomised" for score in WHERE}


def filled(model, asked, prompts, maps, noise_maps, kind, count, steps=16, seed=0):
    """The answer's probability as the first `count` scenes with a lesion are filled: rows as of `filled_curves`.

    >>> areas(filled(model, asked, prompts, maps, noise_maps, "polarity", 10), CONTROLS)

    `maps`, `noise_maps`: those that `neuron_maps.scored` returns, of the model and under random weights; a map is
    called by its score.  Raises `MedlibError` where no scene of that kind has a lesion.
    """
    parts = []
    for row, prompt in zip(asked.itertuples(), prompts, strict=True):
        if (row.scene, next(iter(MAPS))) not in maps or row.question_kind != kind or len(parts) == count:
            continue
        every = {score: maps[row.scene, score] for score in MAPS}
        every |= {name: noise_maps[row.scene, score] for score, name in RANDOMISED.items()}
        every |= bases(prompt, row.brain, row.mask, [seed, row.scene])
        found = of_prompt(model, prompt, row.answer, every, row.twin, steps=steps)
        parts.append(found.assign(scene=row.scene))
    if not parts:
        raise MedlibError(f"No scene of {kind!r} has a lesion to fill. Name a kind that asks about lesions first.")
    return pd.concat(parts, ignore_index=True)
