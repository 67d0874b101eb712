"""What taking units out comes to: means over scenes with their intervals, against random units and on other questions.

First and random units of one scene are a pair, and so are the two questions about one scene, so differences are taken
within scenes and scenes are what is resampled.
"""

import numpy as np
import pandas as pd

from medlib import stats

SET = ["score", "chosen_for", "question_kind", "k"]
METRICS = ("drop", "lost")


def by_scene(taken):
    """One row a scene, question and set: `drop` and `lost` of the first units, of the random ones (mean over draws)."""
    return taken.groupby([*SET, "scene", "units"])[list(METRICS)].mean().unstack("units")


def effects(taken, seed=0):
    """The effect of taking units out, for each set of units: rows of `SET`, `metric`, `units`, `value, low, high, n`.

    >>> effects(take_out(...)).query("units == 'difference' and metric == 'drop'")

    `units`: "first", "random", and "difference", first less random; intervals over scenes.
    """
    rows = []
    for key, own in by_scene(taken).groupby(SET):
        for metric in METRICS:
            both = {name: own[metric, name].to_numpy() for name in ("first", "random")}
            both["difference"] = both["first"] - both["random"]
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


def balance(answers):
    """Weights of mean 1 with which every answer counts alike: `[row]`."""
    sizes = answers.groupby(answers.to_numpy()).transform("size").to_numpy()
    return len(answers) / answers.nunique() / sizes


def accuracy(measured, asked, seed=0):
    """How often the model's preferred answer is right, by kind: `value, low, high`, `chance` and `n`.

    `value` is the mean over the right answers of the share answered so: an answer that is always given scores `chance`,
    one over the number of answers that are right somewhere.
    """
    rows = []
    right = pd.Series(measured.given == asked["answer"].to_numpy(), index=asked.index, dtype=float)
    for kind, own in asked.groupby("question_kind"):
        weight = balance(own["answer"])
        weighed = np.stack([right[own.index].to_numpy() * weight, weight], axis=1)
        found = stats.bootstrap(weighed, _share, seed=seed)._asdict()
        rows.append(dict(question_kind=kind, chance=1 / own["answer"].nunique(), n=len(own)) | found)
    return pd.DataFrame(rows)


def _share(values, axis):
    """A weighted mean, of values and their weights: within 0..1 also in a resample that holds heavy scenes twice."""
    mean = values.mean(axis)
    return mean[..., 0] / mean[..., 1]
