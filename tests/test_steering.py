"""Steering equals adding the vector in a plain hook, on every family; a planted answer is steered where it is read."""

import numpy as np
import planted
import pytest
import torch
from conftest import tiny_model

import medlib
from medlib import MedlibError, hooks, steering

PROMPTS = ["w1 w2 w3 w4 w5", "w6 w7 w8", "w9 w10 w11 w12"]
ANSWERS, TARGETS = [" w20", " w21", " w22"], [" w30", " w31", " w32"]


def drawn(model, n, seed=0, size=1.0):
    return size * np.random.default_rng(seed).normal(size=(model.n_layers + 1, n, model.hidden_size)).astype(np.float32)


@torch.no_grad()
def by_hooks(model, prompt, vector, layer, answer, target):
    """Target minus answer with `vector` added after block `layer` at the last token, by a hook on the live model."""
    ids = torch.tensor([model.tokenizer(prompt)["input_ids"]])
    token = [model.tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in (answer, target)]

    def add(state):
        state = state.clone()
        state[:, -1] += torch.tensor(vector)
        return state

    with hooks.replace(model, layer, add):
        logits = model.hf(input_ids=ids).logits[0, -1]
    return float(logits[token[1]] - logits[token[0]])


def test_a_sweep_equals_a_hook_that_adds_the_vector_on_every_family(family):
    model = tiny_model(family)
    vectors = drawn(model, len(PROMPTS))
    table = steering.steer_sweep(model, PROMPTS, vectors, ANSWERS, TARGETS)
    assert len(table) == len(PROMPTS) * model.n_layers and table.attrs["no_op"] < 1e-3
    for row in table.itertuples():
        asked = PROMPTS[row.prompt], vectors[row.layer, row.prompt], row.layer, ANSWERS[row.prompt], TARGETS[row.prompt]
        assert row.steered == pytest.approx(by_hooks(model, *asked), abs=2e-4)
        assert row.shift == row.steered - row.intact


def test_a_vector_of_zeros_changes_nothing(tiny):
    table = steering.steer_sweep(tiny, PROMPTS, 0 * drawn(tiny, 3), ANSWERS, TARGETS)
    assert table["shift"].abs().max() < 1e-5


def test_prompts_in_batches_of_one_give_the_same(tiny):
    vectors = drawn(tiny, 3)
    whole = steering.steer_sweep(tiny, PROMPTS, vectors, ANSWERS, TARGETS)
    tiny.memory = 1
    assert np.allclose(
        whole["shift"], steering.steer_sweep(tiny, PROMPTS, vectors, ANSWERS, TARGETS)["shift"], atol=1e-5
    )


def test_where_earlier_tokens_cannot_be_shared_whole_prompts_are_walked_and_give_the_same(tiny, monkeypatch):
    vectors = drawn(tiny, 3)
    shared = steering.steer_sweep(tiny, PROMPTS, vectors, ANSWERS, TARGETS)
    walks = []
    monkeypatch.setattr(steering._Walk, "agrees", lambda walk: walks.append(walk) or False)
    whole = steering.steer_sweep(tiny, PROMPTS, vectors, ANSWERS, TARGETS)
    assert walks and not any(walk.shared for walk in walks)
    assert np.allclose(shared["shift"], whole["shift"], atol=1e-5)


def test_what_an_asking_word_carried_can_be_steered_until_it_was_looked_up():
    """The subject is carried to the last word by block 2 and its answer is written by block 6 alone."""
    model = planted.planted("carry, then look up")
    prompts = [f"the drug {name} treats" for name in planted.SUBJECTS]
    answers = [f" {word}" for word in planted.ANSWERS]
    vectors = steering.difference_vectors(medlib.activations(model, prompts), answers)
    own, other = answers[:1], answers[1:2]
    push = (vectors[other[0]] - vectors[own[0]])[:, None]
    shift = steering.steer_sweep(model, prompts[:1], push, own, other).set_index("layer")["shift"]
    assert shift[1] == pytest.approx(0, abs=1e-4)  # nothing about the subject is at the last word yet
    assert (shift[2:6] > 5).all() and np.ptp(shift[2:5]) < 1e-3


def test_a_difference_vector_is_the_mean_of_a_label_less_that_of_all_others():
    states = np.arange(24, dtype=float).reshape(2, 4, 3)
    found = steering.difference_vectors(states, ["a", "a", "b", "c"])
    assert np.allclose(found["a"], states[:, :2].mean(1) - states[:, 2:].mean(1))
    assert list(found) == ["a", "b", "c"]


def test_random_vectors_have_the_same_lengths_and_other_directions():
    vectors = np.random.default_rng(1).normal(size=(3, 5, 400))
    found = steering.random_vectors(vectors, np.random.default_rng(0))
    size = np.linalg.norm(vectors, axis=-1)
    assert np.allclose(np.linalg.norm(found, axis=-1), size)
    assert np.abs((found * vectors).sum(-1) / size**2).max() < 0.3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(vectors=np.zeros((2, 3, 4))), r"needs finite \[state, prompt, hidden\]"),
        (dict(targets=[" w20", " w31", " w32"]), "Prompt 0: .*same token"),
        (dict(prompts=[]), "empty"),
    ],
)
def test_a_mistake_says_what_was_given_and_what_to_do(tiny, change, words):
    given = dict(prompts=PROMPTS, vectors=drawn(tiny, 3), answers=ANSWERS, targets=TARGETS) | change
    with pytest.raises(MedlibError, match=words):
        steering.steer_sweep(tiny, **given)


def test_vectors_with_nan_and_labels_that_are_all_alike_are_refused(tiny):
    with pytest.raises(MedlibError, match="holds NaN"):
        steering.steer_sweep(tiny, PROMPTS, np.nan * drawn(tiny, 3), ANSWERS, TARGETS)
    with pytest.raises(MedlibError, match="one label|Every prompt has the label"):
        steering.difference_vectors(np.zeros((2, 3, 4)), ["a", "a", "a"])
