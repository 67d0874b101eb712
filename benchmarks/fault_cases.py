"""Made-up input: the properties of tests/test_fuzz.py on many cases, and how many were tried."""

import importlib
import os
import sys
from pathlib import Path

from fault_found import row


def rows(given):
    """A row for each property, as in fault_found.py: each on `given.cases` cases, quick ones on five times as many."""
    os.environ["FUZZ_CASES"] = str(given.cases)  # read where the properties are defined
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    fuzz = importlib.import_module("test_fuzz")
    for name, tested in vars(fuzz).items():
        if name.startswith("test_"):
            yield tried(name, tested)


def tried(name, tested):
    """A property on its cases, which are counted as Hypothesis makes them."""
    inner, count = tested.hypothesis.inner_test, 0

    def counting(*values, **named):
        nonlocal count
        count += 1
        return inner(*values, **named)

    tested.hypothesis.inner_test = counting
    wrong = []
    try:
        tested()
    except Exception as error:  # whatever it is, the property did not hold
        wrong.append(f"{type(error).__name__}: {str(error).splitlines()[0][:200]}")
    finally:
        tested.hypothesis.inner_test = inner
    return row(name.removeprefix("test_").replace("_", " "), "made-up input", ["as it should be"] * count, wrong)
