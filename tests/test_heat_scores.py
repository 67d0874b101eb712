"""Scores against a known lesion: baselines by hand, a layer chosen on other scenes, differences from every control."""

import numpy as np
import pandas as pd
import pytest
from lesion_models import made_up, talking
from vision_models import FAMILIES

from medlib import MedlibError, results, scans, vision
from medlib.chapters.grad_cam import heat_prose, heat_rows, heat_scores, lesion_scenes, planted_token, tower_head
from medlib.scans import model as scans_model
from medlib.stats import Interval

POINTING = {"grad_cam": 0.4, "contrast": 0.5, "attention": 0.12}


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return talking(request.param)


@pytest.fixture(scope="module")
def answered(model):
    return lesion_scenes.answers_given(model, lesion_scenes.scenes_asked(6, ["lesion"], seed=3))


def knows(low=0.8, kind="lesion"):
    return pd.DataFrame(dict(value=0.9, low=low, high=0.95, chance=0.5, n=12, known=low > 0.5), index=[kind])


def test_the_lesion_itself_is_the_ceiling_and_a_random_token_the_mean_of_all_of_the_brain(model, answered):
    bases = heat_scores.baselines(model, answered)
    wide = bases.pivot(index="scene", columns="map", values="pointing")
    assert (wide["lesion"] >= wide[["centre", "random"]].max(axis=1)).all()
    row = answered.iloc[0]
    view, brain, region = lesion_scenes.ask(model, row).view, lesion_scenes.brain_of(row), scans.draw(row)[1]
    inside = view.to_grid(region)[lesion_scenes.brain_tokens(view, brain)]
    assert wide["random"].iloc[0] == pytest.approx(inside.mean())
    hits = bases[(bases["map"] == "random")].set_index("scene")["hit"]
    assert hits[row["scene"]] == pytest.approx((inside > 0).mean())


def test_a_planted_answer_in_the_lesion_is_pointed_at_as_well_as_the_grid_allows(model, answered):
    bases = heat_scores.baselines(model, answered).set_index(["scene", "map"])
    for row in answered.head(3).to_dict("records"):
        prompt = lesion_scenes.ask(model, row)
        token = lesion_scenes.lesion_token(prompt.view, row)
        with vision.eager(model), planted_token.planted_token(model, prompt, token, " yes", " no", 2):
            heat = vision.grad_cam(model, prompt, " yes", 2)
        pointing, hit, _ = heat_scores.score(prompt.view, heat, scans.draw(row)[1])
        assert hit == 1 and pointing == pytest.approx(bases.loc[(row["scene"], "lesion"), "pointing"])


def test_scores_are_those_of_the_maps_at_each_layer_and_random_weights_give_others(model, answered):
    found, maps, traces = heat_scores.scores(model, answered.head(2), [1, 3])
    assert len(found) == 2 * 5 * 2 and set(found["layer"]) == {1, 3}
    row = answered.iloc[1]
    one = found[(found["scene"] == row["scene"]) & (found["map"] == "contrast") & (found["layer"] == 3)].iloc[0]
    heat, view = maps[row["scene"], "lesion"]["contrast"][1], lesion_scenes.ask(model, row).view
    assert one["pointing"] == vision.pointing_score(view, heat, scans.draw(row)[1])
    with vision.randomised(model, 0):
        noise, noise_maps, _ = heat_scores.scores(model, answered.head(2), [1, 3], "randomised")
    assert set(noise["weights"]) == {"randomised"} and len(heat_scores.joined(found, noise)) == 40
    assert not np.allclose(noise_maps[row["scene"], "lesion"]["contrast"], maps[row["scene"], "lesion"]["contrast"])
    assert [*traces] == [*maps]


def test_the_layer_is_chosen_on_one_half_and_reported_on_the_other():
    found, bases = made_up(POINTING)
    choosing, reported = heat_scores.halves(found)
    assert not set(choosing) & set(reported) and len(choosing) == len(reported) == 6
    chosen = heat_scores.choose_layers(found, choosing)
    assert chosen["lesion", "grad_cam"] == 2
    found.loc[found["scene"].isin(reported) & (found["layer"] == 1), "pointing"] = 1.0
    assert heat_scores.choose_layers(found, choosing) == chosen


def test_rollout_is_read_at_the_last_layer_since_at_the_first_it_is_plain_attention():
    found, _ = made_up({"attention": 0.3, "rollout": 0.3})
    found["pointing"] = found["pointing"].where(found["map"] != "rollout", 0.5 - 0.2 * found["layer"])
    chosen = heat_scores.choose_layers(found, range(12))
    assert chosen["lesion", "rollout"] == 2
    found.loc[(found["map"] == "attention") & (found["layer"] == 1), "pointing"] = 0.9
    assert heat_scores.choose_layers(found, range(12))["lesion", "attention"] == 1


