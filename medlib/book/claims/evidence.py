"""What a rule reads and what it says: rows of recorded tables, numbers with their intervals, a verdict.

A rule is a function of the recorded runs.  It reads rows with `rows`, which stops it where they are missing or not
finite, so that no verdict rests on half a table; `judge` turns that into "not decided" with the reason.
"""

import re
from typing import NamedTuple

import pandas as pd

SUPPORTED, CONTRADICTED, NOT_DECIDED, NOT_RUN = WORDS = ("supported", "contradicted", "not decided", "not run")


class Run(NamedTuple):
    """One recorded run: its results table, and the `numbers` of its record, key -> value."""

    table: pd.DataFrame
    numbers: dict


class Number(NamedTuple):
    """A number that a verdict rests on, or that of its control.

    `what` it is; `low` and `high` are null where a run gives no interval; `n`: of how many of what, in words; `form`:
    how it is written.
    """

    what: str
    value: float
    low: float | None = None
    high: float | None = None
    n: str = ""
    form: str = "{:.2f}"

    def __str__(self):
        said = written(self.value, self.form)
        if self.low is not None:
            said += f" ({written(self.low, self.form)} to {written(self.high, self.form)})"
        return f"{self.what}: {said}{self.n and f', n = {self.n}'}"


class Verdict(NamedTuple):
    """One of `WORDS`, why, the numbers behind it, those of the control, and whether the control does the same."""

    word: str
    why: str
    numbers: tuple = ()
    controls: tuple = ()
    alike: bool = False


class NotThere(Exception):
    """What a rule needs is not in the table; the message says what, as the end of a sentence."""


def rows(run, metric, interval=False, **where):
    """The rows of a metric in which columns have these values: one, one of a list, or null (`None`).

    >>> rows(book["smollm2-135m"]["patching"], "handover", interval=True, domain=["drugs", "diseases"], item=None)

    Raises `NotThere` where there is no such row, and where a value, or with `interval` an end of one, is not a number.
    """
    table = run.table
    chosen = table["metric"].eq(metric)
    for column, value in where.items():
        if value is None:
            chosen &= table[column].isna()
        else:
            chosen &= table[column].isin(value if isinstance(value, list | tuple) else [value])
    found = table[chosen]
    if found.empty:
        said = ", ".join(f"{column} {value}" for column, value in where.items() if value is not None)
        raise NotThere(f"the table has no rows of {metric}{said and f' ({said})'}")
    columns = ["value", "low", "high"] if interval else ["value"]
    if found[columns].isna().any().any():
        raise NotThere(f"the rows of {metric} have gaps")
    return found


def decide(supported, contradicted):
    """The word of two conditions; where neither holds, or both, nothing is decided.

    >>> decide(low > 0, high < 0)
    'supported'
    """
    if supported == contradicted:
        return NOT_DECIDED
    return SUPPORTED if supported else CONTRADICTED


def number(what, row, n="", form="{:.2f}"):
    """The `Number` of a row of a table, or of anything with `value`, `low` and `high`."""
    return Number(what, float(row.value), float(row.low), float(row.high), n, form)


def count(what, n, of, units):
    """A `Number` that is a count: "late stages are nearer: 17 of 31 states"."""
    return Number(what, n, form=f"{{:.0f}} of {of} {units}")


def written(value, form="{:.2f}"):
    """A number with a true minus, and no sign before zero.

    >>> written(-0.189, "{:+.2f}"), written(-0.001), written(0.5, "{:.0%}")
    ('−0.19', '0.00', '50 %')
    """
    digits, rest = re.fullmatch(r"([-+]?[\d.]+)(.*)", form.format(value)).groups()
    if float(digits) == 0:
        digits = digits.lstrip("-+")
    return digits.replace("-", "\N{MINUS SIGN}") + rest.replace("%", "\N{NO-BREAK SPACE}%")


def listed(words):
    """Words in a row: "a", "a and b", "a, b and c"; "none" of none."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "none"
