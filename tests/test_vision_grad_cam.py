"""Grad-CAM is autograd's own product of attention and gradient, and points at the token that carries the answer."""

import pytest
import torch
from vision_models import FAMILIES, carrying, picture, tiny

from medlib import MedlibError
from medlib.vision import (
    attention_rollout,
    attention_rollouts,
    attention_slopes,
    attention_traces,
    eager,
    grad_cam,
    image_prompt,
)

ANSWER = 20


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("variant", ["chosen", "all"])
def test_the_map_equals_autograd_by_hand(family, variant):
    model = tiny(family, attention="eager")
    prompt = image_prompt(model, picture(), "w1 w2")
    for layer in (1, 3):
        out = model.hf(**prompt.inputs, output_attentions=True)
        last = out.logits[0, -1]
        weights = out.attentions[layer - 1]
        (slope,) = torch.autograd.grad(last[ANSWER] if variant == "chosen" else last.sum(), weights)
        by_head = (weights * slope.clamp_min(0))[0, :, -1, prompt.image]
        by_hand = by_head.mean(0) if variant == "chosen" else by_head.amax(0)
        heat = grad_cam(model, prompt, ANSWER, layer, variant)
        assert heat.shape == prompt.view.grid
        assert heat.ravel() == pytest.approx(by_hand.detach().numpy(), rel=1e-3, abs=1e-6)
        assert heat.max() > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_the_one_token_that_carries_the_answer_is_pointed_at(family):
    for number in (0, 6, 15):
        model = tiny(family)
        prompt = image_prompt(model, picture(), "w1 w2")
        with carrying(model, number, ANSWER, layer=2):
            heat = grad_cam(model, prompt, ANSWER, layer=2).ravel()
        assert heat.argmax() == number
        assert heat[number] > 100 * (heat.sum() - heat[number])


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_rollout_is_the_product_of_the_mean_attentions_and_the_identity(family):
    model = tiny(family, attention="eager")
    prompt = image_prompt(model, picture(), "w1 w2")
    attentions = model.hf(**prompt.inputs, output_attentions=True).attentions
    for layer in (1, 4):
        product = torch.eye(prompt.length, dtype=torch.float64)
        for weights in attentions[:layer]:
            product = (weights[0].double().mean(0) + torch.eye(prompt.length)) / 2 @ product
        assert product.sum(1) == pytest.approx(torch.ones(prompt.length).numpy(), rel=1e-6)
        heat = attention_rollout(model, prompt, layer)
        assert heat.ravel() == pytest.approx(product[-1, prompt.image].numpy(), rel=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layers", [None, [2, 3]])
def test_one_walk_gives_the_slopes_of_each_answer_and_the_rollouts(family, layers):
    model = tiny(family)
    prompt = image_prompt(model, picture(), "w1 w2")
    attention, slopes, rollouts = attention_traces(model, prompt, [ANSWER, None], layers)
    for number, answer in enumerate([ANSWER, None]):
        own, alone = attention_slopes(model, prompt, [answer], layers)
        assert attention == pytest.approx(own)
        assert slopes[number] == pytest.approx(alone[0], rel=1e-4, abs=1e-8)
    assert rollouts == pytest.approx(attention_rollouts(model, prompt, layers))


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_attention_is_eager_for_the_duration_and_as_before_afterwards(family):
    model = tiny(family)
    prompt = image_prompt(model, picture(), "w1 w2")
    before = model.hf(**prompt.inputs).logits
    configs = [model.hf.config, model.config, model.hf.config.vision_config]
    own = [config._attn_implementation for config in configs]
    with eager(model):
        assert [config._attn_implementation for config in configs] == ["sdpa", "eager", "sdpa"]
    with pytest.raises(ZeroDivisionError), eager(model):
        raise ZeroDivisionError
    grad_cam(model, prompt, ANSWER)
    assert [config._attn_implementation for config in configs] == own
    assert torch.equal(model.hf(**prompt.inputs).logits, before)


def test_what_there_is_not_is_refused(monkeypatch):
    model = tiny()
    prompt = image_prompt(model, picture(), "w1 w2")
    for arguments, message in [
        (dict(layer=0), "no block 0"),
        (dict(layer=5), "no block 5"),
        (dict(variant="max"), "variant='max'"),
    ]:
        with pytest.raises(MedlibError, match=message):
            grad_cam(model, prompt, ANSWER, **arguments)
    with pytest.raises(MedlibError, match="no block 9"):
        attention_rollout(model, prompt, 9)
    monkeypatch.setattr(type(model.hf), "set_attn_implementation", lambda self, implementation: None)
    with pytest.raises(MedlibError, match="does not let its attention be switched"):
        grad_cam(model, prompt, ANSWER)


def test_attention_that_keeps_its_weights_to_itself_is_refused():
    model = tiny()
    prompt = image_prompt(model, picture(), "w1 w2")
    attention = model.part(2, "attention")
    own = attention.forward
    attention.forward = lambda *args, **kwargs: (own(*args, **kwargs)[0], None)
    with pytest.raises(MedlibError, match="does not give its weights"):
        grad_cam(model, prompt, ANSWER, layer=2)
