"""The sentences and tables of image tokens turn with the numbers: found, not found, not decided."""

import numpy as np
import pandas as pd
import pytest
from vision_models import tiny

from medlib import results, stats
from medlib.chapters.image_tokens import lens_words, token_prose, token_tables
from medlib.chapters.image_tokens.image_sites import PARTS, Traced

BASE = dict(own=1.0, control=0.5, value=0.5, low=0.2, high=0.9, p=0.01, q=0.02, n=9, measure="log_p", layer=5)


def compared(*rows):
    return pd.DataFrame([BASE | row for row in rows])


def test_what_words_follow_is_named_only_where_it_beats_its_control_after_correction():
    table = compared(
        dict(comparison="plane"),
        dict(comparison="plane", layer=10, value=0.8),
        dict(comparison="side", q=0.06),
        dict(comparison="lobe", low=-0.9, high=-0.2, value=-0.5),
        dict(comparison="place", measure="share"),
    )
    assert token_prose.follows(table) == ["plane"]
    told = token_prose.of_words(table, {"polarity": "too few"})
    value, text = told["verdict_words"]
    assert value == 1 and "follow plane better than in the control pictures, 1 of 3 comparisons" in text
    assert told["n_clear"][0] == 3 and told["n_word_tests"][0] == 4 and told["n_clear_share"][0] == 1
    assert told["strongest_word"][1].startswith("+0.80 nats (+0.20 to +0.90; n = 9) for plane, state 10")
    assert told["left_out"] == (1, "polarity of the lesion")


def test_nothing_found_and_nothing_to_compare_are_two_verdicts():
    none = token_prose.of_words(compared(dict(comparison="plane", q=0.5)), {})
    assert none["verdict_words"][1].startswith("No answer was found") and none["left_out"][1] == "none"
    empty = token_prose.of_words(compared(dict(comparison="plane"))[:0], {"plane": "too few"})
    assert empty["verdict_words"][1].startswith("Not decided") and empty["strongest_word"][0] == "none"


def against(*rows):
    return pd.DataFrame([BASE | dict(measure="answer words") | row for row in rows])


def test_neurons_are_told_by_the_layers_in_which_they_beat_random_ones():
    shared = pd.DataFrame(dict(layer=[5, 10], shared=[2, 4]))
    told = token_prose.of_neurons(against(dict(layer=5), dict(layer=10, q=0.2)), shared)
    assert told["verdict_neurons"][1].endswith("in 1 of 2 layers") and told["shared_words"][1] == "2 to 4 of 10"
    less = dict(low=-0.5, high=-0.1)
    told = token_prose.of_neurons(against(less | dict(layer=5), dict(layer=10, q=0.2)), shared)
    assert "no more answer words than random ones in any of 2" in told["verdict_neurons"][1]
    assert told["verdict_neurons"][1].endswith("and less often in 1")


def patched(known=True, leaves=8.0, reaches=9.0, low=0.1):
    chosen = Traced(["pair"] * 5, pd.DataFrame(), [*range(5)], known, 12, 7 if known else 2)
    rows = [("leaves", leaves, leaves - 1, leaves + 1, 5), ("reaches", reaches, reaches, reaches, 5)]
    handovers = pd.DataFrame(rows, columns=["what", "value", "low", "high", "n"])
    lead = pd.DataFrame(dict(layer=[1, 2], value=[0.4, 0.0], low=[low, -0.1], high=[0.6, 0.1]))
    return token_prose.of_patches(chosen, handovers, lead, stats.Interval(0.5, 0.4, 0.6), layers=10)


