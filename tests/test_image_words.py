"""The words of image tokens: which tokens they count by, what the lens reads of them, and what neurons write."""

import numpy as np
import pytest
import torch
from vision_models import FAMILIES, picture, plant_unit, tiny

from medlib import MedlibError, vision
from medlib.chapters.image_tokens import (
    answer_words,
    lens_words,
    matched_words,
    neuron_words,
    planted_words,
    scene_pictures,
)
from medlib.scans.items import QUESTIONS

TOKENS = {"a": [20, 21], "b": [30]}


@pytest.fixture(params=FAMILIES)
def model(request):
    return tiny(request.param)


def prompts(model, count=3):
    return [vision.image_prompt(model, picture(seed=seed), "w1 w2") for seed in range(count)]


def test_the_words_are_the_questions_own_answers():
    assert {kind: QUESTIONS[kind][1] for kind in answer_words.WORDS} == answer_words.WORDS


def test_a_word_counts_by_the_tokens_it_begins_with_and_no_two_words_share_one(smollm2):
    tokens = answer_words.word_tokens(smollm2)
    said = {word: {smollm2.tokenizer.decode([one]) for one in own} for word, own in tokens.items()}
    assert said["bright"] == {" bright", "bright", " Bright"} and said["coronal"] == {" cor", "cor", " Cor", "Cor"}
    every = [token for own in tokens.values() for token in own]
    assert len(every) == len(set(every)) and list(tokens) == sum(answer_words.WORDS.values(), [])


def test_words_that_begin_alike_are_refused(smollm2):
    with pytest.raises(MedlibError, match="'parietal' begins with the same tokens"):
        answer_words.word_tokens(smollm2, {"lobe": ["parietal", "parietals"]})


def test_random_words_are_as_many_and_like_those_that_they_are_held_against(smollm2):
    tokens = answer_words.word_tokens(smollm2)
    words = ["bright", "left", "temporal"]
    wanted = sorted(token for word in words for token in tokens[word])
    sets = matched_words.matched_words(smollm2, tokens, words)
    assert len(sets) == matched_words.SETS and sets == matched_words.matched_words(smollm2, tokens, words)
    every = {token for own in tokens.values() for token in own}

    def like(ids):
        pieces = [smollm2.tokenizer.decode([token]) for token in ids]
        assert all(piece.strip().isalpha() for piece in pieces)
        return sorted((piece[0] == " ", piece.strip()[0].isupper(), len(piece)) for piece in pieces)

    for own in sets.values():
        assert len(set(own)) == len(wanted) and not every & set(own) and like(own) == like(wanted)
    drawn = {token for own in sets.values() for token in own}
    assert len(drawn) > 3 * len(wanted)  # other ones in each set


def test_the_lens_gives_the_models_own_log_probabilities_and_counts_its_first_words(model):
    asked = prompts(model, 2)
    found = lens_words.read(model, asked, TOKENS, [2, model.n_layers])
    assert found.no_op < 1e-5 and found.log_p.shape == (2, 2, 16, 2)
    with torch.no_grad():
        logits = model.hf(**asked[1].inputs).logits[0, asked[1].image]
    log_p = logits.log_softmax(-1)
    expected = torch.stack([log_p[:, [20, 21]].logsumexp(-1), log_p[:, 30]], dim=-1)
    np.testing.assert_allclose(found.log_p[1, 1], expected, rtol=1e-4, atol=1e-4)
    first = logits.topk(lens_words.FIRST).indices
    hits = [(torch.isin(first, torch.tensor(own))).sum(-1).tolist() for own in TOKENS.values()]
    assert found.hits[1, 1].T.tolist() == hits and found.best[1, 1].tolist() == logits.argmax(-1).tolist()
    both = found.together("log_p", ["a", "b"])
    np.testing.assert_allclose(both[1, 1], log_p[:, [20, 21, 30]].logsumexp(-1), rtol=1e-4, atol=1e-4)
    assert found.together("share", ["a", "b"])[1, 1] == pytest.approx(np.sum(hits, axis=0) / lens_words.FIRST)


def test_the_words_of_two_pictures_have_in_common_the_smaller_count_of_each():
    made = dict(log_p=None, hits=None, layers=[1], words=[], no_op=0.0)
    one = lens_words.LensWords(best=np.array([[[1, 1, 2, 3]], [[4, 4, 4, 4]]]), **made)
    other = lens_words.LensWords(best=np.array([[[1, 2, 2, 4]]]), **made)
    assert lens_words.likeness(one, other).ravel().tolist() == [0.5, 0.25]
    assert lens_words.likeness(one, one).ravel().tolist() == [1, 1]
    assert lens_words.likeness_of_scenes(one).ravel().tolist() == [0, 0]


def test_the_states_that_are_read_begin_with_the_embedding_and_end_with_the_last():
    assert lens_words.every(tiny(), 3) == [0, 3, 4]
    assert lens_words.every(tiny(), 9) == [0, 4]
    assert lens_words.blocks(tiny(), [0, 1, 3, 4]) == [1, 3] and lens_words.blocks(tiny(), [0, 4]) == [2]


