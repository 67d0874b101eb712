"""Steps along a number line: is the one from 17 to 18 longer than numerals, the control and chance explain?

The logarithm of each step is regressed on what numerals do by themselves and on the same step of a control
(`breaks`).  What is left scatters more among small numbers than among large ones, so a step is held against the steps
near it (`evened`) before steps are ranked; without that, a small number ranks high too often by chance alone.
"""

import numpy as np
import pandas as pd

from medlib import geometry, stats
from medlib.chapters import atlas
from medlib.chapters.ages.number_line import FAMILIES
from medlib.errors import MedlibError

NEAR = 20  # steps that a step is held against; fewer make its spread unsure, more mix small numbers with large ones
AGAINST = {
    kind: other for kinds, other in zip(FAMILIES.values(), [*FAMILIES.values()][::-1], strict=True) for kind in kinds
}
FELLOW = {kind: [fellow] for a, b in FAMILIES.values() for kind, fellow in ((a, b), (b, a))}


def step_table(x, rows, apart=1):
    """Every step from a number to the next, for each kind of rows: `kind`, `step` (its lower number), `log_length`.

    With `apart` 2, steps to the next but one: where one number lies off the line, the steps to it and from it are long,
    and the step past it is not; where the line breaks, the step past is long too.  `token_change` is how many tokens
    the item grows by, for rows with a column `tokens`.  Raises `MedlibError` where two numbers have the same state.
    """
    tables = []
    for kind, part in rows.reset_index(drop=True).groupby("kind", sort=False):
        value, centre = geometry.centroids(x[part.index], part["value"])
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
    `residual` (log length) and `t`; a step that has a parameter for itself has t 0.
    Raises `MedlibError` where fewer than 5 steps are left over by the effects.
    """
    y = np.asarray(log_length, dtype=float)
    basis = _basis(effects, len(y))
    free = len(y) - basis.shape[1] - 1
    if free < 4:
        raise MedlibError(f"{len(y)} steps and {basis.shape[1]} effects leave nothing to compare: give more steps")
    residual = y - basis @ (basis.T @ y)
    left = np.clip(1 - (basis**2).sum(axis=1), 0, None)
    own = left < 1e-8
    left[own] = 1
    variance = np.clip((residual**2).sum() - residual**2 / left, 0, None) / free
    t = np.divide(residual, np.sqrt(variance * left), out=np.zeros(len(y)), where=(variance > 0) & ~own)
    return pd.DataFrame({"residual": residual, "t": t})


def _basis(effects, n):
    """Orthogonal columns that span a constant and the effects, [step, column]."""
    design = np.column_stack([np.ones(n), np.asarray(effects, dtype=float)])
    size = np.abs(design).max(axis=0)
    basis, strength, _ = np.linalg.svd(design / np.where(size > 0, size, 1), full_matrices=False)
    return basis[:, strength > 1e-10 * strength[0]]


def evened(t):
    """Each step's t in units of the spread of the `NEAR` steps nearest to it, itself left out.

    >>> evened(over_layers.t)

    `t`: [step], in the order of the numbers, at least 3.  The steps of small numbers scatter about twice as widely as
    those of large ones, and a rank among all of them would call a small one outstanding too often.
    """
    t, spread = np.asarray(t, dtype=float), _near_spread(t)
    return np.divide(t, spread, out=np.zeros(len(t)), where=spread > 0)


def _near_spread(t):
    t = np.asarray(t, dtype=float)
    apart = np.abs(np.subtract.outer(np.arange(len(t)), np.arange(len(t)))).astype(float)
    np.fill_diagonal(apart, np.inf)
    near = np.argsort(apart, axis=1, kind="stable")[:, : min(NEAR, len(t) - 1)]
    return np.median(np.abs(t[near]), axis=1) / 0.6745  # as a normal standard deviation; one odd neighbour costs little


def ranked(value):
    """The share of the other steps below each (`percentile`, 0..100) and its one-sided rank p-value, itself counted."""
    value = np.asarray(value)
    longer = (value[:, None] <= value).sum(axis=1)
    return pd.DataFrame({"percentile": 100 * (1 - (longer - 1) / (len(value) - 1)), "p": longer / len(value)})


EFFECTS = ("control", "size", "digits", "tokens", "last")


def breaks(steps, against=AGAINST, effects=EFFECTS):
    """`standing_out` of every step of every kind in every cloud, with the steps of other kinds among the effects.

    >>> breaks(atlas.over(states, frame, step_table, layers, ["raw"]))

    `steps`: the table of `step_table` over clouds; `against`: kind -> the kinds whose mean log length is its control:
    people against routes and routes against people, the same test turned round; `effects`: which are taken out, of
    `control` and the columns of `numeral_effects` (`last` is all last digits).  Returns `layer`, `variant`, `kind`,
    `family`, `step`, what `standing_out` returns, `even` (`evened` t), and its `percentile` and `p` (`ranked`).
    """
    family_of = {kind: family for family, kinds in FAMILIES.items() for kind in kinds}
    tables = []
    for layer, variant, kind, wide, known in _regressions(steps, against, effects):
        found = standing_out(wide[kind], known)
        found["even"] = evened(found["t"])
        found = pd.concat([found, ranked(found["even"])], axis=1)
        family = family_of[kind]
        tables.append(found.assign(layer=layer, variant=variant, kind=kind, family=family, step=wide.index))
    return pd.concat(tables, ignore_index=True)


def _regressions(steps, against, effects):
    """For each cloud and kind: layer, variant, kind, the log lengths [step, kind] and the effects [step, effect]."""
    for (layer, variant), cloud in steps.groupby(["layer", "variant"], sort=False):
        wide = cloud.pivot(index="step", columns="kind", values="log_length")
        numerals = numeral_effects(wide.index, cloud.groupby("step")["token_change"].mean(), cloud["apart"].iloc[0])
        for kind, others in against.items():
            known = numerals.assign(control=wide[others].mean(axis=1))
            yield layer, variant, kind, wide, known[[name for name in known if name.split()[0] in effects]]


NUMERALS = {"9|10": 9, "99|100": 99, "a last digit 7|8": 7, "a turn of the decade": 19}


def numeral_lengths(steps, against=AGAINST):
    """How many times longer numerals make a step, as the regression fits it: what is taken out, to be seen.

    >>> numeral_lengths(steps).groupby("step")["factor"].mean()

    For 9|10 and 99|100 it is the effect of the digits and tokens that are added; for a last digit, its effect less the
    mean of all last digits.  Columns `layer`, `variant`, `kind`, `step` (a name of `NUMERALS`) and `factor`.
    """
    tables = []
    for layer, variant, kind, wide, known in _regressions(steps, against, EFFECTS):
        design = np.column_stack([np.ones(len(wide)), known])
        weight = pd.Series(np.linalg.lstsq(design, wide[kind])[0][1:], known.columns)
        added = known[["digits", "tokens"]] @ weight[["digits", "tokens"]]
        last = known.filter(like="last ") @ weight.filter(like="last ")
        for name, step in NUMERALS.items():
            usual = last[19:99]
            effect = added[step] if step in (9, 99) else last[step] - usual.mean()
            tables.append((layer, variant, kind, name, np.exp(effect)))
    return pd.DataFrame(tables, columns=["layer", "variant", "kind", "step", "factor"])


def factors_shown(factors):
    """`numeral_lengths` for a page: a row a step, a column a family, the mean and the range of the layers' means."""
    family_of = {kind: family for family, kinds in FAMILIES.items() for kind in kinds}
    table = factors.assign(family=factors["kind"].map(family_of))
    by_layer = table.groupby(["step", "family", "layer"], sort=False)["factor"].mean()
    spread = by_layer.groupby(["step", "family"], sort=False).agg(["mean", "min", "max"])
    said = spread.apply(lambda x: f"{x['mean']:.2f} ({x['min']:.2f} to {x['max']:.2f})", axis=1)
    return said.unstack("family")[list(FAMILIES)].loc[list(NUMERALS)]


