"""A number line: are ages, or miles, kept along a line, and where is the line bent or broken?

A line can be asked for in three ways.  Can a linear map read the number off states of numbers that it was not fitted on
(`readings`), and off other words, fitted on these (`transfers`)?  Does the cloud look like a line around each state
(`line_likeness`)?  Is one step along it longer than numerals explain (`step_table`, `numeral_effects`, `standing_out`)?
The first three are measures for `atlas.over`: their rows have a `value` (the number) and a `kind` (man, woman, road,
trail).  Where values are tied to a number, the unit to resample is that number: columns `cluster`.
"""

import numpy as np
import pandas as pd

from medlib import geometry, stats
from medlib.errors import MedlibError
from medlib.geometry.points import centroids, points
from medlib.geometry.probe import ridge_transfer
from medlib.states import entity_tokens


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
    """The local anisotropy of a cloud after UMAP to 30 dimensions, and that of noise, drawn by several seeds.

    The noise is as in `line_likeness`.  Returns one row a seed: `seed`, `value`, `noise`.  Seconds for each seed.
    """
    table = []
    for seed in seeds:
        drawn = (
            geometry.spaces(cloud, seed=seed, umap=True)["umap30"] for cloud in (x, _noise_like(x, rows["kind"], seed))
        )
        table.append((seed, *(geometry.local_anisotropy(cloud, k) for cloud in drawn)))
    return pd.DataFrame(table, columns=["seed", "value", "noise"])


def _noise_like(x, kind, seed):
    """A Gaussian cloud around the mean of each kind, with as many points as `x` and its covariance within kinds."""
    x, kind = points(x), np.asarray(kind)
    middle = np.zeros_like(x)
    for name in np.unique(kind):
        middle[kind == name] = x[kind == name].mean(axis=0)
    _, strength, axes = np.linalg.svd(x - middle, full_matrices=False)
    draw = np.random.default_rng(seed).normal(size=(len(x), len(strength))) / np.sqrt(len(x))
    return middle + draw * strength @ axes


def token_counts(model, frame):
    """How many tokens the item of each prompt takes, [prompt]: a step that adds one has a cause in the tokenizer."""
    return np.array([np.ptp(entity_tokens(model, prompt)) for prompt in frame["prompt"]])


def step_table(x, rows, apart=1):
    """Every step from a number to the next, for each kind of rows: `kind`, `step` (its lower number), `log_length`.

    With `apart` 2, steps to the next but one: where one number lies off the line, the steps to it and from it are long,
    and the step past it is not; where the line breaks, the step past is long too.  `token_change` is how many tokens
    the item grows by, for rows with a column `tokens`.  Raises `MedlibError` where two numbers have the same state.
    """
    tables = []
    for kind, part in rows.reset_index(drop=True).groupby("kind", sort=False):
        value, centre = centroids(x[part.index], part["value"])
        length = np.linalg.norm(centre[apart:] - centre[:-apart], axis=1)
        if not length.all():
            raise MedlibError(f"{kind}: nothing moves from {value[length.argmin()]:g} on: its prompts are the same")
        table = pd.DataFrame({"kind": kind, "step": value[:-apart].astype(int), "log_length": np.log(length)})
        tokens = part.groupby("value")["tokens"].mean().to_numpy() if "tokens" in part else np.zeros(len(value))
        tables.append(table.assign(apart=apart, token_change=tokens[apart:] - tokens[:-apart]))
    return pd.concat(tables, ignore_index=True)


def numeral_effects(lower, token_change, apart=1):
    """What a numeral does to a step, whatever it counts: a column for each effect, a row for each step.

    >>> numeral_effects([8, 9, 17, 99], [0, 1, 0, 1])

    `digits` is the number of digits that are added (9|10, 99|100), `last` the last digit that is left: one column for
    each but 0, so the step 17|18 is held against 7|8, 27|28 and so on, and `last 9` is the turn of a decade.  `size` is
    the logarithm of the number plus one: large numbers may lie closer.  `tokens` is the growth of the item in tokens.
    `apart` as `step_table`.
    """
    lower = np.asarray(lower, dtype=int)
    names = {
        "digits": [len(str(a + apart)) - len(str(a)) for a in lower],
        "size": np.log1p(lower),
        "tokens": np.asarray(token_change),
    }
    last = {f"last {digit}": (lower % 10 == digit).astype(float) for digit in range(1, 10)}
    return pd.DataFrame({**names, **last}, index=pd.Index(lower, name="step"), dtype=float)


