"""Two results tables of one chapter on one model, laid side by side: what moved.

A row is found again by all its columns but `value`, `low` and `high`, which are the numbers compared.  A number is the
same to the last bit, or within the tolerance that `tolerances.toml` states for its technique, metric and space, or it
moved.  A tolerance is about sums that another order of addition rounds otherwise; where it lets a share of a metric's
numbers lie outside, that is for counts and ranks, which such a rounding can tip over.
"""

import tomllib
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from medlib import results

NUMBERS = ("value", "low", "high")
KEYS = [name for name in results.COLUMNS if name not in NUMBERS]
VERDICTS = ("same", "within", "moved", "missing", "extra")
EXACT = {"absolute": 0.0, "relative": 0.0, "share": 0.0}


def rules():
    """The stated tolerances: for each a technique, metric and space (patterns), what is allowed, and the reason."""
    return tomllib.loads(Path(__file__).with_name("tolerances.toml").read_text(encoding="utf-8"))["rule"]


@cache
def tolerance(technique, metric, space):
    """What is allowed to a metric: `absolute` + `relative` x |number|, and the `share` of its numbers that may do more.

    >>> tolerance("geometry", "silhouette_mechanism", "umap30")["reason"]

    The first rule that fits counts; the last fits everything.
    """
    for rule in rules():
        wanted = [(rule.get("technique", "*"), technique), (rule.get("metric", "*"), metric)]
        if all(fnmatchcase(given, pattern) for pattern, given in [*wanted, (rule.get("space", "*"), space or "")]):
            return EXACT | rule
    raise LookupError(f"no tolerance fits {technique}, {metric}, {space}")


def compare(recorded, again, exact=False):
    """Each number of two tables with its verdict: a data frame with a row for each row and number.

    >>> compare(recorded, again).query("verdict == 'moved'")

    Columns: those of `KEYS`, `number` (value, low or high), `recorded` and `again` (null where there is none),
    `allowed` (the tolerance) and `verdict`: same (to the last bit, or null in both), within, moved, missing (a row that
    is not there again) or extra (a row that is new).  `exact` allows nothing.
    """
    both = _matched(recorded).merge(_matched(again), how="outer", on=[*KEYS, "which"], indicator=True)
    both = both.rename(columns={"_merge": "there"})
    tables = [_numbers(both, number) for number in NUMBERS]
    found = pd.concat(tables, ignore_index=True)
    found = found[found["recorded"].notna() | found["again"].notna() | (found["number"] == "value")]
    return _judged(found.reset_index(drop=True), exact)


def counts(compared):
    """How many numbers got each verdict, as a dict with a key for each of `VERDICTS`."""
    found = compared["verdict"].value_counts()
    return {verdict: int(found.get(verdict, 0)) for verdict in VERDICTS}


def _matched(table):
    """A table whose keys hold no nulls, and `which` of the rows with equal keys each one is."""
    table = table.copy()
    for name in results.TEXTS:
        table[name] = table[name].astype(object).where(table[name].notna(), "")
    for name in results.WHOLES:
        table[name] = table[name].astype("float64").fillna(-1)
    return table.assign(which=table.groupby(KEYS, sort=False).cumcount())


def _numbers(both, number):
    return both[[*KEYS, "there"]].assign(
        number=number, recorded=both[f"{number}_x"].astype(float), again=both[f"{number}_y"].astype(float)
    )


def _judged(found, exact):
    kinds = found.groupby(["technique", "metric", "space"], sort=False)
    absolute, relative = np.zeros(len(found)), np.zeros(len(found))
    shares = {}
    for kind, rows in kinds.indices.items():
        rule = EXACT if exact else tolerance(*kind)
        absolute[rows], relative[rows], shares[kind] = rule["absolute"], rule["relative"], rule["share"]
    before, after = found["recorded"].to_numpy(), found["again"].to_numpy()
    allowed = absolute + relative * np.abs(np.nan_to_num(before))
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    verdict = np.where(same, "same", np.where(np.abs(before - after) <= allowed, "within", "moved"))
    verdict = np.where(found["there"] == "left_only", "missing", verdict)
    verdict = np.where(found["there"] == "right_only", "extra", verdict)
    for kind, rows in kinds.indices.items():
        outside = rows[verdict[rows] == "moved"]
        if len(outside) <= shares[kind] * len(rows):
            verdict[outside] = "within"
    return found.drop(columns="there").assign(allowed=allowed, verdict=verdict)
