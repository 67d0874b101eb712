"""Patches from the twin and filled pictures: what carries the answer moves it, and a map of it falls first."""

import numpy as np
import pandas as pd
import pytest
from lesion_models import talking
from vision_models import FAMILIES, picture

from medlib import MedlibError, scans, vision
from medlib.chapters.grad_cam import filled_curves, heat_prose, lesion_patch, lesion_scenes

SOONER = "than in that of every control"


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return talking(request.param)


@pytest.fixture(scope="module")
def answered(model):
    return lesion_scenes.answers_given(model, lesion_scenes.scenes_asked(6, ["lesion"], seed=3))


def patches(lesion, random, span=2.0, n=8, layers=(0, 2, 4)):
    rows = [
        (scene, tokens, draw, layer, value * (1 + 0.05 * (scene % 3)) * (layer < 4), span, 2)
        for scene in range(n)
        for layer in layers
        for tokens, draw, value in (("lesion", 0, lesion), ("random", 0, random), ("random", 1, random))
    ]
    return pd.DataFrame(rows, columns=["scene", "tokens", "draw", "layer", "moved", "span", "size"])


def test_patches_go_from_the_twin_into_the_scene_and_random_tokens_are_of_the_brain(model, answered):
    table = lesion_patch.lesion_patch(model, answered, [0, 4], draws=2, seed=1)
    assert table.attrs["left_out"] + table["scene"].nunique() == 6
    row = answered[answered["scene"] == table["scene"].iloc[0]].iloc[0]
    scene = lesion_scenes.ask(model, row)
    twin = lesion_scenes.ask(model, row, scans.draw(lesion_scenes.twin_of(row))[0])
    tokens = np.nan_to_num(scene.view.to_grid(scans.draw(row)[1])) > 0
    by_hand = vision.image_patch_sweep(model, twin, scene, tokens, " no", " yes", [0, 4], draws=0)
    own = table[(table["scene"] == row["scene"]) & (table["tokens"] == "lesion")]
    assert own["moved"].to_numpy() == pytest.approx((by_hand["logit_diff"] - by_hand["corrupt_diff"]).to_numpy())
    assert own["span"].iloc[0] == pytest.approx(by_hand["clean_diff"].iloc[0] - by_hand["corrupt_diff"].iloc[0])
    assert own["moved"].iloc[1] == pytest.approx(0, abs=1e-5)  # after the last block nobody reads them
    with pytest.raises(MedlibError, match="2 scenes can be patched"):
        lesion_patch.lesion_patch(model, answered[answered["scene"].isin(table["scene"])].head(2), [0])


def test_random_tokens_are_drawn_among_those_given_only():
    model = talking()
    clean, corrupt = (vision.image_prompt(model, picture(seed=seed), "w11") for seed in (0, 1))
    tokens, among = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    tokens[0, 0], among[3, 3] = True, True
    table = vision.image_patch_sweep(model, clean, corrupt, tokens, " yes", " no", [1], draws=3, among=among)
    alone = vision.image_patch_sweep(model, clean, corrupt, among, " yes", " no", [1], draws=0)
    random = table[table["tokens"] == "random"]["logit_diff"]
    assert random.to_numpy() == pytest.approx(alone["logit_diff"].iloc[0])
    with pytest.raises(MedlibError, match="too few others"):
        vision.image_patch_sweep(model, clean, corrupt, ~among, " yes", " no", [1], among=among)
    with pytest.raises(MedlibError, match="among is float64"):
        vision.image_patch_sweep(model, clean, corrupt, tokens, " yes", " no", [1], among=among * 1.0)


def test_the_lesion_carries_the_answer_where_it_moves_it_more_than_random_tokens():
    for lesion, random, span, word in [
        (1.5, 0.1, 2.0, "yes"),
        (0.1, 0.1, 2.0, "no"),
        (-1.0, -2.0, 2.0, "no"),
        (1.5, 0.1, -0.1, "not decided"),
    ]:
        table = patches(lesion, random, span)
        said = lesion_patch.causal_verdict(table, lesion_patch.patch_curves(table))
        assert said[0] == word and said[1].lower().startswith(word)
    table = patches(1.5, 0.1)
    said = lesion_patch.causal_verdict(table, lesion_patch.patch_curves(table))[1]
    assert "which move it by 0.1" in said and said.endswith("they are ahead up to layer 2")
    again = patches(1.5, 0.1, layers=(0, 1, 2, 3))
    again.loc[again["layer"] == 1, "moved"] = 0.0  # behind at one layer: what is ahead again further up is no run
    said = lesion_patch.causal_verdict(again, lesion_patch.patch_curves(again))[1]
    assert said.endswith("they are ahead up to layer 0")
    value, text = lesion_patch.times_random(table, 0)
    assert value == pytest.approx(15) and text == "15 times as far (15 to 15)"
    assert lesion_patch.times_random(patches(1.5, 0.0), 0)[0] == "not known"
    value, text = lesion_patch.share_moved(table, 0)
    assert value == pytest.approx(1.5 * 1.04375 / 2, rel=0.02) and text.startswith("78% (")
    for span in (0.0, -0.5):
        assert lesion_patch.share_moved(patches(1, 0, span), 0)[0] == "not known"


def filled_by_hand(areas, n=6):
    rows = [
        dict(scene=scene, map=name, fill="twin", curve=curve, share=share, p=0.5, area=area + 0.001 * scene)
        for scene in range(n)
        for name, (deletion, insertion) in areas.items()
        for curve, area in (("deletion", deletion), ("insertion", insertion))
        for share in (0.0, 1.0)
    ]
    return pd.DataFrame(rows)