def test_each_map_is_held_against_each_control_scene_by_scene():
    found, bases = made_up(POINTING)
    choosing, reported = heat_scores.halves(found)
    chosen = heat_scores.choose_layers(found, choosing)
    table = heat_scores.compared(found, bases, chosen, reported)
    of_pointing = table[table["metric"] == "pointing"]
    at = of_pointing[of_pointing["map"] == "grad_cam"].set_index("control")
    of_lesion = found[(found["map"] == "grad_cam") & (found["layer"] == 2) & (found["weights"] == "own")]
    mean = of_lesion[of_lesion["scene"].isin(reported)]["pointing"].mean()
    assert at.value["random"] == pytest.approx(mean - 0.1)
    assert at.loc["randomised", ["value", "low", "high"]].tolist() == pytest.approx([0.3] * 3)
    assert at.value["brightness"] == pytest.approx(mean - 0.08)
    assert of_pointing.loc[of_pointing["map"] == "lesion", "control"].isna().all()
    assert heat_scores.levels(table, "lesion", "pointing")["lesion"] == pytest.approx(0.9)
    assert (table["n"] == 6).all()


def test_the_verdict_turns_with_the_numbers_and_is_not_decided_where_the_answer_is_not_known():
    for pointing, word in [
        (POINTING, "some"),
        (dict.fromkeys(heat_scores.MAPS, 0.4), "yes"),
        (dict.fromkeys(heat_scores.MAPS, 0.05), "no"),
    ]:
        found, bases = made_up(pointing)
        choosing, reported = heat_scores.halves(found)
        table = heat_scores.compared(found, bases, heat_scores.choose_layers(found, choosing), reported)
        assert heat_prose.verdict(table, knows(), "lesion")[0] == word
        assert heat_prose.verdict(table, knows(low=0.45), "lesion")[0] == "not decided"
    found, bases = made_up(POINTING)
    table = heat_scores.compared(
        found, bases, dict.fromkeys([("lesion", name) for name in heat_scores.MAPS], 2), range(12)
    )
    text = heat_prose.verdict(table, knows(), "lesion")[1]
    assert (
        "attention, Grad-CAM and Grad-CAM against the other answer point at the lesion more than every control" in text
    )
    assert "rollout (not beyond any control) and Grad-CAM of all logits (not beyond any control); 90% (80% to" in text
    assert "layer 1" not in text


def test_a_map_that_only_follows_brightness_is_named_with_the_control_that_it_does_not_beat():
    found, bases = made_up(dict.fromkeys(heat_scores.MAPS, 0.4))
    bases.loc[bases["map"] == "brightness", "pointing"] = 0.41
    chosen = {("lesion", name): 2 for name in heat_scores.MAPS}
    table = heat_scores.compared(found, bases, chosen, range(12))
    assert heat_prose.verdict(table, knows(), "lesion")[0] == "no"
    found.loc[found["map"] == "attention", "pointing"] += 0.2
    table = heat_scores.compared(found, bases, chosen, range(12))
    word, text = heat_prose.verdict(table, knows(), "lesion")
    assert (
        word == "some"
        and "attention points at the lesion more than every control does; not rollout (not beyond" in text
    )


def test_a_map_that_points_at_layer_one_is_said_to_know_no_question():
    found, bases = made_up(dict.fromkeys(heat_scores.MAPS, 0.4))
    found["layer"] = 3 - found["layer"]  # all point at layer 1
    table = heat_scores.compared(found, bases, {("lesion", name): 1 for name in heat_scores.MAPS}, range(12))
    word, text = heat_prose.verdict(table, knows(), "lesion")
    assert word == "yes" and "at layer 1, where the last token has not read the question" in text


