"""How well maps point at a lesion whose mask is known, beside what knows nothing of the answer.

Controls: the middle of the brain, a random token of the brain (its exact expectation, no draw), the token whose
brightness stands out most, and the same map of the same model with its weights in random order.  Beside them the
ceiling: the lesion itself on the grid of tokens.

Which layer to look at is chosen on one half of the scenes and reported on the other, so that no layer looks good for
having been picked among many.  Rollout is a product over layers, so none is chosen: it is read at the last one.
"""

import numpy as np
import pandas as pd

from medlib import stats, vision
from medlib.chapters.grad_cam.brightness import brightness_map
from medlib.chapters.grad_cam.heat_maps import MAPS, maps_of, trace
from medlib.chapters.grad_cam.lesion_scenes import ask, brain_centre_map, brain_of, brain_tokens
from medlib.chapters.grad_cam.shares import share
from medlib.scans import draw

METRICS = ("pointing", "hit", "overlap")
CONTROLS = {
    "centre": "centre of the brain",
    "random": "random brain token",
    "brightness": "brightness alone",
    "randomised": "random weights",
}
THROUGH_ALL = ("rollout",)  # maps made of all layers up to one, which at layer 1 are plain attention


def score(view, heat, region):
    """How a map fits a region: `pointing` (share of the hottest token's pixels in it), `hit` (if any), `overlap`."""
    pointing = vision.pointing_score(view, heat, region)
    return pointing, float(pointing > 0), vision.overlap(view, heat, region)


def chance(view, brain, region):
    """The expectation of each score for one random token of the brain."""
    tokens = np.argwhere(brain_tokens(view, brain))
    singles = np.zeros((len(tokens), *view.grid))
    singles[np.arange(len(tokens)), *tokens.T] = 1
    return np.mean([score(view, single, region) for single in singles], axis=0)


def trace_all(model, table, layers):
    """The traces of questions (rows of `answers_given`), one at a time: yields `(row, prompt, Traced)`."""
    for row in table.to_dict("records"):
        prompt = ask(model, row)
        yield row, prompt, trace(model, prompt, row["answer"], row["wrong"], layers)


def scores(model, table, layers, weights="own"):
    """Every score of every map of some questions: one row a question, map and layer; and the maps themselves.

    >>> found, maps = scores(model, answers_given(model, asked), [5, 10, 15])
    >>> with vision.randomised(model):
    ...     noise, _ = scores(model, answered, [5, 10, 15], weights="randomised")

    Columns: `scene`, `kind` (of the question), `map`, `weights`, `layer` and the `METRICS`.  The maps are
    `{(scene, kind): {map: [layer, row, column]}}`, the traces `{(scene, kind): Traced}` come third.
    """
    rows, maps, traces = [], {}, {}
    for row, prompt, traced in trace_all(model, table, layers):
        where, region = (row["scene"], row["question_kind"]), draw(row)[1]
        maps[where], traces[where] = maps_of(traced), traced
        for name, every in maps[where].items():
            for layer, heat in zip(traced.layers, every, strict=True):
                rows.append((*where, name, weights, layer, *score(prompt.view, heat, region)))
    columns = ["scene", "kind", "map", "weights", "layer", *METRICS]
    return pd.DataFrame(rows, columns=columns), maps, traces


def baselines(model, table):
    """Scores that need no map of a model, and the ceiling, `lesion`; columns of `scores` without a layer.

    `centre`, `random` and `brightness` are those of `CONTROLS`.
    """
    rows = []
    for row in table.to_dict("records"):
        prompt, brain, region = ask(model, row), brain_of(row), draw(row)[1]
        view = prompt.view
        found = {
            "centre": score(view, brain_centre_map(view, brain), region),
            "random": chance(view, brain, region),
            "brightness": score(view, brightness_map(view, prompt.picture, brain), region),
            "lesion": score(view, np.nan_to_num(view.to_grid(region)), region),
        }
        rows += [(row["scene"], row["question_kind"], name, "none", *values) for name, values in found.items()]
    return pd.DataFrame(rows, columns=["scene", "kind", "map", "weights", *METRICS])


def halves(table):
    """The scenes that choose a layer and those that are reported: two lists, every other scene in each."""
    scenes = list(dict.fromkeys(table["scene"]))
    return scenes[::2], scenes[1::2]


def choose_layers(found, scenes):
    """The layer of each kind of question and map that points best in some scenes: `{(kind, map): layer}`.

    A map of `THROUGH_ALL` has the last layer, whatever the scenes say.
    """
    part = found[found["scene"].isin(scenes) & (found["weights"] == "own")]
    mean = part.groupby(["kind", "map", "layer"])["pointing"].mean().unstack("layer")
    best = mean.idxmax(axis=1).to_dict()
    return {where: max(mean.columns) if where[1] in THROUGH_ALL else layer for where, layer in best.items()}


