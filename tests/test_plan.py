"""What a sweep will cost, from the configuration alone, is what it costs."""

import pytest
import torch
import transformers as tf
from conftest import HEADS, SIZES, word_tokenizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from typer.testing import CliRunner

import medlib
from medlib import MedlibError, Pair, cli
from medlib import plan as planned
from medlib.book.pages import zoo_pages
from medlib.models import zoo

TOKENS = 12
PROMPTS = [" ".join(f"w{(i * j) % 50}" for j in range(1, TOKENS + 1)) for i in range(1, 9)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint wide enough that matrix products are what costs."""
    place = tmp_path_factory.mktemp("model")
    config = tf.LlamaConfig(**SIZES | dict(hidden_size=256, intermediate_size=512, num_hidden_layers=6), **HEADS)
    tf.LlamaForCausalLM(config).save_pretrained(place)
    word_tokenizer().save_pretrained(place)
    return place


@pytest.mark.parametrize("name", zoo.names())
def test_the_parameters_of_the_zoo_are_those_that_its_configurations_make(name):
    shape, entry = planned.shape(name), zoo.entry(name)
    assert (shape.total, shape.layers, shape.hidden) == (entry["parameters"], entry["layers"], entry["hidden"])


class Operations(TorchDispatchMode):
    """Counts what torch's own table of operations says of each call."""

    total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if function._overloadpacket in flop_registry:
            self.total += flop_registry[function._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


SWEEPS = {
    "activations": lambda m: medlib.activations(m, PROMPTS),
    "lesion": lambda m: medlib.lesion_sweep(m, PROMPTS),
    "patching": lambda m: medlib.patch_sweep(m, [Pair(PROMPTS[1], PROMPTS[2], " w1", " w2")]),
    "saliency": lambda m: medlib.weight_saliency(m, PROMPTS, [" w1"] * 8),
}


@pytest.mark.parametrize("technique", SWEEPS)
def test_operations_are_those_that_torch_counts(folder, technique):
    model = medlib.load(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the counter sees the operations of its own thread only
    try:
        with Operations() as counter:
            SWEEPS[technique](model)
    finally:
        torch.set_num_threads(threads)
    prompts = 1 if technique == "patching" else len(PROMPTS)
    first = 0
    found = planned.operations(planned.shape(folder), technique, prompts, TOKENS, first)
    assert found["blocks"] + found["read-out"] == pytest.approx(counter.total, rel=0.15)


def test_a_token_uses_only_some_experts():
    shape = planned.shape("gpt-oss-120b")
    assert shape.experts and shape.used * shape.layers == pytest.approx(4.6e9, rel=0.05)
    assert not planned.shape("smollm2-135m").experts


def test_streaming_takes_less_memory_and_reads_the_weights_once_a_walk():
    table = planned.plan("llama-3.3-70b", planned.ACCELERATORS["h100"], "16GiB").set_index(["technique", "weights"])
    assert (table.xs("in memory", level=1).memory > 140e9).all()
    assert (table.xs("streamed", level=1).memory < 16 * 2**30).all()
    assert table.walks["activations", "streamed"] == 2 and table.walks["saliency", "streamed"] == 3
    assert table.moved["activations", "streamed"] == pytest.approx(2 * 141.1e9, rel=0.02)


def test_more_prompts_than_fit_take_more_walks():
    few, many = (planned.plan("qwen3-32b", planned.cores(8), "8GiB", prompts=n) for n in (16, 4096))
    assert many.walks.max() > few.walks.max()


def test_the_command_prints_a_row_for_each_technique_and_way(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    said = CliRunner().invoke(cli.app, ["plan", "llama-3.3-70b", "--hardware", "8-cores"]).output
    assert said.count("streamed") == 4 and said.count("in memory") == 4


@pytest.mark.parametrize("name", ["0-cores", "tpu", "many cores"])
def test_unknown_hardware_is_refused_with_what_is_known(name):
    with pytest.raises(MedlibError, match="h100"):
        planned.hardware(name)


def test_this_machine_is_measured():
    found = planned.this_machine(planned.shape("smollm2-135m"), seconds=0.05)
    assert found.operations > 1e9 and found.memory > 1e8
    assert torch.get_num_threads() == int(found.name.split()[-2])


def test_the_page_of_models_has_a_row_for_each_and_a_plan(tmp_path):
    zoo_pages.write(tmp_path)
    zoo_page, plan_page = ((tmp_path / name).read_text() for name in ("zoo.md", "plan.md"))
    assert all(f"| {name} |" in zoo_page and name in plan_page for name in zoo.names())
    assert plan_page.count("| saliency |") == 2 * len({zoo.entry(name).get("like", name) for name in zoo.names()})
