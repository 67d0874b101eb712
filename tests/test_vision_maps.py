"""Scores of heat maps: a map that was planted beats the centre and random tokens, and weights come back bit for bit."""

import numpy as np
import pytest
import torch
from vision_models import FAMILIES, picture, tiny

from medlib import MedlibError
from medlib.vision import (
    View,
    centre_map,
    curves,
    image_prompt,
    map_curves,
    maps,
    overlap,
    pointing_score,
    random_map,
    randomised,
    score_maps,
)

ANSWER = 20
VIEW = View(grid=(2, 2), size=(4, 4), origin=(0.0, 0.0), cell=(2.0, 2.0))


@pytest.fixture(params=FAMILIES)
def brightness(request, monkeypatch):
    """In the model's place: the answer's probability is the brightness of one corner of the picture."""

    def probabilities(model, prompt, pictures, token):
        return [float(shown[:10, :10].mean()) / 255 for shown in pictures]

    monkeypatch.setattr(maps, "_probabilities", probabilities)
    shown = np.zeros((40, 40, 3), dtype=np.uint8)
    shown[:10, :10] = 255
    model = tiny(request.param)
    return model, image_prompt(model, shown, "w1 w2")


def test_pointing_and_overlap_count_pixels():
    region = np.zeros((4, 4), dtype=bool)
    region[:2, 1:] = True
    assert pointing_score(VIEW, [[9, 1], [1, 1]], region) == 0.5
    assert pointing_score(VIEW, [[1, 9], [1, 1]], region) == 1
    assert pointing_score(VIEW, [[1, 1], [1, 9]], region) == 0
    assert pointing_score(VIEW, [[1, 1], [1, 1]], region) == pytest.approx(region.mean())
    assert overlap(VIEW, [[9, 1], [1, 1]], region) == 2 / 8
    assert overlap(VIEW, [[9, 6], [1, 1]], region) == 6 / 8
    assert overlap(VIEW, [[9, 6], [1, 1]], region, threshold=0.9) == 2 / 8


def test_padding_is_never_pointed_at():
    view = View(grid=(2, 1), size=(2, 2), origin=(-2.0, 0.0), cell=(2.0, 2.0))
    assert pointing_score(view, [[9], [1]], np.ones((2, 2), dtype=bool)) == 1


def test_the_baselines_know_the_middle_or_nothing():
    heat = centre_map(View(grid=(3, 3), size=(6, 6), origin=(0.0, 0.0), cell=(2.0, 2.0)))
    assert heat.argmax() == 4
    assert heat[0, 0] == heat[2, 2] == heat.min()
    assert (random_map(VIEW, 1) == random_map(VIEW, 1)).all()
    assert sorted(random_map(VIEW, 1).ravel()) == [0, 1, 2, 3]


def test_a_planted_map_falls_faster_and_rises_faster_than_the_baselines(brightness):
    model, prompt = brightness
    planted = np.zeros((4, 4))
    planted[0, 0] = 1
    region = np.zeros((40, 40), dtype=bool)
    region[:10, :10] = True
    table = score_maps(model, prompt, {"planted": planted}, ANSWER, region, draws=20).set_index("map")
    assert (table.loc["planted", ["pointing", "overlap"]] == 1).all()
    for other in ("centre", "random"):
        assert table.loc["planted", "deletion"] < np.mean(table.loc[other, "deletion"])
        assert table.loc["planted", "insertion"] > np.mean(table.loc[other, "insertion"])
    assert table.loc["centre", "pointing"] == 0
    assert len(table.loc["random"]) == 20


@pytest.mark.parametrize("fill", ["mean", "blur"])
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_curves_begin_and_end_at_the_picture_and_the_filled_one(family, fill):
    model = tiny(family)
    prompt = image_prompt(model, picture(48, 64), "w1 w2")
    table = curves(model, prompt, centre_map(prompt.view), ANSWER, fill, steps=4)
    p = model.hf(**prompt.inputs).logits[0, -1].double().softmax(-1)[ANSWER]
    deletion, insertion = (table[table.curve == name] for name in ("deletion", "insertion"))
    assert deletion.share.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert deletion.p.iloc[0] == pytest.approx(float(p), rel=1e-3)
    if prompt.view.tokens.min() >= 0:  # nothing is cropped, so all of the picture is inserted in the end
        assert insertion.p.iloc[-1] == pytest.approx(float(p), rel=1e-3)
        assert deletion.p.iloc[-1] == pytest.approx(insertion.p.iloc[0], rel=1e-3)
    assert deletion.p.iloc[1] != deletion.p.iloc[0]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_curves_of_several_maps_are_those_of_each_and_ask_about_no_picture_twice(family):
    model = tiny(family)
    prompt = image_prompt(model, picture(48, 48), "w1 w2")
    heats = {"centre": centre_map(prompt.view), "again": centre_map(prompt.view), "random": random_map(prompt.view, 3)}
    asked = []
    handle = model.hf.register_forward_pre_hook(
        lambda hf, args, kwargs: asked.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    table = map_curves(model, prompt, heats, ANSWER, steps=3)
    handle.remove()
    assert sum(asked) == 2 + 2 * 2 * 2  # the picture, the filled one; two steps of two curves of two different orders
    for name, heat in heats.items():
        alone, own = curves(model, prompt, heat, ANSWER, steps=3), table[table["map"] == name]
        assert own.drop(columns="map").p.tolist() == pytest.approx(alone.p.tolist(), rel=1e-4)
        for curve, area in alone.attrs["area"].items():
            assert table.attrs["area"][name, curve] == pytest.approx(area, rel=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_weights_are_shuffled_by_the_seed_and_come_back_bit_for_bit(family):
    model = tiny(family)
    prompt = image_prompt(model, picture(), "w1 w2")
    before = {name: tensor.clone() for name, tensor in model.hf.state_dict().items()}
    own, shuffled = model.hf(**prompt.inputs).logits, []
    for seed in (0, 0, 1):
        with pytest.raises(KeyError), randomised(model, seed):
            shuffled.append(model.hf(**prompt.inputs).logits)
            raise KeyError
    assert torch.equal(shuffled[0], shuffled[1])
    assert not torch.allclose(shuffled[0], shuffled[2])
    assert not torch.allclose(shuffled[0], own)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.hf.state_dict().items())


def test_what_cannot_be_scored_is_refused():
    model = tiny()
    prompt = image_prompt(model, picture(), "w1 w2")
    heat, region = np.zeros((4, 4)), np.ones((40, 40), dtype=bool)
    for call, message in [
        (lambda: curves(model, prompt, heat, ANSWER, fill="noise"), "fill='noise'"),
        (lambda: curves(model, prompt, heat, ANSWER, steps=0), "steps=0"),
        (lambda: curves(model, prompt, heat[:2], ANSWER), "a finite number for each"),
        (lambda: pointing_score(prompt.view, heat, region * 1.0), "give a mask"),
        (lambda: pointing_score(prompt.view, heat, region[:2]), "give a mask"),
        (lambda: pointing_score(prompt.view, heat, ~region), "region is empty"),
        (lambda: overlap(prompt.view, heat, region, threshold=50), "threshold=50"),
    ]:
        with pytest.raises(MedlibError, match=message):
            call()
