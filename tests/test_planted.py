"""Every sweep names the planted block, part and token, with the numbers that follow from the weights by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from planted import (
    ALWAYS,
    ANSWER,
    ANSWERS,
    CIRCUITS,
    GAINS,
    HEAD,
    HIDDEN,
    LAYERS,
    SUBJECT,
    SUBJECTS,
    UNITS,
    WORDS,
    busy,
    cost,
    idle,
    log_softmax,
    logits,
    mlp,
    one,
    planted,
    templates,
)

import medlib
from medlib import Pair, Prompt, geometry
from medlib.chapters.lesion import windows
from medlib.chapters.patching import sites
from medlib.lesion import COMPONENTS, _donors

CLOSE = dict(abs=1e-5, rel=1e-5)  # float32
SMALL = dict(abs=1e-12, rel=1e-5)  # the same, of numbers that are small themselves
NUMBERS = np.repeat(np.arange(6), 2)
WITHOUT_BACKUP = sorted(set(CIRCUITS) - {"with a backup"})

# The blocks without which there is no answer.
WORKING = {
    "attention": {"block": {3}, "attention": {3}, "mlp": set()},
    "mlp": {"block": {4}, "attention": set(), "mlp": {4}},
    "carry, then look up": {"block": {2, 6}, "attention": {2}, "mlp": {6}},
    "look up, then carry": {"block": {1, 5}, "attention": {5}, "mlp": {1}},
    "with a backup": {"block": set(), "attention": set(), "mlp": set()},
}
SITES = [(circuit, component) for circuit in CIRCUITS for component in ("residual", "attention", "mlp")]


def prompts(circuit):
    """Two templates of each subject: `NUMBERS` says whose each prompt is."""
    return [Prompt.fill(template, subject) for subject in SUBJECTS for template in templates(circuit)]


def answers():
    return [f" {ANSWERS[number]}" for number in NUMBERS]


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_the_planted_model_says_what_its_weights_were_written_to_say(circuit):
    model = planted(circuit)
    for prompt, number in zip(prompts(circuit), NUMBERS, strict=True):
        with torch.no_grad():
            own = model.hf(**model.tokenizer(prompt, return_tensors="pt")).logits[0, -1]
        assert np.abs(own.numpy() - logits(one(number))).max() < 1e-5


# --- lesions ----------------------------------------------------------------------------------------------------------


def left_by(how, circuit, prompt):
    """The answers' coordinates at the last token once a working part is lesioned."""
    if how == "identity":
        return np.zeros(6)
    if how == "resample":
        donor = _donors(len(NUMBERS), 0)[prompt]
        assert donor != prompt
        return one(NUMBERS[donor])
    # A working part adds one to one token of each prompt, and the mean is over all tokens but the first.
    return np.full(6, 2 / sum(len(text.split()) - 1 for text in prompts(circuit)))


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("how", ["identity", "mean", "resample"])
@pytest.mark.parametrize("circuit", WITHOUT_BACKUP)
def test_a_lesion_costs_the_answer_at_the_working_blocks_and_nothing_at_any_other(circuit, how, component):
    table = medlib.lesion_sweep(planted(circuit), prompts(circuit), answers(), how, component)
    assert len(table) == len(NUMBERS) * LAYERS
    for row in table.itertuples():
        number = NUMBERS[row.prompt]
        working = row.layer in WORKING[circuit][component]
        left = left_by(how, circuit, row.prompt) if working else one(number)
        for name, value in cost(one(number), left, number).items():
            assert getattr(row, name) == pytest.approx(value, **CLOSE), (row, name)
        assert row.top1_same == (WORDS[logits(left).argmax()] == ANSWERS[number]), row


@pytest.mark.parametrize(
    ("circuit", "direct"),
    [
        ("attention", {3}),
        ("mlp", {4}),
        ("carry, then look up", {6}),  # what the lower block writes nobody reads directly
        ("look up, then carry", {5}),
        ("with a backup", {3}),  # the first writer's direct effect is whole, and its total effect none
    ],
)
def test_the_direct_effect_is_that_of_the_block_which_writes_the_answer(circuit, direct):
    table = medlib.lesion_sweep(planted(circuit), prompts(circuit), answers())
    for row in table.itertuples():
        whole = cost(one(NUMBERS[row.prompt]), np.zeros(6), NUMBERS[row.prompt])["logit_drop"]
        assert row.direct_drop == pytest.approx(whole if row.layer in direct else 0, **CLOSE)