def test_a_map_by_which_the_answer_goes_first_is_named_and_others_are_not():
    filled = filled_by_hand(
        {
            "grad_cam": (0.2, 0.8),
            "attention": (0.5, 0.6),
            "centre": (0.5, 0.5),
            "random": (0.6, 0.4),
            "brightness": (0.5, 0.5),
            "lesion": (0.1, 0.9),
            "head": (0.15, 0.85),
            "grad_cam randomised": (0.5, 0.5),
            "attention randomised": (0.6, 0.4),
        }
    )
    table = filled_curves.areas(filled, filled_curves.CONTROLS)
    said = heat_prose.of_curves(table, "twin", filled_curves.CONTROLS)
    assert said["deletion_twin"] == (
        2,
        f"sooner in the order of Grad-CAM and the tower's own head {SOONER}; not so in that of attention",
    )
    assert said["insertion_twin"] == (
        3,
        f"sooner in the order of attention, Grad-CAM and the tower's own head {SOONER}",
    )
    assert set(table.loc[table["control"].notna(), "map"]) == {"grad_cam", "attention", "head", "lesion"}
    ceiling = table[(table["map"] == "grad_cam") & (table["control"] == "lesion")].set_index("curve")["value"]
    assert ceiling.to_dict() == pytest.approx({"deletion": 0.1, "insertion": -0.1})
    none = heat_prose.of_curves(table[table["map"].isin(["attention", "lesion"])], "twin", filled_curves.CONTROLS)
    assert none["deletion_twin"] == (0, f"sooner in the order of no map {SOONER}; not so in that of attention")


def test_a_test_that_the_lesion_itself_does_not_pass_is_void():
    areas = {"grad_cam": (0.2, 0.8), "grad_cam randomised": (0.5, 0.5), "centre": (0.5, 0.5), "brightness": (0.5, 0.5)}
    filled = filled_by_hand(areas | {"random": (0.6, 0.92), "lesion": (0.1, 0.91)})
    table = filled_curves.areas(filled, filled_curves.CONTROLS)
    said = heat_prose.of_curves(table, "twin", filled_curves.CONTROLS)
    assert said["deletion_twin"] == (1, f"sooner in the order of Grad-CAM {SOONER}")
    value, text = said["insertion_twin"]
    assert value == "void" and text.startswith(
        "void, for the lesion's own order does no better than a random one (-0.01"
    )


def test_filled_from_the_twin_the_whole_deletion_is_the_twin(model, answered):
    row = answered.iloc[0]
    prompt = lesion_scenes.ask(model, row)
    maps = {(row["scene"], "lesion"): {"grad_cam": vision.grad_cam(model, prompt, " yes")}}
    table = filled_curves.filled_curves(model, answered.head(1), maps, steps=3)
    assert set(table["map"]) == {"grad_cam", *filled_curves.BASES} and set(table["fill"]) == {"twin", "blur"}
    twin = lesion_scenes.ask(model, row, scans.draw(lesion_scenes.twin_of(row))[0])
    yes = model.tokenizer.convert_tokens_to_ids("yes")
    p = model.hf(**twin.inputs).logits[0, -1].detach().double().softmax(-1)[yes]
    last = table[(table["fill"] == "twin") & (table["curve"] == "deletion") & (table["share"] == 1)]["p"]
    assert last.to_numpy() == pytest.approx(float(p), rel=1e-3)
    of_lesion = table[(table["fill"] == "twin") & (table["curve"] == "deletion") & (table["map"] == "lesion")]
    touched = int((np.nan_to_num(prompt.view.to_grid(scans.draw(row)[1])) > 0).sum())
    assert of_lesion["p"].iloc[touched:].to_numpy() == pytest.approx(float(p), rel=0.2)
    assert len(of_lesion) == 1 + int(prompt.view.in_picture().sum())
    with pytest.raises(MedlibError, match="The filling has"):
        vision.curves(model, prompt, maps[row["scene"], "lesion"]["grad_cam"], " yes", picture(20, 30))


def test_maps_are_taken_at_the_layers_that_were_chosen():
    own = {(1, "lesion"): {"grad_cam": np.arange(8.0).reshape(2, 2, 2), "attention": np.zeros((2, 2, 2))}}
    noise = {(1, "lesion"): {"grad_cam": np.ones((2, 2, 2)), "attention": np.arange(8.0).reshape(2, 2, 2)}}
    chosen = {("lesion", "grad_cam"): 5, ("lesion", "attention"): 3}
    heads = {(1, "lesion"): np.ones((2, 2)), (2, "lesion"): np.ones((2, 2))}
    found = filled_curves.at_chosen(own, noise, chosen, [3, 5], heads)[1, "lesion"]
    assert found.pop("head").sum() == 4
    assert "head" not in filled_curves.at_chosen(own, noise, chosen, [3, 5], {})[1, "lesion"]
    assert found["grad_cam"].tolist() == [[4, 5], [6, 7]] and found["grad_cam randomised"].sum() == 4
    assert found["attention randomised"].tolist() == [[0, 1], [2, 3]]


def test_the_sum_of_logits_is_told_by_its_likeness_to_itself():
    def of(value, low, high):
        return heat_prose.of_sum(pd.DataFrame([dict(pair="shifted_sum", value=value, low=low, high=high, n=8)]))

    assert of(-0.2, -0.3, -0.1)["sum_verdict"][1].startswith("It is no map of what the model says")
    assert of(0.95, 0.93, 0.97)["sum_verdict"][1].startswith("Here it is much the same")
    assert "is not decided here" in of(0.9, 0.8, 0.95)["sum_verdict"][1]
    assert of(0.5, 0.4, 0.6)["like_answers"] == ("none", "not defined")
    empty = heat_prose.of_sum(pd.DataFrame(columns=["pair", "value", "low", "high", "n"]))
    assert empty["sum_verdict"][0] == "not decided"
