"""Scenes and twins: the same picture but for the lesion; the brain's tokens and centre; answers of the right form."""

import numpy as np
import pytest
from lesion_models import talking

from medlib import MedlibError, scans
from medlib.chapters.grad_cam import lesion_scenes as scenes


@pytest.fixture(scope="module")
def asked():
    return scenes.scenes_asked(6, ["lesion", "side"], seed=3)


def test_every_scene_has_a_lesion_and_the_questions_asked_for_and_no_picture_comes_twice(asked):
    assert asked["lesion"].all() and set(asked["question_kind"]) == {"lesion", "side"}
    assert asked["scene"].nunique() == 6 and asked.attrs["repeated"] == 0
    pictures = {scans.draw(row)[0].tobytes() for row in asked.drop_duplicates("scene").to_dict("records")}
    assert len(pictures) == 6
    more = scenes.scenes_asked(7, ["lesion"], seed=3)
    assert more["scene"].tolist()[:6] == asked["scene"].drop_duplicates().tolist()


def test_a_repeated_picture_is_left_out_and_counted(monkeypatch):
    own = scans.draw
    first = own(scenes.scenes_asked(6, ["lesion"], seed=3).iloc[0])
    drawn = []

    def twice(row):
        drawn.append(row)
        return first if len(drawn) in (2, 3) else own(row)

    monkeypatch.setattr(scans, "draw", twice)
    found = scenes.scenes_asked(6, ["lesion"], seed=3)
    assert found.attrs["repeated"] == 2 and found["scene"].nunique() == 6


def test_a_twin_differs_where_the_lesion_is_and_hardly_elsewhere(asked):
    for row in asked.drop_duplicates("scene").to_dict("records"):
        (picture, mask), (twin, none) = scans.draw(row), scans.draw(scenes.twin_of(row))
        differs = (picture != twin).any(-1)
        assert not none.any() and differs[mask].mean() > 0.9
        assert differs[~mask].mean() < 0.02


def test_the_brain_holds_the_lesion_and_its_centre_is_the_hottest_token_of_the_centre_map(asked):
    row = asked.iloc[0]
    brain, mask = scenes.brain_of(row), scans.draw(row)[1]
    assert brain[mask].mean() > 0.95 and 0.1 < brain.mean() < 0.8
    view = scenes.ask(talking(), row).view
    tokens = scenes.brain_tokens(view, brain)
    heat = scenes.brain_centre_map(view, brain)
    hottest = view.boxes()[np.unravel_index(heat.argmax(), heat.shape)]
    middle = np.argwhere(brain).mean(0)
    assert hottest[0] - 1 <= middle[0] <= hottest[2] + 1 and hottest[1] - 1 <= middle[1] <= hottest[3] + 1
    order = scenes.random_brain_map(view, brain, 0)
    assert order[tokens].min() > order[~tokens].max() and len(np.unique(order)) == order.size


def test_answers_are_the_likeliest_of_those_that_the_question_has(asked):
    model = talking()
    found = scenes.answers_given(model, asked)
    assert (found["right"] == (found["margin"] > 0)).all() and (found["wrong"] != found["answer"]).all()
    assert set(found[found["question_kind"] == "side"]["given"]) <= {"left", "right"}
    twins = scenes.twins_asked(asked)
    assert len(twins) == 6 and not twins["lesion"].any() and set(twins["answer"]) == {"no"}
    of_twins = scenes.answers_given(model, twins)
    assert set(of_twins["wrong"]) == {"yes"}


def test_an_answer_is_written_as_it_stands_after_the_prompt(asked):
    prompt = scenes.ask(talking(), asked.iloc[0])
    assert scenes.said(prompt, "yes") == " yes"
    object.__setattr__(prompt, "text", prompt.text + "\n")
    assert scenes.said(prompt, "yes") == "yes"


def test_what_there_is_not_is_refused():
    for arguments, message in [
        ((6, ["plane"]), "'plane'"),
        ((6, []), "at least one of lesion"),
        ((5, ["lesion"]), "5 scenes"),
    ]:
        with pytest.raises(MedlibError, match=message):
            scenes.scenes_asked(*arguments)
