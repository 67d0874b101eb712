"""The order of the layers: with what the ranking of a domain's layers by their harm agrees, and how far it can.

The levels are two halves of a domain's own items, two of its own templates, and controls among each other.  What is
resampled is the unit of summary.py.  A resampled curve is noisier than the curve, so an interval of a rank correlation
lies lower than one of a mean would; `rank_of_halves` says how much of that is noise.
"""

from itertools import combinations, permutations, product

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from medlib import stats
from medlib.chapters.lesion.harm import unit_sums
from medlib.errors import MedlibError

HALVES, TEMPLATES, CONTROL, NEUTRAL = "two halves of its items", "two of its templates", "its control", "neutral text"
AGAINST = (HALVES, TEMPLATES, CONTROL, NEUTRAL)


def orders(tables, controls, texts, seed=0):
    """With what the order of a domain's layers agrees: `domain`, `variant` (one of `AGAINST`), `value`, `low`, `high`.

    `texts` is the table of `harm.neutral_text`.  A domain with one template has no row for two of them.
    """
    rows = []
    for domain, control in controls.items():
        found = {
            HALVES: rank_of_halves(tables[domain], "kl", seed),
            TEMPLATES: rank_of_wordings(tables[domain], "kl", seed),
            CONTROL: rank_between(tables[domain], tables[control], "kl", seed=seed),
            NEUTRAL: rank_between(tables[domain], texts, "kl", "rise", seed),
        }
        rows += [(domain, against, *interval) for against, interval in found.items() if interval]
    return pd.DataFrame(rows, columns=["domain", "variant", "value", "low", "high"]).assign(metric="rank_correlation")


def among_controls(tables, controls, column="kl"):
    """Rank correlation over layers of each control with each other one, and of each domain with the others' controls.

    >>> among_controls(tables, controls).groupby("domain")["value"].median()

    Returns `domain` ("a control" or a medical domain), `variant` (the control that it is held against), `value`: what
    sets of prompts that were not made for each other agree to.
    """
    mean = {name: table.groupby("layer")[column].mean().to_numpy() for name, table in tables.items()}
    others = [*dict.fromkeys(controls.values())]
    found = [
        ("a control", f"{one} with {other}", stats.spearman(mean[one], mean[other]))
        for one, other in combinations(others, 2)
    ]
    for domain, own in controls.items():
        found += [(domain, one, stats.spearman(mean[domain], mean[one])) for one in others if one != own]
    return pd.DataFrame(found, columns=["domain", "variant", "value"]).assign(metric="rank_unmatched")


def beyond_wording(tables, controls, column="kl", seed=0, n=2000):
    """Does a domain's order of layers agree with its control less than with another template of its own?

    >>> beyond_wording(tables, controls).query("low > 0")["domain"]      # the control does not explain all of it

    Both sides compare single templates on as many items, and never the same items: `own` is the mean rank correlation
    of a template on one half of the units with another on the other half, `control` that of a template on one half
    with one of the control's on a half of its units, both means over `n` random halves.  Returns `domain`, `variant`,
    `own`, `control`, and their difference as `value`, `low`, `high`: halves drawn anew and units resampled inside
    each, which is a wide interval.  A domain with one template is left out.
    """
    rows = []
    for domain, other in controls.items():
        parts, held = ([part for _, part in tables[name].groupby("variant")] for name in (domain, other))
        if len(parts) < 2:
            continue
        sides = {}
        for resample in (False, True):
            generator = np.random.default_rng(seed)
            (one, two), (there, _) = (_half_curves(side, column, generator, n, resample) for side in (parts, held))
            within = [_spearman(one[i], two[j]) for i, j in permutations(range(len(parts)), 2)]
            across = [_spearman(a, b) for a, b in product(one, there)]
            sides[resample] = np.mean(within, axis=0), np.mean(across, axis=0)
        own, control = (float(side.mean()) for side in sides[False])
        limits = np.quantile(np.subtract(*sides[True]), [0.025, 0.975])
        rows.append((domain, f"minus {other}", own, control, own - control, *map(float, limits)))
    columns = ["domain", "variant", "own", "control", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(metric="rank_own_minus_control")


def rank_between(frame, other, column, other_column=None, seed=0, n=2000):
    """Rank correlation over layers of the mean curves of two independent samples, with its interval.

    >>> rank_between(tables["drugs"], tables["foods"], "kl")

    Units of both are resampled.
    """
    generator = np.random.default_rng(seed)
    (one, size), (two, other_size) = (
        _resampled([part], name, generator, n) for part, name in ((frame, column), (other, other_column or column))
    )
    if one[0].shape != two[0].shape:
        raise MedlibError(f"The curves have {one[0].shape[1]} and {two[0].shape[1]} layers; give the same ones.")
    found = _spearman(one[0], two[0])
    return stats.Interval(float(found[0]), *map(float, stats.limits(found[1:], min(size, other_size))))


def rank_of_halves(frame, column, seed=0, n=500):
    """Rank correlation over layers between the mean curves of two halves of the units: median and 95 % of the splits.

    How well two curves of so few items agree where the questions and the templates are the same.
    """
    sums, sizes = unit_sums(frame, column)
    half = np.tile(np.arange(len(sums)) < len(sums) // 2, (n, 1))
    half = np.random.default_rng(seed).permuted(half, axis=1).astype(float)
    found = _spearman(*(one @ sums / (one @ sizes)[:, None] for one in (half, 1 - half)))
    return stats.Interval(float(np.median(found)), *map(float, np.quantile(found, [0.025, 0.975])))


def rank_of_wordings(frame, column, seed=0):
    """Rank correlation over layers between the mean curves of two templates: the median pair, with its interval.

    The level for an agreement between domains, whose templates differ.  None where there is one template only.
    """
    parts = [part for _, part in frame.groupby("variant")]
    found = sorted(rank_between(one, other, column, seed=seed) for one, other in combinations(parts, 2))
    return found[(len(found) - 1) // 2] if found else None


def _resampled(frames, column, generator, n):
    """Mean curves `[resample, layer]` of frames that share their units, the first one as it is; how many units."""
    sums = [unit_sums(frame, column) for frame in frames]
    units = len(sums[0][0])
    times = generator.multinomial(units, np.full(units, 1 / units), size=n)
    times[0] = 1  # as it is
    return [times @ total / (times @ sizes)[:, None] for total, sizes in sums], units


def _half_curves(frames, column, generator, n, resample):
    """Mean curves `[draw, layer]` of each frame on a random half of the units that they share, and on the other."""
    sums = [unit_sums(frame, column) for frame in frames]
    units = len(sums[0][0])
    order = generator.permuted(np.tile(np.arange(units), (n, 1)), axis=1)
    halves = []
    for chosen in (order[:, : units // 2], order[:, units // 2 :]):
        if resample:
            drawn = generator.integers(chosen.shape[1], size=chosen.shape)
            chosen = np.take_along_axis(chosen, drawn, axis=1)
        times = (chosen[:, :, None] == np.arange(units)).sum(1)
        halves.append([times @ total / (times @ sizes)[:, None] for total, sizes in sums])
    return halves


def _spearman(one, other):
    """Rank correlation of each curve with its partner: two tables `[pair, layer]`."""
    a, b = (rankdata(curves, axis=-1) for curves in (one, other))
    a, b = (ranks - ranks.mean(-1, keepdims=True) for ranks in (a, b))
    return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
