"""Both ways down a block give the same gradients, and one walk serves several answers and both kinds."""

import numpy as np
import pytest
import torch
from conftest import tiny_model
from test_sweeps import ANSWERS, PROMPTS, run

from medlib import MedlibError, hooks, saliency, weight_saliency

OTHERS = [" w9", " w12", " w2", " w40"]


def sizes(table):
    return table.set_index(["prompt", "layer", "module", "answer", "kind"])["saliency"].sort_index()


def test_one_walk_gives_what_a_walk_for_each_answer_and_kind_gives(tiny):
    together = saliency.saliency_sweep(tiny, PROMPTS, {"own": ANSWERS, "other": OTHERS})
    for name, answers in (("own", ANSWERS), ("other", OTHERS)):
        for kind in saliency.KINDS:
            alone = weight_saliency(tiny, PROMPTS, answers, kind).attrs["per_prompt"]
            part = together[(together["answer"] == name) & (together["kind"] == kind)]
            both = alone.merge(part, on=["prompt", "layer", "module"])
            assert len(both) == len(alone) == len(part)
            np.testing.assert_allclose(both["saliency_x"], both["saliency_y"], rtol=1e-5)


def test_the_order_of_the_kinds_changes_no_number(tiny):
    one, other = (
        saliency.saliency_sweep(tiny, PROMPTS, {"": ANSWERS}, kinds) for kinds in (saliency.KINDS, saliency.KINDS[::-1])
    )
    np.testing.assert_allclose(sizes(one), sizes(other), rtol=1e-6)


def test_thin_matrices_give_the_gradients_that_autograd_gives(family, monkeypatch):
    model = tiny_model(family)
    thin = saliency.saliency_sweep(model, PROMPTS, {"own": ANSWERS, "other": OTHERS})
    monkeypatch.setattr(saliency, "_linear_modules", lambda block: None)
    whole = saliency.saliency_sweep(model, PROMPTS, {"own": ANSWERS, "other": OTHERS})
    np.testing.assert_allclose(sizes(thin), sizes(whole), rtol=1e-3, atol=1e-9)


def test_a_dense_decoder_goes_down_by_thin_matrices_and_experts_by_autograd():
    for family, by_thin_matrices in (("llama", True), ("gemma3", True), ("opt", True), ("gpt-oss", False)):
        block = tiny_model(family).blocks[0]
        assert (saliency._linear_modules(block) is not None) == by_thin_matrices, family


def test_gradients_made_a_few_rows_at_a_time_have_the_same_sum(tiny, monkeypatch):
    whole = weight_saliency(tiny, PROMPTS, ANSWERS).saliency
    monkeypatch.setattr(saliency, "CHUNK", 100)
    np.testing.assert_allclose(weight_saliency(tiny, PROMPTS, ANSWERS).saliency, whole, rtol=1e-6)


def test_an_output_that_is_written_into_goes_the_slow_way_and_is_right(tiny, monkeypatch):
    """A gradient by such an output would be one by what was made of it."""

    class Doubled(torch.nn.Module):
        def __init__(self, mlp):
            super().__init__()
            self.mlp = mlp

        def forward(self, states):
            return self.mlp(states).mul_(2)

    tiny.blocks[1].mlp = Doubled(tiny.blocks[1].mlp)
    noted = weight_saliency(tiny, PROMPTS, ANSWERS).saliency
    monkeypatch.setattr(saliency, "_linear_modules", lambda block: None)
    np.testing.assert_allclose(noted, weight_saliency(tiny, PROMPTS, ANSWERS).saliency, rtol=1e-4)


def test_the_log_probability_of_each_answer_is_the_models_own(family):
    model = tiny_model(family)
    table = saliency.saliency_sweep(model, PROMPTS, {"own": ANSWERS, "other": OTHERS}, ["grad"])
    found = table.drop_duplicates(["prompt", "answer"]).set_index(["prompt", "answer"])["log_p"]
    for i, prompt in enumerate(PROMPTS):
        own = run(model, prompt).detach().log_softmax(-1)
        for name, answers in (("own", ANSWERS), ("other", OTHERS)):
            token = model.tokenizer(answers[i])["input_ids"][0]
            assert found[i, name] == pytest.approx(float(own[token]), abs=1e-3, rel=1e-4)


def test_only_the_block_left_in_place_has_a_saliency(family):
    model = tiny_model(family)
    with hooks.only(model, 2):
        found = weight_saliency(model, PROMPTS, ANSWERS).query("module == 'block'").set_index("layer")["saliency"]
    assert found[2] > 0 and (found.drop(2) == 0).all()


def test_no_hook_is_left_behind(tiny):
    weight_saliency(tiny, PROMPTS, ANSWERS)
    assert not any(module._forward_hooks for module in tiny.hf.modules())


def test_a_kind_there_is_not_is_refused(tiny):
    with pytest.raises(MedlibError, match="'signed' is not a saliency"):
        saliency.saliency_sweep(tiny, PROMPTS, {"own": ANSWERS}, ["grad", "signed"])


def test_on_several_threads_the_sums_are_the_same_and_the_number_of_threads_is_as_before(tiny):
    threads, found = torch.get_num_threads(), {}
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            found[n] = weight_saliency(tiny, PROMPTS, ANSWERS).saliency
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(found[3], found[1], rtol=1e-6)
