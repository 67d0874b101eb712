"""The scores of every unit on every question, the units that they put first, and how far two scores agree.

A unit's score for an answer is its mean over the scenes in which that answer is right.  Where two scores agree, they
may do so because both prefer the same layers, so their agreement is held against units of the same layers too.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import stats as distributions

from medlib import stats
from medlib.chapters.multimodal_neurons.neuron_questions import tokens_of
from medlib.vision.multimodal_neurons import SCORES, every_score, random_units, units_by_layer
from medlib.vision.units import decoded
from medlib.vision.walk import Walk

RESAMPLES = 300  # each ranks all units twice


class Measured(NamedTuple):
    """`sites`: `layer`, `unit` of every unit; `scores`: score -> `[row, unit]`, float32; `given`: the answer that the
    model prefers in each row; `no_op`: the largest difference of the replayed logits from the model's own.
    """

    sites: pd.DataFrame
    scores: dict
    given: np.ndarray
    no_op: float


def measure(model, asked, prompts):
    """The scores of every unit for the right answer, on each row of `neuron_questions.choose`.

    >>> measure(model, asked, prompts).scores["gradient"].shape             # [row, unit]
    """
    found, given, gaps = {score: [] for score in SCORES}, [], []
    for row, prompt in zip(asked.itertuples(), prompts, strict=True):
        walk, tokens = Walk(model, prompt.inputs), tokens_of(model, prompt, row.answers)
        own = tokens[row.answers.index(row.answer)]
        for score, table in every_score(walk, prompt, own).items():
            found[score].append(table["score"].to_numpy(np.float32))
        given.append(row.answers[int(walk.logits[0, tokens].argmax())])
        gaps.append(walk.no_op)
    scores = {score: np.stack(rows) for score, rows in found.items()}
    return Measured(table[["layer", "unit"]], scores, np.array(given), max(gaps))


def mean_scores(measured, asked, score, kind, answer, half=None):
    """Each unit's mean score over the scenes where an answer is right, all or those of one half: `[unit]`."""
    rows = (asked["question_kind"] == kind) & (asked["answer"] == answer)
    if half is not None:
        rows &= asked["half"] == half
    return measured.scores[score][rows.to_numpy()].mean(0, dtype=np.float64)


def first_units(measured, means, count):
    """The `count` units with the highest mean score, highest first: `layer`, `unit`, `score`."""
    order = np.argsort(-means, kind="stable")[:count]
    return measured.sites.iloc[order].assign(score=means[order]).reset_index(drop=True)


def agreement(measured, asked, one, other, counts, seed=0):
    """How far two scores agree for each answer: rank correlation over units, and how many first units they share.

    Returns rows `question_kind`, `answer`, `metric`, `k`, `value`, `low`, `high`, `chance`, `n`: "ranks" (Spearman over
    all units), "ranks in layer" (the mean over layers of that within the layer), both with a bootstrap interval over
    scenes; and "shared" for each k of `counts`, the share of the k first units that both have, with the range that 95 %
    of draws give in which one's units are replaced by as many of the same layers (`low`, `high`) and their expectation
    (`chance`).  Answers right in fewer than three scenes are left out, since nothing can be resampled.
    """
    rows, layers = [], measured.sites["layer"].to_numpy()
    for (kind, answer), own in asked.groupby(["question_kind", "answer"]):
        if len(own) < 3:
            continue
        at = asked.index.get_indexer(own.index)
        a, b = (measured.scores[score][at] for score in (one, other))
        common = dict(question_kind=kind, answer=answer, n=len(own))
        for metric, groups in (("ranks", np.zeros_like(layers)), ("ranks in layer", layers)):
            interval = _rank_interval(a, b, groups, seed)
            rows.append(common | dict(metric=metric, k=None, chance=0.0, **interval._asdict()))
        for k in counts:
            tops = [np.argsort(-scores.mean(0, dtype=np.float64), kind="stable")[:k] for scores in (a, b)]
            rows.append(common | dict(metric="shared", k=k) | shared(*tops, layers))
    return pd.DataFrame(rows)


def _rank_interval(a, b, groups, seed):
    """Mean over groups of units of Spearman's correlation of two mean scores, scenes resampled: an `Interval`."""
    own = [np.flatnonzero(groups == group) for group in np.unique(groups)]

    def statistic(both, axis):
        means = both.mean(axis, dtype=np.float64)
        return np.mean([_spearman(means[..., units]) for units in own if len(units) > 2], axis=0)

    return stats.bootstrap(np.stack([a, b], axis=1), statistic, n=RESAMPLES, seed=seed)