def test_a_backup_makes_up_for_all_of_the_first_writers_effect():
    table = medlib.lesion_sweep(planted("with a backup"), prompts("with a backup"), answers())
    assert np.abs(table[["kl", "logprob_drop", "logit_drop"]]).max(axis=None) < 1e-5 and table.top1_same.all()
    repaired = table.eval("direct_drop - logit_drop")[table.layer == 3]
    assert repaired.to_numpy() == pytest.approx(GAINS[NUMBERS] * (1 - 1 / len(WORDS)), **CLOSE)


def test_a_first_writer_that_says_something_else_is_not_silenced_by_the_backup():
    """Resampled, the first writer names the donor's answer; the backup adds the prompt's own: both stand at one."""
    circuit = "with a backup"
    table = medlib.lesion_sweep(planted(circuit), prompts(circuit), answers(), "resample").set_index(
        ["prompt", "layer"]
    )
    for prompt, donor in enumerate(_donors(len(NUMBERS), 0)):
        own, other = NUMBERS[prompt], NUMBERS[donor]
        after = np.maximum(one(own), one(other))
        assert table.loc[prompt, 3].kl == pytest.approx(cost(one(own), after, own)["kl"], **CLOSE)


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_a_window_costs_the_answer_where_it_holds_what_the_answer_needs(circuit):
    table = medlib.lesion_windows(planted(circuit), prompts(circuit), answers())
    assert len(table) == len(NUMBERS) * LAYERS * (LAYERS + 1) // 2
    for row in table.itertuples():
        inside = set(range(row.first, row.last + 1))
        lost = bool(inside & WORKING[circuit]["block"])
        if circuit == "with a backup":
            lost = 3 in inside and bool(inside & {2, 5})
        number = NUMBERS[row.prompt]
        left = np.zeros(6) if lost else one(number)
        expected = cost(one(number), left, number)
        assert row.kl == pytest.approx(expected["kl"], **CLOSE), row
        assert row.logprob_drop == pytest.approx(expected["logprob_drop"], **CLOSE), row
        assert row.top1_same == (not lost)


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_only_windows_over_blocks_that_stand_in_for_each_other_cost_more_than_their_blocks(circuit):
    table = medlib.lesion_windows(planted(circuit), prompts(circuit))
    beyond = windows.beyond_single(table).set_index(["first", "last"]).value
    whole = np.mean([cost(one(number), np.zeros(6), number)["kl"] for number in range(6)])
    for first, last in beyond.index:
        needed = circuit == "with a backup" and first <= 3 <= last and (first <= 2 or last >= 5)
        assert beyond[first, last] == pytest.approx(whole if needed else 0, **CLOSE), (first, last)


def test_a_text_loses_what_its_last_word_was_worth_and_no_other_word():
    circuit = "attention"
    texts = [prompt + answer for prompt, answer in zip(prompts(circuit), answers(), strict=True)]
    table = medlib.lesion_texts(planted(circuit), texts)
    for row in table.itertuples():
        number, uniform = NUMBERS[row.text], np.log(len(WORDS))
        known = -log_softmax(logits(one(number)))[WORDS.index(ANSWERS[number])]
        foretold = len(texts[row.text].split()) - 1
        last = uniform if row.layer == 3 else known
        assert row.tokens == foretold
        assert row.loss == pytest.approx(((foretold - 1) * uniform + last) / foretold, **CLOSE)


# --- patches ----------------------------------------------------------------------------------------------------------


def pairs(circuit):
    """Each subject against the next one, in both templates; the gains differ, so no difference is its twin's."""
    return [
        Pair(
            Prompt.fill(template, SUBJECTS[a]),
            Prompt.fill(template, SUBJECTS[b]),
            f" {ANSWERS[a]}",
            f" {ANSWERS[b]}",
        )
        for template in templates(circuit)
        for a, b in PAIRED
    ]