def layer_curves(found, scenes, metric, seed=0):
    """Each map's score over layers in some scenes: `kind, map, weights, layer, value, low, high, n`."""
    parts = []
    for (kind, name, weights), part in found[found["scene"].isin(scenes)].groupby(["kind", "map", "weights"]):
        wide = part.pivot(index="scene", columns="layer", values=metric)
        interval = stats.bootstrap(wide.to_numpy(), seed=seed)
        labels = dict(kind=kind, map=name, weights=weights, layer=wide.columns, n=len(wide))
        parts.append(pd.DataFrame(labels | interval._asdict()))
    return pd.concat(parts, ignore_index=True)


def at_layers(found, chosen):
    """The rows of each map at its chosen layer, under its own weights and under random ones."""
    wanted = [chosen[kind, name] for kind, name in zip(found["kind"], found["map"], strict=True)]
    return found[found["layer"] == wanted]


def compared(found, bases, chosen, scenes, heads=None, seed=0):
    """Each map at its chosen layer, and less each control on the same scenes, with intervals over scenes.

    >>> compared(found, bases, chosen, reported).query("metric == 'pointing' and control == 'randomised'")

    `found`: `scores` under own and random weights; `bases`: `baselines`; `heads`: further rows such as `bases`, of the
    tower's own head.  Returns one row per kind, map, metric and control (null: the score itself): `layer`, `value`,
    `low`, `high`, `n`; the interval of a share of hits is exact.  Maps of an answer are also held against that of the
    sum of all logits, "all_logits", which is no control.  Kinds with fewer than 3 of the scenes are left out.
    """
    found, bases = (part[part["scene"].isin(scenes)] for part in (at_layers(found, chosen), bases))
    named = [found.assign(map=found["map"].where(found["weights"] == "own", found["map"] + " randomised")), bases]
    if heads is not None:
        named.append(heads[heads["scene"].isin(scenes)])
    every, rows = pd.concat(named, ignore_index=True), []
    for kind, of_kind in every.groupby("kind", sort=False):
        if of_kind["scene"].nunique() < 3:
            continue
        for metric in METRICS:
            wide = of_kind.pivot(index="scene", columns="map", values=metric)
            for name in [column for column in wide if not column.endswith(" randomised")]:
                layer = chosen.get((kind, name), pd.NA)
                pairs = {None: 0}
                if name in MAPS or name == "head":
                    pairs |= {control: wide[control] for control in CONTROLS if control != "randomised"}
                if name in MAPS:
                    pairs["randomised"] = wide[f"{name} randomised"]
                if name in ("grad_cam", "contrast"):
                    pairs["all_logits"] = wide["all_logits"]
                for control, other in pairs.items():
                    values = (wide[name] - other).to_numpy()
                    exact = metric == "hit" and control is None
                    interval = share(values, seed) if exact else stats.bootstrap(values, seed=seed)
                    rows.append((kind, name, layer, metric, control, *interval, len(wide)))
    columns = ["kind", "map", "layer", "metric", "control", "value", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns).astype({"layer": "Int64"})


def other_kinds(found, chosen, scenes, first, seed=0):
    """Whether a layer chosen for one kind of question does for the others too: a row for each other kind and map.

    `found`: `scores`; `chosen`: `choose_layers`; `first`: the kind whose layers are tried on the others.  Columns:
    `kind`, `map`, `layer` (chosen for `first`), `own_layer` (for the kind itself), `own` (mean pointing score there),
    `at_first` (at `layer`), and the difference of the two within scenes, `value, low, high, n`.
    """
    columns = ["kind", "map", "layer", "own_layer", "own", "at_first", "value", "low", "high", "n"]
    rows, part = [], found[(found["weights"] == "own") & found["scene"].isin(scenes) & (found["kind"] != first)]
    for (kind, name), of_map in part.groupby(["kind", "map"], sort=False):
        wide = of_map.pivot(index="scene", columns="layer", values="pointing")
        if len(wide) < 3:
            continue
        layers = chosen[first, name], chosen[kind, name]
        at_first, own = (wide[layer] for layer in layers)
        interval = stats.bootstrap((own - at_first).to_numpy(), seed=seed)
        rows.append((kind, name, *layers, own.mean(), at_first.mean(), *interval, len(wide)))
    return pd.DataFrame(rows, columns=columns)


def levels(compared, kind, metric):
    """The mean score of each map at its layer and of what needs no map, of one kind of question: a series by map."""
    part = compared[(compared["kind"] == kind) & (compared["metric"] == metric) & compared["control"].isna()]
    return part.set_index("map")["value"]


def joined(*parts):
    """Tables of `scores` as one."""
    return pd.concat(parts, ignore_index=True)


def shown(table, kind, scenes, n):
    """The first `n` questions of a kind about some scenes."""
    return table[(table["question_kind"] == kind) & table["scene"].isin(scenes)].head(n)