def _spearman(both):
    """Spearman's correlation of two scores, `[.., 2, unit]`; 0 where one is the same for all units and ranks none."""
    ranks = distributions.rankdata(both, axis=-1)
    one, other = np.moveaxis(ranks - ranks.mean(-1, keepdims=True), -2, 0)
    norm = np.sqrt((one * one).sum(-1) * (other * other).sum(-1))
    return np.divide((one * other).sum(-1), norm, out=np.zeros_like(norm), where=norm > 0)


def shared(top, others, layers):
    """The share of units that two sets of one size have in common, beside that of units of the same layers.

    `top`, `others`: numbers of units; `layers`: each unit's layer.  Returns `value`, `chance`, and `low` to `high`, in
    which 95 % of draws lie: within a layer the number shared by chance is hypergeometric.
    """
    pmf, chance = np.ones(1), 0.0
    for layer in np.unique(layers[top]):
        size, one, two = (layers == layer).sum(), (layers[top] == layer).sum(), (layers[others] == layer).sum()
        of_layer = distributions.hypergeom(size, one, two).pmf(np.arange(min(one, two) + 1))
        pmf, chance = np.convolve(pmf, of_layer), chance + one * two / size
    total = pmf.cumsum()
    low, high = (int(np.searchsorted(total, tail)) for tail in (0.025, 0.975))
    k = len(top)
    return dict(
        value=len(np.intersect1d(top, others)) / k, chance=float(chance / k), low=low / k, high=min(high, k) / k
    )


def halves(measured, asked, score, counts):
    """Whether the two halves of the scenes choose the same units: rows as the "shared" ones of `agreement`."""
    rows, layers = [], measured.sites["layer"].to_numpy()
    for (kind, answer), own in asked.groupby(["question_kind", "answer"]):
        means = [mean_scores(measured, asked, score, kind, answer, half) for half in (0, 1)]
        for k in counts:
            tops = [np.argsort(-scores, kind="stable")[:k] for scores in means]
            found = dict(question_kind=kind, answer=answer, metric="shared", k=k, n=len(own))
            rows.append(found | shared(*tops, layers))
    return pd.DataFrame(rows)


def words(model, measured, asked, prompts, score, count, of_each=5):
    """What the first units of each answer write: `question_kind`, `answer`, `layer`, `unit`, `score`, `words`.

    The score is the mean over all scenes with that answer; `says` is whether the answer's first token is among the
    `of_each` words that the unit raises most (`units.decoded`, norms left out).
    """
    tables = []
    for (kind, answer), own in asked.groupby(["question_kind", "answer"]):
        top = first_units(measured, mean_scores(measured, asked, score, kind, answer), count)
        prompt = prompts[asked.index.get_loc(own.index[0])]
        token = tokens_of(model, prompt, [answer])[0]
        ids = of_units(model, top, of_each)
        pieces = [[model.tokenizer.decode([one]) for one in row] for row in ids.tolist()]
        told = [", ".join(piece.strip() or repr(piece) for piece in row) for row in pieces]
        tables.append(top.assign(question_kind=kind, answer=answer, words=told, says=(ids == token).any(1)))
    return pd.concat(tables, ignore_index=True)


def of_units(model, units, count):
    """The tokens that each unit of a table raises most: ids `[unit, count]`."""
    ids = np.zeros((len(units), count), dtype=int)
    at = np.arange(len(units))
    for layer, own in units.groupby("layer"):
        places = at[units.index.get_indexer(own.index)]
        ids[places] = decoded(model, layer, torch.tensor(own["unit"].tolist()), count).numpy()
    return ids


def words_of_random(model, asked, prompts, chosen, seed=0, of_each=5):
    """As many random units of the same layers as `chosen`, a table of `words`: with `says`, whether they write it."""
    random, tables = np.random.default_rng(seed), []
    for (kind, answer), own in chosen.groupby(["question_kind", "answer"]):
        drawn = random_units(model, units_by_layer(model, own), random)
        units = pd.DataFrame(
            [(layer, unit) for layer, some in drawn.items() for unit in some], columns=["layer", "unit"]
        )
        place = ((asked["question_kind"] == kind) & (asked["answer"] == answer)).to_numpy().argmax()
        token = tokens_of(model, prompts[place], [answer])[0]
        says = (of_units(model, units, of_each) == token).any(1)
        tables.append(units.assign(question_kind=kind, answer=answer, says=says))
    return pd.concat(tables, ignore_index=True)
