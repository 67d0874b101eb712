"""Lesions of blocks, of their parts and of windows equal the plain hook loop, and find what was planted."""

from contextlib import ExitStack

import numpy as np
import pytest
import torch
from conftest import tiny_model
from test_sweeps import ANSWERS, PROMPTS, run

import medlib
from medlib import hooks
from medlib.lesion import COMPONENTS, HOWS, _donors


def added(model, prompt, component):
    """What a component of each block adds to the residual stream: {layer: [position, hidden]}."""
    with hooks.capture(model, component="residual" if component == "block" else component) as given:
        run(model, prompt)
    if component == "block":
        return {layer: (given[layer] - given[layer - 1])[0] for layer in range(1, model.n_layers + 1)}
    return {layer: output.reshape(-1, model.hidden_size) for layer, output in given.items()}


def lesioned(model, layer, component, place):
    """A context in which a component of a block adds `place [position, hidden]`."""
    if component != "block":
        return hooks.replace(model, layer, lambda own: place.reshape(own.shape), component)

    stack = ExitStack()
    entered = stack.enter_context(hooks.capture(model, [layer - 1]))
    stack.enter_context(hooks.replace(model, layer, lambda state: entered[layer - 1] + place))
    return stack


def in_place(model, how, component, number):
    """What a component is given to add in the prompt of a number: {layer: [position, hidden]}, computed plainly."""
    given = [added(model, prompt, component) for prompt in PROMPTS]
    length = len(given[number][1])
    place = {}
    for layer in range(1, model.n_layers + 1):
        if how == "identity":
            place[layer] = torch.zeros_like(given[number][layer])
        elif how == "mean":
            first = torch.stack([one[layer][0] for one in given]).mean(0)
            others = torch.cat([one[layer][1:] for one in given]).mean(0)
            place[layer] = torch.stack([first, *[others] * (length - 1)])
        else:
            donor = given[_donors(len(PROMPTS), 0)[number]][layer]
            at = [0, *(min(max(len(donor) - length + p, 1), len(donor) - 1) for p in range(1, length))]
            place[layer] = donor[at]
    return place


@torch.no_grad()
@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("how", HOWS)
def test_a_lesion_sweep_equals_replacing_what_each_component_adds(family, how, component):
    model = tiny_model(family)
    table = medlib.lesion_sweep(model, PROMPTS, ANSWERS, how, component).set_index(["prompt", "layer"])
    for number, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        intact, token = run(model, prompt), model.tokenizer(answer)["input_ids"][0]
        for layer, place in in_place(model, how, component, number).items():
            with lesioned(model, layer, component, place):
                logits = run(model, prompt)
            before, after = intact.log_softmax(-1), logits.log_softmax(-1)
            expected = dict(
                kl=(before.exp() * (before - after)).sum(),
                logprob_drop=(before - after)[token],
                logit_drop=(intact - logits)[token] - (intact - logits).mean(),
            )
            for name, value in expected.items():
                assert table.loc[number, layer][name] == pytest.approx(float(value), abs=2e-4, rel=2e-4), name


@torch.no_grad()
def test_the_direct_effect_is_that_of_the_answer_without_what_the_block_added(family):
    model = tiny_model(family)
    table = medlib.lesion_sweep(model, PROMPTS, ANSWERS).set_index(["prompt", "layer"])
    prompt, token = PROMPTS[0], model.tokenizer(ANSWERS[0])["input_ids"][0]
    intact, top = run(model, prompt), model.n_layers
    for layer, given in added(model, prompt, "block").items():
        with hooks.replace(model, top, lambda state, given=given: state - given):
            moved = intact - run(model, prompt)
        expected = float(moved[token] - moved.mean())
        assert table.loc[0, layer].direct_drop == pytest.approx(expected, abs=2e-4, rel=2e-4)
    assert table.loc[0, top].direct_drop == pytest.approx(table.loc[0, top].logit_drop, abs=1e-4)


@torch.no_grad()
def test_what_a_later_block_makes_up_for_is_self_repair(tiny):
    """Block 3 writes along one direction only, and the last block sets the state along it to one, come what may."""
    along = torch.nn.functional.normalize(torch.randn(tiny.hidden_size), dim=0)
    for matrix in (tiny.blocks[2].self_attn.o_proj, tiny.blocks[2].mlp.down_proj):
        matrix.weight.copy_(torch.outer(along, along) @ matrix.weight)

    def set_to_one(state):
        return state + (1 - state @ along)[..., None] * along

    with hooks.only(tiny, 3), hooks.replace(tiny, tiny.n_layers, set_to_one):
        table = medlib.lesion_sweep(tiny, PROMPTS, ANSWERS).query("layer == 3")
    assert (table.logit_drop.abs() < 1e-4).all() and table.direct_drop.abs().min() > 0.01


