"""The concept tables against references that install beside them: what `checked` says of those is still so."""

import unicodedata

import pytest
from countryinfo import CountryInfo
from drug_named_entity_recognition import find_drugs

from medlib import concepts


def plain(text):
    """Without accents and capitals."""
    return unicodedata.normalize("NFD", text).encode("ascii", "ignore").decode().lower()


def test_every_drug_is_a_drug_to_the_dictionary_of_names():
    table = concepts.load("drugs")
    assert table.checked.str.contains("name: drug-named-entity-recognition 2.0.9").all()
    unknown = [item for item in table["item"] if not find_drugs(item.split() if " " in item else [item])]
    assert unknown == []


@pytest.mark.parametrize("row", list(concepts.load("capitals").itertuples()), ids=lambda row: row.item)
def test_capital_and_region_are_those_of_the_country_package(row):
    country = CountryInfo(row.item)
    assert "capital: countryinfo 1.0.1" in row.checked
    assert plain(country.capital()) == plain(row.capital)
    if "continent" in row.checked:
        assert country.region() == row.continent
    if "subregion" in row.checked:
        assert country.subregion() == row.subregion
