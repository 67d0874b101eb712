"""One results table for every technique.

Each row is one number: what was measured (`metric`, `value`, its interval `low` to `high` over `n` units), where in
the model (`layer`, `position`, `component`, `space`) and on what (`domain`, `item`, `variant`). Columns a technique
has no use for are null. So a knowledge map is a `groupby`, and any two techniques, models or runs can be laid side by
side.

Layers: state 0 is the embedding output, state l the output of block l (1..L).
"""

from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from medlib.errors import MedlibError
from medlib.paths import write_atomically

SCHEMA_VERSION = 1
TEXTS = ("model", "technique", "domain", "item", "variant", "component", "space", "metric")
WHOLES = ("layer", "position", "n", "seed")
REALS = ("value", "low", "high")
COLUMNS = (
    *("model", "technique", "domain", "item", "variant", "layer", "position"),
    *("component", "space", "metric", "value", "low", "high", "n", "seed"),
)
_REQUIRED = ("model", "technique", "metric", "value")


@cache
def schema():
    """The table as pandera sees it: names, types, what may be null, what a value may be."""
    import pandera.pandas as pa  # a second to import, and only needed where tables are written

    finite = pa.Check(np.isfinite, element_wise=True, error="must be a finite number")
    counted = pa.Check.ge(0, error="must be 0 or more")
    columns = {
        name: pa.Column(
            str,
            [pa.Check(lambda text: text != "", element_wise=True, error="must not be empty")],
            nullable=name not in _REQUIRED,
        )
        for name in TEXTS
    }
    columns |= {name: pa.Column("Int64", [counted], nullable=True) for name in WHOLES}
    columns |= {name: pa.Column("float64", [finite], nullable=name not in _REQUIRED) for name in REALS}
    ordered = pa.Check(
        lambda table: ~(table["low"] > table["high"]), name="interval", error="low must not be above high"
    )
    return pa.DataFrameSchema({name: columns[name] for name in COLUMNS}, checks=[ordered], strict=True)


def tidy(frame, **constants):
    """Complete a frame to the results table and check it.

    >>> tidy(sweep.rename(columns={"kl": "value"}), domain="drugs", metric="kl")

    Missing columns become null, `constants` fill whole columns (they must not contradict a column that is there), types
    become those of the schema, columns and their order are `COLUMNS`.  Raises MedlibError naming column and row for a
    value that does not fit, and for a column the table does not have.
    """
    frame = pd.DataFrame(frame).reset_index(drop=True)
    unknown = sorted({str(name) for name in (*frame.columns, *constants)} - set(COLUMNS))
    if unknown:
        raise MedlibError(
            f"The results table has no column {', '.join(map(repr, unknown))}. Its columns are {', '.join(COLUMNS)}. "
            "Rename or drop it; what a row measures goes into `metric`, where it did so into `component` or `space`."
        )
    repeated = sorted(frame.columns[frame.columns.duplicated()])
    if repeated:
        raise MedlibError(f"Column {repeated[0]!r} is there more than once: keep one.")
    for name, constant in constants.items():
        there = frame[name].dropna() if name in frame else pd.Series(dtype=object)
        if len(there) and (there.astype(str) != str(constant)).any():
            raise MedlibError(
                f"Column {name!r} holds {there[there.astype(str) != str(constant)].iloc[0]!r}, "
                f"but the table is to be filled with {name}={constant!r}: drop the column or the argument."
            )
        frame[name] = constant
    table = pd.DataFrame(index=frame.index)
    for name in COLUMNS:
        values = frame[name] if name in frame else pd.Series(None, index=frame.index, dtype=object)
        table[name] = _as_text(values) if name in TEXTS else _as_number(name, values)
    return check(table)


def check(table):
    """The table itself if it fits the schema; else MedlibError with each column and row that does not."""
    import pandera.errors

    try:
        return schema().validate(table, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        cases = errors.failure_cases
    lines = list(dict.fromkeys(_complaint(case) for case in cases.itertuples()))
    more = [f"... and {len(lines) - 5} more"] if len(lines) > 5 else []
    raise MedlibError("\n".join(["The results table does not fit:", *lines[:5], *more])) from None


def write(table, path):
    """Check a table and write it as parquet, atomically; equal tables give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(check(table), preserve_index=False)
    arrow = arrow.replace_schema_metadata({"medlib_schema": str(SCHEMA_VERSION)})
    buffer = BytesIO()
    pq.write_table(arrow, buffer, compression="zstd")
    write_atomically(path, buffer.getvalue())


def read(path):
    """Read a table that `write` wrote; MedlibError for a missing, damaged or foreign file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    try:
        arrow = pq.read_table(path)
    except FileNotFoundError:
        raise MedlibError(f"There is no results table {path.name}: run its notebook with `medlib run`.") from None
    except (pa.ArrowException, OSError) as error:
        raise MedlibError(
            f"{path.name} cannot be read as parquet ({error}). Delete it and run its notebook again."
        ) from None
    version = (arrow.schema.metadata or {}).get(b"medlib_schema", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise MedlibError(
            f"{path.name} has results schema {version}; this medlib reads {SCHEMA_VERSION}. Run its notebook again."
        )
    return tidy(arrow.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get))


def significant(values, digits=4):
    """Numbers to so many significant digits, as an array of their shape: enough to draw, and short to keep.

    >>> significant([0.123456, 98765.4])
    array([1.235e-01, 9.876e+04])
    """
    values = np.asarray(values, dtype=float)
    return np.array([float(f"{value:.{digits}g}") for value in values.ravel()]).reshape(values.shape)


def _as_text(values):
    def text(value):
        if pd.isna(value):
            return None
        if isinstance(value, float | np.floating) and float(value).is_integer():
            return f"{value:.0f}"  # an age of 17 that a null in its column made 17.0
        return str(value)

    return values.astype(object).map(text).astype("str")


def _as_number(name, values):
    try:
        numbers = pd.to_numeric(values.astype(object).where(values.notna(), None))
    except (TypeError, ValueError):
        numbers = pd.to_numeric(values, errors="coerce")
        bad = values[numbers.isna() & values.notna()]
        raise MedlibError(f"Column {name!r}, row {bad.index[0]}: {bad.iloc[0]!r} is not a number.") from None
    if name in REALS:
        return numbers.astype("float64")
    try:
        return numbers.astype("Int64")
    except (TypeError, ValueError):
        bad = numbers[numbers.notna() & (numbers % 1 != 0)]
        raise MedlibError(f"Column {name!r}, row {bad.index[0]}: {bad.iloc[0]:g} is not a whole number.") from None


def _complaint(case):
    if case.column == "interval" or case.check == "low must not be above high":
        return f"- row {case.index}: low must not be above high"
    wanted = {"not_nullable": "must not be null"}.get(case.check, case.check)
    row = f", row {case.index}" if pd.notna(case.index) else ""
    given = getattr(case.failure_case, "item", lambda: case.failure_case)()
    return f"- column {case.column!r}{row}: {given!r} {wanted}"
