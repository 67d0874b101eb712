"""Doses, and the elements that are held against them: what the packaged references say, and what a dose looks like."""

from decimal import Decimal
from pathlib import Path

import periodictable
from drug_named_entity_recognition import find_drugs

from medlib import concepts

DOSAGE, ELEMENTS = concepts.load("dosage"), concepts.load("elements")
FOLDER = Path(concepts.__file__).parent
MILLIGRAMS = {"mcg": Decimal("0.001"), "mg": Decimal(1), "g": Decimal(1000)}


def doses(cell):
    return [dose for dose in cell.split(";") if dose]


def amount(dose):
    """A written dose as milligrams, where its unit is one of mass."""
    number, unit = dose.split()
    return (Decimal(number) * MILLIGRAMS[unit], "mg") if unit in MILLIGRAMS else (Decimal(number), unit)


# The packaged references


def test_number_symbol_and_name_of_every_element_are_those_of_the_package():
    assert ELEMENTS.checked.str.startswith("number, symbol and name: periodictable 2.1.0").all()
    for row in ELEMENTS.itertuples():
        element = periodictable.elements[row.number]
        assert (row.item, row.symbol) == (element.name, element.symbol)


def test_a_drug_is_said_to_be_in_the_dictionary_of_names_just_where_it_is():
    found = DOSAGE["item"].map(lambda item: bool(find_drugs(item.split())))
    assert (DOSAGE.checked.str.contains("drug-named-entity-recognition 2.0.9") == found).all()
    assert found.mean() > 0.85


# Elements


def test_block_group_and_period_follow_from_the_number():
    """A period ends at its noble gas; the f-block is the fourteen elements that follow barium or radium."""
    gases = [0, 2, 10, 18, 36, 54, 86, 118]
    for row in ELEMENTS.itertuples():
        period = next(i for i, gas in enumerate(gases) if gas >= row.number)
        since, until = row.number - gases[period - 1], gases[period] - row.number
        if since <= 2 and row.item != "helium":
            group, block = str(since), "s"
        elif until >= 16:
            group, block = "none", "f"
        else:
            group, block = str(18 - until), "s" if row.item == "helium" else "p" if until < 6 else "d"
        assert (row.period, row.group, row.block) == (period, group, block), row.item


def test_an_element_is_written_as_its_number():
    assert (ELEMENTS.written == ELEMENTS.number.astype(str)).all()


# Doses


def test_a_dose_is_written_as_number_and_unit_or_not_at_all():
    asked = DOSAGE[DOSAGE.written != ""]
    assert (asked.written == asked.dose + " " + asked.unit).all()
    assert len(asked) >= 80
    unasked = DOSAGE[DOSAGE.written == ""]
    assert (unasked.also_doses == "").all()


def test_other_doses_are_other_texts_and_hold_the_same_dose_in_the_next_unit():
    """So that 100 mcg is not wrong where 0.1 mg is right."""
    for row in DOSAGE[DOSAGE.written != ""].itertuples():
        others = doses(row.also_doses)
        assert row.written not in others and len(set(others)) == len(others)
        same = [dose for dose in others if amount(dose) == amount(row.written)]
        if row.unit in ("mcg", "g") or (row.unit == "mg" and not 1 <= float(row.dose) < 100):
            assert same, row.item


def test_no_pair_of_doses_has_a_wrong_answer_that_begins_like_a_right_one(embedded_tokenizer):
    table = DOSAGE.set_index("item")
    pairs, candidates = concepts.pairs("dosage", embedded_tokenizer)
    for pair, row in zip(pairs, candidates[candidates.kept].itertuples(), strict=True):
        right = [table.written[row.item], *doses(table.also_doses[row.item])]
        assert pair.wrong[0] not in {dose[0] for dose in right}


def test_doses_are_of_the_size_that_goes_with_their_unit():
    """A slip by a factor of a thousand would show here."""
    assert set(DOSAGE.unit[DOSAGE.route == "inhaled"]) == {"mcg"}
    grams = DOSAGE[DOSAGE.unit == "g"]
    assert grams.dose.astype(float).between(1, 50).all()
    assert DOSAGE.dose[DOSAGE.unit == "mg"].astype(float).between(0.1, 1500).all()
    assert DOSAGE.dose[DOSAGE.unit == "mcg"].astype(float).between(5, 500).all()
    assert DOSAGE.dose[DOSAGE.unit == "units"].astype(float).between(100, 10000).all()
