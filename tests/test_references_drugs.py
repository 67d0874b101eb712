"""The table of drugs against a dictionary of names that installs beside it: what `checked` says of it is still so."""

from drug_named_entity_recognition import find_drugs

from medlib import concepts


def test_every_drug_is_a_drug_to_the_dictionary_of_names():
    table = concepts.load("drugs")
    assert table.checked.str.contains("name: drug-named-entity-recognition 2.0.9").all()
    unknown = [item for item in table["item"] if not find_drugs(item.split() if " " in item else [item])]
    assert unknown == []
