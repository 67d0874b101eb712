"""The cells of a knowledge map: what one technique says of one domain, and how sure that is.

How sure a map is, is asked of the items: they are resampled (what several are about goes together), the curve and its
layers are found again, and the *share* of a layer is how often it is among them.  The same layers pointed at by two
techniques or more are the *consensus*.  A map of the difference from the control says where medicine differs, and is
tested by dealing the items of both to the two sides at random.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from medlib import concepts, stats
from medlib.errors import MedlibError
from medlib.mapping import curves as read
from medlib.mapping import rules

ENOUGH = 2  # techniques that make a consensus


class Cell(NamedTuple):
    """One domain and technique of the map.

    `status` is "run" or why there is nothing; then `evidence` and `mask` are by block 1..L, `drawn` and
    `drawn_evidence` the same for each resample, `n` is how many units were resampled, and `p` that of a difference.
    """

    status: str
    rule: str = rules.LEVEL
    evidence: np.ndarray | None = None
    mask: np.ndarray | None = None
    drawn: np.ndarray | None = None
    drawn_evidence: np.ndarray | None = None
    n: int = 0
    p: float = np.nan

    @property
    def share(self):
        """How often each layer is mapped when the items are resampled, `[block]`."""
        return self.drawn.mean(axis=0)


def knowledge_map(tables, seed=0, n=500):
    """The layers that each technique points at in each domain, as intervals.

    >>> found = knowledge_map({"lesion": lesion_table, "knowledge": knowledge_table})
    >>> found[found["known"] & (found["technique"] == "lesion")][["domain", "first", "last", "share"]]

    `tables`: chapter -> its results table (`medlib.results.read`), of one model; of the chapters geometry, ages,
    saliency, lesion, patching and knowledge those that ran.  Returns one row per domain, technique and interval:
    `known` (bool; null where the knowledge chapter did not run), `status` ("run", or why there is no interval: then
    `first` is null), `first`, `last` (blocks 1..L), `share` (how often a layer of the interval is mapped when the items
    are resampled, mean over its layers), `n` (units resampled).  "consensus" is a technique too: the layers that two or
    more point at.  Raises `MedlibError` where no table holds a curve.  Source: Marinescu et al., arXiv 2510.11390.
    """
    names = domains(tables)
    found, is_known, rows = cells(tables, names, seed, n), read.known(tables), []
    for domain in names:
        for technique in (*read.TECHNIQUES, "consensus"):
            cell = found[domain, technique] if technique != "consensus" else consensus(found, domain)
            rows += _intervals(cell, dict(domain=domain, technique=technique, known=is_known.get(domain)))
    return pd.DataFrame(rows)


def domains(tables):
    """The domains of some tables, medical ones first, each followed by its control; then those of one's own."""
    there = dict.fromkeys(str(name) for table in tables.values() for name in table["domain"].dropna().unique())
    both = [name for domain in concepts.medical() for name in (domain, concepts.control(domain))]
    own = set(concepts.domains())
    found = [name for name in both if name in there]
    if not found:
        raise MedlibError(
            f"The tables hold no domain of the library, only {', '.join(sorted(there)) or 'none'}. "
            f"Give results tables of chapters that asked about some of {', '.join(sorted(own))}."
        )
    return found


def cells(tables, names, seed=0, n=500, **rule):
    """The cells of some domains: `(domain, technique) -> Cell`.  `rule`: options of `rules.layers`.

    Each technique has draws of its own: alike ones would make two techniques of the same items agree.
    """
    return {
        (domain, technique): cell(read.measured(tables, technique, domain), [seed, place], n, **rule)
        for domain in names
        for place, technique in enumerate(read.TECHNIQUES)
    }


def cell(measured, seed=0, n=500, **rule):
    """The cell of what a technique measured (`curves.Measured`)."""
    if measured.status != "run":
        return Cell(measured.status)
    generator = np.random.default_rng(seed)
    if measured.frame is None:  # errors of neighbouring layers go together, so this draws a map less sure than it is
        noise = generator.normal(size=(n, len(measured.curve)))
        drawn = measured.curve + noise * measured.spread
    else:
        rows = Rows.of(measured)
        drawn = rows.curves(generator.integers(rows.n, size=(n, rows.n)))
    curve = np.log(measured.curve) if measured.logarithmic else measured.curve
    return _cell(curve, drawn, measured.rule, measured.n, **rule)


def differences(tables, controls, seed=0, n=500, n_shuffles=999, **rule):
    """The map of each medical domain less its control: `(domain, technique) -> Cell`, with `p`.

    >>> differences(tables, {"drugs": "foods"})["drugs", "lesion"].p

    On a scale of ratios the difference is that of the logarithms.  `p`: how often units dealt at random to the two
    sides give a map whose layers stand out as far (mean evidence of its layers less that of the others), in as many
    shuffles; one-sided, the data counted as one of them.  It is NaN where a table holds curves alone.
    """
    found = {}
    for domain, control in controls.items():
        for place, technique in enumerate(read.TECHNIQUES):
            both = [read.measured(tables, technique, name) for name in (domain, control)]
            found[domain, technique] = _difference(*both, [seed, place], n, n_shuffles, **rule)
    return found


def consensus(found, domain, without=()):
    """The layers that two techniques or more point at, as a `Cell`: its evidence is how many do.

    `without`: techniques that do not count.  Its `share` is how often two or more point at a layer when the items of
    each technique are resampled apart.
    """
    own = [found[domain, name] for name in read.TECHNIQUES if name not in without]
    own = [one for one in own if one.status == "run"]
    if len(own) < ENOUGH:
        return Cell(f"{len(own)} techniques")
    count = sum(one.mask.astype(int) for one in own)
    drawn = sum(one.drawn.astype(int) for one in own)
    return Cell("run", "consensus", count, count >= ENOUGH, drawn >= ENOUGH, drawn, min(one.n for one in own))


