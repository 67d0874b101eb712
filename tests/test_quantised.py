"""Quantised weights: read as the numbers that their codes stand for, or refused with what to do."""

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from conftest import tiny_hf, word_tokenizer
from safetensors.torch import load_file, save_file
from test_loading import change_config, refused
from test_streaming import SWEEPS
from test_sweeps import ANSWERS, PROMPTS

import medlib
from medlib import MedlibError

E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])  # the magnitudes that three bits stand for; the fourth is the sign
BLOCK = 32  # numbers that share a scale


def mxfp4(experts):
    """A tensor `[expert, in, out]` as checkpoints in MXFP4 hold it, and the numbers that the codes stand for.

    Blocks `[expert, out, in / 32, 16]`, two codes a byte, the earlier in the lower half; scales `[expert, out,
    in / 32]`, powers of two with 127 added.  Source: OCP Microscaling Formats 1.0, sections 5.3.3 and 5.4.1.
    """
    numbers = experts.mT.unflatten(-1, (-1, BLOCK))
    power = numbers.abs().amax(-1).log2().floor() - 2  # the largest magnitude, 6, is 1.5 * 2**2
    scaled = numbers / 2 ** power[..., None]
    code = (scaled.abs()[..., None] - E2M1).abs().argmin(-1)
    meant = (E2M1[code].copysign(scaled) * 2 ** power[..., None]).flatten(-2).mT
    code = (code + 8 * scaled.signbit()).to(torch.uint8)
    return code[..., 0::2] + 16 * code[..., 1::2], (power + 127).to(torch.uint8), meant


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """A folder with experts in MXFP4, and the numbers that they stand for by name."""
    folder = tmp_path_factory.mktemp("saved") / "tiny-experts"
    tiny_hf("gpt-oss").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    tensors, meant = load_file(folder / "model.safetensors"), {}
    for name in [name for name in tensors if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        experts = tensors.pop(name)
        experts *= 2.0 ** -(torch.arange(experts.shape[-1]) % 7)  # so that there are many scales
        tensors[f"{name}_blocks"], tensors[f"{name}_scales"], meant[name] = mxfp4(experts)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    left_out = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    change_config(folder, quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": left_out})
    return folder, meant


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_experts_in_mxfp4_are_loaded_as_exactly_the_numbers_their_codes_stand_for(coded, dtype):
    folder, meant = coded
    model = medlib.load(folder, dtype=dtype)
    found = model.hf.state_dict()
    assert len(meant) == 2 * model.n_layers
    for name, numbers in meant.items():
        assert found[name].dtype == getattr(torch, dtype)
        assert torch.equal(found[name].float(), numbers)  # a bfloat16 holds each of them
        assert len(numbers.unique()) > 30
    assert model.source["quantised"] == "mxfp4, de-quantised"


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_technique_gives_on_de_quantised_weights_what_it_gives_on_those_numbers(coded, sweep):
    folder, meant = coded
    plain = medlib.Model(tiny_hf("gpt-oss"), word_tokenizer())
    plain.hf.load_state_dict(meant, strict=False)
    found, expected = SWEEPS[sweep](medlib.load(folder)), SWEEPS[sweep](plain)
    if sweep == "activations":  # to the last digits: how a product is summed hangs on where its numbers lie in memory
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    else:
        pd.testing.assert_frame_equal(found, expected, rtol=1e-3, atol=1e-6)


# Codes that stay codes


def saliency_refused(model, *parts):
    with pytest.raises(MedlibError, match="Load a version with plain weights") as caught:
        medlib.weight_saliency(model, PROMPTS, ANSWERS)
    for part in parts:
        assert part in str(caught.value)


class Int8Linear(torch.nn.Module):
    """A linear module as libraries of quantised weights have it: integers and a scale."""

    def __init__(self, linear):
        super().__init__()
        self.scale = linear.weight.detach().abs().amax(1, keepdim=True) / 127
        codes = (linear.weight.detach() / self.scale).round().to(torch.int8)
        self.weight = torch.nn.Parameter(codes, requires_grad=False)

    def forward(self, states):
        return torch.nn.functional.linear(states, self.weight * self.scale)


class PackedLinear(Int8Linear):
    """The same with its codes in a buffer of another name."""

    def __init__(self, linear):
        super().__init__(linear)
        self.register_buffer("packed", self.weight.data)
        self.weight = None

    def forward(self, states):
        return torch.nn.functional.linear(states, self.packed * self.scale)


@pytest.mark.parametrize("kind", [Int8Linear, PackedLinear])
def test_saliency_of_integer_weights_is_refused_and_every_other_technique_runs(tiny, kind):
    tiny.blocks[2].mlp.up_proj = kind(tiny.blocks[2].mlp.up_proj)
    saliency_refused(tiny, "torch.int8 (mlp.up_proj.", "in block 3")
    for name in sorted(set(SWEEPS) - {"saliency"}):
        assert len(SWEEPS[name](tiny)), name


def test_saliency_of_eight_bit_floats_is_refused(tiny):
    linear = tiny.blocks[0].mlp.up_proj
    linear.weight = torch.nn.Parameter(linear.weight.detach().to(torch.float8_e4m3fn), requires_grad=False)
    saliency_refused(tiny, "float8_e4m3fn (mlp.up_proj.weight)", "in block 1")


def test_saliency_of_weights_that_are_no_plain_tensor_is_refused(tiny):
    class Coded(torch.nn.Parameter):
        """Says that it is float32, as some libraries' tensors of codes do."""

    linear = tiny.blocks[1].mlp.up_proj
    linear.weight = Coded(linear.weight.detach(), requires_grad=False)
    saliency_refused(tiny, "of Linear, as Coded (mlp.up_proj)", "in block 2")


def test_saliency_is_refused_where_transformers_says_that_weights_are_quantised(tiny):
    coding = transformers.FineGrainedFP8Config()
    tiny.hf.hf_quantizer = transformers.quantizers.AutoHfQuantizer.from_config(coding)
    saliency_refused(tiny, "quantised (fp8)")


def folder_with(tmp_path, **coding):
    tiny_hf("llama").save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    change_config(tmp_path, quantization_config=coding)
    return tmp_path


@pytest.mark.parametrize("bits", [4, 8])
def test_a_code_whose_library_is_missing_is_refused_with_what_to_install_or_load(tmp_path, monkeypatch, bits):
    missing = "transformers.quantizers.quantizer_bnb_4bit.is_bitsandbytes_available"
    monkeypatch.setattr(missing.replace("4bit", f"{bits}bit"), lambda: False)
    folder = folder_with(tmp_path, quant_method="bitsandbytes", **{f"load_in_{bits}bit": True})
    refused(folder, "quantised (bitsandbytes)", "pip install", "plain weights")


@pytest.mark.parametrize("coding", [{"quant_method": "abacus"}, {"bits": 3}])
def test_a_code_that_transformers_does_not_know_is_refused_rather_than_read_as_numbers(tmp_path, coding):
    refused(folder_with(tmp_path, **coding), "quantised", "plain weights")


def test_quantised_weights_are_not_streamed(coded):
    refused(coded[0], "quantised (mxfp4)", "cannot be streamed", offload="disk")


def test_a_gguf_file_without_safetensors_is_answered_with_how_to_convert_it(tmp_path):
    file = tmp_path / "some-model.Q4_K_M.gguf"
    file.write_bytes(b"GGUF")
    told = "some-model.Q4_K_M.gguf is a GGUF file", "smollm2-135m", "safetensors", 'gguf_file="some-model.Q4_K_M.gguf"'
    refused(file, *told)
    refused(tmp_path, *told)
    transformers.LlamaConfig().save_pretrained(tmp_path)
    refused(tmp_path, *told)
