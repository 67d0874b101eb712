"""Attribution patching is the first-order estimate of the exact map, and is exact where the model is linear."""

import numpy as np
import pytest
import torch
from conftest import tiny_model
from test_sweeps import PAIRS, run

import medlib
from medlib import hooks, stats
from medlib.model import COMPONENTS

SITE = ["pair", "layer", "position"]


@torch.no_grad()
@pytest.mark.parametrize("component", COMPONENTS)
def test_the_estimate_is_the_slope_of_a_patch_that_is_put_in_by_degrees(family, component):
    model = tiny_model(family)
    for direction in ("denoise", "noise"):
        table = medlib.attribution_sweep(model, PAIRS[:1], direction, component).set_index(SITE)
        pair = PAIRS[0]
        a, b = (model.tokenizer(word)["input_ids"][0] for word in (pair.answer, pair.wrong))
        trunk, donor = (pair.corrupt, pair.clean) if direction == "denoise" else (pair.clean, pair.corrupt)
        with hooks.capture(model, component=component) as other:
            run(model, donor)
        for layer, position in [(1, 2), (3, 2), (3, 5), (4, 5)]:
            found = []
            for degree in (-1e-2, 1e-2):

                def patch(state, degree=degree, layer=layer, position=position, other=other):
                    state = state.clone()
                    way = other[layer][..., position, :] - state[..., position, :]
                    state[..., position, :] += degree * way
                    return state

                with hooks.replace(model, layer, patch, component):
                    logits = run(model, trunk).double()
                found.append(float(logits[a] - logits[b]))
            row = table.loc[0, layer, position]
            own = row.corrupt_diff if direction == "denoise" else row.clean_diff
            slope = (found[1] - found[0]) / 2e-2
            assert row.logit_diff - own == pytest.approx(slope, abs=2e-2 * max(1, abs(slope)))


def test_sites_before_the_first_difference_are_exactly_zero(tiny):
    table = medlib.attribution_sweep(tiny, PAIRS[2:])
    assert (table[table.position < 5].logit_diff == table[table.position < 5].corrupt_diff).all()


def test_the_differences_of_clean_and_corrupt_are_those_of_the_exact_sweep_row_by_row(tiny):
    exact, estimate = medlib.patch_sweep(tiny, PAIRS), medlib.attribution_sweep(tiny, PAIRS)
    assert exact[[*SITE, "token"]].equals(estimate[[*SITE, "token"]])
    for name in ("clean_diff", "corrupt_diff"):
        np.testing.assert_allclose(exact[name], estimate[name], atol=1e-5)


def test_a_block_that_does_nothing_gets_nothing(tiny):
    with torch.no_grad():
        tiny.blocks[1].mlp.down_proj.weight.zero_()
    moved = medlib.attribution_sweep(tiny, PAIRS, component="mlp").eval("logit_diff - corrupt_diff")
    layer = medlib.attribution_sweep(tiny, PAIRS, component="mlp").layer
    assert (moved[layer == 2] == 0).all() and (moved[layer == 3] != 0).any()


def test_on_the_embedded_model_the_estimate_ranks_the_sites_of_attention_much_as_the_exact_map_does(smollm2):
    pair = medlib.Pair("Metformin is used to treat", "Warfarin is used to treat", " diabetes", " clots")
    exact, estimate = (
        sweep(smollm2, [pair], component="attention").query("position >= 1")
        for sweep in (medlib.patch_sweep, medlib.attribution_sweep)
    )
    assert stats.spearman(exact.logit_diff, estimate.logit_diff) > 0.8


def test_a_small_memory_budget_changes_the_chunks_and_not_the_numbers():
    large, small = tiny_model(), tiny_model(memory="16KiB")
    one, other = (medlib.attribution_sweep(model, PAIRS, component="mlp").logit_diff for model in (large, small))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_users_mistake_gets_a_message_that_says_what_to_do(tiny):
    with pytest.raises(medlib.MedlibError, match="denoise, noise"):
        medlib.attribution_sweep(tiny, PAIRS, direction="up")
    with pytest.raises(medlib.MedlibError, match="residual, attention, mlp"):
        medlib.attribution_sweep(tiny, PAIRS, component="head")
