"""Scores of neurons equal autograd by hand, a planted one is found, and zeroing it is what changes the answer."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from vision_models import FAMILIES, picture, plant_unit, tiny

from medlib import MedlibError
from medlib.vision import (
    ablate_units,
    image_prompt,
    image_token_words,
    multimodal_neurons,
    neuron_strengths,
    unit_map,
    unit_scores,
)
from medlib.vision.multimodal_neurons import every_score, state_without
from medlib.vision.units import decoded, nonlinearity, output_matrix
from medlib.vision.walk import walk_of

ANSWER = 20


def by_hand(model, prompt, module, token):
    """Input of a module at the image tokens and the gradient of a token's logit there, by the model's own forward."""
    found = []
    handle = module.register_forward_hook(lambda module, args, output: found.append(args[0]))
    logits = model.hf(**prompt.inputs).logits
    handle.remove()
    (slope,) = torch.autograd.grad(logits[0, -1, token], found)
    return found[0][0, prompt.image].detach(), slope[0, prompt.image]


@pytest.fixture(params=FAMILIES)
def asked(request):
    model = tiny(request.param)
    return model, image_prompt(model, picture(), "w1 w2")


def test_the_strength_of_a_neuron_is_pre_activation_times_gradient(asked):
    model, prompt = asked
    found = neuron_strengths(model, prompt, ANSWER, [1, 3])
    for layer in (1, 3):
        gate, slope = by_hand(model, prompt, model.part(layer, "mlp").act_fn, ANSWER)
        own = model.part(layer, "mlp").gate_proj
        assert own.out_features == gate.shape[1]
        assert found[layer] == pytest.approx((gate * slope).numpy(), rel=1e-2, abs=1e-5)
        assert np.abs(found[layer]).max() > 1e-3


def test_the_gradient_score_is_summed_over_image_tokens_and_peaks_at_one(asked):
    model, prompt = asked
    table = unit_scores(model, prompt, ANSWER, layers=[2])
    passed, slope = by_hand(model, prompt, model.part(2, "mlp").down_proj, ANSWER)
    assert table.unit.tolist() == list(range(passed.shape[1]))
    assert table.score.to_numpy() == pytest.approx((passed * slope).sum(0).numpy(), rel=1e-2, abs=1e-5)
    assert table.peak.to_numpy() == pytest.approx((passed * slope).amax(0).numpy(), rel=1e-2, abs=1e-5)
    assert table.activation.to_numpy() == pytest.approx(passed.mean(0).numpy(), rel=1e-3, abs=1e-5)


@torch.no_grad()
def test_the_contribution_is_what_a_unit_writes_through_the_unembedding(asked):
    model, prompt = asked
    table = unit_scores(model, prompt, ANSWER, "contribution", layers=[4])
    found = []
    output_matrix(model, 4).register_forward_hook(lambda module, args, output: found.append((args[0], output)))
    model.hf(**prompt.inputs)
    (passed, written), row = found[0], model.unembedding(torch.tensor([ANSWER]))[0][0]
    assert table.score.sum() == pytest.approx(float(written[0, -1] @ row), rel=1e-4)
    assert table.activation.to_numpy() == pytest.approx(passed[0, -1].numpy(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("score", "where"), [("contribution", "last"), ("contribution", "all"), ("gradient", "image")])
def test_a_planted_unit_is_found_and_zeroing_it_changes_the_answer_where_random_units_do_not(asked, score, where):
    model, prompt = asked
    layer = 4 if score == "contribution" else 1
    if score == "contribution":
        plant_unit(model, prompt, layer, 7, ANSWER, at=[-1], strength=2)
        units = multimodal_neurons(model, prompt, ANSWER, score, top=1)
        assert (units.layer[0], units.unit[0], units.word[0]) == (layer, 7, model.tokenizer.decode([ANSWER]))
    else:
        units = multimodal_neurons(model, prompt, ANSWER, score, layers=[1, 2, 3], top=4)
    table = ablate_units(model, prompt, ANSWER, units, where=where, draws=30)
    top, random = (table[table.units == name].change for name in ("top", "random"))
    assert len(top) == 1
    assert len(random) == 30
    assert table.attrs["p"] <= 2 / 31
    assert top.iloc[0] < -3 * random.abs().median()


@torch.no_grad()
def test_zeroing_units_equals_zeroed_columns_of_the_output_matrix(asked):
    model, prompt = asked
    units = pd.DataFrame({"layer": [2, 2, 4], "unit": [3, 8, 1]})
    table = ablate_units(model, prompt, ANSWER, units, draws=0)
    intact = float(model.hf(**prompt.inputs).logits[0, -1, ANSWER])
    for layer, unit in units.itertuples(index=False):
        output_matrix(model, layer).weight[:, unit] = 0
    without = float(model.hf(**prompt.inputs).logits[0, -1, ANSWER])
    assert table.attrs["logit"] == pytest.approx(intact, abs=1e-4)
    assert table.attrs["p"] is None
    assert table.change.tolist() == pytest.approx([without - intact], abs=1e-4)


def test_one_way_down_gives_the_scores_that_each_gives_alone(asked):
    model, prompt = asked
    found = every_score(walk_of(model, prompt), prompt, ANSWER)
    for score, table in found.items():
        alone = unit_scores(model, prompt, ANSWER, score)
        assert table.equals(alone) and table.attrs == alone.attrs


@torch.no_grad()
def test_units_at_the_last_token_leave_the_tokens_before_it_as_they_are(asked):
    """Where the walk shares them, the last state is that of the last token alone, and as of the whole prompt."""
    model, prompt = asked
    walk = walk_of(model, prompt)
    assert walk.shares_positions == (model.name == "llava")  # tokens of a picture of the other family see later ones
    short = state_without(walk, {2: [3, 8], 4: [1]}, torch.tensor([prompt.length - 1]))
    walk.shares_positions = False
    whole = state_without(walk, {2: [3, 8], 4: [1]}, torch.tensor([prompt.length - 1]))
    assert short.shape[1] == (1 if model.name == "llava" else prompt.length)
    assert torch.allclose(short[:, -1], whole[:, -1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(whole[:, -1], walk.states[-1][:, -1], rtol=1e-3)


def test_a_dict_of_what_neurons_write_is_filled_and_used(asked):
    model, prompt = asked
    written = {}
    table = image_token_words(model, prompt, ANSWER, layers=[2], neurons=5, written=written)
    assert table.equals(image_token_words(model, prompt, ANSWER, layers=[2], neurons=5))
    assert {layer for layer, _ in written} == {2}
    for place in written:
        written[place] = ANSWER
    again = image_token_words(model, prompt, ANSWER, layers=[2], neurons=5, written=written)
    assert set(again.token) == {ANSWER}


def test_random_units_are_the_seeds_and_never_the_chosen_ones(asked):
    model, prompt = asked
    units = pd.DataFrame({"layer": 2, "unit": np.arange(24)})  # half of the block: the others are the whole rest
    one, again, other = (ablate_units(model, prompt, ANSWER, units.iloc[:5], draws=3, seed=s) for s in (0, 0, 1))
    assert one.equals(again)
    assert one.change[0] == other.change[0]
    assert one.change[1:].tolist() != other.change[1:].tolist()
    rest = ablate_units(model, prompt, ANSWER, pd.DataFrame({"layer": 2, "unit": np.arange(24, 48)}), draws=0)
    assert ablate_units(model, prompt, ANSWER, units, draws=1).change[1] == pytest.approx(rest.change[0], abs=1e-5)


@torch.no_grad()
def test_the_map_of_a_unit_is_its_activation_over_the_grid(asked):
    model, prompt = asked
    found = []
    output_matrix(model, 3).register_forward_hook(lambda module, args, output: found.append(args[0]))
    model.hf(**prompt.inputs)
    heat = unit_map(model, prompt, 3, 5)
    assert heat.shape == prompt.view.grid
    assert heat.ravel() == pytest.approx(found[0][0, prompt.image, 5].numpy(), abs=1e-5)


def test_words_are_those_of_the_strongest_neurons_counted_by_hand(asked):
    model, prompt = asked
    table = image_token_words(model, prompt, ANSWER, layers=[2], neurons=5)
    gate, slope = by_hand(model, prompt, model.part(2, "mlp").act_fn, ANSWER)
    logits = model.unembedding(slice(None))[0] @ output_matrix(model, 2).weight  # [token, unit]
    written = [int(logits[:, unit].argmax()) for row in gate * slope for unit in row.argsort(descending=True)[:5]]
    special = set(model.tokenizer.all_special_ids)
    expected = Counter(token for token in written if token not in special)
    strongest, random = (table[table.kind == kind] for kind in ("strongest", "random"))
    assert dict(zip(strongest.token, strongest["count"], strict=True)) == expected
    assert strongest["count"].is_monotonic_decreasing
    assert strongest.share.sum() == pytest.approx(expected.total() / (5 * len(prompt.image)))
    assert dict(zip(random.token, random["count"], strict=True)) != expected
    assert table.word.str.fullmatch(r"w\d+").all()
    again, other = (image_token_words(model, prompt, ANSWER, layers=[2], neurons=5, seed=seed) for seed in (0, 1))
    assert table.equals(again)
    assert not table.equals(other)


def test_a_planted_word_is_the_strongest_neurons_and_not_the_random_ones(asked):
    """A quarter of the neurons write it, and the others write nothing."""
    model, prompt = asked
    output = output_matrix(model, 2).weight
    with torch.no_grad():
        row = model.unembedding(torch.tensor([ANSWER]))[0][0]
        output[:, :12] = row[:, None] / row.norm() * torch.linspace(0.5, 1, 12)
        output[:, 12:] = 0
    strengths = neuron_strengths(model, prompt, ANSWER, [2])[2]
    assert (strengths[:, 12:] == 0).all()
    table = image_token_words(model, prompt, ANSWER, layers=[2], neurons=3).set_index(["kind", "token"])
    assert table.share[("strongest", ANSWER)] > 2 * table.share[("random", ANSWER)]


def test_without_an_answer_the_models_own_next_token_is_taken(asked):
    model, prompt = asked
    own = int(model.hf(**prompt.inputs).logits[0, -1].argmax())
    table = image_token_words(model, prompt, layers=[1], neurons=3)
    assert table.attrs["answer"] == own
    assert table.equals(image_token_words(model, prompt, own, layers=[1], neurons=3))


def test_a_unit_is_decoded_to_the_tokens_that_it_raises(asked):
    model, _ = asked
    logits = output_matrix(model, 3).weight.T @ model.unembedding(slice(None))[0].T
    assert torch.equal(decoded(model, 3, torch.tensor([4, 9]), 3), logits[[4, 9]].topk(3).indices)
    model.vocabulary_parts = lambda: [slice(0, 20), slice(20, 50), slice(50, 64)]
    assert torch.equal(decoded(model, 3, torch.tensor([4, 9]), 3), logits[[4, 9]].topk(3).indices)


def test_what_there_is_not_is_refused(asked):
    model, prompt = asked
    some = pd.DataFrame({"layer": [1], "unit": [0]})
    for call, message in [
        (lambda: multimodal_neurons(model, prompt, ANSWER, "attention"), "score='attention'"),
        (lambda: unit_scores(model, prompt, ANSWER, layers=[9]), "no block 9"),
        (lambda: unit_map(model, prompt, 9, 0), "no unit 0 in block 9"),
        (lambda: unit_map(model, prompt, 1, 48), "units 0 to 47"),
        (lambda: ablate_units(model, prompt, ANSWER, some, where="text"), "where='text'"),
        (lambda: ablate_units(model, prompt, ANSWER, some.iloc[:0]), "at least one row"),
        (lambda: ablate_units(model, prompt, ANSWER, some.assign(unit=99)), "no such units"),
        (lambda: ablate_units(model, prompt, ANSWER, some.assign(layer=0)), "no such units"),
        (lambda: image_token_words(model, prompt, neurons=49), "neurons=49"),
        (
            lambda: ablate_units(model, prompt, ANSWER, pd.DataFrame({"layer": 1, "unit": np.arange(40)})),
            "too few to draw",
        ),
    ]:
        with pytest.raises(MedlibError, match=message):
            call()


def test_an_mlp_whose_units_cannot_be_told_apart_is_refused(asked):
    model, _ = asked
    mlp = model.part(1, "mlp")
    mlp.second = torch.nn.ReLU()
    with pytest.raises(MedlibError, match="2 parts without weights"):
        nonlinearity(model, 1)
    mlp.down_proj = torch.nn.Linear(48, 16)
    with pytest.raises(MedlibError, match="does not end in a linear module"):
        output_matrix(model, 1)
