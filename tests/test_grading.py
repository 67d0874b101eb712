"""Grades: the local rule by hand, what a model writes by its own generate, and graders that misbehave."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import tiny_model

from medlib import MedlibError, hooks
from medlib.chapters.lesion import grading, harm

PROMPTS = ["w1 w2 w3 w4 w5", "w9 w8 w7", "w20 w21 w22"]


REFERENCE = grading.Reference(np.arange(0, 10, 0.1), np.arange(8, 16, 0.1))


def test_a_grade_is_one_more_for_each_fifth_of_like_prompts_and_each_eighth_of_others_up_to_their_half():
    kl = [0, 1.85, 1.95, 9.95, 11.85, 11.95, 1e9]
    assert grading.by_divergence(kl, REFERENCE).tolist() == [1, 1, 2, 8, 9, 10, 10]
    far = grading.Reference(np.arange(0, 10, 0.1), np.arange(90, 98, 0.1))
    assert grading.by_divergence([9.95, 11, 90.95, 94.05], far).tolist() == [6, 6, 7, 10]
    grades = grading.by_divergence(np.linspace(0, 100, 3000), far)
    assert (np.diff(grades) >= 0).all() and set(grades) == set(range(1, 11))


def test_a_reference_tells_prompts_of_one_group_from_those_of_two():
    model, groups = tiny_model(), {"one": PROMPTS[:2], "two": PROMPTS[2:]}
    found = grading.references(model, groups)
    table = iter(grading.divergences(model, PROMPTS))
    pairs = {(i, j): next(table) for i in range(3) for j in range(3) if i != j}
    assert found.same.tolist() == [pairs[0, 1], pairs[1, 0]] and len(found.other) == 4
    assert found.other.tolist() == [pairs[0, 2], pairs[1, 2], pairs[2, 0], pairs[2, 1]]


def test_the_anchors_tell_where_the_next_word_stays_from_where_it_does_not():
    texts = pd.DataFrame(dict(top1_same=[True, False, False], grade=[1, 5, 9]))
    found = grading.anchors(texts)
    assert found.loc["the next word stays"].tolist() == [1, 1, 1, 1]
    assert found.loc["another next word"].tolist() == [2, 5, 7, 9]
    assert [*grading.anchors(texts[:1]).index] == ["the next word stays"]


def test_what_is_written_is_graded_and_comes_with_the_divergence_of_its_own_prompt():
    model = tiny_model()
    items = [f"i{i}" for i in range(3)]
    asked = pd.DataFrame(dict(item=items, variant="v", cluster=items, prompt=PROMPTS, answer=[" w1", " w2", " w3"]))
    swept = harm.sweep(model, asked)
    layers = {2: "median", 3: "worst"}
    texts = grading.written(model, asked.iloc[1:], swept, layers, lambda rows: [1 + i for i in range(len(rows))], 3)
    assert texts.grade.tolist() == [1, 2, 3, 4] and texts.lesion.tolist() == ["median"] * 2 + ["worst"] * 2
    for row in texts.itertuples():
        assert row.kl == swept.query("item == @row.item and layer == @row.layer").kl.item()
    both = grading.written_in_domains(model, {"d": asked}, {"d": swept}, lambda rows: rows["kl"], 3)
    cost = both.groupby("lesion").kl.mean()
    assert cost["worst"] == swept.groupby("layer").kl.mean().max() and cost["median"] < cost["worst"]


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
    assert grading.grader("local", ([1.0], [1.5]))(table).tolist() == [1, 10]
    assert grading.grader("test_grading:seventh")(table).tolist() == [7, 7]
    with pytest.raises(MedlibError, match="from 1 to 10"):
        grading.grader("test_grading:eleventh")(table)
    for missing in ("gpt", "test_grading:tenth", "no_such_module:grade", ""):
        with pytest.raises(MedlibError, match="cannot be found"):
            grading.grader(missing)


def test_a_reference_is_needed():
    with pytest.raises(MedlibError, match="reference"):
        grading.by_divergence([1.0], ([1.0], []))
    with pytest.raises(MedlibError, match="only one"):
        grading.divergences(tiny_model(), ["w1"])