def test_no_neuron_of_the_last_block_has_a_gradient_at_an_image_token():
    model = tiny()
    strengths = vision.neuron_strengths(model, prompts(model, 1)[0], " w20", [3, 4])
    assert not strengths[4].any() and strengths[3].any()


def test_words_planted_at_image_tokens_are_read_there(model):
    asked = prompts(model, 1)[0]
    for layer in (1, model.n_layers):
        assert planted_words.planted_share(model, asked, layer, [20, 30, 41]) == 1
    before = vision.logit_lens(model, asked, [2])
    assert before["token"].isin([20, 30, 41]).mean() < 1


@pytest.mark.parametrize("layer", [1, 3])
def test_the_one_block_left_in_place_hands_the_picture_over(model, layer):
    clean, corrupt = prompts(model, 2)
    table = planted_words.planted_handover(model, clean, corrupt, layer, ["w20", "w30", "w40"])
    assert planted_words.furthest(table) < 1e-3
    at = table.set_index(["group", "layer"])["recovered"]
    assert at["all image", model.n_layers] == pytest.approx(0, abs=1e-3)
    assert at["last", model.n_layers] == pytest.approx(1, abs=1e-3)
    assert len(table) == 3 * model.n_layers
    with pytest.raises(MedlibError, match="nothing of them can be traced"):
        planted_words.planted_handover(model, clean, clean, layer, ["w20", "w30"])


def test_a_planted_neuron_s_word_is_found_and_random_neurons_do_not_write_it():
    model = tiny()
    asked = prompts(model, 4)
    plant_unit(model, asked[0], 2, 5, 33, asked[0].image, strength=30.0)
    answer = model.tokenizer.decode([33])
    counts = neuron_words.count_words(model, asked, f" {answer}", [2], neurons=1)
    tokens = {answer: [33]}
    table = neuron_words.measures(counts, tokens).groupby("kind")["answer words"].mean()
    assert table["strongest"] > 0.5 > 5 * table["random"]
    found = neuron_words.against_random(neuron_words.measures(counts, tokens)).set_index("measure")
    assert found.loc["answer words", "low"] > 0 and found.loc["answer words", "n"] == 4
    best = neuron_words.top_words(counts, 1).set_index("kind")
    assert best.loc["strongest", "word"] == answer
    assert counts.attrs["no_op"] < 1e-5
    assert neuron_words.shared_with_random(counts, 1)["shared"].tolist() == [int(best.loc["random", "token"] == 33)]


def test_random_neurons_are_drawn_anew_for_each_picture():
    model = tiny()
    counts = neuron_words.count_words(model, [*prompts(model, 1)] * 2, " w20", [2], neurons=3)
    random = counts[counts["kind"] == "random"]
    one, two = (own.set_index("token")["count"].to_dict() for _, own in random.groupby("picture"))
    assert one != two
    strong = [own["token"].tolist() for _, own in counts[counts["kind"] == "strongest"].groupby("picture")]
    assert strong[0] == strong[1]


def test_a_twin_differs_at_the_lesion_alone_and_shuffled_pixels_are_the_picture_s_own():
    scenes = scene_pictures.scenes(12)
    row = scene_pictures.with_lesion(scenes).iloc[0]
    real, twin, shuffled, black = (scene_pictures.picture(row, version) for version in scene_pictures.VERSIONS)
    mask = scene_pictures.scans.draw(row)[1]
    changed = np.flatnonzero((real != twin).any(-1))
    assert 0 < len(changed) < 0.05 * mask.size and mask.ravel()[changed].mean() > 0.4
    assert (np.sort(shuffled.reshape(-1, 3), axis=0) == np.sort(real.reshape(-1, 3), axis=0)).all()
    assert (shuffled != real).any() and not black.any()
    assert (shuffled == scene_pictures.picture(row, "shuffled")).all()
    assert scenes["lesion"].sum() == 6 and len(scenes) == 12 and scenes["scene"].is_unique
    assert scene_pictures.count_questions(scenes) >= 12 + 6
    assert set(scenes["modality"]) <= set(answer_words.WORDS["modality"])
    assert (scenes.loc[scenes["kind"] != "other", "modality"] == "MRI").all()


def test_tokens_over_a_lesion_are_those_it_covers_and_there_is_always_one():
    model = tiny()
    for _, row in scene_pictures.with_lesion(scene_pictures.scenes(20)).iterrows():
        prompt = vision.image_prompt(model, scene_pictures.picture(row), "w1 w2")
        share = prompt.view.to_grid(scene_pictures.scans.draw(row)[1].astype(float))
        inside = scene_pictures.over_lesion(row, prompt.view)
        assert inside.any() and inside[share >= scene_pictures.COVERED].all() and share[inside].min() > 0


def test_a_picture_that_is_asked_about_twice_counts_once():
    model = tiny()
    asked = [vision.image_prompt(model, picture(seed=seed), text) for seed, text in ((0, "w1"), (1, "w1"), (0, "w2"))]
    assert scene_pictures.distinct(asked) == [0, 1]
