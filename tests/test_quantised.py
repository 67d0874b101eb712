"""Quantised weights: read as the numbers that their codes stand for, or refused with what to do."""

import json

import pytest
import torch
from conftest import tiny_hf, word_tokenizer
from safetensors.torch import load_file, save_file
from test_streaming import SWEEPS

import medlib

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


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


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
    if sweep == "activations":
        assert (found == expected).all()
    else:
        assert found.equals(expected)
