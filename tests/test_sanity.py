"""Scrambled weights are a reordering that is undone, and a cascade destroys from the last block down."""

import numpy as np
import pytest
import torch
from conftest import tiny_model
from test_sweeps import ANSWERS, PROMPTS

from medlib import MedlibError, sanity, weight_saliency
from medlib.saliency import weight_matrices


def weights(model, layer):
    return {name: weight.detach().clone() for name, weight in weight_matrices(model.blocks[layer - 1]).items()}


def test_scrambled_blocks_hold_the_same_numbers_in_another_order_and_get_theirs_back(family):
    model = tiny_model(family)
    before = {layer: weights(model, layer) for layer in range(1, model.n_layers + 1)}
    with sanity.scrambled(model, [2, 4], seed=1):
        for layer, own in before.items():
            for name, weight in weights(model, layer).items():
                assert torch.equal(weight, own[name]) == (layer not in (2, 4)), name
                assert torch.equal(weight.flatten().sort().values, own[name].flatten().sort().values)
    for layer, own in before.items():
        assert all(torch.equal(weight, own[name]) for name, weight in weights(model, layer).items())


def test_weights_come_back_after_an_error(tiny):
    before = weights(tiny, 3)
    with pytest.raises(ValueError, match="oops"), sanity.scrambled(tiny, [3]):
        raise ValueError("oops")
    assert all(torch.equal(weight, before[name]) for name, weight in weights(tiny, 3).items())


def test_a_cascade_begins_with_the_model_as_it_is_and_depends_on_the_seed_alone(tiny):
    table = sanity.cascade(tiny, PROMPTS, ANSWERS, [0, 1, 4])
    own = weight_saliency(tiny, PROMPTS, ANSWERS).attrs["per_prompt"]
    assert np.array_equal(table.query("scrambled == 0").saliency, own.saliency)
    changed = table.query("scrambled == 1").saliency.to_numpy() != own.saliency.to_numpy()
    assert changed.any()
    assert table.equals(sanity.cascade(tiny, PROMPTS, ANSWERS, [0, 1, 4]))
    assert not table.equals(sanity.cascade(tiny, PROMPTS, ANSWERS, [0, 1, 4], seed=1))


@pytest.mark.parametrize("steps", [[], [1, 1], [2, 1], [-1], [5]])
def test_steps_that_make_no_cascade_are_refused(tiny, steps):
    with pytest.raises(MedlibError, match="rising numbers from 0 to 4"):
        sanity.cascade(tiny, PROMPTS, ANSWERS, steps)