def in_every_wording(found):
    """The p-value that a step stands out in every wording and kind, for each layer, and corrected over layers.

    `found`: rows of `breaks` of one family of kinds.  Returns `step`, `layer`, `p` (the largest one: Berger 1982, the
    intersection-union test) and `corrected` (Benjamini-Hochberg over the layers of a step).
    """
    largest = found.groupby(["step", "layer"], as_index=False)["p"].max()
    return largest.assign(corrected=largest.groupby("step")["p"].transform(stats.benjamini_hochberg))


def over_all(found):
    """How each step stands out over all layers, wordings and kinds: the mean t of each step, evened, and its rank.

    Returns one row a step, the most outstanding first: `step`, `t`, `even` (`evened` t), `low` and `high` (lowest and
    highest of the means over layers of a kind in a wording, in the same units), `rank` (1 is the most outstanding) and
    `p`, its share of the steps.
    """
    each = found.groupby(["step", "kind", "variant"])["t"].mean()
    table = each.groupby("step").agg(t="mean", low="min", high="max")
    table["even"] = evened(table["t"])
    table[["low", "high"]] = table[["low", "high"]].div(_near_spread(table["t"]), axis=0)
    table = table.sort_values("even", ascending=False)
    rank = np.arange(1, len(table) + 1)
    return table.assign(rank=rank, p=rank / len(table)).reset_index()


