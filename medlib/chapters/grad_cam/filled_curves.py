"""Deletion and insertion: does the answer go with the tokens that a map calls hot, and come back with them?

A picture is filled token by token.  Filled from a "blur" of itself, it becomes something that the model never saw, and
the answer may change for that alone; filled from its "twin" it becomes the same slice without the lesion, so that only
tokens of the lesion can change anything.
"""

import pandas as pd

from medlib import stats, vision
from medlib.chapters.grad_cam.lesion_scenes import ask, brain_centre_map, brain_of, random_brain_map, said, twin_of
from medlib.scans import draw

FILLS = ("twin", "blur")
BASES = ("centre", "random", "lesion")
CONTROLS = ("centre", "random", "randomised")


def at_chosen(maps, noise, chosen, layers):
    """Each map at its chosen layer, under the model's own and under random weights: `{(scene, kind): {map: heat}}`.

    `maps`, `noise`: those of `heat_scores.scores` under own and random weights, at `layers`, for the scenes that have
    both; `chosen`: `(kind, map)` -> layer.  Under random weights a map is called "<map> randomised".
    """
    found = {}
    for (scene, kind), of_noise in noise.items():
        every = maps[scene, kind]
        at = {name: layers.index(chosen[kind, name]) for name in every}
        found[scene, kind] = {name: heat[at[name]] for name, heat in every.items()}
        found[scene, kind] |= {f"{name} randomised": of_noise[name][at[name]] for name in every}
    return found


def filled_curves(model, table, maps, fills=FILLS, steps=16, seed=0):
    """The answer's probability as each scene is deleted and inserted in the order of each map: one row a step.

    >>> filled_curves(model, answered.head(5), maps, fills=["twin"]).groupby(["map", "curve", "share"])["p"].mean()

    `maps`: `{(scene, kind): {map: [row, column]}}`; the middle of the brain, its tokens in random order (of `seed`),
    and the lesion itself are added.  Columns: `scene`, `map`, `fill`, `curve`, `share`, `p`, and `area`, the one under
    the whole curve.
    """
    parts = []
    for row in table.to_dict("records"):
        prompt, brain, region = ask(model, row), brain_of(row), draw(row)[1]
        view, answer, twin = prompt.view, said(prompt, row["answer"]), draw(twin_of(row))[0]
        every = maps[row["scene"], row["question_kind"]] | {
            "centre": brain_centre_map(view, brain),
            "random": random_brain_map(view, brain, [seed, row["scene"]]),
            "lesion": view.to_grid(region),
        }
        for fill in fills:
            found = vision.map_curves(model, prompt, every, answer, twin if fill == "twin" else fill, steps)
            area = [found.attrs["area"][which] for which in zip(found["map"], found["curve"], strict=True)]
            found.attrs = {}
            parts.append(found.assign(scene=row["scene"], fill=fill, area=area))
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

    The control "randomised" is the same map under random weights.  Returns `map, fill, curve, control` (null: the area itself), `value, low, high, n`.  A good map has a small area
    for deletion and a large one for insertion.
    """
    rows = []
    one = table.drop_duplicates(["scene", "map", "fill", "curve"])
    for (fill, curve), part in one.groupby(["fill", "curve"], sort=False):
        wide = part.pivot(index="scene", columns="map", values="area")
        for name in wide:
            own = [] if name in BASES or name.endswith(" randomised") else controls
            for control in (None, *own):
                beside = f"{name} {control}" if control == "randomised" else control
                other = 0 if control is None else wide[beside]
                interval = stats.bootstrap((wide[name] - other).to_numpy(), seed=seed)
                rows.append((name, fill, curve, control, *interval, len(wide)))
    return pd.DataFrame(rows, columns=["map", "fill", "curve", "control", "value", "low", "high", "n"])