PAIRED = [(0, 1), (1, 2), (4, 2), (5, 0)]


def site(circuit, component, layer, place):
    """How much of each answer, own and other, stands at the last token after a patch: of the run, of the donor."""
    kept, brought, both = (1, 0), (0, 1), (1, 1)
    subject, asks = place == "subject", place == "asks"
    if circuit == "mlp":  # the subject is the last token
        return brought if subject and (component == "residual" or (component, layer) == ("mlp", 4)) else kept
    if circuit == "with a backup":
        # Once one subject is carried and the other's answer written, the backup adds the carried one's.
        if component == "residual":
            whole = (subject and layer == 1) or (asks and layer >= 3)
            half = (subject and layer == 2) or (asks and layer == 2)
            return brought if whole else both if half else kept
        return both if asks and component == "attention" and layer in (2, 3) else kept
    moves = {"attention": 3, "carry, then look up": 2, "look up, then carry": 5}[circuit]
    if component == "residual":
        return brought if (subject and layer < moves) or (asks and layer >= moves) else kept
    looked_up = {"carry, then look up": (6, "asks"), "look up, then carry": (1, "subject")}.get(circuit)
    parts = {"attention": (moves, "asks"), "mlp": looked_up}
    return brought if (layer, place) == parts[component] else kept


def places(prompt):
    return ["subject" if word in SUBJECTS else "asks" if word == "treats" else "" for word in prompt.split()]


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize(("circuit", "component"), SITES)
def test_a_patch_brings_the_answer_at_the_planted_layer_and_token_alone(circuit, component, direction):
    given = pairs(circuit)
    table = medlib.patch_sweep(planted(circuit), given, direction, component)
    assert len(table) == sum(LAYERS * len(pair.clean.split()) for pair in given)
    for row in table.itertuples():
        a, b = PAIRED[row.pair % len(PAIRED)]
        pair = given[row.pair]
        own, other = site(circuit, component, row.layer, places(pair.clean)[row.position])
        clean, corrupt = (other, own) if direction == "denoise" else (own, other)
        assert row.token == (pair.corrupt if direction == "denoise" else pair.clean).split()[row.position]
        assert row.clean_diff == pytest.approx(GAINS[a], **CLOSE)
        assert row.corrupt_diff == pytest.approx(-GAINS[b], **CLOSE)
        assert row.logit_diff == pytest.approx(clean * GAINS[a] - corrupt * GAINS[b], **CLOSE), row
        expected = (clean * GAINS[a] + (1 - corrupt) * GAINS[b]) / (GAINS[a] + GAINS[b])
        assert row.recovered == pytest.approx(expected, **CLOSE), row


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize(("circuit", "component"), [site for site in SITES if site[0] != "with a backup"])
def test_attribution_is_exact_in_a_circuit_that_is_linear(circuit, component, direction):
    exact, estimate = (
        sweep(planted(circuit), pairs(circuit), direction, component)
        for sweep in (medlib.patch_sweep, medlib.attribution_sweep)
    )
    assert exact.drop(columns=["logit_diff", "recovered"]).equals(estimate.drop(columns=["logit_diff", "recovered"]))
    for name in ("logit_diff", "recovered"):
        assert estimate[name].to_numpy() == pytest.approx(exact[name].to_numpy(), **CLOSE)


