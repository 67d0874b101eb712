"""Pictures that differ move the tokens behind them; where none reaches the text, SelfSim is exactly one."""

import numpy as np
import pytest
import torch
from vision_models import FAMILIES, picture, tiny

from medlib import MedlibError, hooks
from medlib.chapters.contextualisation import context_tables, pictures_read, token_changes
from medlib.vision import image_prompt

QUESTIONS = ["w1 w2", "w3 w4 w5"]


def pictures(n):
    return [picture(seed=seed) for seed in range(n)]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_states_are_those_of_the_model_behind_and_in_the_picture(family):
    model = tiny(family)
    read = pictures_read.read_pictures(model, pictures(3), QUESTIONS, n_places=5, seed=2)
    for question in QUESTIONS:
        prompt = image_prompt(model, picture(seed=1), question)
        with hooks.capture(model) as own:
            model.hf(**prompt.inputs, use_cache=False)
        behind = own[2][0, prompt.image[-1] + 1 :].numpy()
        assert read.text[question][2, 1] == pytest.approx(behind, abs=1e-5)
        assert len(read.tokens[question]) == len(behind)
        assert read.tokens[question][-len(question.split()) - 1 : -1] == question.split()
        assert read.image[2, 1] == pytest.approx(own[2][0, prompt.image[read.places]].numpy(), abs=1e-5)
    assert read.front == int(prompt.image[0]) and read.front_moves < 1e-5 and read.image_moves < 1e-5
    assert read.image.shape[1:3] == (3, 5) and read.repeats == 15


def test_a_picture_that_does_not_reach_the_text_leaves_self_similarity_at_exactly_one():
    model = tiny()
    read = pictures_read.read_pictures(model, pictures(3), QUESTIONS[:1])
    moved = context_tables.alike(read)["value"]
    assert moved[0] == pytest.approx(1) and moved[1:].max() < 0.999
    handle = model.hf.model.multi_modal_projector.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
    deaf = pictures_read.read_pictures(model, pictures(3), QUESTIONS[:1])
    handle.remove()
    assert all(np.array_equal(deaf.text["w1 w2"][:, 0], deaf.text["w1 w2"][:, i]) for i in range(3))
    assert context_tables.alike(deaf)["value"].to_numpy() == pytest.approx(1, abs=1e-12)
    assert np.ptp(read.image[0], axis=0).max() > 0 and np.ptp(deaf.image[0], axis=0).max() == 0


def test_where_attention_does_not_cross_from_picture_to_text_only_image_tokens_change():
    """Every block's attention is cut, so that no token sees another: image tokens differ by picture, words do not."""
    model = tiny()
    with torch.no_grad():
        for layer in range(1, model.n_layers + 1):
            model.part(layer, "attention").o_proj.weight.zero_()
    read = pictures_read.read_pictures(model, pictures(8), QUESTIONS[:1])
    text, image = context_tables.looks(read)
    assert text.own == pytest.approx(1, abs=1e-12) and image.own[-1].min() < 0.99
    assert token_changes.change_map(text) == pytest.approx(0, abs=1e-12)


def test_shuffled_tiles_keep_every_pixel_and_move_most():
    made = np.arange(20 * 30 * 3, dtype=np.int64).reshape(20, 30, 3)
    found = pictures_read.shuffled(made, seed=1, tiles=5)
    assert sorted(found.ravel()) == sorted(made.ravel()) and (found != made).mean() > 0.8
    tile = found[:4, :6]
    top, left = divmod(int(tile[0, 0, 0]) // 3, 30)
    assert (tile == made[top : top + 4, left : left + 6]).all() and top % 4 == 0 and left % 6 == 0
    assert (found == pictures_read.shuffled(made, seed=1, tiles=5)).all()
    with pytest.raises(MedlibError, match="no 7 x 7 equal tiles"):
        pictures_read.shuffled(made, tiles=7)


def test_the_questions_of_a_parameter_are_different_texts():
    assert pictures_read.asked("w1? | w2 w3") == ["w1?", "w2 w3"]
    for text in ("w1 | w1", "w1 |", ""):
        with pytest.raises(MedlibError, match="give different ones"):
            pictures_read.asked(text)


def test_scenes_are_distinct_held_out_pictures():
    table, drawn = pictures_read.scenes(6, seed=3)
    assert len(table) == len(drawn) == len({one.tobytes() for one in drawn}) == 6
    assert set(table["split"]) == {"held-out"} and table["scene"].is_unique


def test_pictures_of_different_grids_are_refused(monkeypatch):
    model = tiny(padding=True)
    made = [image_prompt(model, picture(seed=seed), "w1") for seed in range(2)]
    other = made[1].view.__class__((2, 8), *[getattr(made[1].view, name) for name in ("size", "origin", "cell")])
    made[1] = type(made[1])(**{**made[1].__dict__, "view": other})
    monkeypatch.setattr(pictures_read, "image_prompt", lambda model, number, question: made[number])
    with pytest.raises(MedlibError, match="Picture 1 has a grid"):
        pictures_read.read_pictures(model, [0, 1], ["w1"])
