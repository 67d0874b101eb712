"""The results table: one shape for every technique, and a mistake is named by column and row."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.pandas import column, data_frames

from medlib import MedlibError, results

CONSTANTS = dict(model="m", technique="t", metric="kl")


def tidy(**columns):
    return results.tidy(pd.DataFrame(columns), **CONSTANTS)


def test_missing_columns_become_null_and_constants_fill_whole_columns():
    table = tidy(value=[1, 2.5], layer=[1, None])
    assert tuple(table.columns) == results.COLUMNS
    assert table["model"].tolist() == ["m", "m"]
    assert table["domain"].isna().all()
    assert table["layer"].dtype == "Int64"
    assert table["value"].dtype == "float64"


def test_a_number_used_as_an_item_is_written_without_a_point():
    assert tidy(value=[1.0, 2.0, 3.0], item=[17, 17.0, None])["item"].tolist()[:2] == ["17", "17"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (dict(value=[1.0, np.nan]), r"column 'value', row 1: nan must not be null"),
        (dict(value=[np.inf, 1.0]), r"column 'value', row 0: inf must be a finite number"),
        (dict(value=[1.0, "high"]), r"Column 'value', row 1: 'high' is not a number"),
        (dict(value=[1.0, 1.0], layer=[1, 1.5]), r"Column 'layer', row 1: 1.5 is not a whole number"),
        (dict(value=[1.0, 1.0], layer=[1, -1]), r"column 'layer', row 1: -1 must be 0 or more"),
        (dict(value=[1.0, 1.0], low=[0, 3], high=[2, 2]), r"row 1: low must not be above high"),
        (dict(value=[1.0], domain=[""]), r"column 'domain', row 0: '' must not be empty"),
        (dict(value=[1.0], kl=[1.0]), r"no column 'kl'. Its columns are model, technique"),
        (dict(value=[1.0], model=["other"]), r"Column 'model' holds 'other'.*model='m'"),
    ],
)
def test_a_value_that_does_not_fit_is_named_by_column_and_row(columns, message):
    with pytest.raises(MedlibError, match=message):
        tidy(**columns)


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(MedlibError, match="'value' is there more than once"):
        results.tidy(pd.DataFrame([[1.0, 2.0]], columns=["value", "value"]), **CONSTANTS)


@settings(max_examples=25, deadline=None)
@given(
    data_frames(
        [
            column("item", elements=st.text(st.characters(exclude_categories=["Cs"]), min_size=1)),
            column("layer", elements=st.one_of(st.none(), st.integers(0, 2**40)), dtype=object),
            column("value", elements=st.floats(allow_nan=False, allow_infinity=False)),
        ]
    )
)
def test_what_is_written_is_what_is_read(tmp_path_factory, frame):
    path = tmp_path_factory.mktemp("table") / "t.parquet"
    table = results.tidy(frame, **CONSTANTS)
    results.write(table, path)
    pd.testing.assert_frame_equal(results.read(path), table)


def test_equal_tables_are_equal_bytes_and_carry_the_schema_version(tmp_path):
    for name in ("a", "b"):
        results.write(tidy(value=[1.0], layer=[3]), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert pq.read_schema(tmp_path / "a").metadata[b"medlib_schema"] == b"1"


def test_a_table_that_is_refused_leaves_the_one_before_and_nothing_beside_it(tmp_path):
    path = tmp_path / "t.parquet"
    results.write(tidy(value=[1.0]), path)
    with pytest.raises(MedlibError):
        results.write(tidy(value=[1.0]).assign(value=np.nan), path)
    assert results.read(path)["value"].tolist() == [1.0]
    assert [file.name for file in tmp_path.iterdir()] == ["t.parquet"]


def test_missing_damaged_and_foreign_files_are_refused_with_a_remedy(tmp_path):
    with pytest.raises(MedlibError, match="no results table.*medlib run"):
        results.read(tmp_path / "none.parquet")
    (tmp_path / "half.parquet").write_bytes(b"PAR1 half of a file")
    with pytest.raises(MedlibError, match="half.parquet cannot be read"):
        results.read(tmp_path / "half.parquet")
    pq.write_table(pa.table({"value": [1.0]}), tmp_path / "foreign.parquet")
    with pytest.raises(MedlibError, match="results schema none; this medlib reads 1"):
        results.read(tmp_path / "foreign.parquet")
