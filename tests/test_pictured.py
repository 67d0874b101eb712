"""The sweeps of the text half, on pictures with questions, give what plain hooks on the model's own forward give."""

import numpy as np
import pandas as pd
import pytest
import torch
from vision_models import FAMILIES, picture, tiny

import medlib
from medlib import MedlibError, hooks, saliency
from medlib.lesion import lesion_texts
from medlib.prompts import TOKEN_KINDS, encode, token_kinds
from medlib.vision import image_prompt

QUESTIONS = ["w1 w2", "w3 w4 w5 w6", "w7 w8"]
ANSWERS = [" w20", " w21", " w22"]
GROUPED = ["pair", "position", "group"]


@pytest.fixture(params=FAMILIES)
def model(request):
    return tiny(request.param)


def prompts(model):
    return [image_prompt(model, picture(seed=seed), question) for seed, question in enumerate(QUESTIONS)]


def pair(model):
    clean, corrupt = (image_prompt(model, picture(seed=seed), "w1 w2") for seed in (0, 5))
    return medlib.Pair(clean, corrupt, " w20", " w21")


def own_logits(model, prompt, *contexts):
    with torch.no_grad():
        for context in contexts:
            context.__enter__()
        try:
            return model.hf(**prompt.inputs, use_cache=False).logits[0, -1]
        finally:
            for context in contexts:
                context.__exit__(None, None, None)


def token(model, prompt, answer):
    return medlib.prompts.answer_token(model, prompt, answer)


def test_activations_are_those_of_the_model_on_each_picture_alone(model):
    found = medlib.activations(model, prompts(model))
    for row, prompt in enumerate(prompts(model)):
        with torch.no_grad(), hooks.capture(model) as states:
            model.hf(**prompt.inputs, use_cache=False)
        own = np.stack([states[layer][0, -1].numpy() for layer in range(model.n_layers + 1)])
        np.testing.assert_allclose(found[:, row], own, rtol=1e-4, atol=1e-5)