def test_a_layer_chosen_for_one_question_is_tried_on_the_others():
    (found, bases), (other, more) = made_up(POINTING), made_up({"grad_cam": 0.5}, kind="side")
    both, bases = heat_scores.joined(found, other), heat_scores.joined(bases, more)
    chosen = heat_scores.choose_layers(both, range(12)) | {("lesion", "grad_cam"): 1}
    others = heat_scores.other_kinds(both, chosen, range(12), "lesion")
    row = others[others["map"] == "grad_cam"].iloc[0]
    assert (row["kind"], row["layer"], row["own_layer"]) == ("side", 1, 2) and set(others["kind"]) == {"side"}
    assert row["value"] == pytest.approx(0.5) and row["at_first"] == pytest.approx(0.01)
    compared = heat_scores.compared(both, bases, chosen, range(12))
    levels = pd.concat([knows(), knows(kind="side")])
    count, text = heat_prose.of_other_kinds(others, compared, levels, "lesion")["other_kinds"]
    assert count == 1 and text.startswith("On side, 12 scenes, at layers chosen for it. It depends on the map")
    assert "the pointing score falls: Grad-CAM from 0.51 to 0.01 (by 0.50 (0.50 to 0.50))" in text
    assert heat_prose.table_of_other_kinds(others).loc[2, "pointing there"] == "0.51"
    same = heat_scores.other_kinds(both, chosen | {("lesion", "grad_cam"): 2}, range(12), "lesion")
    assert "is not shown to fall" in heat_prose.of_other_kinds(same, compared, levels, "lesion")["other_kinds"][1]
    none = heat_scores.other_kinds(found, chosen, range(12), "lesion")
    said = heat_prose.of_other_kinds(none, compared, levels, "lesion")["other_kinds"]
    assert said == (0, "No other kind of question was asked") and heat_prose.table_of_other_kinds(none).empty


def test_a_model_that_always_says_yes_knows_nothing():
    scenes = pd.DataFrame(dict(scene=range(8), question_kind="lesion", answer="yes", right=True))
    twins = pd.DataFrame(dict(scene=range(8), question_kind="lesion", answer="no", right=False))
    row = heat_prose.known(scenes, twins).loc["lesion"]
    assert (row["value"], row["chance"], row["known"]) == (0.5, 0.5, False)
    assert heat_prose.known(scenes, twins.assign(right=True)).loc["lesion", "known"]
    sides = pd.DataFrame(dict(scene=range(8), question_kind="side", answer=["left"] * 6 + ["right"] * 2, right=True))
    assert heat_prose.known(sides).loc["side", "chance"] == 0.75


def test_the_table_and_the_numbers_say_what_was_compared():
    found, bases = made_up(POINTING)
    choosing, reported = heat_scores.halves(found)
    chosen = heat_scores.choose_layers(found, choosing)
    heads = bases[bases["map"] == "lesion"].assign(map="head")
    table = heat_scores.compared(found, bases, chosen, reported, heads)
    words = heat_prose.table_of_maps(table, "lesion")
    assert words.loc["Grad-CAM", "layer"] == "2" and words.loc["the lesion itself", "pointing"] == "0.90 (0.90 to 0.90)"
    assert words.loc["tower's own head", "less random brain token"] == "+0.80 (+0.80 to +0.80)"
    assert words.loc["centre of the brain", "less random weights"] == ""
    numbers = heat_prose.of_scores(table, "lesion")
    assert numbers["layer_grad_cam"] == (2, "2") and numbers["hit_random"][1] == "10% (10% to 10%)"
    assert numbers["overlap_beyond"] == (3, "attention, Grad-CAM and Grad-CAM against the other answer")
    assert tower_head.head_said(table, "lesion")[1].endswith("points at it: in 90% of 6 scenes (90% to 90%)")
    assert numbers["n_reported"] == (6, "6") and numbers["hit_brightness"][1] == "8% (8% to 8%)"
    none = heat_scores.compared(found, bases, chosen, reported)
    assert tower_head.head_said(none, "lesion") == ("none", tower_head.NO_HEAD)
    at = heat_prose.of_middle(found, reported, "lesion", talking())
    assert at["layer_middle"] == (2, "2")
    answered = pd.DataFrame(dict(scene=range(12), question_kind="lesion", right=[True] * 4 + [False] * 8))
    few = heat_prose.on_right(found, answered, chosen, reported, "lesion")
    assert few["hit_right"][1] == "not known, for there are 2 such scenes"
    all_right = heat_prose.on_right(found, answered.assign(right=True), chosen, reported, "lesion")
    assert all_right["hit_right"][1].endswith("of 6 scenes")


def test_the_towers_own_head_is_found_by_its_weights_alone(tmp_path, answered):
    model = talking()
    heads = scans_model.Heads(16)
    assert tower_head.head_of(model, tmp_path) is None
    scans_model.save_trained(model.hf, heads, tmp_path)
    assert tower_head.head_of(model, tmp_path) is None  # in half precision these are other weights
    with_half(model)
    found = tower_head.head_of(model, tmp_path)
    prompt = lesion_scenes.ask(model, answered.iloc[0])
    features = model.hf.model.get_image_features(prompt.inputs["pixel_values"], return_dict=True)
    given = tower_features(model, prompt)
    assert features is not None
    expected = found(given)["patch_lesion"][0, :, 0].detach().numpy()
    assert tower_head.head_map(model, found, prompt).ravel() == pytest.approx(expected, rel=1e-5)
    rows, maps = tower_head.head_scores(model, found, answered.head(2))
    assert len(rows) == len(maps) == 2 and set(rows["map"]) == {"head"}
    assert len(tower_head.head_scores(model, None, answered)[0]) == 0


