"""The maps of tokens on the page: each field with its token, layer and share; one domain at a time."""

import numpy as np
import pytest

from medlib import MedlibError
from medlib.book import figure_data
from medlib.chapters.patching import token_heat

MATRIX = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.604]])
FOUND = {"drugs": (MATRIX, ["subject 1", "is", "is"], 4), "foods": (MATRIX[:1], ["subject 1", "a", "of"], 3)}
KNOWN = {"drugs": True, "foods": False}


def test_every_field_is_read_back_with_its_token_and_layer():
    (table,) = figure_data.points(token_heat.page(FOUND, KNOWN, "sites-m-tokens")).values()
    assert list(table.columns) == ["frame", "panel", "label", "text", "x", "y", "z"]
    drugs = table[table["label"] == "drugs"].pivot(index="y", columns="x", values="z")
    assert np.allclose(drugs.loc[[1, 2], ["subject 1", "is", "is (2)"]], MATRIX.round(2))
    assert (table["label"] == "foods").sum() == 3


def test_a_domain_that_is_not_known_is_grey_and_says_so():
    html = token_heat.page(FOUND, KNOWN, "sites-m-tokens")
    assert "foods, not known (n = 3 pairs)" in html and "drugs (n = 4 pairs)" in html
    assert html.count('"zmin":0,') == 1 and html.count('"zmin":-1.5,') == 1


def test_the_page_loads_nothing_and_is_the_same_text_each_time():
    html = token_heat.page(FOUND, KNOWN, "sites-m-tokens")
    assert html == token_heat.page(FOUND, KNOWN, "sites-m-tokens")
    assert 'id="sites-m-tokens"' in html and "http" not in html and "<script src" not in html


def test_no_map_at_all_is_refused():
    with pytest.raises(MedlibError, match="no map"):
        token_heat.page({}, {}, "sites-m-tokens")
