"""Patches of parts of a picture: which tokens a part has, which pairs are traced, and a handover that is known."""

from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from vision_models import FAMILIES, carrying, picture, tiny

from medlib import MedlibError, vision
from medlib.chapters.image_tokens import image_sites


def prompt(model, seed):
    return vision.image_prompt(model, picture(seed=seed), "w1 w2")


def over(*numbers):
    mask = np.zeros(16, bool)
    mask[list(numbers)] = True
    return mask.reshape(4, 4)


BRAIN = np.ones((4, 4), bool)


def test_the_parts_of_a_prompt_are_its_image_tokens_in_sets_and_the_words_after():
    asked = prompt(tiny(), 0)
    table = image_sites.parts(asked, over(3, 7), over(1, 2, 3, 4))
    found = {part: set(own["position"]) for part, own in table.groupby("group")}
    assert found["lesion"] == set(asked.image[[3, 7]]) and found["all image"] == set(asked.image)
    assert found["other image"] == found["all image"] - found["lesion"]
    assert found["random"] < set(asked.image[[1, 2, 4]]) and len(found["random"]) == 2
    assert found["last"] == {asked.length - 1} and found["question"] | found["last"] == set(
        range(asked.image[-1] + 1, asked.length)
    )
    again = [image_sites.parts(asked, over(3, 7), BRAIN, 1) for _ in range(2)]
    assert again[0].equals(again[1])
    for wrong, brain in ((over(), BRAIN), (~over(1), BRAIN), (over(1, 2), over(2, 3))):
        with pytest.raises(MedlibError, match="it takes 1 or more, and as many others"):
            image_sites.parts(asked, wrong, brain)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_image_tokens_carry_the_picture_and_the_last_token_ends_with_it(family):
    model = tiny(family)
    clean, corrupt = ([prompt(model, 2 * number + side) for number in range(5)] for side in (0, 1))
    chosen = image_sites.traced(
        model, clean, corrupt, [over(2)] * 5, [BRAIN] * 5, range(10, 15), ("w20", "w21"), least=1e9
    )
    assert not chosen.known and chosen.moved == 0 and chosen.tried == 5 and chosen.scenes == [*range(10, 15)]
    exact, estimated = image_sites.sweeps(model, chosen)
    assert exact.attrs["no_op"] < 1e-5 and set(exact["scene"]) == set(chosen.scenes)
    curves = image_sites.curves(exact)
    assert curves["last"]["value"].iloc[-1] == pytest.approx(1, abs=1e-3)
    assert curves["all image"]["value"].iloc[-1] == pytest.approx(0, abs=1e-3)
    assert (curves["last"]["n"] == 5).all()
    assert list(image_sites.curves(estimated)) == list(image_sites.PARTS)
    assert -1 <= image_sites.agreement(exact, estimated).value <= 1


@contextmanager
def dark_is_nothing(model, black):
    """For the duration the image features of a black picture are zero, after all that other hooks do to them."""
    projector, seen = model.hf.model.multi_modal_projector, []
    with projector.register_forward_hook(lambda module, args, output: seen.append(args[0])), torch.no_grad():
        model.hf(**black.inputs)

    def hook(module, args, output):
        return output * ((args[0] - seen[0]).abs().amax((1, 2)) > 1e-4)[:, None, None]

    with projector.register_forward_hook(hook):
        yield


def test_the_token_that_alone_carries_the_answer_hands_it_over_at_the_block_that_moves_it():
    model, number, layer = tiny(), 6, 3
    clean = [prompt(model, seed) for seed in range(5)]
    black = vision.image_prompt(model, np.zeros((40, 40), np.uint8), "w1 w2")
    answer = model.tokenizer.convert_tokens_to_ids("w20")
    with carrying(model, number, answer, layer), dark_is_nothing(model, black):
        chosen = image_sites.traced(
            model, clean, [black] * 5, [over(number)] * 5, [BRAIN] * 5, range(5), ("w20", "w21"), least=0.01
        )
        exact, _ = image_sites.sweeps(model, chosen)
    assert chosen.known and chosen.moved == len(chosen.pairs) == 5
    curves = {part: table.set_index("layer")["value"] for part, table in image_sites.curves(exact).items()}
    for at in range(1, model.n_layers + 1):
        moved = float(at >= layer)
        expected = {"last": moved, "lesion": 1 - moved, "random": 0, "other image": 0, "question": 0}
        assert {part: curves[part][at] for part in expected} == pytest.approx(expected, abs=1e-3)
    found = image_sites.handovers(exact).set_index("what")
    assert (found[["value", "low", "high"]] == layer).all(axis=None)
    lead = image_sites.lead_of_lesion(exact).set_index("layer")["value"]
    assert lead[1] == pytest.approx(1, abs=1e-3) and lead[layer] == pytest.approx(0, abs=1e-3)


def test_a_curve_that_never_passes_one_half_is_one_past_the_last_layer():
    rows = [
        dict(scene=scene, layer=layer, group=part, recovered=value)
        for scene in range(4)
        for part, values in (("all image", [1, 0.8, 0.6]), ("last", [0, 0.4, 0.9]))
        for layer, value in enumerate(values, 1)
    ]
    found = image_sites.handovers(pd.DataFrame(rows)).set_index("what")["value"]
    assert found.to_dict() == {"leaves": 4, "reaches": 3}


def test_pairs_are_those_whose_answer_the_lesion_moves_the_right_way_and_too_few_are_refused():
    model = tiny()
    clean, corrupt = ([prompt(model, 2 * number + side) for number in range(8)] for side in (0, 1))
    answers = ("w20", "w21")
    written = [image_sites.as_written(clean[0], word) for word in answers]
    span = image_sites.differences(model, clean, *written) - image_sites.differences(model, corrupt, *written)
    least = np.sort(span)[-6]
    chosen = image_sites.traced(
        model, clean, corrupt, [over(1)] * 8, [BRAIN] * 8, range(8), answers, count=5, least=least
    )
    assert chosen.known and chosen.moved == 6 and chosen.scenes == np.flatnonzero(span >= least)[:5].tolist()
    with pytest.raises(MedlibError, match="4 pictures have a lesion"):
        image_sites.traced(model, clean[:4], corrupt[:4], [over(1)] * 4, [BRAIN] * 4, range(4), answers)


def test_a_word_is_written_behind_a_space_unless_one_is_there():
    class Given:
        text = "Is there a lesion?\n"

    assert image_sites.as_written(Given, "yes") == "yes"
    Given.text = "[/INST]"
    assert image_sites.as_written(Given, "yes") == " yes"
