"""What a notebook can be told: names, types and ranges are checked before anything runs."""

import nbformat
import pytest

from medlib import MedlibError
from medlib.book import parameters

CELL = """n_items = 12  # items of each domain; 0 for all [0..]
share = 0.5  # of the items [0..1]
place = "mean"  # where states are read [entity | mean | last]
names = (
    "drugs"  # without a range
)
"""
NOTEBOOK = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL, metadata={"tags": ["parameters"]})])


def resolve(**given):
    asked = parameters.read(NOTEBOOK, "lesion")
    defaults, ranges = ({name: pair[i] for name, pair in asked.items()} for i in (0, 1))
    return parameters.resolve(defaults, given, "lesion", ranges)


def test_a_comment_says_which_values_are_allowed():
    assert {name: range_ for name, (_, range_) in parameters.read(NOTEBOOK, "lesion").items()} == {
        "n_items": "0..",
        "share": "0..1",
        "place": "entity | mean | last",
        "names": None,
    }


@pytest.mark.parametrize("given", [{"n_items": "0"}, {"share": 1}, {"place": "last"}, {"names": "anything"}])
def test_values_inside_their_range_are_taken(given):
    (name,) = given
    assert str(resolve(**given)[name]).removesuffix(".0") == str(given[name])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n_items": -1}, "'n_items' of 'lesion' is -1, and can be 0 or more"),
        ({"share": "1.5"}, "can be 0 or more and 1 or less"),
        ({"place": "middle"}, "is 'middle', and can be entity or mean or last"),
        ({"share": "much"}, "must be a finite number"),
    ],
)
def test_values_outside_their_range_are_refused_with_what_is_allowed(given, said):
    with pytest.raises(MedlibError, match=said):
        resolve(**given)
