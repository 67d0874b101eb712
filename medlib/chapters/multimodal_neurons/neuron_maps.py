"""Where on the picture the chosen units are active, and whether that is where the lesion is.

A unit's map is how strongly it is active at each image token, whatever the sign, and a set's is the mean over its
units, each scaled to its own largest value.  It has to beat the middle of the brain, random tokens of the brain, the
brightness of the picture itself, the map of as many random units of the same layers, since image tokens differ in how
much of everything they hold, and the map of the same units with the model's weights in random order.
"""

import numpy as np
import pandas as pd
import torch

from medlib import stats, vision
from medlib.chapters.grad_cam.brightness import brightness_map
from medlib.chapters.grad_cam.lesion_scenes import brain_centre_map, brain_tokens
from medlib.chapters.multimodal_neurons.neuron_removal import WHERE
from medlib.chapters.multimodal_neurons.neuron_scores import first_units, mean_scores
from medlib.errors import MedlibError
from medlib.vision.multimodal_neurons import activations_of, random_units, units_by_layer
from medlib.vision.walk import Walk

BASELINES = ("brain centre", "random brain tokens", "brightness alone", "random units", "random weights")
MEASURES = ("pointing", "overlap")


def maps_of(walk, prompt, sets):
    """The map of each set of units, `{name: {layer: units}}`: `{name: [row, column]}`, 0..1."""
    layers = sorted({layer for units in sets.values() for layer in units})
    image, sums = torch.as_tensor(prompt.image), dict.fromkeys(sets, 0.0)
    for layer in layers:
        active = activations_of(walk, layer).cpu()[image].abs().numpy()
        for name, units in sets.items():
            if layer in units:
                own = active[:, units[layer]]
                sums[name] = sums[name] + (own / np.maximum(own.max(0), 1e-30)).sum(1)
    counts = {name: sum(map(len, units.values())) for name, units in sets.items()}
    return {name: prompt.on_grid(total / counts[name]) for name, total in sums.items()}


def scored(model, asked, prompts, measured, kind, count, draws=5, seed=0, threshold=0.5):
    """The maps of the units chosen for a kind of question, against the lesion's mask: `(scores, maps)`.

    >>> table, maps = scored(model, asked, prompts, measured, "polarity", 5)

    For each scene with a lesion, the `count` first units of the other half.  `scores`: `scene`, `score`, `map` ("first
    units" or one of `BASELINES` but the last, see `with_random_weights`), `draw`, `pointing` (share of the hottest
    token's pixels in the mask), `overlap` (intersection over union at `threshold`); `maps`: {(scene, score): map of the
    first units}.  Raises `MedlibError` where no scene has a lesion.
    """
    random, rows, maps = np.random.default_rng(seed), [], {}
    for row, prompt in zip(asked.itertuples(), prompts, strict=True):
        if row.question_kind != kind or not row.mask.any():
            continue
        walk, view = Walk(model, prompt.inputs), prompt.view
        plain = [
            ("brain centre", 0, brain_centre_map(view, row.brain)),
            ("brightness alone", 0, brightness_map(view, prompt.picture, row.brain)),
        ]
        for draw in range(draws):
            plain.append(("random brain tokens", draw, random_in_brain(view, row.brain, [seed, row.scene, draw])))
        for score in WHERE:
            means = mean_scores(measured, asked, score, kind, row.answer, 1 - row.half)
            first = units_by_layer(model, first_units(measured, means, count))
            sets = {0: first} | {draw: random_units(model, first, random) for draw in range(1, draws + 1)}
            found = maps_of(walk, prompt, sets)
            maps[row.scene, score] = found[0]
            own = [("first units", 0, found[0])]
            own += [("random units", draw - 1, found[draw]) for draw in range(1, draws + 1)]
            for name, draw, heat in own + plain:
                point = vision.pointing_score(view, heat, row.mask)
                both = vision.overlap(view, heat, row.mask, threshold)
                rows.append(dict(scene=row.scene, score=score, map=name, draw=draw, pointing=point, overlap=both))
    if not rows:
        raise MedlibError(f"No scene of {kind!r} has a lesion to point at. Name a kind that asks about lesions first.")
    return pd.DataFrame(rows), maps


def random_in_brain(view, brain, seed):
    """The brain's tokens in random order, all others behind them and alike: `[row, column]`."""
    return np.where(brain_tokens(view, brain), vision.random_map(view, seed) + 1, 0)


def with_random_weights(scores, noise):
    """Scores of maps beside those of the same units in a model with its weights in random order.

    >>> with vision.randomised(model):
    ...     noise, _ = scored(model, asked, prompts, measured, "polarity", 5, draws=0)
    >>> both = with_random_weights(scores, noise)

    Both are of `scored`, with the same `measured`: the units are those that were chosen in the model as it is.
    """
    own = noise[noise["map"] == "first units"]
    return pd.concat([scores, own.assign(map="random weights")], ignore_index=True)


def compared(scores, seed=0):
    """Each map's mean score over scenes, and the first units' less each baseline's: rows with their intervals.

    Columns `score`, `measure` (of `MEASURES`), `map`, `less` (a baseline, or "" for the map by itself), `value, low,
    high, n` (scenes).
    """
    wide = scores.groupby(["score", "scene", "map"])[list(MEASURES)].mean().unstack("map")
    rows = []
    for score, own in wide.groupby("score"):
        for measure in MEASURES:
            part = own[measure]
            values = {(name, ""): part[name] for name in ("first units", *BASELINES)}
            values |= {("first units", name): part["first units"] - part[name] for name in BASELINES}
            for (name, less), series in values.items():
                labels = dict(score=score, measure=measure, map=name, less=less, n=len(series))
                rows.append(labels | stats.bootstrap(series.to_numpy(), seed=seed)._asdict())
    return pd.DataFrame(rows)
