"""The replay engine gives the model's own numbers, whatever the family."""

import pytest
import torch
from conftest import BY_HEAD, LLAVA_IMAGE, tiny_model
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaModel

import medlib
from medlib import MedlibError, hooks
from medlib.replay import Replay

LENGTH = 9


def batch(model, padding=None, images=False):
    """Three rows of random tokens; with `padding` the second and third are shorter, padded left or right."""
    torch.manual_seed(1)
    ids = torch.randint(3, 55, (3, LENGTH))
    mask = torch.ones_like(ids)
    if padding == "left":
        mask[1, :2] = 0
        mask[2, :4] = 0
    elif padding == "right":
        mask[1, -2:] = 0
        mask[2, -4:] = 0
    inputs = {"input_ids": ids * mask}
    if padding:
        inputs["attention_mask"] = mask
    if images:
        inputs["input_ids"][:, 3:7] = LLAVA_IMAGE
        inputs["pixel_values"] = torch.randn(3, 3, 8, 8)
    return inputs


def walk(replay):
    states = [replay.embedding]
    for layer in range(1, replay.model.n_layers + 1):
        states.append(replay.block(layer, states[-1]))
    return states


@pytest.mark.parametrize("padding", [None, "left", "right"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.no_grad()
def test_replayed_states_and_logits_equal_the_hooks_bit_for_bit(family, attention, padding):
    model = tiny_model(family, attention)
    inputs = batch(model, padding, images=family == "llava" and padding != "right")
    with hooks.capture(model) as own:
        logits = model.hf(**inputs, use_cache=False).logits
    replay = Replay(model, inputs)
    states = walk(replay)
    for layer in range(model.n_layers + 1):
        assert torch.equal(states[layer], own[layer]), layer
    assert torch.equal(replay.tail(states[-1]), logits)


@pytest.mark.parametrize("padding", [None, "left", "right"])
@torch.no_grad()
def test_a_branch_with_its_own_rows_equals_the_hook_on_those_rows(family, padding):
    """Rows are picked in another order and number than in the batch."""
    model = tiny_model(family)
    inputs = batch(model, padding)
    replay = Replay(model, inputs)
    rows = torch.tensor([2, 0, 0, 1])
    with hooks.capture(model) as own, hooks.skip(model, 2):
        model.hf(**{name: value[rows] for name, value in inputs.items()})
    states = own[1]
    for layer in range(3, model.n_layers + 1):
        states = replay.block(layer, states, rows=rows)
        assert torch.equal(states, own[layer])


@pytest.mark.parametrize("padding", [None, "left", "right"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.no_grad()
def test_shared_positions_agree_with_whole_rows(family, attention, padding):
    model = tiny_model(family, attention)
    replay = Replay(model, batch(model, padding))
    assert replay.shares_positions() == (family not in BY_HEAD)
    if family in BY_HEAD:
        return
    rows, start, state = torch.tensor([0, 2, 1]), 4, replay.embedding
    changed = state[rows].clone()
    changed[:, start:] += torch.randn_like(changed[:, start:])
    suffix = changed[:, start:].clone()
    for layer in range(1, model.n_layers + 1):
        state, past = replay.block_and_past(layer, state)
        changed = replay.block(layer, changed, rows=rows)
        suffix = replay.block_from(layer, suffix, start, rows, past)
    whole, shared = (replay.tail(s[:, -1:]) for s in (changed, suffix))
    assert (whole - shared).abs().max() <= 1e-4 * whole.abs().max()


@torch.no_grad()
def test_the_tail_computes_single_columns_of_the_unembedding(family):
    model = tiny_model(family)
    replay = Replay(model, batch(model))
    states = walk(replay)[-1]
    tokens = torch.tensor([7, 3, 40])
    with replay.only(tokens):
        some = replay.tail(states)
    assert torch.allclose(some, replay.tail(states)[..., tokens], atol=1e-5)


@torch.no_grad()
def test_the_model_is_left_as_it_was(family):
    model = tiny_model(family)
    inputs = batch(model)
    before, blocks = model.hf(**inputs).logits, list(model.blocks)
    walk(Replay(model, inputs))
    assert torch.equal(model.hf(**inputs).logits, before)
    assert list(model.blocks) == blocks
    assert not any("forward" in vars(module) for module in model.hf.modules())


def test_equal_numbers_of_rows_and_positions_are_not_confused():
    model = tiny_model("gemma3")
    ids = torch.randint(3, 55, (5, 5))
    rows = torch.tensor([4, 4, 1])
    with torch.no_grad():
        with hooks.capture(model) as own:
            model.hf(input_ids=ids)
        replayed = Replay(model, {"input_ids": ids}).block(1, own[0][rows], rows=rows)
    assert torch.allclose(replayed, own[1][rows], rtol=1e-4, atol=1e-4)


class OldStyleDecoder(LlamaModel):
    """Blocks that return (state, weights), as transformers' blocks once did and remote ones still do."""

    def forward(self, input_ids, past_key_values=None, use_cache=None, **keywords):
        state = self.embed_tokens(input_ids)
        positions = torch.arange(input_ids.shape[1])[None]
        for block in self.layers:
            state = block(
                state, position_embeddings=self.rotary_emb(state, positions), past_key_values=past_key_values
            )[0]
        return BaseModelOutputWithPast(last_hidden_state=self.norm(state))


class OldStyleBlock(LlamaDecoderLayer):
    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs), None


@torch.no_grad()
def test_blocks_that_return_tuples_are_walked_like_the_others():
    model = tiny_model("llama")
    inputs = batch(model)
    plain = model.hf(**inputs).logits
    model.hf.model.__class__ = OldStyleDecoder
    for block in model.blocks:
        block.__class__ = OldStyleBlock
    assert model.blocks_return_tuples
    replay = Replay(model, inputs)
    assert torch.equal(replay.tail(walk(replay)[-1]), plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda output: {"state": output}, "A block returned dict"),
        (lambda output: (), "A block returned tuple"),
        (lambda output: output[:, :1], "turned states of shape"),
    ],
)
def test_a_block_that_returns_something_unexpected_is_refused(tiny, change, message):
    forward = tiny.blocks[0].forward
    tiny.blocks[0].forward = lambda *args, **kwargs: change(forward(*args, **kwargs))
    with pytest.raises(MedlibError, match=message):
        medlib.activations(tiny, ["w1 w2 w3"])
