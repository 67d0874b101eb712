"""Reading a patch sweep by place."""

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_model

from medlib import MedlibError, Pair, hooks, sites

PAIRS = [
    Pair("w1 w2 w3 w4 w5 w6", "w1 w7 w9 w4 w5 w6", " w10", " w11"),
    Pair("w1 w7 w9 w4 w5 w6", "w1 w2 w3 w4 w5 w6", " w11", " w10"),
    Pair("w1 w2 w3 w4", "w1 w2 w3 w8", " w10", " w12"),
]
LABELS = pd.DataFrame({"couple": ["a / b", "a / b", "c / d"], "template": "plain"})


def test_each_token_has_its_part_in_the_prompt():
    groups = sites.token_groups(tiny_model(), PAIRS).groupby("pair")["group"].agg(list)
    assert groups[0] == ["before", "subject, earlier", "subject", "relation", "relation", "last"]
    assert groups[2] == ["before", "before", "before", "last"]


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_a_share_is_what_a_patch_moves_and_every_site_keeps_its_labels(direction):
    table = sites.share_sweep(tiny_model(), PAIRS, LABELS, direction)
    top = table[(table["layer"] == 4) & (table["group"] == "last")]
    assert np.allclose(top["share"], 1, atol=1e-3)  # everything moves with the last state
    assert np.allclose(table.loc[table["group"] == "before", "share"], 0, atol=1e-3)
    assert (table["couple"] == LABELS["couple"].iloc[table["pair"]].to_numpy()).all()


def test_weak_pairs_and_wrong_answers_are_flagged_and_not_used():
    table = sites.share_sweep(tiny_model(), PAIRS, LABELS, threshold=1e9)
    assert table["weak"].all() and not table["used"].any()
    table = sites.share_sweep(tiny_model(), PAIRS, LABELS, threshold=0)
    forward = table["clean_diff"] > table["corrupt_diff"]
    assert (table["used"] == (forward & (table["clean_diff"] > 0))).all() and not forward.all()


def sweep_of(handovers):
    """A made-up sweep whose last token takes over at the given layer, one pair for each."""
    rows = [
        {"couple": f"c{pair}", "pair": pair, "layer": layer, "group": "last", "used": True, "share": float(layer >= at)}
        for pair, at in enumerate(handovers)
        for layer in range(1, 9)
    ]
    return pd.DataFrame(rows)


def test_the_handover_is_the_first_layer_above_one_half_in_the_median():
    value, low, high = sites.handover(sweep_of([3, 4, 5, 5, 5, 5, 6]))
    assert value == 5 and low <= 5 <= high <= 6
    assert sites.handover(sweep_of([3] * 5), sweep_of([6] * 5)) == (-3, -3, -3)


def test_a_planted_block_is_where_the_last_token_takes_over():
    model = tiny_model()
    pairs = [Pair(f"w1 w{i} w3 w4", f"w1 w{i + 10} w3 w4", " w50", " w51") for i in range(5, 13)]
    labels = pd.DataFrame({"couple": [str(i) for i in range(len(pairs))]})
    with hooks.only(model, 3):
        table = sites.share_sweep(model, pairs, labels, threshold=0)
    assert sites.handover(table.assign(used=True)) == (3, 3, 3)


def test_pairs_with_a_subject_of_one_token_are_found_and_their_absence_is_said():
    model = tiny_model()
    one = Pair("w1 w2 w3", "w1 w4 w3", " w5", " w6")
    assert sites.of_one_token(model, [PAIRS[0], one, PAIRS[2]]) == [one]
    with pytest.raises(MedlibError, match="one token"):
        sites.of_one_token(model, [PAIRS[0]])
