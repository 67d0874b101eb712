"""What cannot be asked is refused with a message by every technique, in both families and in both precisions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import tiny_model
from vision_models import FAMILIES, picture, tiny

from medlib import MedlibError, vision

ANSWER = " w20"
TECHNIQUES = {  # name -> a call with a model and a prompt
    "grad_cam": lambda model, prompt, **more: vision.grad_cam(model, prompt, ANSWER, **more),
    "attention_slopes": lambda model, prompt, **more: vision.attention_slopes(model, prompt, [ANSWER], **more),
    "attention_rollout": lambda model, prompt, **more: vision.attention_rollout(model, prompt, **more),
    "attention_rollouts": lambda model, prompt, **more: vision.attention_rollouts(model, prompt, **more),
    "logit_lens": lambda model, prompt, **more: vision.logit_lens(model, prompt, **more),
    "image_token_words": lambda model, prompt, **more: vision.image_token_words(model, prompt, ANSWER, **more),
    "neuron_strengths": lambda model, prompt, layers=(1,): vision.neuron_strengths(model, prompt, ANSWER, layers),
    "multimodal_neurons": lambda model, prompt, **more: vision.multimodal_neurons(model, prompt, ANSWER, **more),
    "contribution": lambda model, prompt, **more: vision.unit_scores(model, prompt, ANSWER, "contribution", **more),
    "direct": lambda model, prompt, **more: vision.unit_scores(model, prompt, ANSWER, "direct", **more),
    "unit_map": lambda model, prompt: vision.unit_map(model, prompt, 1, 0),
    "ablate_units": lambda model, prompt: vision.ablate_units(model, prompt, ANSWER, UNITS, draws=1),
    "curves": lambda model, prompt: vision.curves(model, prompt, np.zeros((4, 4)), ANSWER, steps=1),
    "score_maps": lambda model, prompt: vision.score_maps(model, prompt, {"a": np.zeros((4, 4))}, ANSWER, steps=1),
    "image_patch_sweep": lambda model, prompt, **more: vision.image_patch_sweep(
        model, prompt, with_other_pixels(prompt), MASK, ANSWER, " w21", **more
    ),
    "token_states": lambda model, prompt: vision.token_states(model, [prompt]),
}
LAYERED = [
    "attention_slopes",
    "attention_rollouts",
    "logit_lens",
    "image_token_words",
    "neuron_strengths",
    "multimodal_neurons",
    "contribution",
    "direct",
    "image_patch_sweep",
]
UNITS = pd.DataFrame({"layer": [1], "unit": [0]})
MASK = np.eye(4, dtype=bool)


def with_other_pixels(prompt):
    if isinstance(prompt, str):
        return prompt
    return replace(prompt, inputs=prompt.inputs | {"pixel_values": prompt.inputs["pixel_values"] + 1})


@pytest.fixture(params=[(family, dtype) for family in FAMILIES for dtype in (torch.float32, torch.bfloat16)])
def asked(request):
    model = tiny(request.param[0], dtype=request.param[1])
    return model, vision.image_prompt(model, picture(), "w1")


@pytest.mark.parametrize("name", TECHNIQUES)
def test_a_text_only_model_a_plain_text_and_another_models_prompt_are_refused(name):
    model = tiny()
    prompt = vision.image_prompt(model, picture(), "w1")
    with pytest.raises(MedlibError, match="reads text only"):
        TECHNIQUES[name](tiny_model("llama"), prompt)
    with pytest.raises(MedlibError, match="image_prompt"):
        TECHNIQUES[name](model, "w1 w2")
    model.hf.config.image_token_id = 9
    with pytest.raises(MedlibError, match="made for another model"):
        TECHNIQUES[name](model, prompt)


@pytest.mark.parametrize("name", LAYERED)
def test_layers_that_there_are_not_are_refused(asked, name):
    model, prompt = asked
    for layers, message in [
        ([9], "There is no (block|state) 9"),
        ([-1], "There is no (block|state) -1"),
        ([], "no list of whole numbers"),
        (3, "no list of whole numbers"),
        ([1.5], "no list of whole numbers"),
        (["2"], "no list of whole numbers"),
    ]:
        with pytest.raises(MedlibError, match=message):
            TECHNIQUES[name](model, prompt, layers=layers)
    if name not in ("logit_lens", "image_patch_sweep"):  # these read states, which begin with 0
        with pytest.raises(MedlibError, match="no block 0"):
            TECHNIQUES[name](model, prompt, layers=[0])


def test_numbers_out_of_range_are_refused(asked):
    model, prompt = asked
    other = vision.image_prompt(model, picture(seed=5), "w1")
    for call, message in [
        (lambda: vision.logit_lens(model, prompt, words=0), "words=0"),
        (lambda: vision.logit_lens(model, prompt, words=65), "1 to 64"),
        (lambda: vision.multimodal_neurons(model, prompt, ANSWER, top=0), "top=0"),
        (lambda: vision.unit_map(model, prompt, 1, 1.5), "units 0 to 47"),
        (lambda: vision.ablate_units(model, prompt, ANSWER, None), "must be a table"),
        (lambda: vision.ablate_units(model, prompt, ANSWER, UNITS.assign(unit=np.nan)), "without a layer or a unit"),
        (lambda: vision.ablate_units(model, prompt, ANSWER, UNITS, draws=-1), "draws=-1"),
        (lambda: vision.image_patch_sweep(model, prompt, other, MASK, ANSWER, " w21", draws=-1), "draws=-1"),
        (lambda: vision.token_states(model, [prompt], sample=0), "sample=0"),
        (lambda: vision.token_states(model, prompt), "Put a single one in a list"),
        (lambda: vision.attention_slopes(model, prompt, ANSWER), "put a single one in a list"),
        (lambda: vision.attention_slopes(model, prompt, []), "no list of answers"),
        (lambda: vision.curves(model, prompt, np.zeros((4, 4)), ANSWER, steps=2.5), "whole number"),
        (lambda: vision.curves(model, prompt, np.zeros((4, 4)), ANSWER, fill=picture(8, 8)), "The filling has"),
        (lambda: vision.score_maps(model, prompt, [np.zeros((4, 4))], ANSWER), "a dict of maps"),
    ]:
        with pytest.raises(MedlibError, match=message):
            call()


def test_an_answer_of_several_tokens_counts_by_its_first(asked):
    model, prompt = asked
    assert (vision.grad_cam(model, prompt, " w20 w21") == vision.grad_cam(model, prompt, " w20")).all()


def test_layers_come_once_each_and_in_rising_order(asked):
    model, prompt = asked
    plain = vision.attention_slopes(model, prompt, [ANSWER], [1, 3])[0]
    assert (vision.attention_slopes(model, prompt, [ANSWER], [3, 1, 3])[0] == plain).all()
