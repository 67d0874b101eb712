"""How far maps agree: techniques with each other, templates and halves of the items, domains and their controls.

Two curves are compared by rank over layers, two maps by the share of layers that they have in common, of all that
either holds.  Maps of a few long runs overlap by chance alone, so an overlap is read beside that of runs of the same
lengths put elsewhere at random.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from medlib import stats
from medlib.mapping import curves as read
from medlib.mapping import rules
from medlib.mapping.cells import Rows

VARIANTS = {  # other readings of the rules, one change at a time
    "not smoothed": dict(sigma=0.0),
    "sigma of 2 layers": dict(sigma=2.0),
    "upper 30 %": dict(quantile=0.7),
    "upper 20 %": dict(quantile=0.8),
    "window of 2": dict(window=2),
    "window of 4": dict(window=4),
}


def pairs_of_techniques(found, domain, seed=0, n=4999):
    """How far each two techniques agree on a domain.

    >>> pairs_of_techniques(found, "drugs")[["first", "second", "rank", "overlap", "p"]]

    One row a pair that both ran: `domain, first, second`, `rank` (rank correlation of their evidence over layers) with
    `rank_low, rank_high` (95 %, the items of each resampled apart), `overlap` of their maps, `chance` (its mean when
    the runs of both are put elsewhere) and `p` (how often that overlaps as much; one-sided).  The last three are NaN
    where one maps nothing.
    """
    generator, rows = np.random.default_rng(seed), []
    for first, second in combinations(read.TECHNIQUES, 2):
        a, b = found[domain, first], found[domain, second]
        if a.status != "run" or b.status != "run":
            continue
        drawn = ranks_alike(a.drawn_evidence, b.drawn_evidence)
        low, high = stats.limits(drawn, min(a.n, b.n))
        overlap, chance, p = against_chance([a.mask, b.mask], generator, n)
        rank = float(ranks_alike(a.evidence, b.evidence))
        rows.append((domain, first, second, rank, low, high, overlap, chance, p, len(a.mask)))
    columns = "domain first second rank rank_low rank_high overlap chance p n"
    return pd.DataFrame(rows, columns=columns.split())


def whole_domain(found, domain, seed=0, n=4999):
    """How far all techniques of a domain agree: `overlap` (mean over pairs), `low, high`, `chance`, `p`, `techniques`.

    The interval resamples the items of each technique apart.  It lies rather low, since resampling moves every map.
    """
    own = [found[domain, name] for name in read.TECHNIQUES]
    own = [one for one in own if one.status == "run"]
    if len(own) < 2:
        return dict.fromkeys(("overlap", "low", "high", "chance", "p"), np.nan) | dict(techniques=len(own))
    overlap, chance, p = against_chance([one.mask for one in own], np.random.default_rng(seed), n)
    drawn = mean_overlap([one.drawn for one in own])
    there = drawn[np.isfinite(drawn)]
    low, high = stats.limits(there, min(one.n for one in own)) if len(there) else (np.nan, np.nan)
    return dict(overlap=overlap, low=low, high=high, chance=chance, p=p, techniques=len(own))


def among_domains(found, controls, seed=0, n=4999):
    """Is a map the domain's own?  Overlap of each medical domain's map with its control's, and with other domains'.

    One row per domain and technique: `control` (overlap with the control's map), `others` (mean overlap with the other
    medical domains' maps), `chance` and `p` for the control as in `pairs_of_techniques`.  A map that overlaps as much
    with the control's says nothing of medicine.
    """
    generator, rows = np.random.default_rng(seed), []
    for domain, control in controls.items():
        for technique in read.TECHNIQUES:
            own = found[domain, technique]
            if own.status != "run":
                continue
            others = [found[name, technique] for name in controls if name != domain]
            shared = [float(rules.overlap(own.mask, one.mask)) for one in others if one.status == "run"]
            beside, held = (np.nan, np.nan, np.nan), found[control, technique]
            if held.status == "run":
                beside = against_chance([own.mask, held.mask], generator, n)
            rows.append((domain, technique, *beside, _mean(shared), len(own.mask)))
    return pd.DataFrame(rows, columns=["domain", "technique", "control", "chance", "p", "others", "n"])


def stability(tables, names, found, seed=0, n=200):
    """How far maps of the same domain and technique agree when something is changed that should not matter.

    `names`: domains; `found`: their cells.  One row per domain, technique and `change`: "half of the items" (two halves
    at random, mean and 95 % of `n` ways to halve), "template" (two templates, mean over pairs and their range), and
    each of `VARIANTS` that changes its rule, and "plain scale" where logarithms are compared (the new map beside the
    map).  `overlap, low, high`, `rank` (of the evidence, mean), `n` (ways, pairs of templates, or 1).
    """
    rows, generator = [], np.random.default_rng(seed)
    for domain in names:
        for technique in read.TECHNIQUES:
            measured = read.measured(tables, technique, domain)
            if measured.status == "run":
                parts = _changed(measured, found[domain, technique], generator, n)
                rows += [(domain, technique, *part) for part in parts]
    return pd.DataFrame(rows, columns=["domain", "technique", "change", "overlap", "low", "high", "rank", "n"])


def against_chance(masks, generator, n):
    """Mean overlap of the pairs of some masks; its mean with their runs elsewhere; how often that is as large."""
    observed = mean_overlap([mask[None] for mask in masks])[0]
    if np.isnan(observed):
        return np.nan, np.nan, np.nan
    null = mean_overlap([rules.placed(mask, n, generator) for mask in masks])
    null = null[np.isfinite(null)]
    return float(observed), float(null.mean()), stats.permutation_p(observed, null)


def mean_overlap(masks):
    """The overlap of each pair of masks `[draw, block]`, mean over the pairs that both map something: `[draw]`."""
    pairs = np.array([rules.overlap(a, b) for a, b in combinations(masks, 2)])
    there = np.isfinite(pairs)
    total = np.where(there, pairs, 0).sum(axis=0)
    return np.where(there.any(axis=0), total / np.maximum(there.sum(axis=0), 1), np.nan)


def ranks_alike(a, b):
    """Spearman's correlation along the last axis; 0 where a curve is flat."""
    a, b = (rankdata(part, axis=-1) for part in (a, b))
    a, b = (part - part.mean(-1, keepdims=True) for part in (a, b))
    size = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.where(size > 0, (a * b).sum(-1) / np.where(size > 0, size, 1), 0.0)


def _changed(measured, cell, generator, n):
    parts = []
    if measured.frame is not None and measured.n >= 6:
        rows = Rows.of(measured)
        order = np.array([generator.permutation(rows.n) for _ in range(n)])
        halves = rows.curves(order[:, : rows.n // 2]), rows.curves(order[:, rows.n // 2 :])
        parts.append(_two("half of the items", halves, measured.rule))
    if measured.by_template is not None and len(measured.by_template) > 1:
        curves = measured.by_template.to_numpy(dtype=float)
        a, b = zip(*combinations(curves, 2), strict=True)
        name, overlap, low, high, rank, count = _two("template", (np.array(a), np.array(b)), measured.rule, whole=True)
        parts.append((name, overlap, low, high, rank, count))
    curve = np.log(measured.curve) if measured.logarithmic else measured.curve
    for name, options in VARIANTS.items():
        unused = "window" if measured.rule == rules.LEVEL else "quantile"
        if unused not in options:
            parts.append(_beside(name, cell, curve, measured.rule, **options))
    if measured.logarithmic:
        parts.append(_beside("plain scale", cell, measured.curve, measured.rule))
    return parts


def _two(name, pairs, rule, whole=False):
    """Overlap and rank correlation of the curves of two lists, pair by pair."""
    overlaps = rules.overlap(*(rules.layers(part, rule) for part in pairs))
    rank = ranks_alike(*(rules.evidence(part, rule) for part in pairs)).mean()
    there = overlaps[np.isfinite(overlaps)]
    if not len(there):
        return name, np.nan, np.nan, np.nan, rank, len(overlaps)
    low, high = (there.min(), there.max()) if whole else np.quantile(there, [0.025, 0.975])
    return name, there.mean(), low, high, rank, len(overlaps)


def _beside(name, cell, curve, rule, **options):
    overlap = float(rules.overlap(cell.mask, rules.layers(curve, rule, **options)))
    shape = {key: value for key, value in options.items() if key != "quantile"}
    return name, overlap, np.nan, np.nan, float(ranks_alike(cell.evidence, rules.evidence(curve, rule, **shape))), 1


def _mean(values):
    values = [value for value in values if np.isfinite(value)]
    return float(np.mean(values)) if values else np.nan
