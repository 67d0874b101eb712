"""States at image and text tokens are the hooks', and a picture asked about twice is found out."""

import numpy as np
import pytest
import torch
from vision_models import FAMILIES, picture, tiny

from medlib import MedlibError, hooks
from medlib.vision import image_patch_sweep, image_prompt, token_states

ANSWER, WRONG = 20, 30


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_states_are_the_hooks_apart_for_image_and_text(family):
    model = tiny(family)
    prompts = [image_prompt(model, picture(seed=seed), "w1 " * (seed + 1)) for seed in range(2)]
    found = token_states(model, prompts)
    at = 0
    for number, prompt in enumerate(prompts):
        with hooks.capture(model) as own:
            model.hf(**prompt.inputs)
        for kind, positions in (("image", prompt.image), ("text", prompt.words)):
            of_prompt = found[kind].tokens.prompt == number
            assert found[kind].tokens.position[of_prompt].tolist() == positions.tolist()
            for layer in range(model.n_layers + 1):
                assert found[kind].states[layer, of_prompt] == pytest.approx(own[layer][0, positions].numpy(), abs=1e-5)
        at += prompt.length
    assert len(found["image"].tokens) + len(found["text"].tokens) == at
    assert found["image"].tokens.row[:16].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert found["text"].tokens.row.isna().all()
    assert found["image"].states.dtype == np.float32


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_asked_about_twice_repeats_its_image_states(family):
    """Also where image tokens attend to each other in both directions: the question comes after all of them."""
    model = tiny(family)
    asked = [(0, "w1"), (1, "w1"), (0, "w2 w3"), (0, "w1")]
    found = token_states(model, [image_prompt(model, picture(seed=seed), text) for seed, text in asked])
    repeats = found["image"].tokens.groupby("prompt").repeats.first()
    assert repeats.isna().tolist() == [True, True, False, False]
    assert repeats[[2, 3]].tolist() == [0, 0]
    states = found["image"].states.reshape(model.n_layers + 1, 4, 16, -1)
    assert np.allclose(states[:, 0], states[:, 2], rtol=1e-4, atol=1e-4)
    assert not np.allclose(states[:, 0], states[:, 1], rtol=1e-4, atol=1e-4)
    assert found["text"].tokens.repeats.isna().all()


def test_a_sample_takes_the_same_places_of_each_prompt():
    model = tiny()
    prompts = [image_prompt(model, picture(seed=seed), "w1") for seed in range(2)]
    found = token_states(model, prompts, sample=3, seed=4)["image"]
    assert found.states.shape == (model.n_layers + 1, 6, model.hidden_size)
    assert found.tokens.position[:3].tolist() == found.tokens.position[3:].tolist()
    assert found.tokens.equals(token_states(model, prompts, sample=3, seed=4)["image"].tokens)
    with pytest.raises(MedlibError, match="list of prompts is empty"):
        token_states(model, [])


def pair(model):
    return (image_prompt(model, picture(seed=seed), "w1 w2") for seed in range(2))


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_patch_equals_the_hook_and_all_tokens_at_state_0_give_the_clean_run(family):
    model = tiny(family)
    clean, corrupt = pair(model)
    mask = np.zeros((4, 4), dtype=bool)
    mask[1, :3] = True
    table = image_patch_sweep(model, clean, corrupt, mask, ANSWER, WRONG, draws=2)
    at = torch.as_tensor(clean.image[mask.ravel()])
    with hooks.capture(model) as donor:
        model.hf(**clean.inputs)
    for layer in (1, 3):

        def patched(state, layer=layer):
            state = state.clone()
            state[:, at] = donor[layer][:, at]
            return state

        with hooks.replace(model, layer, patched):
            logits = model.hf(**corrupt.inputs).logits[0, -1]
        found = table[(table.tokens == "chosen") & (table.layer == layer)].logit_diff.item()
        assert found == pytest.approx(float(logits[ANSWER] - logits[WRONG]), abs=1e-4)
    whole = image_patch_sweep(model, clean, corrupt, np.ones((4, 4), dtype=bool), ANSWER, WRONG, draws=0)
    assert whole.recovered[0] == pytest.approx(1, abs=1e-4)  # the pictures differ in their image tokens only
    assert whole.recovered.iloc[-1] == pytest.approx(0, abs=1e-4)  # after the last block no token sees another
    assert table.groupby("tokens").draw.nunique().to_dict() == {"chosen": 1, "random": 2}


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_what_one_token_carries_is_recovered_there_and_at_no_random_token(family):
    """The twins' image features differ in one token only."""
    model = tiny(family)
    clean, corrupt = pair(model)
    own, calls = torch.randn(1, 16, model.hidden_size), []

    def features(module, args, output):
        calls.append(1)
        found = own.repeat(len(output), 1, 1)
        found[[row for row in range(len(output)) if row % 2], 6] += 3  # rows: corrupt, clean, and again
        return found

    model.hf.model.multi_modal_projector.register_forward_hook(features)
    mask = np.zeros((4, 4), dtype=bool)
    mask[1, 2] = True
    table = image_patch_sweep(model, clean, corrupt, mask, ANSWER, WRONG, layers=[0], draws=10)
    assert calls
    assert table[table.tokens == "chosen"].recovered.item() == pytest.approx(1, abs=1e-4)
    assert table[table.tokens == "random"].recovered.abs().max() < 1e-4


def test_what_cannot_be_patched_is_refused():
    model = tiny()
    clean, corrupt = pair(model)
    other = image_prompt(model, picture(), "w5")
    mask = np.zeros((4, 4), dtype=bool)
    mask[0] = True
    for arguments, message in [
        ((clean, other, mask, ANSWER, WRONG), "differ in their text"),
        ((clean, clean, mask, ANSWER, WRONG), "the same to the model"),
        ((clean, corrupt, mask & False, ANSWER, WRONG), "is empty"),
        ((clean, corrupt, mask | True, ANSWER, WRONG), "too few others"),
        ((clean, corrupt, mask * 1, ANSWER, WRONG), "give a mask"),
        ((clean, corrupt, mask[:2], ANSWER, WRONG), "give a mask"),
        ((clean, corrupt, mask, ANSWER, ANSWER), "the same token"),
        ((clean, corrupt, mask, ANSWER, WRONG, [7]), "no state 7"),
    ]:
        with pytest.raises(MedlibError, match=message):
            image_patch_sweep(model, *arguments)
