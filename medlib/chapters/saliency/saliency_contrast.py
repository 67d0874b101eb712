"""Saliency of medical questions against that of others: which questions, and what of a ratio can be read.

The ratio of two curves has a level and a shape.  Its level hangs on how likely the answers are, for log p of an
unlikely answer has steeper slopes in every weight.  So the level is reported, and what is tested is the shape: a
prompt's log saliency less its own mean over blocks, which no factor common to all blocks can move.
"""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from medlib import concepts, stats, summary
from medlib.errors import MedlibError
from medlib.prompts import answer_token
from medlib.saliency import KINDS, saliency_sweep

FEWEST = 3  # clusters: fewer have no interval
ANSWERS = ("own", "other")


def ask(model, domain, n_items, seed=0):
    """Questions of `n_items` items in all their templates, each with an answer that is right for another item.

    >>> ask(model, "drugs", 16)[["prompt", "answer", "other"]]

    Items are drawn evenly over the domain's clusters.  To the columns of `concepts.questions` it adds `other`: among
    the items drawn, in the order of their answers, that of the one half the list on, or the next that begins with
    another token and could not be right too, or the first such of the whole domain.  An item without is left out.
    Raises `MedlibError` where fewer than three clusters are left.
    """
    if n_items < FEWEST:
        raise MedlibError(f"n_items is {n_items}; an interval needs at least {FEWEST} items: give more.")
    questions = concepts.questions(domain)
    items = questions.drop_duplicates("item")
    items = items.assign(first=[answer_token(model, row.prompt, row.answer) for row in items.itertuples()])
    items = items.sort_values(["answer", "item"], kind="stable")
    chosen = items.loc[sorted(spread(items, n_items, seed).index, key=items.index.get_loc)]
    others = {item: _other(chosen, place, items) for place, item in enumerate(chosen["item"])}
    asked = questions.assign(other=questions["item"].map(others)).dropna(subset="other").reset_index(drop=True)
    if (left := asked["cluster"].nunique()) < FEWEST:
        alike = "all answers begin with the same token" if items["first"].nunique() == 1 else "the others lack one"
        raise MedlibError(
            f"{domain}: of {len(chosen)} items drawn, in {chosen['cluster'].nunique()} clusters, {left} clusters have "
            f"an answer and, for comparison, an answer of another item that is wrong for them ({alike}); saliency "
            f"needs {FEWEST}. Draw more items (n_items), or add rows to the domain's table whose answers differ."
        )
    return asked


def spread(items, n, seed=0):
    """`n` rows drawn at random, no cluster a second time before every cluster has been drawn once.

    >>> spread(questions.drop_duplicates("item"), 8)
    """
    shuffled = items.sample(frac=1, random_state=seed)
    turn = shuffled.groupby("cluster").cumcount()
    return shuffled.loc[turn.sort_values(kind="stable").index[:n]]


def _other(chosen, place, every):
    """An answer that is wrong for an item: another drawn item's, half the list on or later, else any item's at all."""
    own, half = chosen.iloc[place], place + len(chosen) // 2
    drawn = [chosen.iloc[(half + step) % len(chosen)] for step in range(len(chosen))]
    for other in (*drawn, *(row for _, row in every.iterrows())):
        if other["first"] != own["first"] and other["answer"] not in own["also"]:
            return other["answer"]
    return None


def measure(model, questions):
    """Saliency of the questions of `ask`, with their own answers and with the others.

    >>> table = measure(model, ask(model, "drugs", 16))
    >>> summary.by_layer(select(table, kind="weight_grad"), "saliency")

    Returns the columns of `saliency_sweep`, with `answer` "own" or "other", the questions' `item`, `variant` and
    `cluster`, and `log`, the log of the saliency.
    """
    answers = {"own": list(questions["answer"]), "other": list(questions["other"])}
    found = saliency_sweep(model, list(questions["prompt"]), answers)
    table = found.join(questions[["item", "variant", "cluster"]].reset_index(drop=True), on="prompt")
    table.attrs = found.attrs
    return table.assign(log=np.log(table["saliency"]))


