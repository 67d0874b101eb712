"""Deletion and insertion: does the answer go with the tokens that a map calls hot, and come back with them?

A picture is filled token by token.  Filled from a "blur" of itself, it becomes something that the model never saw, and
the answer may change for that alone; filled from its "twin" it becomes the same slice without the lesion, so that only
tokens of the lesion can change anything.  Where the lesion's own order does no better than a random one, the test tells
no good map from a bad one, and is void.
"""

import numpy as np
import pandas as pd

from medlib import stats
from medlib.chapters.grad_cam.brightness import brightness_map
from medlib.chapters.grad_cam.filled_pictures import blurred, curves, growing
from medlib.chapters.grad_cam.lesion_scenes import ask, brain_centre_map, brain_of, random_brain_map, said, twin_of
from medlib.scans import draw

FILLS = ("twin", "blur")
BASES = ("centre", "random", "brightness", "lesion")
CONTROLS = ("centre", "random", "brightness", "randomised")


def at_chosen(maps, noise, chosen, layers, heads):
    """Each map at its chosen layer, under the model's own and under random weights: `{(scene, kind): {map: heat}}`.

    `maps`, `noise`: those of `heat_scores.scores` under own and random weights, at `layers`, for the scenes that have
    both; `chosen`: `(kind, map)` -> layer.  Under random weights a map is called "<map> randomised".  `heads`: maps of
    the tower's own head by scene and kind, or none; they are called "head".
    """
    found = {}
    for (scene, kind), of_noise in noise.items():
        every = maps[scene, kind]
        at = {name: layers.index(chosen[kind, name]) for name in every}
        found[scene, kind] = {name: heat[at[name]] for name, heat in every.items()}
        found[scene, kind] |= {f"{name} randomised": of_noise[name][at[name]] for name in every}
        if (scene, kind) in heads:
            found[scene, kind]["head"] = heads[scene, kind]
    return found


def filled_curves(model, table, maps, fills=FILLS, steps=16, seed=0):
    """The answer's probability as each scene is deleted and inserted in the order of each map: one row a step.

    >>> filled_curves(model, answered.head(5), maps, fills=["twin"]).groupby(["map", "curve", "share"])["p"].mean()

    `maps`: `{(scene, kind): {map: [row, column]}}`; `BASES` are added: the middle of the brain, its tokens in random
    order (of `seed`), those whose brightness stands out first, and the lesion itself.  From the twin every token is a
    step; from the blur there are `steps`, which grow from one token.  Columns: `scene`, `map`, `fill`, `curve`,
    `share`, `p`, and `area`, the one under the whole curve.
    """
    parts = []
    for row in table.to_dict("records"):
        prompt, answer = ask(model, row), row["answer"]
        every = maps[row["scene"], row["question_kind"]]
        every = every | bases(prompt, brain_of(row), draw(row)[1], [seed, row["scene"]])
        found = of_prompt(model, prompt, answer, every, draw(twin_of(row))[0], fills, steps)
        parts.append(found.assign(scene=row["scene"]))
    return pd.concat(parts, ignore_index=True)


def bases(prompt, brain, lesion, seed):
    """The maps of `BASES` for one picture, of which `brain` and `lesion` say which pixels show them."""
    view = prompt.view
    return {
        "centre": brain_centre_map(view, brain),
        "random": random_brain_map(view, brain, seed),
        "brightness": brightness_map(view, prompt.picture, brain),
        "lesion": np.nan_to_num(view.to_grid(lesion)),
    }


def of_prompt(model, prompt, answer, maps, twin, fills=FILLS, steps=16):
    """The curves of one prompt in the order of each of `maps`, `{map: [row, column]}`; `twin`: its twin's picture.

    Columns as of `filled_curves`, less `scene`.
    """
    tokens = int(prompt.view.in_picture().sum())
    filling = {"twin": (twin, np.arange(tokens + 1)), "blur": (blurred(prompt), growing(tokens, steps))}
    parts = [curves(model, prompt, maps, said(prompt, answer), *filling[fill]).assign(fill=fill) for fill in fills]
    return pd.concat(parts, ignore_index=True)


def mean_curves(table, seed=0):
    """The mean curve over scenes with its interval: `map, fill, curve, share, value, low, high, n`."""
    parts = []
    for (name, fill, curve), part in table.groupby(["map", "fill", "curve"], sort=False):
        wide = part.pivot(index="scene", columns="share", values="p")
        labels = dict(map=name, fill=fill, curve=curve, share=wide.columns, n=len(wide))
        parts.append(pd.DataFrame(labels | stats.bootstrap(wide.to_numpy(), seed=seed)._asdict()))
    return pd.concat(parts, ignore_index=True)


def areas(table, controls, seed=0):
    """The area under each curve, and less that of each control on the same scenes: one row each, with intervals.

    >>> areas(filled, CONTROLS).query("fill == 'twin' and curve == 'deletion'")

    The control "randomised" is the same map under random weights; the tower's head has none.  Maps are also held
    against the "lesion", which is no control but the ceiling, and the lesion itself against "random".  Returns `map,
    fill, curve, control` (null: the area itself), `value, low, high, n`.  A good map has a small area for deletion and
    a large one for insertion.
    """
    rows = []
    one = table.drop_duplicates(["scene", "map", "fill", "curve"])
    for (fill, curve), part in one.groupby(["fill", "curve"], sort=False):
        wide = part.pivot(index="scene", columns="map", values="area")
        for name in wide:
            for control in (None, *held_against(name, controls)):
                beside = f"{name} {control}" if control == "randomised" else control
                other = 0 if control is None else wide[beside]
                interval = stats.bootstrap((wide[name] - other).to_numpy(), seed=seed)
                rows.append((name, fill, curve, control, *interval, len(wide)))
    return pd.DataFrame(rows, columns=["map", "fill", "curve", "control", "value", "low", "high", "n"])


def held_against(name, controls):
    """What the areas of a map are compared with: the controls that it has, and the lesion's own order."""
    if name == "lesion":
        return ["random"]
    if name in BASES or name.endswith(" randomised"):
        return []
    return [*(control for control in controls if (name, control) != ("head", "randomised")), "lesion"]


def void(areas, fill, curve):
    """The row of the lesion's own order less a random one where it is no better, so that the test is void; else None.

    `areas`: the table of `areas`.
    """
    part = areas[(areas["fill"] == fill) & (areas["curve"] == curve) & (areas["map"] == "lesion")]
    row = part[part["control"] == "random"].iloc[0]
    better = row["high"] < 0 if curve == "deletion" else row["low"] > 0
    return None if better else row