def by_layer(found, names):
    """Cells as a table: one row per domain, technique and block, or one with a null `layer` where nothing was mapped.

    `domain, technique, status, layer, evidence, mapped, share, n, p`.
    """
    parts = []
    for domain in names:
        for technique in read.TECHNIQUES:
            one = found[domain, technique]
            same = dict(domain=domain, technique=technique, status=one.status)
            if one.status != "run":
                parts.append(pd.DataFrame([same]))
                continue
            layer = np.arange(1, len(one.mask) + 1)
            columns = dict(layer=layer, evidence=one.evidence, mapped=one.mask, share=one.share, n=one.n, p=one.p)
            parts.append(pd.DataFrame(same | columns))
    return pd.concat(parts, ignore_index=True).reindex(
        columns=["domain", "technique", "status", "layer", "evidence", "mapped", "share", "n", "p"]
    )


class Rows:
    """Curves of prompts and the unit that each belongs to: the curve of any choice of units, at once for many choices.

    >>> Rows.of(measured).curves([[0, 0, 2]])       # unit 0 twice and unit 2
    """

    def __init__(self, rows, unit, median, logarithmic):
        self.rows, self.unit, self.median, self.logarithmic = rows, unit, median, logarithmic
        self.n = int(unit.max()) + 1
        member = np.eye(self.n)[unit].T
        self.sums, self.sizes = member @ rows, member.sum(axis=1)
        self.members = [np.flatnonzero(unit == one) for one in range(self.n)]

    @classmethod
    def of(cls, measured):
        """Those under a curve with a frame."""
        wide = measured.frame.pivot(index=["unit", "item", "variant"], columns="layer", values="value")
        unit = pd.factorize(wide.index.get_level_values("unit"))[0]
        return cls(wide.to_numpy(dtype=float), unit, measured.median, measured.logarithmic)

    def __add__(self, other):
        """The units of both, those of `other` numbered after these."""
        rows, unit = np.concatenate([self.rows, other.rows]), np.concatenate([self.unit, other.unit + self.n])
        return Rows(rows, unit, self.median, self.logarithmic)

    def curves(self, chosen):
        """The curve of each choice of units `[choice, unit]`: `[choice, layer]`, logarithms where they are compared."""
        chosen = np.asarray(chosen)
        if self.median:
            return np.array([np.median(self.rows[np.concatenate([self.members[i] for i in one])], 0) for one in chosen])
        times = np.array([np.bincount(one, minlength=self.n) for one in chosen])
        means = (times @ self.sums) / (times @ self.sizes)[:, None]
        return np.log(means) if self.logarithmic else means


def _cell(curve, drawn, rule, n, p=np.nan, **options):
    shape = {name: value for name, value in options.items() if name in ("sigma", "window")}
    return Cell(
        "run",
        rule,
        rules.evidence(curve, rule, **shape),
        rules.layers(curve, rule, **options),
        rules.layers(drawn, rule, **options),
        rules.evidence(drawn, rule, **shape),
        n,
        p,
    )


def _difference(own, control, seed, n, n_shuffles, **rule):
    if own.status != "run" or control.status != "run":
        return Cell(own.status if own.status != "run" else f"control {control.status}")
    if (own.frame is None) != (control.frame is None):
        return Cell("another measure")
    generator, n_units = np.random.default_rng(seed), min(own.n, control.n)
    scale = np.log if own.logarithmic else np.asarray
    curve = scale(own.curve) - scale(control.curve)
    if own.frame is None:
        spread = np.hypot(own.spread, control.spread)
        return _cell(curve, curve + generator.normal(size=(n, len(curve))) * spread, own.rule, n_units, **rule)
    a, b = Rows.of(own), Rows.of(control)
    drawn = a.curves(generator.integers(a.n, size=(n, a.n))) - b.curves(generator.integers(b.n, size=(n, b.n)))
    both, units = a + b, np.tile(np.arange(a.n + b.n), (n_shuffles, 1))
    dealt = generator.permuted(units, axis=1)
    null = both.curves(dealt[:, : a.n]) - both.curves(dealt[:, a.n :])
    p = stats.permutation_p(_stands_out(curve[None], own.rule, **rule)[0], _stands_out(null, own.rule, **rule))
    return _cell(curve, drawn, own.rule, n_units, p, **rule)


def _stands_out(curves, rule, **options):
    """Mean evidence of the mapped layers less that of the others, `[curve]`; 0 where nothing is mapped."""
    mask = rules.layers(curves, rule, **options)
    shape = {name: value for name, value in options.items() if name in ("sigma", "window")}
    found = rules.evidence(curves, rule, **shape)
    inside = np.where(mask, found, 0).sum(-1) / np.maximum(mask.sum(-1), 1)
    outside = np.where(mask, 0, found).sum(-1) / np.maximum((~mask).sum(-1), 1)
    return np.where(mask.any(-1), inside - outside, 0.0)


def _intervals(cell, same):
    if cell.status != "run" or not cell.mask.any():
        status = "no interval" if cell.status == "run" else cell.status
        return [same | dict(status=status, first=None, last=None, share=np.nan, n=cell.n)]
    return [
        same | dict(status="run", first=first, last=last, share=cell.share[first - 1 : last].mean(), n=cell.n)
        for first, last in rules.runs(cell.mask)
    ]
