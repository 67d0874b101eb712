"""Weights streamed from a checkpoint give what weights in memory give, and are read once a walk."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf
from conftest import FAMILIES, HEADS, IMAGE, SIZES, tiny_hf, word_tokenizer
from safetensors.torch import load_file, save_file

import medlib
from medlib import MedlibError, Pair, hooks, patching
from medlib.chapters.saliency import sanity
from medlib.models import streaming

PROMPTS = ["w1 w2 w3 w4 w5", "w9 w8 w7", "w20 w21 w22 w23 w24", "w30", "w5 w6 w7 w8 w9 w10 w11 w12"]
ANSWERS = [" w6", " w6", " w25", " w31", " w2"]
PAIRS = [Pair("w1 w2 w3 w4 w5 w6", "w1 w2 w9 w4 w5 w6", " w10", " w11"), Pair("w1 w2 w3", "w7 w2 w3", " w10", " w12")]
SWEEPS = {
    "activations": lambda m: medlib.activations(m, PROMPTS),
    "lesion": lambda m: medlib.lesion_sweep(m, PROMPTS, ANSWERS),
    "lesion by the mean": lambda m: medlib.lesion_sweep(m, PROMPTS, ANSWERS, how="mean", component="mlp"),
    "patch": lambda m: medlib.patch_sweep(m, PAIRS),
    "patch of attention": lambda m: medlib.patch_sweep(m, PAIRS, "noise", "attention"),
    "attribution": lambda m: medlib.attribution_sweep(m, PAIRS),
    "saliency": lambda m: medlib.weight_saliency(m, PROMPTS, ANSWERS),
}
WALKS = {"activations": 1, "lesion": 1, "lesion by the mean": 2, "patch": 1, "saliency": 2, "attribution": 2}
DISK = dict(offload="disk", memory="99GiB")  # of the whole process, and that of the tests is large
STREAMED = sorted(set(FAMILIES) - IMAGE)  # their processors have tests of their own


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder with the checkpoint of a tiny model, in several shards, for each family that is asked for."""
    made = {}

    def folder(family):
        if family not in made:
            place = tmp_path_factory.mktemp(family)
            hf = wide_llama(family.endswith("tied")) if family.startswith("wide") else tiny_hf(family)
            hf.save_pretrained(place, max_shard_size="40KB")
            word_tokenizer().save_pretrained(place)
            made[family] = place
        return made[family]

    return folder


def wide_llama(tied):
    """Blocks far larger than the embedding, as they are in a large model."""
    config = tf.LlamaConfig(**SIZES | dict(intermediate_size=2048), **HEADS, tie_word_embeddings=tied)
    return tf.LlamaForCausalLM(config).eval()


def streamed(folder):
    config = tf.AutoConfig.from_pretrained(folder)
    hf = streaming.empty(tf.AutoModelForCausalLM, config, torch.float32)
    return medlib.Model(hf, word_tokenizer(), weights=streaming.Streamed(hf, sorted(folder.glob("*.safetensors"))))


