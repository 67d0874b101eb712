"""What a map of the sum of all logits can mean: how like it is to maps of other things, and to itself.

A softmax does not see a number that is added to all logits alike.  So two models with the same probabilities for every
input may differ in the sum of their logits in any way, and a map of that sum is not a map of what the model says.  Here
logits are shifted by a multiple of their own mean: shifted by minus twice it, the sum of all logits changes its sign,
and with it which slopes are positive; by minus once it, the sum is zero and the map is empty.
"""

import numpy as np
import pandas as pd

from medlib import stats
from medlib.chapters.grad_cam.heat_maps import cam
from medlib.chapters.grad_cam.heat_scores import score
from medlib.chapters.grad_cam.lesion_scenes import ask
from medlib.scans import draw

SHIFT = -2  # times the mean logit, added to every logit
PAIRS = {
    "answers": "answer and other answer",
    "answer_sum": "answer and all logits",
    "contrast_sum": "answer less other and all logits",
    "shifted_answer": "answer, same probabilities",
    "shifted_sum": "all logits, same probabilities",
}


def shifted(slopes, vocabulary, shift=SHIFT):
    """The slopes of a model whose logits all have `shift` times their mean added: `[answer, other, sum]`, as given.

    >>> shifted(slopes, vocabulary)[0] - shifted(slopes, vocabulary)[1]     # that of the difference stays
    """
    mean = slopes[2] / vocabulary
    return np.stack([slopes[0] + shift * mean, slopes[1] + shift * mean, slopes[2] * (1 + shift)])


def likeness(traces):
    """Rank correlation over image tokens of two maps of one layer: `scene`, `kind`, `layer`, `pair`, `value`.

    >>> likeness(traces).groupby("pair")["value"].mean()

    `traces`: `{(scene, kind): Traced}`.  Maps are means over heads, but in the last of `PAIRS` maxima.  A map that is
    the same everywhere has no ranks: its `value` is NaN.
    """
    rows = []
    for (scene, kind), traced in traces.items():
        attention, own = traced.attention, traced.slopes
        other = shifted(own, traced.vocabulary)
        of_answer, of_other, of_sum = (cam(attention, slope).mean(1) for slope in own)
        two = {
            "answers": (of_answer, of_other),
            "answer_sum": (of_answer, of_sum),
            "contrast_sum": (cam(attention, own[0] - own[1]).mean(1), of_sum),
            "shifted_answer": (of_answer, cam(attention, other[0]).mean(1)),
            "shifted_sum": (cam(attention, own[2]).max(1), cam(attention, other[2]).max(1)),
        }
        for pair, (a, b) in two.items():
            for layer, one, two_ in zip(traced.layers, a, b, strict=True):
                rows.append((scene, kind, layer, pair, rank_correlation(one, two_)))
    return pd.DataFrame(rows, columns=["scene", "kind", "layer", "pair", "value"])


def shifted_pointing(model, table, traces, layer):
    """Where the map of the sum points in the model, and in one that gives the same probabilities: a row a scene.

    >>> shifted_pointing(model, reported, traces, chosen["lesion", "all_logits"])[["own", "shifted"]].mean()

    `table`: questions; `traces`: `{(scene, kind): Traced}`; `layer`: of the map.  Columns: `scene`, `own`, `shifted`,
    the pointing scores.
    """
    rows = []
    for row in table.to_dict("records"):
        traced, prompt, region = traces[row["scene"], row["question_kind"]], ask(model, row), draw(row)[1]
        at = traced.layers.index(layer)
        slopes = traced.slopes[2][at], shifted(traced.slopes, traced.vocabulary)[2][at]
        maps = [prompt.on_grid(cam(traced.attention[at], slope).max(0)) for slope in slopes]
        rows.append((row["scene"], *[score(prompt.view, heat, region)[0] for heat in maps]))
    return pd.DataFrame(rows, columns=["scene", "own", "shifted"])


def rank_correlation(one, other):
    """Spearman's correlation of two maps, NaN where one of them is the same everywhere."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan
    return stats.spearman(np.ravel(one), np.ravel(other))


def likeness_curves(table, seed=0):
    """The mean correlation by pair and layer over scenes: `pair, layer, value, low, high, n`, and `empty`.

    `table`: `likeness` of one kind of question.  `empty`: how many scenes have no value and are left out; a layer where
    fewer than 3 are left has no row.
    """
    rows = []
    for (pair, layer), part in table.groupby(["pair", "layer"]):
        there = part["value"].dropna()
        if len(there) >= 3:
            rows.append((pair, layer, *stats.bootstrap(there, seed=seed), len(there), len(part) - len(there)))
    columns = ["pair", "layer", "value", "low", "high", "n", "empty"]
    return pd.DataFrame(rows, columns=columns)


def likeness_means(table, seed=0):
    """The correlation of each pair, mean over layers and then over scenes: `pair, value, low, high, n`.

    A pair that has a value in fewer than 3 scenes is left out.
    """
    rows = []
    for pair, part in table.groupby("pair"):
        there = part.groupby("scene")["value"].mean().dropna()
        if len(there) >= 3:
            rows.append((pair, *stats.bootstrap(there, seed=seed), len(there)))
    return pd.DataFrame(rows, columns=["pair", "value", "low", "high", "n"])
