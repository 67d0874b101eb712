"""What taking units out comes to: means over scenes with their intervals, against random and matched units and on other
questions.

First and random units of one scene are a pair, and so are the two questions about one scene, so differences are taken
within scenes and scenes are what is resampled.
"""

import numpy as np
import pandas as pd

from medlib import stats
from medlib.chapters.grad_cam.shares import share
from medlib.chapters.multimodal_neurons.neuron_scores import first_units, mean_scores

SET = ["score", "chosen_for", "question_kind", "k"]
METRICS = ("drop", "lost")


def by_scene(taken):
    """One row a scene, question and set: `drop` and `lost` of the first units, of the random ones (mean over draws)."""
    return taken.groupby([*SET, "scene", "units"])[list(METRICS)].mean().unstack("units")


def effects(taken, seed=0):
    """The effect of taking units out, for each set of units: rows of `SET`, `metric`, `units`, `value, low, high, n`.

    >>> effects(take_out(...)).query("units == 'difference' and metric == 'drop'")

    `units`: "first", "random", and "difference", first less random; on their own question also "matched", the units
    that write as much, and "difference from matched"; intervals over scenes.
    """
    rows = []
    for key, own in by_scene(taken).groupby(SET):
        for metric in METRICS:
            both = {name: own[metric, name].to_numpy() for name in ("first", "random")}
            both["difference"] = both["first"] - both["random"]
            matched = own[metric, "matched"].to_numpy()
            if np.isfinite(matched).all():
                both |= {"matched": matched, "difference from matched": both["first"] - matched}
            for name, values in both.items():
                found = stats.bootstrap(values, seed=seed)._asdict()
                rows.append(dict(zip(SET, key, strict=True)) | dict(metric=metric, units=name, n=len(values)) | found)
    return pd.DataFrame(rows)


def specificity(taken, seed=0):
    """Whether units harm the question they were chosen for more than the scene's other one: a row a score and kind.

    Both effects are first less random, at the largest count: `own`, `other`, and their difference within scenes,
    `value, low, high` (logits); `question_kind` is that of the other question, `n` the scenes.
    """
    found, rows = by_scene(taken), []
    gain = (found["drop", "first"] - found["drop", "random"]).rename("gain").reset_index()
    gain = gain[gain["k"] == gain["k"].max()]
    for (score, kind), part in gain.groupby(["score", "chosen_for"]):
        wide = part.pivot(index="scene", columns="question_kind", values="gain")
        (other,) = wide.columns.drop(kind)
        interval = stats.bootstrap((wide[kind] - wide[other]).to_numpy(), seed=seed)._asdict()
        means = dict(own=wide[kind].mean(), other=wide[other].mean())
        labels = dict(score=score, chosen_for=kind, question_kind=other, k=part["k"].iloc[0], n=len(wide))
        rows.append(labels | means | interval)
    return pd.DataFrame(rows)


def of_picture(taken, asked, seed=0):
    """Whether units carry an answer from the picture, or raise a word whatever it shows: a row a score and kind.

    `right`: what an answer loses without its units where it is right, `wrong`: where it is wrong, and their difference
    `value, low, high` (logits, `n` scenes).  Answers count alike, so an answer whose units always do more falls out.
    """
    found = by_scene(taken)["drop"].dropna(subset="wrong").reset_index()
    rows = []
    for (score, kind), own in found.groupby(["score", "chosen_for"]):
        answers = asked[asked["question_kind"] == kind].set_index("scene")["answer"][own["scene"]]
        weight = balance(answers)
        right, wrong = weight * own["first"].to_numpy(), weight * own["wrong"].to_numpy()
        interval = stats.bootstrap(right - wrong, seed=seed)._asdict()
        labels = dict(score=score, chosen_for=kind, question_kind=kind, k=own["k"].iloc[0], n=len(own))
        rows.append(labels | dict(right=right.mean(), wrong=wrong.mean()) | interval)
    return pd.DataFrame(rows)


def loudness(taken, seed=0):
    """How much of what the first units write their matches write, by score and kind: `value, low, high`, `k`, `n`.

    A ratio of means over scenes, at the largest count; 1 where the match is perfect.
    """
    part = taken[(taken["question_kind"] == taken["chosen_for"]) & (taken["k"] == taken["k"].max())]
    wide = part.groupby(["score", "chosen_for", "scene", "units"])["written"].mean().unstack("units")
    rows = []
    for (score, kind), own in wide.groupby(["score", "chosen_for"]):
        found = stats.bootstrap(own[["matched", "first"]].to_numpy(), _share, seed=seed)._asdict()
        rows.append(dict(score=score, chosen_for=kind, question_kind=kind, k=part["k"].iloc[0], n=len(own)) | found)
    return pd.DataFrame(rows)


def first_blocks(measured, asked, score, kind, count):
    """The first and the last block that hold first units for the answers of a kind, by their mean over all scenes."""
    layers = set()
    for answer in asked.loc[asked["question_kind"] == kind, "answer"].unique():
        layers |= set(first_units(measured, mean_scores(measured, asked, score, kind, answer), count)["layer"])
    return min(layers), max(layers)


def balance(answers):
    """Weights of mean 1 with which every answer counts alike: `[row]`."""
    sizes = answers.groupby(answers.to_numpy()).transform("size").to_numpy()
    return len(answers) / answers.nunique() / sizes


def accuracy(measured, asked, seed=0):
    """How often the model's preferred answer is right, by kind: `value, low, high`, `chance` and `n`.

    `value` is the mean over the right answers of the share answered so: an answer that is always given scores `chance`,
    one over the number of answers that are right somewhere.  Where all or none are right, a bootstrap has no width, and
    the interval is the exact one of as many scenes.
    """
    rows = []
    right = pd.Series(measured.given == asked["answer"].to_numpy(), index=asked.index, dtype=float)
    for kind, own in asked.groupby("question_kind"):
        weight = balance(own["answer"])
        weighed = np.stack([right[own.index].to_numpy() * weight, weight], axis=1)
        alike = right[own.index].nunique() == 1
        found = (share(right[own.index]) if alike else stats.bootstrap(weighed, _share, seed=seed))._asdict()
        rows.append(dict(question_kind=kind, chance=1 / own["answer"].nunique(), n=len(own)) | found)
    return pd.DataFrame(rows)


def _share(values, axis):
    """A weighted mean, of values and their weights: within 0..1 also in a resample that holds heavy scenes twice."""
    mean = values.mean(axis)
    return mean[..., 0] / mean[..., 1]