@pytest.mark.parametrize("component", ["residual", "attention", "mlp"])
def test_an_answer_that_is_written_at_the_subjects_own_token_and_never_carried_on_changes_no_patch(component):
    decoy = planted({**CIRCUITS["attention"], 4: mlp(SUBJECT, ANSWER)})
    expected = medlib.patch_sweep(planted("attention"), pairs("attention"), component=component)
    for sweep in (medlib.patch_sweep, medlib.attribution_sweep):
        found = sweep(decoy, pairs("attention"), component=component)
        assert found.logit_diff.to_numpy() == pytest.approx(expected.logit_diff.to_numpy(), **CLOSE)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_attribution_overlooks_a_backup_that_is_silent_until_something_is_lost(direction):
    """The first writer gets all of the answer, what feeds the backup none; exactly, each gets its own side of it."""
    circuit, (a, b) = "with a backup", PAIRED[0]
    table = medlib.attribution_sweep(planted(circuit), pairs(circuit)[:1], direction, "attention")
    recovered = table.pivot(index="layer", columns="position", values="recovered")
    asks = recovered.columns[-1]
    whole = recovered.loc[3, asks]
    assert whole == pytest.approx(1 if direction == "denoise" else 0, **CLOSE)
    assert (recovered.drop(index=3) - (1 - whole)).abs().max(axis=None) < 1e-5
    exact = medlib.patch_sweep(planted(circuit), pairs(circuit)[:1], direction, "attention")
    exact = exact.set_index(["layer", "position"]).recovered
    share = GAINS[a] / (GAINS[a] + GAINS[b])
    assert exact[2, asks] == pytest.approx(share, **CLOSE) and exact[3, asks] == pytest.approx(share, **CLOSE)


@pytest.mark.parametrize(
    ("circuit", "layer"), [("attention", 3), ("carry, then look up", 2), ("look up, then carry", 5)]
)
def test_the_last_token_takes_over_at_the_block_that_moves_the_subject(circuit, layer):
    labels = [(a, b, template, f"{a} / {b}") for template in templates(circuit) for a, b in PAIRED]
    labels = pd.DataFrame(labels, columns=["item", "other", "template", "couple"])
    table = sites.sweep_parts(planted(circuit), pairs(circuit), labels)
    assert table.used.all() and sites.handover(table) == (layer, layer, layer)


# --- saliency ---------------------------------------------------------------------------------------------------------


def slope(number):
    """The gradient of the answer's log-probability by the answers' coordinates at the last token."""
    share = np.exp(log_softmax(logits(one(number))))[[WORDS.index(word) for word in ANSWERS]]
    return GAINS * (one(number) - share)


def saliency(circuit, kind):
    table = medlib.weight_saliency(planted(circuit), prompts(circuit), answers(), kind)
    return table, table.attrs["per_prompt"].set_index(["prompt", "layer", "module"]).saliency


def test_the_gradients_of_the_attention_that_carries_the_answer_are_those_worked_out_by_hand():
    _, found = saliency("attention", "grad")
    for prompt, number in enumerate(NUMBERS):
        by_answer = np.abs(slope(number)).sum()
        # Values read the subject's token: its own coordinate, and two marks; the head's one output meets each slope.
        sizes = {"o_proj": by_answer, "v_proj": 3 * by_answer, "q_proj": 0, "k_proj": 0}
        sizes |= {"gate_proj": 0, "up_proj": 0, "down_proj": 0}
        for module, size in sizes.items():
            assert found[prompt, 3, module] == pytest.approx(size / (HEAD * HIDDEN), **SMALL), module
        weights = (4 * HEAD + 3 * UNITS) * HIDDEN
        assert found[prompt, 3, "block"] == pytest.approx(4 * by_answer / weights, **SMALL)


