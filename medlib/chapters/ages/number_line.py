"""A number line: are ages, or miles, kept along a line?

A line can be asked for in two ways.  Can a linear map read the number off states of numbers that it was not fitted on
(`readings`), and off other words, fitted on these (`transfers`)?  Does the cloud look like a line around each state
(`line_likeness`)?  They are measures for `atlas.over`: their rows have a `value` (the number) and a `kind` (man, woman,
road, trail).  Where values are tied to a number, the unit to resample is that number: columns `cluster`.
"""

import numpy as np
import pandas as pd

from medlib import concepts, geometry, summary
from medlib.chapters import atlas
from medlib.errors import MedlibError
from medlib.geometry.points import points
from medlib.geometry.probe import ridge_transfer
from medlib.states import entity_tokens

FAMILIES = {"people": ["man", "woman"], "routes": ["road", "trail"]}
FAMILY_OF = {"age": "people", "numbers": "routes"}
DOMAIN_OF = {family: domain for domain, family in FAMILY_OF.items()}
TASKS = {
    "men to women": (["man"], ["woman"]),
    "women to men": (["woman"], ["man"]),
    "road to trail": (["road"], ["trail"]),
    "trail to road": (["trail"], ["road"]),
    "ages to miles": (FAMILIES["people"], FAMILIES["routes"]),
    "miles to ages": (FAMILIES["routes"], FAMILIES["people"]),
}


def rows(model):
    """The prompts of ages and of miles, with `value`, `kind`, `domain`, `family` and `tokens`, those of the item."""
    columns = {"age": "value", "number": "value", "sex": "kind"}
    parts = [concepts.prompts(domain).rename(columns=columns).assign(domain=domain) for domain in FAMILY_OF]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(family=frame["domain"].map(FAMILY_OF), tokens=token_counts(model, frame))


def token_counts(model, frame):
    """How many tokens the item of each prompt takes, [prompt]: a step that adds one has a cause in the tokenizer."""
    return np.array([np.ptp(entity_tokens(model, prompt)) for prompt in frame["prompt"]])


def by_domain(frame, states, measure, layers, spaces=("raw",), **arguments):
    """`atlas.over` for each domain by itself, under each other, with a column `domain`."""
    parts = []
    for domain, part in frame.groupby("domain"):
        found = atlas.over(states[:, part.index], part, measure, layers, spaces, **arguments)
        parts.append(found.assign(domain=domain))
    return pd.concat(parts, ignore_index=True)


def age_less_miles(reading, seed=0):
    """By how much ages are read better than miles, by layer, with its interval over numbers: paired by number.

    `reading`: of `readings` by `by_domain`.
    """
    each = reading.groupby(["domain", "cluster", "variant", "layer"])["explained"].mean().unstack("domain")
    table = each.assign(difference=each["age"] - each["numbers"]).reset_index().rename(columns={"cluster": "item"})
    return summary.by_layer(table, "difference", seed=seed)


def spread_out(layers, n):
    """`n` of the layers, evenly between the first and the last, without these.

    >>> spread_out(range(1, 31), 3)
    [8, 15, 23]
    """
    at = np.linspace(0, len(layers) - 1, n + 2).astype(int)[1:-1]
    return sorted({layers[i] for i in at})


def readings(x, rows, n_shuffles=5, seed=0):
    """What a ridge probe reads off each state, fitted on the other numbers: all rows of a number stay in one fold.

    Returns `item`, `cluster` (the number), `kind`, `residual` (what is read minus the number), `explained`, the share
    of the variance of the numbers that is explained at this row (its mean is R2), and `control`, the same for
    `n_shuffles` control tasks.
    """
    targets = _with_control_tasks(rows["value"], n_shuffles, seed)
    read = geometry.ridge_probe(x, targets, seed, groups=rows["value"])["predictions"]
    share = 1 - (read - targets) ** 2 / targets.var(axis=0)
    table = rows[["item", "kind"]].assign(cluster=rows["value"], residual=read[:, 0] - targets[:, 0])
    return table.assign(explained=share[:, 0], control=share[:, 1:].mean(axis=1))