def test_where_the_answer_leaves_is_told_with_its_interval_or_not_decided():
    text = patched()["verdict_patches"][1]
    assert "leaves the image tokens at layer 8 (7 to 9) and reaches the last token at layer 9 (9 to 9)" in text
    assert "7 of 12 pictures" in text and text.endswith("than as many others in 1 of 2 layers")
    assert patched(low=-0.1)["verdict_patches"][1].endswith("carry no more of it than as many others")
    value, text = patched(known=False)["verdict_patches"]
    assert value == "not decided" and text.startswith("Not decided") and "2 of 12" in text
    assert patched(known=False)["leaves"][1] == "not decided" and patched()["reaches"][1] == "9 (9 to 9)"
    assert patched(known=False)["counts"][1].startswith("does not count")
    assert "does not pass" in patched(leaves=11.0)["verdict_patches"][1]
    assert patched()["agreement"][1] == "0.50 (0.40 to 0.60)"


def lensed(count):
    rng = np.random.default_rng(0)
    words = ["bright", "dark"]
    best = rng.integers(20, 24, (count, 2, 6))
    hits = rng.integers(0, 3, (count, 2, 6, 2))
    return lens_words.LensWords(np.zeros((count, 2, 6, 2)), hits, best, [0, 4], words, 0.0)


def test_tables_put_versions_side_by_side_and_count_shares_of_the_ten_first_words():
    found = {"as it is": lensed(4), "shuffled": lensed(4), "black": lensed(1)}
    table = token_tables.side_by_side(tiny(), found, 2)
    assert list(table.columns) == list(found) and list(table.index) == [0, 4]
    assert table.loc[0, "black"].count("%") == 2 and "'w" in table.loc[0, "black"]
    shares = token_tables.answer_shares(found)
    own = shares[(shares["variant"] == "as it is") & (shares["layer"] == 4)].iloc[0]
    assert own["value"] == pytest.approx(found["as it is"].hits[:, 1].sum(-1).mean() / 10)
    assert own["low"] <= own["value"] <= own["high"]
    likenesses = token_tables.likeness(found)
    assert likenesses["its pixels shuffled"]["value"].tolist() == [1, 1]
    told = token_prose.of_lens(likenesses, shares)
    assert told["like_shuffled"] == (1, "100%") and told["share_picture"][1].count("%") in (1, 2)


def test_all_numbers_fit_the_results_table_and_the_interval_stands_beside_the_difference_alone():
    found = {"as it is": lensed(4), "shuffled": lensed(4), "black": lensed(1)}
    curve = pd.DataFrame(dict(layer=[1, 2], value=[1.0, 0.0], low=[0.9, -0.1], high=[1.1, 0.1], n=5))
    handovers = pd.DataFrame(dict(what=["leaves"], value=[2.0], low=[1.0], high=[3.0], n=[5]))
    sweep = pd.DataFrame(dict(scene=[3], layer=[1], group=["last"], recovered=[np.nan]))
    sweep = pd.concat([sweep, sweep.assign(recovered=0.5)])
    likenesses, shares = token_tables.likeness(found), token_tables.answer_shares(found)
    curves = dict.fromkeys(PARTS, curve)
    words = compared(dict(comparison="plane"), dict(comparison="place", measure="share"))
    made = token_tables.rows(words, against({}), likenesses, shares, curves, curves, handovers, sweep)
    table = results.tidy(made, model="m", technique="image_tokens", seed=0)
    plane = table[table["domain"] == "plane"].set_index("metric")
    assert plane["value"].to_dict() == {
        "log_p": 0.5,
        "log_p_own": 1.0,
        "log_p_control": 0.5,
        "log_p_p": 0.01,
        "log_p_q": 0.02,
    }
    assert plane["low"].notna().to_dict() == {name: name == "log_p" for name in plane.index}
    assert len(table[table["item"].notna()]) == 1 and set(table["space"].dropna()) == set(PARTS)


def test_the_state_of_the_maps_is_that_of_the_largest_difference_by_place():
    table = compared(dict(comparison="place", layer=5), dict(comparison="place", layer=10, value=0.9))
    assert token_tables.largest_by_place(table, [0, 5, 10]) == 10
    assert token_tables.largest_by_place(table[:0], [0, 5, 10]) == 5