@torch.no_grad()
def test_a_window_sweep_equals_skipping_every_block_of_each_window(family):
    model = tiny_model(family)
    table = medlib.lesion_windows(model, PROMPTS, ANSWERS).set_index(["prompt", "first", "last"])
    assert len(table) == len(PROMPTS) * model.n_layers * (model.n_layers + 1) // 2
    for number, prompt in enumerate(PROMPTS):
        intact, token = run(model, prompt).log_softmax(-1), model.tokenizer(ANSWERS[number])["input_ids"][0]
        for first, last in table.loc[number].index:
            with ExitStack() as stack:
                for layer in range(first, last + 1):
                    stack.enter_context(hooks.skip(model, layer))
                after = run(model, prompt).log_softmax(-1)
            row = table.loc[number, first, last]
            assert row.kl == pytest.approx(float((intact.exp() * (intact - after)).sum()), abs=2e-4, rel=2e-4)
            assert row.logprob_drop == pytest.approx(float((intact - after)[token]), abs=2e-4, rel=2e-4)
            assert row.top1_same == (intact.argmax() == after.argmax())


@torch.no_grad()
def test_the_loss_of_a_text_is_the_models_own(family):
    model = tiny_model(family)
    texts = ["w1 w2 w3 w4 w5", "w9 w8 w7", "w20 w21"]
    table = medlib.lesion_texts(model, texts).set_index(["text", "layer"])
    for number, text in enumerate(texts):
        ids = model.tokenizer(text, return_tensors="pt")["input_ids"]
        for layer in range(model.n_layers + 1):
            with hooks.skip(model, layer) if layer else ExitStack():
                loss = model.hf(input_ids=ids, labels=ids).loss
            row = table.loc[number, layer]
            assert row.loss == pytest.approx(float(loss), rel=1e-4) and row.tokens == len(text.split()) - 1


def test_a_part_that_writes_nothing_costs_nothing(tiny):
    with torch.no_grad():
        tiny.blocks[1].mlp.down_proj.weight.zero_()
    parts = {c: medlib.lesion_sweep(tiny, PROMPTS, component=c).query("layer == 2").kl for c in ("attention", "mlp")}
    assert (parts["mlp"].abs() < 1e-6).all() and parts["attention"].mean() > 1e-2


def test_with_answers_or_without_the_divergence_is_the_same_and_drops_need_answers(tiny):
    with_answers, without = medlib.lesion_sweep(tiny, PROMPTS, ANSWERS), medlib.lesion_sweep(tiny, PROMPTS)
    assert with_answers.kl.equals(without.kl)
    for name in ("logprob_drop", "logit_drop", "direct_drop"):
        assert without[name].isna().all() and with_answers[name].notna().all()


def test_the_prompts_that_are_borrowed_from_depend_on_the_seed_alone(tiny):
    one, again, other = (medlib.lesion_sweep(tiny, PROMPTS, how="resample", seed=seed) for seed in (0, 0, 3))
    assert one.equals(again) and not one.equals(other)
    for n in (2, 5, 40):
        donors = _donors(n, 1)
        assert sorted(donors) == list(range(n)) and (donors != np.arange(n)).all()


def test_a_small_memory_budget_changes_the_chunks_and_not_the_numbers():
    large, small = tiny_model(), tiny_model(memory="16KiB")
    for sweep in (
        lambda m: medlib.lesion_sweep(m, PROMPTS, ANSWERS, "mean", "attention").direct_drop,
        lambda m: medlib.lesion_sweep(m, PROMPTS, ANSWERS, "resample").kl,
        lambda m: medlib.lesion_windows(m, PROMPTS).kl,
        lambda m: medlib.lesion_texts(m, PROMPTS[:3]).loss,
    ):
        np.testing.assert_allclose(sweep(large), sweep(small), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: medlib.lesion_sweep(m, PROMPTS, how="zero"), "'identity', 'mean', 'resample'"),
        (lambda m: medlib.lesion_sweep(m, PROMPTS, component="head"), "'block', 'attention', 'mlp'"),
        (lambda m: medlib.lesion_sweep(m, ["w1 w2"], how="resample"), "only one"),
        (lambda m: medlib.lesion_texts(m, ["w1 w2", "w3"]), "Text 1 is one token long"),
        (lambda m: medlib.lesion_texts(m, []), "empty"),
        (lambda m: medlib.lesion_windows(m, "w1"), "list"),
    ],
)
def test_a_users_mistake_gets_a_message_that_says_what_to_do(tiny, call, message):
    with pytest.raises(medlib.MedlibError, match=message):
        call(tiny)


def test_a_block_without_an_mlp_of_its_own_is_refused_for_parts_and_not_as_a_whole(tiny):
    for block in tiny.blocks:
        block.add_module("late_attention", torch.nn.Linear(2, 2))
    with pytest.raises(medlib.MedlibError, match="late_attention"):
        medlib.lesion_sweep(tiny, PROMPTS, component="mlp")
    assert len(medlib.lesion_sweep(tiny, PROMPTS))
