"""Blocks that lie on several devices give the same numbers as blocks on one, and no tensor meets one of another device.

There is one device here: the second is a stand-in (elsewhere.py), as strict as an accelerator about what meets.
"""

import pandas as pd
import pytest
import torch
from accelerate import dispatch_model
from conftest import tiny_hf, word_tokenizer
from elsewhere import spread_over_two_devices

import medlib
from medlib import MedlibError, Pair, saliency

PROMPTS = ["w1 w2 w3 w4 w5", "w9 w8 w7", "w20 w21 w22 w23 w24"]
ANSWERS = [" w6", " w6", " w25"]
PAIRS = [Pair("w1 w2 w3 w4 w5 w6", "w1 w2 w9 w4 w5 w6", " w10", " w11")]
SWEEPS = {
    "activations": lambda m: pd.DataFrame({"state": medlib.activations(m, PROMPTS).ravel()}),
    "windows": lambda m: medlib.lesion_windows(m, PROMPTS, ANSWERS),
    "texts": lambda m: medlib.lesion_texts(m, PROMPTS),
    "lesion": lambda m: medlib.lesion_sweep(m, PROMPTS, ANSWERS),
    "lesion of a part": lambda m: medlib.lesion_sweep(m, PROMPTS, ANSWERS, how="mean", component="mlp"),
    "lesion by another": lambda m: medlib.lesion_sweep(m, PROMPTS, ANSWERS, how="resample", component="attention"),
    "patch": lambda m: medlib.patch_sweep(m, PAIRS),
    "patch of attention": lambda m: medlib.patch_sweep(m, PAIRS, "noise", "attention"),
    "attribution": lambda m: medlib.attribution_sweep(m, PAIRS, component="mlp"),
    "saliency": lambda m: medlib.weight_saliency(m, PROMPTS, ANSWERS),
}


PLACES = {  # family, the blocks on the second device, other parts there, and whether saliency goes by autograd
    "llama": ("llama", [2], ["model.norm", "lm_head"], False),
    "llama, by autograd": ("llama", [2, 3], [], True),
    "gemma2": ("gemma2", [1, 3], [], False),
    "gemma3": ("gemma3", [2], ["model.norm"], False),
    "gpt2": ("gpt2", [1, 3], ["transformer.ln_f"], False),
    "gpt-neox": ("gpt-neox", [2], [], False),
}


def dispatched(family):
    hf = tiny_hf(family)
    homes = {name: "cpu" for name, module in hf.named_modules() if not list(module.children())}
    return medlib.Model(dispatch_model(hf, homes, force_hooks=True), word_tokenizer())


@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_dispatched_model_gives_the_numbers_of_one_that_is_not(family, sweep):
    one = medlib.Model(tiny_hf(family), word_tokenizer())
    same(SWEEPS[sweep](dispatched(family)), SWEEPS[sweep](one))


@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.parametrize("place", PLACES)
def test_no_tensor_meets_one_of_another_device(place, sweep, monkeypatch):
    family, blocks, parts, by_autograd = PLACES[place]
    torch.set_num_threads(1)  # the stand-in sees the operations of its own thread only; a test before may have set more
    monkeypatch.setattr(saliency, "_check_plain", lambda model: None)  # the stand-in's tensors are no plain ones
    if by_autograd:
        monkeypatch.setattr(saliency, "_linear_modules", lambda block: None)
    expected = SWEEPS[sweep](medlib.Model(tiny_hf(family, attention="eager"), word_tokenizer()))
    with spread_over_two_devices(tiny_hf(family, attention="eager"), blocks, parts) as hf:
        same(SWEEPS[sweep](medlib.Model(hf, word_tokenizer())), expected)


def test_the_stand_in_for_a_second_device_refuses_tensors_that_meet():
    with spread_over_two_devices(tiny_hf("llama"), [2]) as hf:
        there = hf.model.layers[1].mlp.up_proj.weight
        assert there.device != hf.model.layers[0].mlp.up_proj.weight.device
        with pytest.raises(AssertionError, match="two devices"):
            there + hf.model.layers[0].mlp.up_proj.weight


def same(found, expected):
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
