"""Made-up input: the properties of tests/test_fuzz.py on many cases, and how many were tried."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import test_fuzz
from faults import row
from hypothesis import HealthCheck, settings

SLOW = 10  # a property that writes files or runs a model gets a tenth of the cases
QUICK = {
    "test_an_item_stands_in_its_template_where_the_prompt_says",
    "test_a_parameter_is_refused_or_of_the_type_of_its_default",
    "test_the_command_on_a_page_gives_the_parameters_of_its_run",
    "test_the_folder_of_any_model_lies_in_the_folder_of_runs",
    "test_no_token_and_no_home_is_left_in_what_is_public",
    "test_files_that_are_no_domain_at_all_are_refused",
}


def properties():
    return {name: tested for name, tested in vars(test_fuzz).items() if name.startswith("test_")}


def rows(given):
    for name, tested in properties().items():
        cases = given.cases if name in QUICK else max(10, given.cases // SLOW)
        yield tried(name, tested, cases, given.seed)


def tried(name, tested, cases, seed):
    """A property on so many cases: a row as in faults.py, with the cases that Hypothesis made."""
    inner, count = tested.hypothesis.inner_test, 0

    def counting(*values, **named):
        nonlocal count
        count += 1
        return inner(*values, **named)

    tested.hypothesis.inner_test = counting
    many = settings(max_examples=cases, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    try:
        many(tested)()
        wrong = []
    except Exception as error:  # whatever it is, the property did not hold
        wrong = [f"{type(error).__name__}: {str(error).splitlines()[0]}"]
    finally:
        tested.hypothesis.inner_test = inner
    said = name.removeprefix("test_").replace("_", " ")
    return row(said, "made-up input", ["as it should be"] * count, wrong)