def select(table, answer="own", kind="grad", module="block"):
    """The rows of `measure` that are one curve a prompt."""
    return table[(table["answer"] == answer) & (table["kind"] == kind) & (table["module"] == module)]


def curves(tables, seed=0):
    """The mean curve of each domain with each answer and kind: (domain, answer, kind) -> `summary.by_layer`."""
    return {
        (name, answer, kind): summary.by_layer(select(table, answer, kind), "saliency", seed=seed)
        for name, table in tables.items()
        for answer in ANSWERS
        for kind in KINDS
    }


def against_controls(of, tables, controls, seed=0):
    """`ratio` or `level` of each medical domain and its control, with both answers: (domain, answer) -> result.

    >>> against_controls(level, tables, {"drugs": "foods"})["drugs", "own"]
    """
    return {
        (domain, answer): of(tables[domain], tables[control], seed, answer=answer)
        for domain, control in controls.items()
        for answer in ANSWERS
    }


def ratio(medical, control, seed=0, **which):
    """Saliency on medical prompts over that on control prompts, layer by layer, with its interval.

    >>> ratio(tables["drugs"], tables["foods"], answer="other", kind="grad")

    `which` is handed to `select`.  The ratio is of geometric means; clusters of both domains are resampled.
    """
    logs = summary.difference_by_layer(select(medical, **which), select(control, **which), "log", seed=seed)
    return logs.assign(**np.exp(logs[["value", "low", "high"]]))


def level(medical, control, seed=0, **which):
    """The ratio's level, its geometric mean over layers: an `Interval` over the clusters of both domains."""
    parts = [select(table, **which).groupby(["cluster", "prompt"])["log"].mean() for table in (medical, control)]
    groups = [part.index.get_level_values("cluster") for part in parts]
    found = stats.bootstrap_difference(*(part.to_numpy() for part in parts), seed=seed, groups=groups)
    return stats.Interval(*map(float, np.exp(found)))


def shape(table, answer="own", kind="grad"):
    """Log saliency of each prompt, block and weight matrix, less the prompt's mean over blocks: column `shape`."""
    chosen = table[(table["answer"] == answer) & (table["kind"] == kind)]
    mean = chosen[chosen["module"] == "block"].groupby("prompt")["log"].mean()
    return chosen.assign(shape=chosen["log"] - chosen["prompt"].map(mean))


def moved(table, kind="grad"):
    """How the shape changes when the own answer takes the other's place: column `shape`."""
    own, other = (shape(table, answer, kind).reset_index(drop=True) for answer in ("own", "other"))
    return own.assign(shape=own["shape"] - other["shape"])


def compare_shapes(medical, control, n=4999, seed=0):
    """Where the shapes of two domains differ: for each weight matrix and layer, `value` (difference) and `p`.

    >>> found = compare_shapes(shape(tables["drugs"]), shape(tables["foods"]))
    >>> found[stats.benjamini_hochberg(found.p) < 0.05]

    `medical`, `control`: results of `shape` or `moved`.  `value` is the natural log of the ratio over its own mean;
    `p` is two-sided, from `n` permutations of the labels medical and control among the clusters of both.
    """
    parts = [
        part.groupby(["cluster", "layer", "module"], sort=False)["shape"].mean().unstack(["module", "layer"])
        for part in (medical, control)
    ]
    order = pd.MultiIndex.from_frame(medical[["module", "layer"]].drop_duplicates())
    parts = [part[order] for part in parts]
    curves, first = np.concatenate([part.to_numpy() for part in parts]), len(parts[0])
    weights = np.where(np.arange(len(curves)) < first, 1 / first, -1 / (len(curves) - first))
    drawn = np.random.default_rng(seed).permuted(np.tile(weights, (n, 1)), axis=1) @ curves
    value = weights @ curves
    p = stats.permutation_p(value, drawn, "two-sided")
    return parts[0].columns.to_frame(index=False).assign(value=value, p=p)


