"""What a difference of a medical domain from its control is held against: two sets of questions that are not medical.

Any two sets of questions differ in where their slopes are steep.  So the size of a ratio's shape, its root mean square
over layers, is compared with that of the ratio of one control to another.  These are not matched in form, as a domain
and its control are.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from medlib import stats
from medlib.chapters.saliency.saliency_contrast import moved, shape


class Comparison(NamedTuple):
    """Sizes of shapes, log2: the median over `medical` pairs and over `others`, and whether the latter is larger.

    `sizes`: one row a pair, `domain, over, medical, value`; `low, high`: 95 % bootstrap interval over clusters of the
    others' median less the medical one's.
    """

    medical: float
    others: float
    low: float
    high: float
    sizes: pd.DataFrame

    @property
    def others_differ(self):
        """Two sets that are not medical differ by "more", by "less", or, where the interval holds zero, "as much"."""
        return "more" if self.low > 0 else "less" if self.high < 0 else "as much"


def judged(controls, known):
    """The medical domains that are known together with their controls: only these are counted."""
    return [domain for domain, control in controls.items() if known[domain] and known[control]]


def control_pairs(controls, known):
    """Every two of the controls that are known.

    >>> control_pairs({"drugs": "foods", "diseases": "cities"}, {"foods": True, "cities": True})
    [('foods', 'cities')]
    """
    return list(combinations([name for name in dict.fromkeys(controls.values()) if known[name]], 2))


def compare(tables, controls, known, answer="own", seed=0, n=2000):
    """How far medical domains differ from their controls, and two controls from each other: a `Comparison`, or None.

    >>> compare(tables, {"drugs": "foods", "diseases": "cities"}, known).others_differ

    Only what is known counts; None where no domain is known with its control, or no two controls are.
    """
    medical, others = [(name, controls[name]) for name in judged(controls, known)], control_pairs(controls, known)
    if not medical or not others:
        return None
    generator = np.random.default_rng(seed)
    curves, drawn, means = {}, {}, {}
    for name in dict.fromkeys(name for pair in medical + others for name in pair):
        own = curves[name] = _curves(shape(tables[name], answer)) / np.log(2)
        means[name] = own.mean(axis=0)
        drawn[name] = own[generator.integers(len(own), size=(n, len(own)))].mean(axis=1)

    def sizes(of, pairs):
        return np.array([np.sqrt(((of[a] - of[b]) ** 2).mean(axis=-1)) for a, b in pairs])

    found = {True: sizes(means, medical), False: sizes(means, others)}
    difference = np.median(sizes(drawn, others), axis=0) - np.median(sizes(drawn, medical), axis=0)
    low, high = stats.limits(difference, min(map(len, curves.values())))
    rows = [
        (*pair, side, value)
        for side, pairs in ((True, medical), (False, others))
        for pair, value in zip(pairs, found[side], strict=True)
    ]
    table = pd.DataFrame(rows, columns=["domain", "over", "medical", "value"])
    return Comparison(*(float(np.median(found[side])) for side in (True, False)), float(low), float(high), table)


def band(tables, controls, known):
    """How far two controls that are known differ, layer by layer: `layer, value`, a natural log; None without two.

    >>> band(tables, controls, known).query("layer == 3")

    `value` is the root mean square over pairs of the shape of their ratio.
    """
    pairs = control_pairs(controls, known)
    if not pairs:
        return None
    mean = {name: _curves(shape(tables[name])).mean(axis=0) for name in dict.fromkeys(sum(pairs, ()))}
    value = np.sqrt(np.mean([(mean[a] - mean[b]) ** 2 for a, b in pairs], axis=0))
    return pd.DataFrame({"layer": np.arange(1, len(value) + 1), "value": value})


def terms(tables, controls, changed):
    """For each domain, the share of the ratio's change with the answer that is the medical prompts' own.

    >>> terms(tables, {"drugs": "foods"}, corrected(compare_all(tables, controls, moved)))
    {'drugs': 0.8}

    The rest is the control's, whose prompts got other answers too.  Shares are over the layers that are `clear` in
    `changed` (of `corrected`, blocks only); a domain without any is left out.
    """
    shares = {}
    for domain, table in changed[changed["clear"]].groupby("domain", sort=False):
        at = table["layer"].to_numpy() - 1
        one, other = (_curves(moved(tables[name])).mean(axis=0)[at] for name in (domain, controls[domain]))
        shares[domain] = float((one * np.sign(one - other)).sum() / np.abs(one - other).sum())
    return shares


def _curves(shapes):
    """The shape of each cluster's blocks, `[cluster, layer]`."""
    blocks = shapes[shapes["module"] == "block"]
    return blocks.groupby(["cluster", "layer"])["shape"].mean().unstack().to_numpy()