def in_memory(folder):
    """Weights copied out of the map of the file, for kernels may add up otherwise where memory is not aligned."""
    hf = tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for parameter in hf.parameters():
        parameter.data = parameter.data.clone()
    return medlib.Model(hf, word_tokenizer())


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of the vocabulary so small that there are several."""
    monkeypatch.setattr(streaming, "PART", 32 * 4 * 10)


@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.parametrize("family", STREAMED)
def test_streamed_weights_give_what_weights_in_memory_give(folders, family, sweep, small_parts):
    found, expected = SWEEPS[sweep](streamed(folders(family))), SWEEPS[sweep](in_memory(folders(family)))
    if sweep == "activations":
        assert np.array_equal(found, expected)
        return
    for column in expected.select_dtypes("float"):
        assert found[column].to_numpy() == pytest.approx(expected[column].to_numpy(), rel=1e-4, abs=1e-5), column


@pytest.mark.parametrize("sweep", WALKS)
@pytest.mark.parametrize(("family", "least", "most"), [("wide", 0.9, 1.0), ("wide-tied", 0.9, 1.05)])
def test_each_weight_is_read_once_a_walk(folders, family, least, most, sweep, monkeypatch):
    monkeypatch.setattr(patching, "FEW_TOKENS", 4)  # of a vocabulary of 64
    model = medlib.load(folders(family), **DISK)
    medlib.activations(model, PROMPTS)  # holds the walk against the model's own forward, which reads them once more
    before = model.weights.bytes_read
    SWEEPS[sweep](model)
    read = (model.weights.bytes_read - before) / model.weights.size
    kept = 1 / 4 if WALKS[sweep] == 2 else 0  # the block at which a walk turns is there already
    assert least * WALKS[sweep] - kept < read <= most * WALKS[sweep]


def test_batches_that_do_not_fit_together_go_up_one_after_the_other(folders):
    model = medlib.load(folders("llama"), **DISK)
    medlib.activations(model, PROMPTS)
    expected, before = medlib.lesion_sweep(model, PROMPTS, ANSWERS), model.weights.bytes_read
    model.memory = 2**14
    found = medlib.lesion_sweep(model, PROMPTS, ANSWERS)
    assert model.weights.bytes_read - before > 1.5 * model.weights.size
    assert found["kl"].to_numpy() == pytest.approx(expected["kl"].to_numpy(), abs=1e-5)


def test_reading_ahead_changes_nothing(folders):
    plain, ahead = (medlib.load(folders("qwen3"), **DISK, prefetch=prefetch) for prefetch in (False, True))
    for model in (plain, ahead):
        model.found = medlib.weight_saliency(model, PROMPTS, ANSWERS)
    assert plain.found.equals(ahead.found)
    assert ahead.weights.bytes_read < 1.5 * plain.weights.bytes_read


@torch.no_grad()
def test_the_models_own_forward_and_the_plain_hooks_work_on_streamed_weights(folders):
    ids = torch.tensor([[5, 6, 7, 8]])
    outputs = []
    for model in (streamed(folders("gemma3")), in_memory(folders("gemma3"))):
        with hooks.skip(model, 2), hooks.capture(model, [3]) as states:
            outputs.append((model.hf(input_ids=ids).logits, states[3]))
    for one, other in zip(*outputs, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_weights_in_random_order_are_in_that_order_at_each_visit(folders):
    found = []
    for model in (medlib.load(folders("llama"), **DISK), medlib.load(folders("llama"))):
        with sanity.scrambled(model, [3, 4]):
            found.append(medlib.weight_saliency(model, PROMPTS, ANSWERS).saliency)
        found.append(medlib.weight_saliency(model, PROMPTS, ANSWERS).saliency)
    assert found[0].to_numpy() == pytest.approx(found[2].to_numpy(), rel=1e-4, abs=1e-7)
    assert found[1].to_numpy() == pytest.approx(found[3].to_numpy(), rel=1e-4, abs=1e-7)
    assert found[0].to_numpy() != pytest.approx(found[1].to_numpy(), rel=1e-3)


def test_too_small_a_budget_is_refused_with_what_is_needed(folders):
    with pytest.raises(MedlibError, match="is too little for .* one block of the model take .* Give more"):
        medlib.load(folders("llama"), offload="disk", memory="100MiB")


def test_a_checkpoint_cut_short_is_refused(folders, tmp_path):
    for file in folders("llama").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    shard = sorted(tmp_path.glob("*.safetensors"))[-1]
    shard.write_bytes(shard.read_bytes()[:-2000])
    with pytest.raises(MedlibError, match="ends before its tensors do"):
        medlib.activations(medlib.load(tmp_path, **DISK), PROMPTS)


def test_a_checkpoint_without_one_of_its_tensors_is_refused(folders, tmp_path):
    for file in folders("llama").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    index = tmp_path / "model.safetensors.index.json"
    listed = json.loads(index.read_text())
    listed["weight_map"].pop("model.layers.2.mlp.up_proj.weight")
    index.write_text(json.dumps(listed))
    for shard in tmp_path.glob("*.safetensors"):
        tensors = load_file(shard)
        tensors.pop("model.layers.2.mlp.up_proj.weight", None)
        save_file(tensors, shard)
    with pytest.raises(MedlibError, match="model.layers.2.mlp.up_proj.weight first"):
        medlib.load(tmp_path, **DISK)


def test_another_way_to_offload_is_refused(folders):
    with pytest.raises(MedlibError, match='Give "disk"'):
        medlib.load(folders("llama"), offload="cpu")


@pytest.mark.large
def test_a_model_of_1_6_billion_parameters_takes_less_than_1_75_gib_and_each_weight_is_read_once_a_walk(tmp_path):
    script = Path(__file__).parent.parent / "benchmarks" / "stream.py"
    options = "--size", "1.6b", "--memory", "1.75GiB", "--folder", tmp_path
    subprocess.run([sys.executable, script, *options], check=True)
