"""Stages of diseases and of processes: their order, their words, and what a packaged classification says of them."""

import re
from pathlib import Path

import pandas as pd
import pytest
import simple_icd_10_cm as icd

from medlib import concepts

FOLDER = Path(concepts.__file__).parent
LADDERS = [("progression", "disease", "diagnosis"), ("processes", "process", "subject")]
NUMBERS = [
    set(words.split())
    for words in [
        "zero",
        "one first",
        "two second",
        "three third",
        "four fourth",
        "five fifth",
        "six sixth",
        "seven seventh",
        "eight eighth",
        "nine ninth",
    ]
]
SCALES = {  # the stages of each published scale, in its order
    "Hoehn and Yahr": ["0", "1", "1.5", "2", "2.5", "3", "4", "5"],
    "mMRC": list("01234"),
    "GDS": list("1234567"),
    "KDIGO": ["G1", "G2", "G3a", "G3b", "G4", "G5"],
    "EDSS": ["0", *(str(half / 2) for half in range(2, 21))],
    "ACC/AHA": list("ABCD"),
    "NYHA": ["I", "II", "III", "IV"],
    "King's": ["1", "2", "3", "4A", "4B"],
    "D'Amico": list("123456"),
    "ETDRS": ["10", "20", "35", "43", "47", "53", "61", "65", "71", "75", "81", "85"],
    "Vignos": [str(grade) for grade in range(1, 11)],
    "Fontaine": ["I", "II", "III", "IV"],
    "Rutherford": list("0123456"),
    "AJCC": ["0", "I", "IIA", "IIB", "IIC", "IIIA", "IIIB", "IIIC", "IVA", "IVB", "IVC"],
    "Zadoks": list("0123456789"),
    "ISCED": list("012345678"),
}
TITLES = {  # as ICD-10-CM writes the disease that the table calls by its everyday name
    "ALS": ("G12.21", "Amyotrophic lateral sclerosis"),
    "Alzheimer's disease": ("G30", "Alzheimer's disease"),
    "COPD": ("J44", "Other chronic obstructive pulmonary disease"),
    "Duchenne muscular dystrophy": ("G71.01", "Duchenne or Becker muscular dystrophy"),
    "Parkinson's disease": ("G20", "Parkinson's disease"),
    "chronic kidney disease": ("N18", "Chronic kidney disease (CKD)"),
    "cirrhosis": ("K74.6", "Other and unspecified cirrhosis of liver"),
    "colon cancer": ("C18", "Malignant neoplasm of colon"),
    "diabetic retinopathy": ("E11.31", "Type 2 diabetes mellitus with unspecified diabetic retinopathy"),
    "heart failure": ("I50", "Heart failure"),
    "multiple sclerosis": ("G35", "Multiple sclerosis"),
    "peripheral artery disease": ("I73.9", "Peripheral vascular disease, unspecified"),
}


@pytest.mark.parametrize("domain, label, _", LADDERS)
def test_every_ladder_has_its_ten_stages_in_order(domain, label, _):
    table = concepts.load(domain)
    assert table[label].nunique() == 12
    assert all(stages.tolist() == list(range(10)) for _, stages in table.groupby(label).stage)


@pytest.mark.parametrize("domain, label, _", LADDERS)
def test_a_published_scale_never_goes_back_along_a_ladder(domain, label, _):
    table = concepts.load(domain).query("published_stage != ''")
    parts = table.published_stage.str.rsplit(" ", n=1, expand=True)
    ranks = [SCALES[scale].index(stage) for scale, stage in parts.values]
    ladders = pd.Series(ranks, table.index).groupby([table[label], parts[0]])
    assert all(ladder.is_monotonic_increasing for _, ladder in ladders)
    assert len(ladders) >= 2


@pytest.mark.parametrize("domain, label, _", LADDERS)
def test_stages_one_to_three_are_the_beginning_and_seven_to_nine_the_end(domain, label, _):
    table = concepts.load(domain)
    expected = table.stage.map(lambda stage: "beginning" if 1 <= stage <= 3 else "end" if stage >= 7 else "")
    assert (table.course == expected).all()


@pytest.mark.parametrize("domain, label, _", LADDERS)
def test_no_description_names_its_stage_or_how_far_the_course_is(domain, label, _):
    told = r"\d|\b(early|late|stage|grade [a-z]|mild|moderate|advanced|final|beginning|end|terminal|initial)\b"
    table = concepts.load(domain)
    items = table["item"]
    assert [item for item in items if re.search(told, item)] == []
    assert items.str.split().str.len().between(4, 9).all()
    assert [r.item for r in table.itertuples() if set(r.item.split()) & NUMBERS[r.stage]] == []


@pytest.mark.parametrize("domain, label, answer", LADDERS)
def test_the_answer_is_the_ladder_itself_and_stage_0_has_none(domain, label, answer):
    table = concepts.load(domain)
    assert ((table[answer] == "") | (table[answer] == table[label])).all()
    assert (table[answer][table.stage == 0] == "").all() and (table[answer] != "").sum() >= 100
    also = table.columns[table.columns.get_loc(answer) + 1]
    assert not any(row[label] in row[also].split(";") for row in table.to_dict("records"))
    assert (table[also][table[answer] == ""] == "").all()


def test_the_number_of_the_stage_stands_in_one_template_and_in_no_other():
    for domain in ("progression", "processes"):
        numbered = [name for name, text in concepts.templates(domain).items() if "{stage}" in text]
        assert numbered == ["numbered"]
    prompt = concepts.prompts("progression", "numbered").query("disease == 'COPD' and stage == 9").prompt.item()
    assert prompt == "In stage 9 of COPD the patient has emphysema and a ventilator for failing lungs"


def test_every_disease_is_one_of_icd_10_cm():
    assert set(TITLES) == set(concepts.load("progression").disease)
    assert {name: icd.get_description(code) for name, (code, _) in TITLES.items()} == {
        name: title for name, (_, title) in TITLES.items()
    }


def test_stages_of_kidney_disease_are_those_of_icd_10_cm():
    table = concepts.load("progression").query("disease == 'chronic kidney disease'")
    titles = {code: icd.get_description(code) for code in icd.get_descendants("N18")}
    checked = table[table.checked.str.contains("simple-icd-10-cm 1.5.0")]
    assert len(checked) == 5
    for stage in checked.published_stage.str.removeprefix("KDIGO G"):
        assert any(re.search(rf"stage {stage}\b", title) for title in titles.values())
    assert "Chronic kidney disease requiring chronic dialysis" in icd.get_inclusion_term("N18.6")
