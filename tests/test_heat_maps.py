"""The maps of one walk are those that each function gives alone, and what they are of is told apart."""

import numpy as np
import pytest
from lesion_models import talking
from vision_models import FAMILIES, picture

from medlib import MedlibError, scans, vision
from medlib.chapters.grad_cam import heat_maps, heat_prose, heat_scores, lesion_scenes, logit_sum, planted_token


@pytest.fixture(params=FAMILIES)
def model(request):
    return talking(request.param)


@pytest.fixture
def prompt(model):
    return vision.image_prompt(model, picture(), "w11 w12")


def test_one_walk_gives_the_maps_that_each_function_gives_alone(model, prompt):
    traced = heat_maps.trace(model, prompt, "yes", "no", [3, 1])
    maps = heat_maps.maps_of(traced)
    assert [*maps] == [*heat_maps.MAPS] and traced.layers == [1, 3]
    for at, layer in enumerate(traced.layers):
        alone = {
            "grad_cam": vision.grad_cam(model, prompt, " yes", layer),
            "all_logits": vision.grad_cam(model, prompt, " yes", layer, "all"),
            "rollout": vision.attention_rollout(model, prompt, layer),
        }
        for name, heat in alone.items():
            assert maps[name][at] == pytest.approx(heat, rel=1e-6), name
    assert (maps["attention"] >= 0).all() and maps["attention"].sum(axis=(1, 2)).max() <= 1
    slopes = traced.slopes
    contrast = (traced.attention * np.maximum(slopes[0] - slopes[1], 0)).mean(1)
    assert maps["contrast"].reshape(contrast.shape) == pytest.approx(contrast)


def test_layers_are_all_or_those_named(model):
    assert heat_maps.layers_of(model, "all") == [1, 2, 3, 4]
    assert heat_maps.layers_of(model, "3 1 3") == [1, 3]
    for text in ("", "0", "5", "first"):
        with pytest.raises(MedlibError, match="numbers from 1 to 4"):
            heat_maps.layers_of(model, text)


def test_the_planted_token_is_named_by_the_maps_of_the_answer_wherever_it_is(model, prompt):
    found = planted_token.find_planted(model, prompt, "yes", "no", 2, [0, 6, 15])
    assert planted_token.all_found(found, share=0.5)
    assert [one["planted"] for one in found] == [0, 6, 15]
    assert "planted in [0, 6, 15]: hottest for the answer [0, 6, 15]" in planted_token.told(found)


def test_a_token_that_is_missed_is_not_found():
    one = dict(planted=3, answer=(3, 0.9), contrast=(3, 0.9), all_logits=(1, 0.0))
    assert planted_token.all_found([one])
    assert not planted_token.all_found([one | dict(answer=(4, 0.9))])
    assert not planted_token.all_found([one | dict(contrast=(3, 0.4))])
    assert planted_token.share_of(np.zeros(4), 1) == 0 and planted_token.share_of(np.array([1, 3.0]), 1) == 0.75


def test_planting_leaves_the_model_as_it_was(model, prompt):
    before = vision.grad_cam(model, prompt, " yes", 2)
    planted_token.find_planted(model, prompt, "yes", "no", 2, [1])
    assert (vision.grad_cam(model, prompt, " yes", 2) == before).all()


def traced_by_hand(slopes, attention=None):
    slopes = np.array(slopes, dtype=float)[:, None, None]
    attention = np.ones_like(slopes[0]) if attention is None else np.array(attention, float)[None, None]
    return heat_maps.Traced([1], attention, slopes, np.zeros((1, 1, slopes.shape[-1])), 4)


def test_a_shift_of_all_logits_turns_the_map_of_their_sum_and_leaves_that_of_a_difference():
    slopes = np.array([[3.0, 1, 0], [1, 2, 0], [4, -4, 8]])
    moved = logit_sum.shifted(slopes, 4)
    assert moved[2] == pytest.approx(-slopes[2])
    assert moved[0] - moved[1] == pytest.approx(slopes[0] - slopes[1])
    assert logit_sum.shifted(slopes, 4, -1)[2] == pytest.approx(0)


def test_a_shifted_model_says_the_same_and_has_the_slopes_that_are_said():
    model = talking("llava")  # untied: in a tied one the shift would change what goes in too
    prompt = vision.image_prompt(model, picture(), "w11 w12")
    attention, slopes = vision.attention_slopes(model, prompt, [" yes", " no", None], [2])
    head = model.hf.get_output_embeddings()
    row = head.weight.detach().mean(0)
    own = model.hf(**prompt.inputs).logits[0, -1].softmax(-1)
    head.weight.data += logit_sum.SHIFT * row
    assert model.hf(**prompt.inputs).logits[0, -1].softmax(-1).detach() == pytest.approx(own.detach().numpy(), abs=1e-4)
    _, shifted = vision.attention_slopes(model, prompt, [" yes", " no", None], [2])
    expected = logit_sum.shifted(slopes, model.vocabulary)
    assert shifted == pytest.approx(expected, rel=1e-3, abs=1e-4 * np.abs(expected).max())


def test_where_the_map_of_the_sum_points_is_measured_in_a_model_that_says_the_same():
    model = talking("llava")
    answered = lesion_scenes.answers_given(model, lesion_scenes.scenes_asked(6, ["lesion"], seed=3)).head(3)
    _, maps, traces = heat_scores.scores(model, answered, [2])
    table = logit_sum.shifted_pointing(model, answered, traces, 2)
    row = answered.iloc[0]
    traced, prompt, region = traces[row["scene"], "lesion"], lesion_scenes.ask(model, row), scans.draw(row)[1]
    heat = maps[row["scene"], "lesion"]["all_logits"][0]
    assert table["own"].iloc[0] == vision.pointing_score(prompt.view, heat, region)
    heat = (traced.attention[0] * (-traced.slopes[2][0]).clip(0)).max(0)
    assert table["shifted"].iloc[0] == vision.pointing_score(prompt.view, prompt.on_grid(heat), region)
    value, text = heat_prose.of_shifted(table)["shifted_points"]
    assert value == pytest.approx(table["shifted"].mean()) and "where that of the model itself has" in text


def test_likeness_is_a_rank_correlation_over_tokens_and_an_empty_map_has_none():
    traces = {(scene, "lesion"): traced_by_hand([[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 6, 8]]) for scene in range(4)}
    traces[4, "lesion"] = traced_by_hand([[1, 2, 3, 4], [0, 0, 0, 0], [-1, -1, -2, -3]])
    table = logit_sum.likeness(traces).set_index(["pair", "scene"])["value"]
    assert table["answers", 0] == pytest.approx(-1) and table["answer_sum", 0] == pytest.approx(1)
    assert np.isnan(table["shifted_sum", 0]) and np.isnan(table["answers", 4])
    curves = logit_sum.likeness_curves(logit_sum.likeness(traces)).set_index("pair")
    assert curves.loc["answers", ["n", "empty"]].tolist() == [4, 1] and "shifted_sum" not in curves.index
    means = logit_sum.likeness_means(logit_sum.likeness(traces)).set_index("pair")
    assert means.value["answers"] == pytest.approx(-1) and means.n["answers"] == 4