def with_half(model):
    for parameter in model.hf.model.vision_tower.parameters():
        parameter.data = parameter.data.half().float()


def tower_features(model, prompt):
    out = model.hf.model.vision_tower(prompt.inputs["pixel_values"], output_hidden_states=True)
    return out.hidden_states[model.hf.config.vision_feature_layer][:, 1:].detach()


def test_all_that_was_measured_fits_the_results_table():
    found, bases = made_up(POINTING)
    choosing, reported = heat_scores.halves(found)
    chosen = heat_scores.choose_layers(found, choosing)
    compared = heat_scores.compared(found, bases, chosen, reported)
    curves = heat_scores.layer_curves(found, reported, "pointing").assign(metric="pointing_by_layer")
    interval = dict(layer=1, value=0.5, low=0.4, high=0.6, n=6)
    likeness = pd.DataFrame([dict(pair="answers", empty=0) | interval])
    patched = pd.DataFrame([dict(tokens="lesion") | interval])
    areas = pd.DataFrame([dict(map="grad_cam", fill="twin", curve="deletion", control="random") | interval])
    at = heat_scores.at_layers(found, chosen)
    both = heat_scores.joined(found, found.assign(kind="side"))
    others = heat_scores.other_kinds(both, heat_scores.choose_layers(both, choosing), reported, "lesion")
    shifted = pd.DataFrame(dict(scene=range(6), own=0.5, shifted=0.1))
    table = heat_rows.rows(
        compared, curves, knows(), likeness, patched, areas.drop(columns="layer"), at, others, shifted, "lesion"
    )
    tidy = results.tidy(table, model="m", technique="grad_cam", seed=0)
    assert set(tidy["metric"]) >= {"pointing", "answered_right", "rank_correlation", "moved_to_twin", "deletion_area"}
    assert set(tidy["variant"].dropna()) >= {"less centre", "less brightness", "less randomised", "own weights"}
    assert (tidy.loc[tidy["metric"] == "pointing_shifted", "value"] == 0.1).all()
    assert tidy.loc[tidy["metric"] == "pointing_other_kind", "domain"].tolist() == ["side"] * 5
    alone = heat_scores.other_kinds(found, chosen, reported, "lesion")
    rows = heat_rows.rows(
        compared, curves, knows(), likeness, None, areas.drop(columns="layer"), at, alone, shifted, "lesion"
    )
    assert "pointing_other_kind" not in set(results.tidy(rows, model="m", technique="grad_cam", seed=0)["metric"])


def test_maps_and_curves_are_saved_as_they_are_drawn():
    heat = np.array([[0.123456, 0.0], [1.0, 2.0]])
    shown = pd.DataFrame({"scene": [5, 7]})
    overlays = [(None, None, {"attention": heat}), (None, None, {"attention": 2 * heat})]
    curves = pd.DataFrame(dict(map="head", fill="twin", curve="deletion", share=[0.0, 0.25], n=3))
    curves = curves.assign(value=[0.9, 0.5], low=[0.8, 0.4], high=[1.0, 0.6])
    rows = heat_rows.drawn(shown, overlays, curves, 4, Interval(2.0, 1.0, 3.0), "lesion")
    table = results.tidy(rows, model="m", technique="grad_cam", seed=0)
    second = table.query("metric == 'map' and item == '7'")
    assert second["position"].tolist() == [0, 1, 2, 3] and second["value"].tolist() == [0.2469, 0, 2, 4]
    curve = table.query("metric == 'deletion'")
    assert curve["position"].tolist() == [0, 1] and curve["high"].tolist() == [1.0, 0.6]
    whole = table.query("component == 'whole picture'")[["value", "low", "high"]]
    assert whole.to_numpy().tolist() == [[2, 1, 3]]


def test_few_scenes_of_a_kind_are_left_out_and_shown_scenes_are_the_first():
    found, bases = made_up(POINTING, n=4)
    chosen = heat_scores.choose_layers(found, [0, 2])
    assert heat_scores.compared(found, bases, chosen, [1, 3]).empty
    table = pd.DataFrame(dict(scene=[1, 1, 3, 5], question_kind=["lesion", "side", "lesion", "lesion"]))
    assert heat_scores.shown(table, "lesion", [1, 3, 5], 2)["scene"].tolist() == [1, 3]
    with pytest.raises(MedlibError, match="at least 3"):
        heat_scores.layer_curves(found, [1, 3], "pointing")