def compare_all(tables, controls, of=shape, n=4999, seed=0):
    """`compare_shapes` for each medical domain and its control, with the column `domain`.

    >>> compare_all(tables, {"drugs": "foods"}, moved)

    `tables`: domain -> result of `measure`; `of` makes shapes of one of them.
    """
    parts = [
        compare_shapes(of(tables[domain]), of(tables[control]), n, seed).assign(domain=domain)
        for domain, control in controls.items()
    ]
    return pd.concat(parts, ignore_index=True)


def tests(tables, controls, n=4999, seed=0):
    """The ratio's shape with own and with other answers, and its change from these to those: what -> `compare_all`."""
    of = {"own": shape, "other": lambda table: shape(table, "other"), "moved": moved}
    return {what: compare_all(tables, controls, function, n, seed) for what, function in of.items()}


def corrected(table, rate=0.05):
    """The table with `q`, its column `p` adjusted as one family (Benjamini & Hochberg), and `clear`: `q` below rate."""
    q = stats.benjamini_hochberg(table["p"])
    return table.assign(q=q, clear=q < rate)


def orders(tables, controls, seed=0):
    """How alike curves order the layers: what they are held against -> domain -> result.

    >>> orders(tables, {"drugs": "foods"})["other answers"]["drugs"].low

    "other answers" and "times weight": the same prompts with other items' answers, and each slope times its weight;
    "control": the domain's control; all three `Interval`s.  "templates": the rank correlation of the two least alike
    templates, NaN where there is one.  "peak": result of `peaks`.
    """
    own = {name: select(table) for name, table in tables.items()}

    def alike(domain, **which):
        return summary.rank_agreement(own[domain], select(tables[domain], **which), "saliency", seed)

    return {
        "other answers": {name: alike(name, answer="other") for name in tables},
        "times weight": {name: alike(name, kind="weight_grad") for name in controls},
        "control": {name: rank_between(own[name], own[control], seed=seed) for name, control in controls.items()},
        "templates": {name: least_alike(own[name]) for name in tables},
        "peak": {name: peaks(own[name], seed) for name in controls},
    }


def least_alike(table):
    """`summary.rank_of_templates` of the curve of `select`; NaN where there is one template only."""
    return summary.rank_of_templates(table, "saliency") if table["variant"].nunique() > 1 else np.nan


def rank_between(frame, other, column="saliency", n=2000, seed=0):
    """Rank correlation over layers of the mean curves of two domains, with its interval: an `Interval`.

    >>> rank_between(select(tables["drugs"]), select(tables["foods"]))

    The clusters of both are resampled; the interval holds the noise of both curves, so its ends lie rather low.
    """
    curves = [part.groupby(["cluster", "layer"])[column].mean().unstack().to_numpy() for part in (frame, other)]
    for part in curves:
        if len(part) < FEWEST:
            raise MedlibError(f"There are {len(part)} clusters; an interval needs at least {FEWEST}: give more items.")
    generator = np.random.default_rng(seed)
    means = [part[generator.integers(len(part), size=(n, len(part)))].mean(axis=1) for part in curves]
    ranks = [rankdata(part, axis=1) for part in means]
    ranks = [part - part.mean(axis=1, keepdims=True) for part in ranks]
    drawn = (ranks[0] * ranks[1]).sum(1) / np.sqrt((ranks[0] ** 2).sum(1) * (ranks[1] ** 2).sum(1))
    low, high = stats.limits(drawn, min(map(len, curves)))
    return stats.Interval(stats.spearman(*(part.mean(axis=0) for part in curves)), float(low), float(high))


def peaks(table, seed=0, n=2000):
    """The layer where the curve of `select` is highest, and its 95 % bootstrap interval.

    >>> peaks(select(tables["drugs"]))
    (1, 1, 2)
    """
    curves = table.groupby(["cluster", "layer"])["saliency"].mean().unstack()
    draws = np.random.default_rng(seed).integers(len(curves), size=(n, len(curves)))
    tops = curves.columns.to_numpy()[curves.to_numpy()[draws].mean(axis=1).argmax(axis=1)]
    low, high = stats.limits(tops, len(curves), method="nearest")
    return int(curves.mean().idxmax()), int(low), int(high)