def transfers(x, rows, pairs, n_shuffles=5, seed=0):
    """How well a probe that was fitted on some kinds of rows orders the numbers of others.

    >>> atlas.over(states, frame, transfers, layers, ["raw"], pairs={"men to women": (["man"], ["woman"])})

    `pairs`: name -> (kinds to fit on, kinds to read).  Returns `task`, `item`, `cluster`, `ordered`, the share of the
    other numbers that are read on the right side of this one (a half by chance; it asks for no scale, since other words
    may stretch a line), and `control`, the same for `n_shuffles` control tasks.
    """
    kind = rows["kind"].to_numpy()
    targets = _with_control_tasks(rows["value"], n_shuffles, seed)
    tables = []
    for task, (here, there) in pairs.items():
        fitted, read = np.isin(kind, here), np.isin(kind, there)
        if not (fitted.any() and read.any()):
            raise MedlibError(f"{task}: kinds are {', '.join(sorted(set(kind)))}; {here} or {there} has no rows")
        predicted = ridge_transfer(x[fitted], targets[fitted], x[read], seed, groups=targets[fitted, 0])
        right = np.column_stack([ordered(*both) for both in zip(predicted.T, targets[read].T, strict=True)])
        table = rows.loc[read, ["item"]].assign(task=task, cluster=rows["value"])
        tables.append(table.assign(ordered=right[:, 0], control=right[:, 1:].mean(axis=1)))
    return pd.concat(tables)


def _with_control_tasks(value, n, seed):
    """The numbers, and `n` control tasks beside them, [row, 1 + n] (Hewitt & Liang 2019).

    In a control task each number gets the name of another one, the same for all kinds of rows, so that a probe which
    merely tells numerals apart succeeds there as well.  All are read with the penalty chosen for the true numbers.
    """
    number, place = np.unique(value, return_inverse=True)
    generator = np.random.default_rng(seed)
    return np.column_stack([number, *(generator.permutation(number) for _ in range(n))]).astype(float)[place]


def ordered(read, value):
    """For each row, the share of the rows of other numbers that are read on the right side of it; a tie is half."""
    right = np.sign(np.subtract.outer(read, read)) * np.sign(np.subtract.outer(value, value))
    other = np.not_equal.outer(value, value)
    return ((1 + right) / 2 * other).sum(axis=1) / other.sum(axis=1)


def line_likeness(x, rows, k=20, seed=0):
    r"""Each state's local anisotropy, $1-\lambda_2/\lambda_1$ over its `k` nearest neighbours, and that of noise.

    `geometry.local_anisotropy` is its mean.  The noise is a Gaussian cloud around the mean of each kind, of as many
    points and with the same covariance: a cloud that is long in one direction is line-like without any line in it.
    Returns `item`, `cluster`, `kind`, `value` and `noise`, the mean over one draw of the noise.
    """
    table = rows[["item", "kind"]].assign(cluster=rows["value"], value=geometry.local_anisotropies(x, k))
    return table.assign(noise=geometry.local_anisotropy(_noise_like(x, rows["kind"], seed), k))


def in_umap(x, rows, seeds, k=20):
    """The local anisotropy of a cloud after UMAP to 30 dimensions by several seeds, and that of noise by the first.

    The noise is as in `line_likeness`.  Returns one row a seed: `seed`, `value`, `noise` (null but for the first seed).
    Seconds for each fit.
    """
    clouds = [(seed, "value", x) for seed in seeds] + [(seeds[0], "noise", _noise_like(x, rows["kind"], seeds[0]))]
    found = pd.DataFrame({"seed": list(seeds), "value": np.nan, "noise": np.nan}).set_index("seed")
    for seed, column, cloud in clouds:
        drawn = geometry.umap(cloud, seed=seed)
        found.loc[seed, column] = geometry.local_anisotropy(drawn, k)
    return found.reset_index()


def _noise_like(x, kind, seed):
    """A Gaussian cloud around the mean of each kind, with as many points as `x` and its covariance within kinds."""
    x, kind = points(x), np.asarray(kind)
    middle = np.zeros_like(x)
    for name in np.unique(kind):
        middle[kind == name] = x[kind == name].mean(axis=0)
    _, strength, axes = np.linalg.svd(x - middle, full_matrices=False)
    draw = np.random.default_rng(seed).normal(size=(len(x), len(strength))) / np.sqrt(len(x))
    return middle + draw * strength @ axes
