"""Blocks that lie on several devices give the same numbers as blocks on one.

There is one device here, so this tests the way through accelerate's hooks, which move what a block is called with; that
every tensor then meets others on its own device takes several accelerators to see.
"""

import pytest
from accelerate import dispatch_model
from conftest import tiny_hf, word_tokenizer

import medlib
from medlib import MedlibError, Pair

PROMPTS = ["w1 w2 w3 w4 w5", "w9 w8 w7", "w20 w21 w22 w23 w24"]
ANSWERS = [" w6", " w6", " w25"]
PAIRS = [Pair("w1 w2 w3 w4 w5 w6", "w1 w2 w9 w4 w5 w6", " w10", " w11")]
SWEEPS = {
    "lesion": lambda m: medlib.lesion_sweep(m, PROMPTS, ANSWERS),
    "lesion of a part": lambda m: medlib.lesion_sweep(m, PROMPTS, ANSWERS, how="mean", component="mlp"),
    "patch": lambda m: medlib.patch_sweep(m, PAIRS),
    "patch of attention": lambda m: medlib.patch_sweep(m, PAIRS, "noise", "attention"),
    "attribution": lambda m: medlib.attribution_sweep(m, PAIRS, component="mlp"),
    "saliency": lambda m: medlib.weight_saliency(m, PROMPTS, ANSWERS),
}


def dispatched(family):
    hf = tiny_hf(family)
    homes = {name: "cpu" for name, module in hf.named_modules() if not list(module.children())}
    return medlib.Model(dispatch_model(hf, homes, force_hooks=True), word_tokenizer())


@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_dispatched_model_gives_the_numbers_of_one_that_is_not(family, sweep):
    one = medlib.Model(tiny_hf(family), word_tokenizer())
    found, expected = SWEEPS[sweep](dispatched(family)), SWEEPS[sweep](one)
    for column in expected.select_dtypes("float"):
        assert found[column].to_numpy() == pytest.approx(expected[column].to_numpy(), rel=1e-5, abs=1e-6), column


def test_spreading_over_accelerators_that_are_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda check_available: None)
    with pytest.raises(MedlibError, match='there is none here. Give "auto"'):
        medlib.load("smollm2-135m", device="spread")


def test_a_model_that_would_spill_from_the_accelerators_is_refused(tmp_path, monkeypatch):
    tiny_hf("llama").save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda check_available: "cpu")
    with pytest.raises(MedlibError, match="would lie elsewhere. Stream it from disk"):
        medlib.load(tmp_path, device="spread")


def test_streaming_and_spreading_do_not_go_together(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda check_available: "cpu")
    with pytest.raises(MedlibError, match="one device"):
        medlib.load("smollm2-135m", device="spread", offload="disk")