SMALL = 20  # steps that start below it scatter alike


def p_small(table, at):
    """The rank p-value of a step among those that start below 20, which scatter alike; at best 0.05.

    >>> p_small(over_all(found[found["family"] == "people"]), 17)

    `table`: of `over_all`; the mean t counts as it is.  Raises `MedlibError` for a step from 20 on.
    """
    if at >= SMALL:
        raise MedlibError(f"step {at} starts at {SMALL} or above; it is not one of the small ones")
    small = table[table["step"] < SMALL].set_index("step")["t"]
    return float((small >= small[at]).mean())


def rank_by(found, at, groups=FAMILIES):
    """Where a step ranks in `over_all` of some kinds: group -> rank, 1 the most outstanding.

    >>> rank_by(breaks(steps), 17)                        # {"people": 3, "routes": 98}
    """
    tables = {name: over_all(found[found["kind"].isin(kinds)]) for name, kinds in groups.items()}
    return {name: int(table.loc[table["step"] == at, "rank"].item()) for name, table in tables.items()}


CHOICES = {
    "nothing": (),
    "the control": ("control",),
    "and size, digits, tokens": EFFECTS[:-1],
    "and the last digit": EFFECTS,
}


def sensitivity(steps, past, at):
    """The rank of a step for each choice of what is taken out, one after the other, for each family and each kind.

    `steps`, `past`: `step_table` over clouds, one and two apart.  The last rows take the kind's fellow (men by women,
    roads by trails) as the control, and look at the step past the number.
    """
    groups = FAMILIES | {kind: [kind] for kind in AGAINST}
    table = {name: rank_by(breaks(steps, AGAINST, effects), at, groups) for name, effects in CHOICES.items()}
    table["all, by its fellow"] = rank_by(breaks(steps, FELLOW), at, groups)
    table[f"all, from {at} to {at + 2}"] = rank_by(breaks(past), at, groups)
    return pd.DataFrame(table).T.rename_axis("taken out")


def at_places(states, frame, layers):
    """`breaks` at each place of the prompt: `states`: place -> [state, prompt, hidden]; returns place -> table."""
    return {place: breaks(atlas.over(x, frame, step_table, layers, ["raw"])) for place, x in states.items()}