def standing_out(log_length, effects):
    """By how much each step is longer than a regression on its `effects` says: the studentised residual of each step.

    >>> standing_out(table.log_length, numeral_effects(table.step, table.token_change).assign(control=control))

    `log_length`: [step]; `effects`: [step, effect].  Each residual is divided by its standard error with the step
    itself left out of the fit (externally studentised: Cook & Weisberg 1982), so a step that a parameter is fitted to,
    such as 99|100, does not look small.  Effects that are the same as others cost nothing.  Returns a frame with
    `residual` (log length), `t`, `percentile` (share of the other steps with a smaller t, 0..100) and `p` (one-sided
    rank p-value, counting the step itself).  A step that has a parameter for itself has t 0.
    Raises `MedlibError` where fewer than 5 steps are left over by the effects.
    """
    y = np.asarray(log_length, dtype=float)
    design = np.column_stack([np.ones(len(y)), np.asarray(effects, dtype=float)])
    size = np.abs(design).max(axis=0)
    basis, strength, _ = np.linalg.svd(design / np.where(size > 0, size, 1), full_matrices=False)
    basis = basis[:, strength > 1e-10 * strength[0]]
    free = len(y) - basis.shape[1] - 1
    if free < 4:
        raise MedlibError(f"{len(y)} steps and {basis.shape[1]} effects leave nothing to compare: give more steps")
    residual = y - basis @ (basis.T @ y)
    left = np.clip(1 - (basis**2).sum(axis=1), 0, None)
    own = left < 1e-8
    left[own] = 1
    variance = np.clip((residual**2).sum() - residual**2 / left, 0, None) / free
    t = np.divide(residual, np.sqrt(variance * left), out=np.zeros(len(y)), where=(variance > 0) & ~own)
    longer = (t[:, None] <= t).sum(axis=1)  # counts the step itself
    return pd.DataFrame(
        {
            "residual": residual,
            "t": t,
            "percentile": 100 * (1 - (longer - 1) / (len(y) - 1)),
            "p": longer / len(y),
        }
    )


EFFECTS = ("control", "size", "digits", "tokens", "last")


def breaks(steps, against, effects=EFFECTS):
    """`standing_out` of every step of every kind in every cloud, with the steps of other kinds among the effects.

    >>> breaks(atlas.over(states, frame, step_table, layers, ["raw"]), {"man": ["road", "trail"], "road": ["trail"]})

    `steps`: the table of `step_table` over clouds; `against`: kind -> the kinds whose mean log length is its control;
    `effects`: which are taken out, of `control` and the columns of `numeral_effects` (`last` is all last digits).
    Returns `layer`, `variant`, `kind`, `step` and what `standing_out` returns.
    """
    tables = []
    for (layer, variant), cloud in steps.groupby(["layer", "variant"], sort=False):
        wide = cloud.pivot(index="step", columns="kind", values="log_length")
        numerals = numeral_effects(wide.index, cloud.groupby("step")["token_change"].mean(), cloud["apart"].iloc[0])
        for kind, others in against.items():
            known = numerals.assign(control=wide[others].mean(axis=1))
            known = known[[name for name in known if name.split()[0] in effects]]
            found = standing_out(wide[kind], known)
            tables.append(found.assign(layer=layer, variant=variant, kind=kind, step=wide.index))
    return pd.concat(tables, ignore_index=True)


def in_every_wording(found):
    """The p-value that a step stands out in every wording and kind, for each layer, and corrected over layers.

    `found`: rows of `breaks` of one family of kinds.  Returns `step`, `layer`, `p` (the largest one: Berger 1982, the
    intersection-union test) and `corrected` (Benjamini-Hochberg over the layers of a step).
    """
    largest = found.groupby(["step", "layer"], as_index=False)["p"].max()
    return largest.assign(corrected=largest.groupby("step")["p"].transform(stats.benjamini_hochberg))


def over_all(found):
    """How each step stands out over all layers, wordings and kinds: the mean t of each step, and its rank.

    Returns one row a step, the most outstanding first: `step`, `t`, `low` and `high` (lowest and highest of the means
    over layers of a kind in a wording), `rank` (1 is the most outstanding) and `p`, its share of the steps.
    """
    each = found.groupby(["step", "kind", "variant"])["t"].mean()
    table = each.groupby("step").agg(t="mean", low="min", high="max").sort_values("t", ascending=False)
    rank = np.arange(1, len(table) + 1)
    return table.assign(rank=rank, p=rank / len(table)).reset_index()


def rank_by(found, at, groups):
    """Where a step ranks in `over_all` of some kinds: group -> rank, 1 the most outstanding.

    >>> rank_by(breaks(steps, against), 17, {"people": ["man", "woman"], "routes": ["road", "trail"]})
    """
    tables = {name: over_all(found[found["kind"].isin(kinds)]) for name, kinds in groups.items()}
    return {name: int(table.loc[table["step"] == at, "rank"].item()) for name, table in tables.items()}