def test_the_gradients_of_the_mlp_that_looks_the_answer_up_are_those_worked_out_by_hand():
    table, found = saliency("mlp", "grad")
    for prompt, number in enumerate(NUMBERS):
        by_answer, own = np.abs(slope(number)).sum(), slope(number)[number]
        read = (
            3 + abs(np.array([5 + 0, -3 + 16, -28, 2 + 4])).sum()
        )  # the subject's token, and what the busy block wrote
        sizes = {"down_proj": by_answer, "up_proj": by_answer * read, "gate_proj": own * read}
        for module, size in sizes.items():
            assert found[prompt, 4, module] == pytest.approx(size / (UNITS * HIDDEN), **SMALL), module
    mean = np.mean([np.abs(slope(number)).sum() for number in NUMBERS]) / (UNITS * HIDDEN)
    assert table.set_index(["layer", "module"]).saliency[4, "down_proj"] == pytest.approx(mean, **SMALL)


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_weights_times_their_gradients_name_the_blocks_that_make_the_answer_and_no_other(circuit):
    """Its parts each hand the answer's slope on: gain times what is left of the probability, once for each matrix."""
    table, found = saliency(circuit, "weight_grad")
    size = {"o_proj": HEAD * HIDDEN, "v_proj": HEAD * HIDDEN, "up_proj": UNITS * HIDDEN, "down_proj": UNITS * HIDDEN}
    parts = {"attention": ("v_proj", "o_proj"), "mlp": ("gate_proj", "up_proj", "down_proj")}
    working = {part: WORKING[circuit][part] for part in parts}
    if circuit == "with a backup":  # the intact backup is silent, and what feeds it too
        working = {"attention": {3}, "mlp": set()}
    for part, modules in parts.items():
        for module in modules:
            for layer in range(1, LAYERS + 1):
                for prompt, number in enumerate(NUMBERS):
                    whole = slope(number)[number] / size.get(module, UNITS * HIDDEN)
                    expected = whole if layer in working[part] else 0
                    assert found[prompt, layer, module] == pytest.approx(expected, **SMALL), (module, layer)
    block = table[table.module == "block"].set_index("layer").saliency
    named = working["attention"] | working["mlp"]
    assert set(block.index[block > 1e-12]) == named


def test_the_plain_gradient_is_zero_in_an_empty_block_and_not_in_one_that_writes_elsewhere():
    """A weight of zero may still have a gradient: what a busy block could have said about the answer."""
    table, found = saliency("attention", "grad")
    block = table[table.module == "block"].set_index("layer").saliency
    assert (block[[1, 4, 6]] == 0).all() and (block[[3, 5]] > 0).all()
    for prompt, number in enumerate(NUMBERS):
        by_answer = np.abs(slope(number)).sum()
        assert found[prompt, 5, "o_proj"] == pytest.approx(by_answer / (HEAD * HIDDEN), **SMALL)
        assert found[prompt, 5, "down_proj"] == pytest.approx(4 * by_answer / (UNITS * HIDDEN), **SMALL)
        assert (
            max(found[prompt, 5, "v_proj"], found[prompt, 5, "gate_proj"]) < 1e-12
        )  # the answer ignores what they feed


# --- states -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("circuit", "layer"), [("attention", 3), ("carry, then look up", 2), ("look up, then carry", 5)]
)
def test_subjects_cluster_at_the_last_token_from_the_block_that_brings_them_on(circuit, layer):
    model, given = planted(circuit), prompts(circuit)
    last, entity = (medlib.activations(model, given, at=at) for at in ("last", "entity"))
    for state in range(LAYERS + 1):
        assert geometry.silhouette(last[state], NUMBERS) == (1 if state >= layer else 0)
        assert geometry.silhouette(entity[state], NUMBERS) == 1


def test_a_probe_reads_a_number_of_the_subject_from_the_block_that_brings_it_on():
    """Two words that ask, so that the last token's states vary before they know the subject."""
    given = [
        f"the {filler}{subject} {asks}"
        for filler in ("", "drug ")
        for asks in ("treats", "eases")
        for subject in SUBJECTS
    ]
    number = np.tile([3.0, 9.0, 1.0, 7.0, 5.0, 2.0], 4)
    states = medlib.activations(planted("carry, then look up"), given)
    r2 = [geometry.ridge_probe(state, number)["r2"] for state in states]
    assert max(r2[:2]) < 0 and min(r2[2:]) > 0.99


def test_the_states_are_the_coordinates_that_were_written():
    model, given = planted({3: CIRCUITS["attention"][3], 5: busy, 6: idle}), prompts("attention")
    states = medlib.activations(model, given)
    for prompt, number in enumerate(NUMBERS):
        assert np.abs(states[:3, prompt, ANSWER]).max() == 0
        assert np.abs(states[3:, prompt, ANSWER] - one(number)).max() < 1e-6
    assert (states[:, :, ALWAYS] == 1).all() and (states[:, :, SUBJECT] == 0).all()
