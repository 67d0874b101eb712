"""On tiny models: a planted unit is first and takes the answer along, and units taken out are those of plain hooks."""

import numpy as np
import pandas as pd
import pytest
import torch
from vision_models import FAMILIES, picture, tiny

from medlib import MedlibError, scans, vision
from medlib.chapters.grad_cam import filled_curves
from medlib.chapters.multimodal_neurons import (
    neuron_curves,
    neuron_figures,
    neuron_maps,
    neuron_matches,
    neuron_questions,
    neuron_removal,
    neuron_scores,
    planted_neuron,
)
from medlib.scans.items import QUESTIONS
from medlib.vision import image_prompt, unit_map, unit_scores
from medlib.vision.units import output_matrix, zeroed
from medlib.vision.walk import Walk, own_logits

ANSWERS = {"polarity": ("w20", "w21"), "plane": ("w30", "w31")}


def questions(scenes=8):
    mask = np.zeros((40, 40), bool)
    mask[:15, :15] = True
    rows = [
        dict(
            scene=scene,
            question_kind=kind,
            question=f"w{1 + at} w5",
            answer=answers[(scene // (1 + at)) % 2],
            answers=answers,
            picture=picture(seed=scene),
            twin=picture(seed=scene + 100),
            mask=mask if scene else ~mask & mask,  # the first scene has no lesion
            brain=np.arange(40)[:, None] + 0 * mask < 20,  # the upper half
        )
        for scene in range(scenes)
        for at, (kind, answers) in enumerate(ANSWERS.items())
    ]
    return neuron_questions.in_halves(pd.DataFrame(rows))


@pytest.fixture(params=FAMILIES)
def model(request):
    return tiny(request.param)


@pytest.fixture
def measured(model):
    asked = questions()
    prompts = neuron_questions.prompts_of(model, asked)
    return model, asked, prompts, neuron_scores.measure(model, asked, prompts)


@pytest.mark.parametrize("at", [0, 9])
def test_a_planted_unit_is_first_by_both_scores_and_takes_the_answer_along(model, at):
    prompt = image_prompt(model, picture(), "w1 w2")
    weights = {name: tensor.clone() for name, tensor in model.hf.state_dict().items()}
    before = own_logits(model, prompt.inputs)
    found = planted_neuron.check(model, prompt, ("w20", "w21"), layer=2, unit=7, at=at)
    assert found["passed"], found["detail"]
    assert "rank 1 by the gradient and 1 by the contribution" in found["detail"]
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.hf.state_dict().items())
    assert torch.equal(own_logits(model, prompt.inputs), before)


def test_the_planted_answer_comes_from_the_picture():
    """The unit reads an image token, so with another picture it passes on something else."""
    model = tiny()
    one, other = (image_prompt(model, picture(seed=seed), "w1 w2") for seed in (0, 1))
    with planted_neuron.carrying(model, one, 28, layer=2, unit=7, at=5):
        logits = [float(own_logits(model, prompt.inputs)[0, -1, 28]) for prompt in (one, other)]
    with planted_neuron.carrying(model, one, 28, layer=2, unit=7, at=5, strength=0.0):
        without = [float(own_logits(model, prompt.inputs)[0, -1, 28]) for prompt in (one, other)]
    assert logits[0] - without[0] > 1.5 * (logits[1] - without[1])


def test_a_plant_that_does_nothing_does_not_pass(model, monkeypatch):
    prompt, carrying = image_prompt(model, picture(), "w1 w2"), planted_neuron.carrying
    monkeypatch.setattr(planted_neuron, "carrying", lambda *args, strength=0.0, **options: carrying(
        *args, strength=0.0, **options
    ))  # fmt: skip
    assert not planted_neuron.check(model, prompt, ("w20", "w21"), layer=2, unit=7, at=3)["passed"]


def test_the_direct_score_is_the_slope_of_the_logit_along_what_a_unit_writes(model):
    prompt = image_prompt(model, picture(), "w1 w2")
    table = unit_scores(model, prompt, " w20", "direct", layers=[2])
    plain = unit_scores(model, prompt, " w20", "contribution", layers=[2])
    walk, token = Walk(model, prompt.inputs), table.attrs["answer"]
    written = output_matrix(model, 2).weight.detach().double().T * torch.tensor(plain.activation.to_numpy())[:, None]
    for unit in (3, 11):
        ends = [
            float(walk.logit([token], walk.states[-1] + step * written[unit].float())[0, 0]) for step in (-1e-2, 1e-2)
        ]
        assert table.score[unit] == pytest.approx((ends[1] - ends[0]) / 2e-2, rel=2e-2, abs=1e-3)


def test_measured_scores_are_those_of_each_question_alone(measured):
    model, asked, prompts, found = measured
    assert found.scores["gradient"].shape == (len(asked), 4 * 48) and found.no_op < 1e-3
    for row in (0, 5):
        for score in ("gradient", "contribution", "direct"):
            alone = unit_scores(model, prompts[row], " " + asked.answer[row], score)
            assert found.scores[score][row] == pytest.approx(alone.score.to_numpy(), rel=1e-4, abs=1e-5)
        logits = own_logits(model, prompts[row].inputs)[0, -1]
        tokens = neuron_questions.tokens_of(model, prompts[row], asked.answers[row])
        assert found.given[row] == asked.answers[row][int(logits[tokens].argmax())]


@torch.no_grad()
def test_units_taken_out_are_those_of_the_other_half_and_of_plain_hooks(measured):
    model, asked, prompts, found = measured
    table = neuron_removal.take_out(model, asked, prompts, found, [2, 4], draws=2)
    own = table[(table.question_kind == table.chosen_for) & (table.units != "wrong")]
    other = table[table.question_kind != table.chosen_for]
    assert len(own) == len(asked) * 2 * 2 * 4 and len(other) == len(asked) * 2 * 3 and (other.k == 4).all()
    assert (table.units == "wrong").sum() == len(asked) * 2
    again = neuron_removal.take_out(model, asked, prompts, found, [2, 4], draws=2)
    assert table.equals(again)
    row, prompt = asked.iloc[3], prompts[3]
    for score, places in (("gradient", prompt.image), ("contribution", [prompt.length - 1])):
        means = neuron_scores.mean_scores(found, asked, score, "plane", row.answer, 1 - row.half)
        top = neuron_scores.first_units(found, means, 4)
        tokens = neuron_questions.tokens_of(model, prompt, row.answers)
        right = tokens[row.answers.index(row.answer)]
        before = own_logits(model, prompt.inputs)[0, -1]
        hooks = [
            zeroed(output_matrix(model, layer), torch.tensor(units.tolist()), torch.as_tensor(places))
            for layer, units in top.groupby("layer")["unit"]
        ]
        for hook in hooks:
            hook.__enter__()
        after = own_logits(model, prompt.inputs)[0, -1]
        for hook in hooks:
            hook.__exit__(None, None, None)
        drop = float((before[right] - before.mean()) - (after[right] - after.mean()))
        cell = table[(table.scene == row.scene) & (table.score == score) & (table.units == "first") & (table.k == 4)]
        cell = cell[(cell.question_kind == "plane") & (cell.chosen_for == "plane")].iloc[0]
        assert cell["drop"] == pytest.approx(drop, abs=1e-4)
        lost = int(before[tokens].argmax() == tokens.index(right)) - int(after[tokens].argmax() == tokens.index(right))
        assert cell["lost"] == lost


@torch.no_grad()
def test_what_units_write_is_as_long_as_the_change_of_the_mlps_output_without_them(measured):
    model, _, prompts, _ = measured
    prompt, unit = prompts[1], 7
    walk, places = Walk(model, prompts[1].inputs), torch.as_tensor(prompts[1].image)
    outputs = []
    handle = output_matrix(model, 2).register_forward_hook(lambda module, args, output: outputs.append(output))
    own_logits(model, prompt.inputs)
    with zeroed(output_matrix(model, 2), torch.tensor([unit]), places):
        own_logits(model, prompt.inputs)
    handle.remove()
    change = (outputs[0] - outputs[1]).reshape(prompt.length, -1).norm()
    norms = neuron_matches.written_norms(walk, 2, places)
    assert norms.shape == (48,) and norms[unit] == pytest.approx(float(change), rel=1e-4)


def test_matched_units_are_closer_in_what_they_write_than_random_ones(measured):
    model, asked, prompts, found = measured
    table = neuron_removal.take_out(model, asked, prompts, found, [4], draws=1)
    own = table[(table.question_kind == table.chosen_for) & table.units.isin(["first", "matched"])]
    wide = own.pivot(index=["scene", "question_kind", "score"], columns="units", values="written")
    assert (wide > 0).all(axis=None) and (table.loc[table.units == "random", "written"].isna()).all()
    assert np.log(wide["matched"] / wide["first"]).abs().mean() < 1


def test_a_wrong_answer_goes_round_those_that_are_right_somewhere():
    asked = questions()
    of_three = asked.assign(answers=[("w40", *answers) for answers in asked["answers"]])
    wrong = [neuron_removal.wrong_answer(of_three, row) for row in of_three.itertuples()]
    assert set(wrong) == {"w20", "w21", "w30", "w31"} and (of_three["answer"] != wrong).all()


def test_a_map_is_the_mean_activity_of_its_units_each_to_its_own_largest(measured):
    model, _, prompts, _ = measured
    sets = {"one": {2: np.array([5])}, "two": {2: np.array([5]), 4: np.array([9])}}
    found = neuron_maps.maps_of(Walk(model, prompts[0].inputs), prompts[0], sets)
    single = [np.abs(unit_map(model, prompts[0], layer, unit)) for layer, unit in ((2, 5), (4, 9))]
    single = [heat / heat.max() for heat in single]
    assert found["one"] == pytest.approx(single[0], rel=1e-5)
    assert found["two"] == pytest.approx((single[0] + single[1]) / 2, rel=1e-5)


def test_maps_are_scored_on_scenes_with_a_lesion_beside_five_baselines(measured):
    model, asked, prompts, found = measured
    table, maps = neuron_maps.scored(model, asked, prompts, found, "polarity", 3, draws=2)
    assert set(table.scene) == set(range(1, 8)) and len(table) == 7 * 2 * (1 + 2 + 2 + 2)
    with vision.randomised(model, 0):
        noise, _ = neuron_maps.scored(model, asked, prompts, found, "polarity", 3, draws=0)
    first = ("scene", "score", "pointing", "overlap")
    own, random = (one[one["map"] == "first units"][list(first)].reset_index(drop=True) for one in (table, noise))
    assert own[["scene", "score"]].equals(random[["scene", "score"]]) and not own.equals(random)
    table = neuron_maps.with_random_weights(table, noise)
    assert set(table["map"]) == {"first units", *neuron_maps.BASELINES}
    assert table[["pointing", "overlap"]].stack().between(0, 1).all()
    centre = table[table["map"] == "brain centre"]
    assert centre.pointing.nunique() == 1
    compared = neuron_maps.compared(table)
    assert len(compared) == 2 * 2 * (6 + 5) and (compared.n == 7).all()
    first = neuron_figures.first_scenes(maps, count=2)
    _, grid = neuron_figures.examples(asked, prompts, first, "polarity")
    assert grid.shape == (2, 2)
    bare = asked.assign(mask=[~mask & mask for mask in asked["mask"]])
    with pytest.raises(MedlibError, match="No scene of 'polarity' has a lesion"):
        neuron_maps.scored(model, bare, prompts, found, "polarity", 3)


def test_the_picture_is_filled_in_the_order_of_the_units_map(measured):
    model, asked, prompts, found = measured
    chosen = model, asked, prompts, found, "polarity", 3
    _, maps = neuron_maps.scored(*chosen, draws=0)
    with vision.randomised(model, 0):
        _, noise = neuron_maps.scored(*chosen, draws=0)
    table = neuron_curves.filled(model, asked, prompts, maps, noise, "polarity", 3, steps=3)
    assert set(table["map"]) == {*neuron_figures.FILLED} and set(table["scene"]) == {1, 2, 3}
    own = table[(table["fill"] == "twin") & (table["map"] == "gradient") & (table["curve"] == "deletion")]
    for scene, part in own.groupby("scene"):
        row = asked[(asked["scene"] == scene) & (asked["question_kind"] == "polarity")].iloc[0]
        prompt = prompts[asked.index.get_loc(row.name)]
        hottest = (prompt.view.tokens == np.argmax(maps[scene, "gradient"]))[..., None]
        filled = np.where(hottest, row.twin, row.picture)
        token = neuron_questions.tokens_of(model, prompt, [row.answer])[0]
        inputs = image_prompt(model, filled, row.question).inputs
        p = own_logits(model, inputs)[0, -1].double().softmax(-1)[token]
        assert part["p"].iloc[1] == pytest.approx(float(p), rel=1e-4)
    areas = filled_curves.areas(table, filled_curves.CONTROLS)
    assert set(areas[areas["map"] == "gradient"]["control"].dropna()) == {*filled_curves.CONTROLS, "lesion"}
    with pytest.raises(MedlibError, match="lesion to fill"):
        neuron_curves.filled(model, asked, prompts, {}, {}, "polarity", 2)


def test_random_tokens_are_of_the_brain_and_all_others_are_alike():
    view, brain = image_prompt(tiny(), picture(), "w1").view, np.arange(40)[:, None] + np.zeros((40, 40)) < 20
    heat = neuron_maps.random_in_brain(view, brain, 3)
    assert (heat[2:] == 0).all() and len(np.unique(heat[:2])) == 8 and heat[:2].min() > 0
    assert not np.array_equal(heat, neuron_maps.random_in_brain(view, brain, 4))


def test_words_are_the_units_own_and_random_units_are_others_of_the_same_layers(measured):
    model, asked, prompts, found = measured
    words = neuron_scores.words(model, found, asked, prompts, "contribution", 3)
    assert len(words) == 4 * 3
    row = words.iloc[4]
    logits = model.unembedding(slice(None))[0] @ output_matrix(model, int(row.layer)).weight[:, int(row.unit)]
    ids = logits.topk(5).indices.tolist()
    assert row.words == ", ".join(model.tokenizer.decode([token]) for token in ids)
    assert row.says == (neuron_questions.tokens_of(model, prompts[0], [row.answer])[0] in ids)
    random = neuron_scores.words_of_random(model, asked, prompts, words)
    assert sorted(random.layer) == sorted(words.layer)
    pairs = [set(map(tuple, part[["question_kind", "answer", "layer", "unit"]].to_numpy())) for part in (words, random)]
    assert not pairs[0] & pairs[1]


def test_scenes_are_held_out_ones_that_both_kinds_ask_about_without_repeats(monkeypatch):
    asked = neuron_questions.choose("polarity plane", 12)
    assert asked.scene.nunique() == 12 and (asked.groupby("scene").size() == 2).all()
    for row in asked.itertuples():
        known = scans.items.scene("held-out", row.scene)
        assert row.answer == known[row.question_kind] and row.answers == tuple(QUESTIONS[row.question_kind][1])
        assert row.mask.any() and (row.brain[row.mask]).mean() > 0.9
    assert asked.attrs["repeated"] == 0
    flat = np.zeros((120, 120, 3), np.uint8)
    monkeypatch.setattr(neuron_questions, "MOST", 20)
    monkeypatch.setattr(scans, "draw", lambda row: (flat, np.ones((120, 120), bool)))
    with pytest.raises(MedlibError, match="hold 1 that ask for both"):
        neuron_questions.choose("polarity plane", 3)


def test_answers_that_begin_alike_are_refused(model):
    prompt = image_prompt(model, picture(), "w1 w2")
    with pytest.raises(MedlibError, match="begin with the same token"):
        neuron_questions.tokens_of(model, prompt, ("w20", "w20 w3"))