def test_lesions_are_those_of_plain_hooks(model):
    asked = prompts(model)
    table = medlib.lesion_sweep(model, asked, ANSWERS).set_index(["prompt", "layer"])
    for row, (prompt, answer) in enumerate(zip(asked, ANSWERS, strict=True)):
        before = own_logits(model, prompt).log_softmax(-1)
        for layer in range(1, model.n_layers + 1):
            after = own_logits(model, prompt, hooks.skip(model, layer)).log_softmax(-1)
            own = token(model, prompt, answer)
            kl = torch.sum(before.exp() * (before - after))
            assert table.kl[row, layer] == pytest.approx(float(kl), rel=1e-3, abs=1e-5)
            assert table.logprob_drop[row, layer] == pytest.approx(float(before[own] - after[own]), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("component", ["attention", "mlp"])
def test_lesions_of_a_part_are_those_of_plain_hooks(model, component):
    asked = prompts(model)
    table = medlib.lesion_sweep(model, asked, ANSWERS, component=component).set_index(["prompt", "layer"])
    for row, prompt in enumerate(asked):
        before = own_logits(model, prompt).log_softmax(-1)
        for layer in (1, model.n_layers):
            gone = hooks.replace(model, layer, torch.zeros_like, component)
            after = own_logits(model, prompt, gone).log_softmax(-1)
            kl = torch.sum(before.exp() * (before - after))
            assert table.kl[row, layer] == pytest.approx(float(kl), rel=1e-3, abs=1e-5)


def test_a_lesion_by_another_prompt_gives_a_token_what_the_same_one_there_got(model):
    """Two pictures with one question: each borrows from the other, token by token."""
    asked, layer = [image_prompt(model, picture(seed=seed), "w1 w2") for seed in (0, 5)], 2
    added = []
    for prompt in asked:
        with hooks.capture(model, [layer - 1, layer]) as states:
            own_logits(model, prompt)
        added.append((states[layer - 1], states[layer] - states[layer - 1]))
    table = medlib.lesion_sweep(model, asked, how="resample").set_index(["prompt", "layer"])
    for row, prompt in enumerate(asked):
        before = own_logits(model, prompt).log_softmax(-1)
        left = added[row][0] + added[1 - row][1]
        after = own_logits(model, prompt, hooks.replace(model, layer, lambda state, left=left: left)).log_softmax(-1)
        kl = torch.sum(before.exp() * (before - after))
        assert table.kl[row, layer] == pytest.approx(float(kl), rel=1e-3, abs=1e-5)


def test_lesions_of_windows_are_those_of_plain_hooks(model):
    asked = prompts(model)
    table = medlib.lesion_windows(model, asked, ANSWERS).set_index(["prompt", "first", "last"])
    for row, prompt in enumerate(asked):
        before = own_logits(model, prompt).log_softmax(-1)
        for first, last in ((1, 2), (2, 4), (1, 4)):
            gone = [hooks.skip(model, layer) for layer in range(first, last + 1)]
            after = own_logits(model, prompt, *gone).log_softmax(-1)
            kl = torch.sum(before.exp() * (before - after))
            assert table.kl[row, first, last] == pytest.approx(float(kl), rel=1e-3, abs=1e-5)


def test_a_lesion_by_the_mean_gives_a_token_the_mean_of_its_kind(model):
    asked, layer = prompts(model), 2
    kinds = [token_kinds(model, ids) for ids in encode(model, asked)]
    of_kind = {}
    for prompt, own in zip(asked, kinds, strict=True):
        with torch.no_grad(), hooks.capture(model) as states:
            model.hf(**prompt.inputs, use_cache=False)
        for kind, added in zip(own.tolist(), states[layer][0] - states[layer - 1][0], strict=True):
            of_kind.setdefault(kind, []).append(added)
    means = {kind: torch.stack(added).mean(0) for kind, added in of_kind.items()}
    table = medlib.lesion_sweep(model, asked, how="mean").set_index(["prompt", "layer"])
    for row, (prompt, own) in enumerate(zip(asked, kinds, strict=True)):
        given = torch.stack([means[kind] for kind in own.tolist()])
        before = own_logits(model, prompt).log_softmax(-1)
        with hooks.capture(model, [layer - 1]) as entering:
            own_logits(model, prompt)
        after = own_logits(model, prompt, hooks.replace(model, layer, lambda state, e=entering, g=given: e[1] + g))
        after = after.log_softmax(-1)
        expected = float(torch.sum(before.exp() * (before - after)))
        assert table.kl[row, layer] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_the_tokens_of_a_picture_are_a_kind_of_their_own(model):
    prompt = prompts(model)[1]
    (ids,) = encode(model, [prompt])
    kinds = token_kinds(model, ids)
    assert torch.nonzero(kinds == TOKEN_KINDS.index("image")).flatten().tolist() == prompt.image.tolist()
    assert TOKEN_KINDS[kinds[0]] == "first"


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("component", ["residual", "attention", "mlp"])
def test_patches_of_picture_and_text_are_those_of_plain_hooks(model, direction, component):
    asked = pair(model)
    table = medlib.patch_sweep(model, [asked], direction, component).set_index(["layer", "position"])
    runs = [asked.corrupt, asked.clean] if direction == "denoise" else [asked.clean, asked.corrupt]
    with torch.no_grad(), hooks.capture(model, range(1, model.n_layers + 1), component) as donor:
        model.hf(**runs[1].inputs, use_cache=False)
    tokens = [token(model, asked.clean, answer) for answer in (asked.answer, asked.wrong)]
    image = asked.clean.image
    assert table.token[1, image[0]] == "<image>"
    for layer in (1, 3):
        for position in (0, image[0], image[5], image[-1], asked.clean.length - 1):

            def patched(state, layer=layer, position=position):
                state = state.clone()
                state.view(1, -1, model.hidden_size)[0, position] = donor[layer].view(1, -1, model.hidden_size)[
                    0, position
                ]
                return state

            logits = own_logits(model, runs[0], hooks.replace(model, layer, patched, component))
            expected = float(logits[tokens[0]] - logits[tokens[1]])
            assert table.logit_diff[layer, position] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_patches_of_groups_are_those_of_plain_hooks(model):
    asked = pair(model)
    parts = {"three pieces": asked.clean.image[[2, 3, 9]], "question": asked.clean.words[-3:]}
    groups = pd.DataFrame([(0, at, name) for name, own in parts.items() for at in own], columns=GROUPED)
    table = medlib.patch_sweep(model, [asked], groups=groups).set_index(["layer", "group"])
    with torch.no_grad(), hooks.capture(model) as donor:
        model.hf(**asked.clean.inputs, use_cache=False)
    tokens = [token(model, asked.clean, answer) for answer in (asked.answer, asked.wrong)]
    for layer in (1, 3):
        for name, own in parts.items():

            def patched(state, layer=layer, own=own):
                state = state.clone()
                state[:, own] = donor[layer][:, own]
                return state

            logits = own_logits(model, asked.corrupt, hooks.replace(model, layer, patched))
            expected = float(logits[tokens[0]] - logits[tokens[1]])
            assert table.logit_diff[layer, name] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_positions_are_shared_only_where_no_token_of_a_picture_sees_a_later_one():
    shared = {
        family: medlib.patch_sweep(tiny(family), [pair(tiny(family))]).attrs["positions_shared"] for family in FAMILIES
    }
    assert shared == {"llava": True, "gemma3": False}


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("component", ["residual", "attention", "mlp"])
def test_attribution_is_the_gradient_of_the_models_own_forward(model, direction, component):
    asked = pair(model)
    table = medlib.attribution_sweep(model, [asked], direction, component).set_index(["layer", "position"])
    runs = [asked.clean, asked.corrupt] if direction == "denoise" else [asked.corrupt, asked.clean]
    states = []
    for prompt in runs:  # the one that is patched comes last
        with hooks.capture(model, range(1, model.n_layers + 1), component) as seen:
            logits = model.hf(**prompt.inputs, use_cache=False).logits[0, -1]
        states.append(seen)
    tokens = [token(model, asked.clean, answer) for answer in (asked.answer, asked.wrong)]
    diff = logits[tokens[0]] - logits[tokens[1]]
    for layer in (1, 3):
        (slope,) = torch.autograd.grad(diff, states[1][layer], retain_graph=True)
        moved = (slope * (states[0][layer] - states[1][layer])).detach().view(-1, model.hidden_size).sum(-1)
        for position in (asked.clean.image[3], asked.clean.length - 1):
            expected = float(diff.detach() + moved[position])
            assert table.logit_diff[layer, position] == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("kind", ["grad", "weight_grad"])
def test_saliency_is_the_gradient_of_the_models_own_forward(model, kind):
    asked = prompts(model)
    table = medlib.weight_saliency(model, asked, ANSWERS, kind).attrs["per_prompt"]
    table = table.set_index(["prompt", "layer", "module"])
    for row, (prompt, answer) in enumerate(zip(asked, ANSWERS, strict=True)):
        log_p = model.hf(**prompt.inputs, use_cache=False).logits[0, -1].log_softmax(-1)[token(model, prompt, answer)]
        for layer in (1, model.n_layers):
            for name, matrix in saliency.weight_matrices(model.blocks[layer - 1]).items():
                (slope,) = torch.autograd.grad(log_p, matrix, retain_graph=True)
                size = slope * matrix.detach() if kind == "weight_grad" else slope
                expected = float(size.abs().mean())
                assert table.saliency[row, layer, name] == pytest.approx(expected, rel=1e-3, abs=1e-8)


def test_what_cannot_be_asked_of_pictures_is_refused(model):
    asked = prompts(model)
    with pytest.raises(MedlibError, match="list of texts"):
        medlib.activations(model, [asked[0], "w1 w2"])
    with pytest.raises(MedlibError, match="equal lengths"):
        medlib.patch_sweep(model, [medlib.Pair(asked[0], asked[1], " w20", " w21")])
    with pytest.raises(MedlibError, match="the same, so nothing"):
        medlib.patch_sweep(model, [medlib.Pair(asked[0], asked[0], " w20", " w21")])
    with pytest.raises(MedlibError, match="running text"):
        lesion_texts(model, asked)
    with pytest.raises(MedlibError, match="where its entity stands"):
        medlib.activations(model, asked, at="entity")
