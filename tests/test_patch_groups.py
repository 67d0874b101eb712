"""Patching several tokens at once: a group of one token is that token, and everything at once is the other run."""

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_model
from test_sweeps import PAIRS, run

import medlib
from medlib import hooks
from medlib.model import COMPONENTS


def whole(pairs, first=0):
    """Every token of each prompt, from `first` on, in one group."""
    rows = [(i, at, "whole") for i, pair in enumerate(pairs) for at in range(first, len(pair.clean.split()))]
    return pd.DataFrame(rows, columns=["pair", "position", "group"])


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_replacing_the_whole_stream_gives_the_other_run_at_every_layer(family, direction):
    table = medlib.patch_sweep(tiny_model(family), PAIRS, direction, groups=whole(PAIRS))
    assert len(table) == 4 * len(PAIRS)
    np.testing.assert_allclose(table["recovered"], direction == "denoise", atol=2e-3)


@pytest.mark.parametrize("component", COMPONENTS)
def test_groups_of_one_token_are_the_tokens(tiny, component):
    alone = whole(PAIRS).assign(group=lambda t: "token " + t["position"].astype(str))
    for sweep in (medlib.patch_sweep, medlib.attribution_sweep):
        by_token = sweep(tiny, PAIRS, component=component)
        by_token["group"] = "token " + by_token["position"].astype(str)
        both = by_token.merge(sweep(tiny, PAIRS, component=component, groups=alone), on=["pair", "layer", "group"])
        assert len(both) == len(by_token)
        np.testing.assert_allclose(both["logit_diff_x"], both["logit_diff_y"], atol=1e-5)


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_group_is_patched_as_hooks_patch_it(family, component):
    model, pair = tiny_model(family), PAIRS[0]
    positions = [2, 4]
    groups = pd.DataFrame({"pair": 0, "position": positions, "group": "two"})
    table = medlib.patch_sweep(model, [pair], component=component, groups=groups).set_index("layer")
    a, b = (model.tokenizer(word)["input_ids"][0] for word in (pair.answer, pair.wrong))
    with hooks.capture(model, component=component) as other:
        run(model, pair.clean)
    for layer in range(1, model.n_layers + 1):

        def patch(state, layer=layer):
            state = state.clone()
            state[..., positions, :] = other[layer][..., positions, :]
            return state

        with hooks.replace(model, layer, patch, component):
            logits = run(model, pair.corrupt).detach()
        assert table.logit_diff[layer] == pytest.approx(
            float(logits[a] - logits[b]), abs=1e-4 * float(logits.abs().max())
        )


def test_a_group_that_a_pair_lacks_has_no_row_and_one_before_the_difference_changes_nothing(tiny):
    groups = pd.DataFrame({"pair": [0, 2, 2], "position": [2, 5, 0], "group": ["a", "a", "before"]})
    table = medlib.patch_sweep(tiny, PAIRS, groups=groups)
    assert table.groupby("pair")["group"].unique().map(list).to_dict() == {0: ["a"], 2: ["a", "before"]}
    before = table[table["group"] == "before"]
    assert (before["logit_diff"] == before["corrupt_diff"]).all()


def test_the_estimate_of_a_group_is_the_sum_of_its_tokens(tiny):
    one, all_ = (medlib.attribution_sweep(tiny, PAIRS[:1], groups=g) for g in (None, whole(PAIRS[:1])))
    moved = one.assign(moved=one["logit_diff"] - one["corrupt_diff"]).groupby("layer")["moved"].sum()
    np.testing.assert_allclose(moved, all_["logit_diff"] - all_["corrupt_diff"], atol=1e-6)
