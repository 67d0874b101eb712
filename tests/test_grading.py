"""Grades: the local rule by hand, what a model writes by its own generate, and graders that misbehave."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import tiny_model

from medlib import MedlibError, hooks
from medlib.chapters.lesion import grading

PROMPTS = ["w1 w2 w3 w4 w5", "w9 w8 w7", "w20 w21 w22"]


def test_a_grade_is_one_more_for_each_tenth_of_the_reference_that_lies_below():
    reference = np.arange(100.0)
    assert grading.by_divergence([0, 9.5, 10.5, 50.5, 99.5, 1e9], reference).tolist() == [1, 2, 2, 6, 10, 10]
    assert grading.by_divergence([0.0], [0.0, 0.0]).tolist() == [1]
    assert grading.by_divergence(reference, reference).tolist() == np.repeat(np.arange(1, 11), 10).tolist()


@torch.no_grad()
def test_divergences_are_those_of_every_two_prompts_next_words():
    model = tiny_model()
    logs = [model.hf(**model.tokenizer(p, return_tensors="pt")).logits[0, -1].log_softmax(-1) for p in PROMPTS]
    expected = [float((a.exp() * (a - b)).sum()) for a in logs for b in logs if a is not b]
    np.testing.assert_allclose(grading.divergences(model, PROMPTS), expected, rtol=1e-4)


@torch.no_grad()
def test_what_is_written_is_what_greedy_generation_writes(smollm2):
    prompt = "The capital of France is"
    ids = smollm2.tokenizer(prompt, return_tensors="pt")
    for layer in (None, 3):
        with hooks.skip(smollm2, 3) if layer else torch.no_grad():
            own = smollm2.hf.generate(**ids, max_new_tokens=6, do_sample=False, use_cache=False)
        text = smollm2.tokenizer.decode(own[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        assert grading.continuations(smollm2, [prompt], 6, without=layer) == [text]


def seventh(table):
    return np.full(len(table), 7)


def eleventh(table):
    return [11] * len(table)


def test_a_grader_can_be_any_function_and_must_give_grades():
    table = pd.DataFrame({"kl": [0.1, 2.0]})
    assert grading.grader("local", [1.0])(table).tolist() == [1, 10]
    assert grading.grader("test_grading:seventh")(table).tolist() == [7, 7]
    with pytest.raises(MedlibError, match="from 1 to 10"):
        grading.grader("test_grading:eleventh")(table)
    for missing in ("gpt", "test_grading:tenth", "no_such_module:grade", ""):
        with pytest.raises(MedlibError, match="cannot be found"):
            grading.grader(missing)


def test_a_reference_is_needed():
    with pytest.raises(MedlibError, match="reference"):
        grading.by_divergence([1.0], [])
    with pytest.raises(MedlibError, match="only one"):
        grading.divergences(tiny_model(), ["w1"])
