"""The sweeps on the embedded model: real weights, a real tokenizer, a stated budget of memory."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import medlib
from medlib import Pair, Prompt, concepts, hooks

PROMPTS = ["Insulin is used to treat", "The capital of France is"]
ANSWERS = [" diabetes", " Paris"]


@torch.no_grad()
def logits(model, prompt):
    return model.hf(**model.tokenizer(prompt, return_tensors="pt")).logits[0, -1]


def test_a_lesion_of_real_weights_equals_the_hook(smollm2):
    table = medlib.lesion_sweep(smollm2, PROMPTS, ANSWERS).set_index(["prompt", "layer"])
    for i, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        intact = logits(smollm2, prompt).log_softmax(-1)
        token = smollm2.tokenizer(answer)["input_ids"][0]
        for layer in (1, 12, 30):
            with hooks.skip(smollm2, layer):
                lesioned = logits(smollm2, prompt).log_softmax(-1)
            assert table.kl[i, layer] == pytest.approx(float((intact.exp() * (intact - lesioned)).sum()), rel=1e-3)
            assert table.logprob_drop[i, layer] == pytest.approx(float(intact[token] - lesioned[token]), abs=1e-3)


def test_a_patch_of_real_weights_equals_the_hook(smollm2):
    pair = Pair("The capital of France is", "The capital of Spain is", " Paris", " Madrid")
    table = medlib.patch_sweep(smollm2, [pair])
    assert table.attrs["positions_shared"]
    table = table.set_index(["layer", "position"])
    with hooks.capture(smollm2) as clean:
        logits(smollm2, pair.clean)
    paris, madrid = (smollm2.tokenizer(word)["input_ids"][0] for word in (pair.answer, pair.wrong))
    for layer, position in ((1, 3), (20, 3), (26, 4)):

        def patch(state, layer=layer, position=position):
            state = state.clone()
            state[:, position] = clean[layer][:, position]
            return state

        with hooks.replace(smollm2, layer, patch):
            patched = logits(smollm2, pair.corrupt)
        difference = float(patched[paris] - patched[madrid])
        assert table.logit_diff[layer, position] == pytest.approx(difference, abs=1e-4 * float(patched.abs().max()))


def test_the_capital_is_known_and_moves_from_the_country_to_the_last_token(smollm2):
    pair = Pair("The capital of France is", "The capital of Spain is", " Paris", " Madrid")
    table = medlib.patch_sweep(smollm2, [pair]).set_index(["layer", "position"])
    assert table.clean_diff.iloc[0] > 3 and table.corrupt_diff.iloc[0] < -3
    assert table.recovered[1, 3] > 0.9 and table.recovered[29, 3] < 0.1 and table.recovered[29, 4] > 0.9


def test_an_entitys_state_does_not_depend_on_what_follows_it(smollm2):
    """Causal attention: the same beginning gives the same states, in whatever batch."""
    prompts = [
        Prompt.fill("{entity} is a drug", "Metformin"),
        Prompt.fill("{entity} was given to him in the ward", "Metformin"),
    ]
    states = medlib.activations(smollm2, prompts, at="entity")
    np.testing.assert_allclose(states[:, 0], states[:, 1], rtol=1e-3, atol=1e-3)


def test_every_pair_for_this_tokenizer_can_be_patched(smollm2):
    for domain, least in (("drugs", 80), ("foods", 80)):
        pairs, _ = concepts.pairs(domain, smollm2.tokenizer)
        assert len(pairs) >= least
        assert len(medlib.patching.encode_pairs(smollm2, pairs)[0]) == len(pairs)


MEASURED = """
import ctypes, re
from pathlib import Path
import torch
torch.set_num_threads(1)
import medlib
from medlib import concepts

def status(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

model = medlib.load("smollm2-135m")
questions = concepts.questions("drugs")[:16]
prompts, answers = list(questions.prompt), list(questions.answer)
medlib.lesion_sweep(model, prompts[:2])  # what the first call of a kernel keeps is not a sweep's
model.memory = 48 * 2**20
peaks = []
for _ in range(3):  # what the allocator happens to keep only adds
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    medlib.lesion_sweep(model, prompts, answers)
    peaks.append(status("VmHWM") - before)
print(min(peaks))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process is reset through /proc")
def test_a_sweep_stays_within_the_stated_memory(smollm2):
    run = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True)
    assert 0 < int(run.stdout) <= 48 * 2**20


def test_saliency_takes_the_de_quantised_weights_for_plain_ones(smollm2):
    assert "de-quantised" in smollm2.source["quantised"]
    found = medlib.weight_saliency(smollm2, ["Insulin is used to treat"], [" diabetes"])
    assert set(found["layer"]) == set(range(1, 31)) and (found["saliency"] > 0).all()
