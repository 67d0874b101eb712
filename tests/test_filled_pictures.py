"""Filled pictures, brightness alone and exact shares: each against what is counted by hand."""

import numpy as np
import pytest
import torch
from vision_models import FAMILIES, picture, tiny

from medlib import vision
from medlib.chapters.grad_cam import brightness, filled_pictures, shares
from medlib.vision.inputs import pixels_of

ANSWER = 20


def test_steps_grow_from_a_single_token_to_all():
    assert filled_pictures.growing(100, 6).tolist() == [0, 1, 3, 6, 16, 40, 100]
    assert filled_pictures.growing(16, 1).tolist() == [0, 16]
    assert filled_pictures.growing(3, 10).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_curves_in_equal_steps_are_those_of_vision_and_ask_about_no_picture_twice(family):
    model = tiny(family)
    prompt = vision.image_prompt(model, picture(48, 48), "w1 w2")
    heats = {"centre": vision.centre_map(prompt.view), "random": vision.random_map(prompt.view, 3)}
    tokens, asked = int(prompt.view.in_picture().sum()), []
    counts = np.linspace(0, tokens, 5).astype(int)
    handle = model.hf.register_forward_pre_hook(
        lambda hf, args, kwargs: asked.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    table = filled_pictures.curves(
        model, prompt, heats | {"again": heats["centre"]}, ANSWER, filled_pictures.blurred(prompt), counts
    )
    handle.remove()
    assert sum(asked) == 2 + 2 * 2 * 3  # the picture and the filled one; three steps of two curves of two orders
    expected = vision.map_curves(model, prompt, heats, ANSWER, "blur", steps=4)
    own = table[table["map"] != "again"]
    assert own[["map", "curve"]].to_numpy().tolist() == expected[["map", "curve"]].to_numpy().tolist()
    assert own["p"].to_numpy() == pytest.approx(expected["p"].to_numpy(), rel=1e-3)
    for which, area in expected.attrs["area"].items():
        found = own[(own["map"] == which[0]) & (own["curve"] == which[1])]["area"]
        assert found.to_numpy() == pytest.approx(area, rel=1e-3)


@torch.no_grad()
def test_filled_from_a_picture_that_differs_in_one_token_only_two_pictures_are_asked_about():
    model = tiny()
    prompt = vision.image_prompt(model, picture(), "w1 w2")
    other = np.array(prompt.picture)
    other[:10, :10] = 255 - other[:10, :10]
    heat, last = np.zeros((4, 4)), np.ones((4, 4))
    heat[0, 0], last[0, 0] = 1, 0
    table = filled_pictures.curves(model, prompt, {"it": heat, "last": last}, ANSWER, other, np.arange(17))
    p = [
        float(
            model.hf(**prompt.inputs | {"pixel_values": pixels_of(model, shown)}).logits[0, -1].double().softmax(-1)[20]
        )
        for shown in (prompt.picture, vision.image_prompt(model, other, "w1 w2").picture)
    ]
    deletion = table[table["curve"] == "deletion"].set_index("map")["p"]
    assert deletion["it"].to_numpy() == pytest.approx([p[0]] + [p[1]] * 16, rel=1e-4)
    assert deletion["last"].to_numpy() == pytest.approx([p[0]] * 16 + [p[1]], rel=1e-4)
    assert p[0] != pytest.approx(p[1], rel=1e-4)


def test_brightness_alone_finds_a_bright_or_dark_spot_and_not_the_edge_of_the_brain():
    view = vision.View(grid=(4, 4), size=(40, 40), origin=(0.0, 0.0), cell=(10.0, 10.0))
    brain = np.zeros((40, 40), bool)
    brain[4:36, 4:36] = True
    for level in (60, 0):
        shown = np.where(brain, 30, 0)
        shown[12:16, 22:26] = level
        heat = brightness.brightness_map(view, np.repeat(shown[..., None], 3, axis=-1), brain)
        assert np.unravel_index(heat.argmax(), heat.shape) == (1, 2) and heat.max() == pytest.approx(30 * 16 / 100)
        assert heat[0, 0] == -1  # less than half of it is brain
        assert heat[0, 1] == 0  # its background does not count


def test_a_share_of_scenes_has_its_exact_interval_and_other_numbers_that_of_the_bootstrap():
    for hits, low, high in [(20, 0.8316, 1.0), (0, 0.0, 0.1684), (19, 0.7513, 0.9987)]:
        found = shares.share([1.0] * hits + [0.0] * (20 - hits))
        assert found == pytest.approx((hits / 20, low, high), abs=1e-4)
    found = shares.share([0.2, 0.4, 0.6, 0.8])
    assert found.value == pytest.approx(0.5) and 0.2 <= found.low < 0.5 < found.high <= 0.8
