"""The table of foods: its own rules, and its countries against a package of countries."""

import re
import unicodedata

import pytest
from countryinfo import CountryInfo

from medlib import concepts

PARTS = {"England": "United Kingdom", "Scotland": "United Kingdom", "Holland": "Netherlands", "Korea": "South Korea"}
ADJECTIVES = {"English", "Scottish", "Scotch", "Dutch", "Korean", "Turkish", "Persian", "Hellenic"}
REFERENCES = {
    "WorldCuisines of 2025-05-08",
    "Wikidata of 2024-01-08",
    "FmLAMA of 2024-11-23",
    "World Wide Dishes of June 2024",
    "cheese.com of 2024-06-04",
    "WordNet 3.1",
}


def plain(text):
    """Without accents and capitals."""
    return unicodedata.normalize("NFD", text).encode("ascii", "ignore").decode().lower()


@pytest.fixture(scope="module")
def foods():
    return concepts.load("foods")


@pytest.fixture(scope="module")
def countries(foods):
    return {origin: CountryInfo(PARTS.get(origin, origin)) for origin in foods.origin.unique()}


def test_every_origin_is_a_country_to_the_country_package_or_a_known_part_of_one(countries):
    for origin, country in countries.items():
        names = {country.name(), *country.alt_spellings()}
        assert plain(PARTS.get(origin, origin)) in {plain(name) for name in names}


def test_no_food_tells_a_country_or_its_people_by_its_name(foods, countries):
    telling = {plain(origin) for origin in countries} | {plain(word) for word in ADJECTIVES}
    telling |= {plain(country.demonym()) for country in countries.values()}
    assert [item for item in foods["item"] if telling & set(re.findall("[a-z]+", plain(item)))] == []


def test_a_food_begins_unlike_its_origin(foods):
    assert [row.item for row in foods.itertuples() if plain(row.item)[:3] == plain(row.origin)[:3]] == []


def test_no_origin_or_kind_is_said_twice_of_a_food(foods):
    for row in foods.itertuples():
        assert row.origin not in row.also_from.split(";")
        assert row.kind not in row.other_kinds.split(";")


def test_no_two_foods_are_spelled_alike(foods):
    names = foods["item"].map(plain).str.replace("[^a-z]", "", regex=True)
    assert names.is_unique and not names.str.removesuffix("s").duplicated().any()


def test_a_name_has_a_capital_only_where_english_keeps_it(foods):
    capitals = [item for item in foods["item"] if item != item.lower()]
    proper = ["Anzac", "Blue", "Cashel", "Jarlsberg", "Jiggs", "Nanaimo", "Vegemite"]
    assert {word for item in capitals for word in item.split() if word != word.lower()} <= set(proper)


def test_origins_and_kinds_can_be_told_apart(foods):
    """Or else a cluster by kind would be one by origin: every kind spans origins, every origin kinds."""
    assert foods.groupby("kind").origin.nunique().min() >= 5
    assert foods.groupby("origin").kind.nunique().min() >= 2


def test_what_was_checked_is_said_by_fact_and_reference(foods):
    for checked in foods.checked[foods.checked != "not checked"]:
        for part in checked.split("; "):
            fact, references = part.split(": ")
            assert fact in {"origin", "kind"}
            assert set(references.split(", ")) <= REFERENCES


def test_most_origins_were_checked(foods):
    assert foods.checked.str.startswith("origin: ").mean() > 0.9
