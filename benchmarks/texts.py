"""What the benchmarks read: medical sentences of natural, varying length, questions with answers, and pairs of prompts.

A pair is chosen with the model's own tokenizer, so that its length and the first token in which its prompts differ are
what the benchmark says they are.
"""

from itertools import permutations

from medlib import MedlibError, Pair
from medlib.prompts import encode

SENTENCES = [
    "Aspirin thins the blood.",
    "Fever is a sign, not a disease.",
    "The heart has four chambers.",
    "Penicillin was discovered by Alexander Fleming in 1928.",
    "Insulin lowers the concentration of glucose in the blood.",
    "Most strokes are caused by a clot that blocks an artery of the brain.",
    "Scurvy follows when the diet lacks vitamin C for months.",
    "The liver makes bile, which is stored in the gallbladder and helps to digest fat.",
    "Metformin is usually the first tablet that is offered to adults with type 2 diabetes.",
    "A cough that lasts for more than three weeks deserves a chest X-ray.",
    "Malaria is spread by the bite of infected female Anopheles mosquitoes.",
    "Iron deficiency is the commonest cause of anaemia in the world.",
    "Warfarin acts slowly because the clotting factors already made must first be used up.",
    "Red blood cells carry oxygen; white blood cells fight infection; platelets stop bleeding.",
    "Measles is so contagious that nine of ten people who are not immune catch it from one patient at home.",
    "The pancreas releases digestive enzymes into the gut and hormones into the blood.",
    "Gout hurts most at night.",
    "Uric acid crystals in a joint cause gout, and allopurinol lowers the level of uric acid.",
    "A newborn baby's heart beats about twice as fast as an adult's.",
    "Asthma narrows the airways of the lungs, and a salbutamol inhaler opens them within minutes.",
    "Rickets is a disease of growing bones.",
    "Without vitamin D the gut takes up too little calcium.",
    "Appendicitis often begins with pain around the navel that later moves to the lower right of the abdomen.",
    "The kidneys filter about 180 litres of plasma every day and return nearly all of it.",
    "Smoking is the leading preventable cause of lung cancer.",
    "Hypertension rarely causes symptoms, so it is found by measuring.",
    "Beta blockers slow the heart.",
    "An electrocardiogram records the electrical activity of the heart from the surface of the skin.",
    "Tuberculosis is treated with several drugs at once, because the bacteria become resistant to a single one.",
    "Influenza viruses change a little every year, and the vaccine is adapted to them.",
    "Paracetamol is safe at the usual dose and toxic to the liver in overdose.",
    "The cornea has no blood vessels and takes its oxygen from the tears and the air.",
    "Cholera kills by dehydration; oral rehydration solution saves lives with water, salt and sugar.",
    "Epilepsy is a tendency to have seizures.",
    "Levothyroxine replaces the hormone of an underactive thyroid gland.",
    "Parkinson's disease begins with the loss of neurons that make dopamine.",
    "Down syndrome is caused by a third copy of chromosome 21.",
    "A fracture of the hip in an old person is an emergency that calls for surgery within a day or two.",
    "Statins lower cholesterol by blocking an enzyme of the liver called HMG-CoA reductase.",
    "Morphine relieves severe pain.",
    "Naloxone reverses the effect of opioids within minutes.",
    "Vaccination has eradicated smallpox.",
    "The optic nerve carries signals from the retina to the brain.",
    "Helicobacter pylori lives in the stomach and is a common cause of ulcers.",
    "Sickle cell disease is inherited from both parents, each of whom carries one copy of the gene.",
    "Cystic fibrosis thickens the mucus of the lungs and of the pancreas.",
    "Lithium prevents episodes of mania and depression, and its level in the blood must be measured regularly.",
    "Anaphylaxis is treated at once with adrenaline injected into the muscle of the thigh.",
    "Sunlight damages DNA.",
    "A melanoma is a cancer of the cells that give the skin its colour.",
    "Pregnant women are advised to take folic acid, which protects the spinal cord of the child.",
    "Amoxicillin is an antibiotic.",
    "Hearing declines with age, first for high notes.",
    "Dementia is not a normal part of ageing; Alzheimer's disease is its commonest cause.",
    "Digoxin comes from the foxglove.",
    "Heart failure means that the heart pumps less blood than the body needs, so fluid gathers in legs and lungs.",
    "Multiple sclerosis damages the myelin that insulates nerve fibres.",
    "Rabies is almost always fatal once symptoms appear, yet a vaccine given soon after the bite prevents it.",
    "Burns destroy skin.",
    "Hepatitis B can be prevented by vaccination and hepatitis C can now be cured with tablets.",
    "The commonest tumour of the prostate is an adenocarcinoma, and many of these tumours grow slowly.",
    "Osteoporosis makes bones brittle, and the first sign of it is often a fracture after a small fall.",
    "A migraine is more than a headache.",
    "Dialysis does the work of kidneys that have failed, three times a week for about four hours at a time.",
]

QUESTIONS = [
    ("Insulin is used to treat", " diabetes"),
    ("The commonest cause of lung cancer is", " smoking"),
    ("Scurvy is caused by a lack of vitamin", " C"),
    ("The organ that pumps blood through the body is the", " heart"),
    ("Malaria is spread by the bite of infected", " mosquitoes"),
    ("Penicillin is an antibiotic that kills", " bacteria"),
    ("The hormone that lowers the concentration of glucose in the blood is called", " insulin"),
    ("A salbutamol inhaler opens the airways of patients who suffer from", " asthma"),
    ("Urine is made by the", " kidneys"),
    ("Iron deficiency is the commonest cause of", " anaemia"),
    ("The disease in which neurons that make dopamine are lost is named after James", " Parkinson"),
    ("Levothyroxine replaces the hormone of an underactive", " thyroid"),
    ("Morphine relieves severe", " pain"),
    ("Red blood cells carry", " oxygen"),
    ("In a patient with appendicitis, the surgeon removes the", " appendix"),
    ("Statins are prescribed to lower the level of", " cholesterol"),
]

DRUGS = ["Aspirin", "Warfarin", "Metformin", "Morphine", "Penicillin", "Ibuprofen", "Codeine", "Heparin", "Digoxin"]
EARLY = "{drug} is a medicine that doctors in many countries often prescribe to patients with"
LATE = "In our hospital the doctors treat most of the patients who need {drug} for"
ANSWERS = (" pain", " diabetes")


def pair(model, template, length, first):
    """Two drugs in a template, such that the prompts have `length` tokens and differ from token `first` (0-based) on.

    Raises `MedlibError` when the tokenizer gives no such pair.
    """
    for clean, corrupt in permutations(DRUGS, 2):
        found = Pair(template.format(drug=clean), template.format(drug=corrupt), *ANSWERS)
        a, b = encode(model, [found.clean, found.corrupt])
        if len(a) == len(b) == length and first_difference(a, b) == first:
            return found
    raise MedlibError(
        f"No two drugs make {template!r} {length} tokens long with the first difference at token {first}. "
        "Add a drug, or change the template, in benchmarks/texts.py."
    )


def first_difference(a, b):
    """The first position at which two lists of token ids differ; their length where they do not."""
    return next((i for i, (one, other) in enumerate(zip(a, b, strict=True)) if one != other), len(a))
