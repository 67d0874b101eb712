"""Places: one walk reads what three walks read."""

import numpy as np
import pytest
import torch
from conftest import tiny_model, word_tokenizer

import medlib
from medlib import MedlibError, Prompt
from medlib.states import opens, states_at

PROMPTS = [
    Prompt.fill("w1 {entity} w2 w3", "w7 w8 w9"),
    Prompt.fill("{entity} w2", "w5"),
    Prompt.fill("w1 w2 {entity}", "w7 w4"),
]


def test_each_place_has_the_states_that_activations_read_there(tiny):
    found = states_at(tiny, PROMPTS)
    assert list(found) == ["entity", "mean", "last"]
    for place, states in found.items():
        assert np.allclose(states, medlib.activations(tiny, PROMPTS, at=place), atol=1e-5)


def test_the_last_token_needs_no_entity(tiny):
    plain = [str(prompt) for prompt in PROMPTS]
    found = states_at(tiny, plain, ("last",))["last"]
    assert np.allclose(found, medlib.activations(tiny, plain), atol=1e-5)


def test_a_mean_over_tokens_of_a_model_in_halves_is_taken_in_whole_numbers():
    model = medlib.Model(tiny_model("llama").hf.to(torch.bfloat16), word_tokenizer(), name="halves")
    prompt = Prompt.fill("w1 {entity} w2", "w7 w8 w9")
    with torch.no_grad(), medlib.hooks.capture(model, [2], "residual") as seen:
        model.hf(input_ids=torch.tensor([model.tokenizer(prompt)["input_ids"]]))
    mean = states_at(model, [prompt], ("mean",))["mean"][2, 0]
    assert np.allclose(mean, seen[2][0, 1:4].float().mean(0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_states_that_only_the_last_block_makes_infinite_are_refused_though_the_logits_are_finite(bad):
    """At a token that is not the last: no later block carries it to the logits that are checked."""
    model = tiny_model("llama")

    def overflow(block, args, output):
        states = output[0] if isinstance(output, tuple) else output
        if states.shape[1] > 2:
            states[:, 1] = bad
        return output

    model.blocks[-1].register_forward_hook(overflow)
    prompt = Prompt.fill("w1 {entity} w2 w3", "w7 w8 w9")
    with pytest.raises(MedlibError, match=f"state {model.n_layers} of 0..{model.n_layers} is NaN or infinite"):
        states_at(model, [prompt], ("mean",))


@pytest.mark.parametrize("at", [(), ("last", "middle")])
def test_unknown_places_are_refused(tiny, at):
    with pytest.raises(MedlibError, match="is not a place"):
        states_at(tiny, PROMPTS, at)


def test_an_item_opens_a_prompt_where_the_model_reads_no_token_before_it(tiny):
    first, later = Prompt.fill("{entity} w7", "w4"), Prompt.fill("w1 {entity}", "w4")
    assert opens(tiny, first) and not opens(tiny, later)
    with_start = tiny_model()
    with_start.tokenizer = word_tokenizer(bos=True)
    assert not opens(with_start, first)
