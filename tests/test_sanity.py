"""Scrambled weights are a reordering that is undone, and a cascade destroys from the last block down."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import tiny_model
from test_sweeps import ANSWERS, PROMPTS

from medlib import MedlibError, weight_saliency
from medlib.chapters.saliency import saliency_contrast as contrast
from medlib.chapters.saliency import sanity
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
    alone = sanity.cascade(tiny, PROMPTS, ANSWERS, [4])  # whatever steps went before
    assert np.array_equal(table.query("scrambled == 4").saliency, alone.saliency)
    assert np.array_equal(weight_saliency(tiny, PROMPTS, ANSWERS).attrs["per_prompt"].saliency, own.saliency)


@pytest.mark.parametrize("steps", [[], [1, 1], [2, 1], [-1], [5]])
def test_steps_that_make_no_cascade_are_refused(tiny, steps):
    with pytest.raises(MedlibError, match="rising numbers from 0 to 4"):
        sanity.cascade(tiny, PROMPTS, ANSWERS, steps)


def curves(order, prompts=4):
    """Saliency of some prompts by layer, each in the same order of layers."""
    rows = [(f"w{p}", "a", layer + 1, value + 0.01 * p) for p in range(prompts) for layer, value in enumerate(order)]
    return pd.DataFrame(rows, columns=["item", "variant", "layer", "saliency"])


def test_agreement_tells_a_reversed_curve_from_intact_blocks_that_kept_their_order():
    original = curves([1, 2, 3, 4, 5, 6, 7, 8])
    cascaded = pd.concat(
        [curves([1, 2, 3, 4, 5, 8, 7, 6]).assign(scrambled=3), curves([8, 7, 6, 5, 4, 3, 2, 1]).assign(scrambled=8)]
    )
    found = sanity.agreement(original, cascaded).set_index(["scrambled", "blocks"])["value"]
    assert found[3, "intact"] == pytest.approx(1) and found[8, "all"] == pytest.approx(-1)
    assert found[3, "all"] == pytest.approx(1 - 6 * 8 / (8 * 63))  # ranks 6 and 8 changed places
    assert (8, "intact") not in found  # none is left


def test_a_cascade_in_even_steps_begins_with_one_block_and_ends_with_all(tiny):
    assert sanity.evenly(tiny, 2) == [1, 2, 4]
    assert sanity.evenly(tiny, 1) == [1, 4]
    assert sanity.evenly(tiny, 4) == [1, 2, 3, 4]


def test_several_orders_agree_with_the_model_as_it_was_as_single_cascades_do(tiny, monkeypatch):
    monkeypatch.setattr(sanity, "FEWEST_BLOCKS", 4)  # it has no more
    questions = pd.DataFrame(
        [(f"w{i}", v, f"{w} w{i}", f" w{20 + i}", f"w{i}") for i in range(4) for v, w in (("a", "w50"), ("b", "w51"))],
        columns=["item", "variant", "prompt", "answer", "cluster"],
    )
    both = questions.assign(other=questions["answer"].iloc[::-1].tolist())
    table = contrast.measure(tiny, both)
    found = sanity.over_orders(tiny, {"mine": both}, {"mine": table}, n_items=3, n_steps=1, n_orders=2)
    assert found.groupby("order")["scrambled"].apply(list).tolist() == [[1, 4]] * 2
    few = contrast.spread(questions.drop_duplicates("item"), 3).sort_index().reset_index(drop=True)
    alone = sanity.cascade(tiny, list(few["prompt"]), list(few["answer"]), [1, 4], seed=1).query("module == 'block'")
    alone = alone.join(few[["item", "variant", "cluster"]], on="prompt")
    first = contrast.select(table).merge(few[["item", "variant"]])
    expected = sanity.agreement(first, alone)
    assert found[found["order"] == 1]["value"].tolist() == expected[expected["blocks"] == "all"]["value"].tolist()


def test_the_spread_of_orders_is_their_median_and_range():
    steps = pd.DataFrame({"domain": "a", "blocks": "all", "scrambled": 4, "value": [0.1, 0.5, -0.2]})
    found = sanity.spread_of_orders(steps).iloc[0]
    assert found[["value", "low", "high"]].tolist() == [0.1, -0.2, 0.5]
