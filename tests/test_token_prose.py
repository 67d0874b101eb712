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
        dict(comparison="place", low=-0.9, high=-0.2, value=-0.5),
    )
    assert token_prose.follows(table) == {"plane": 2} and token_prose.follows(table, sign=-1) == {"place": 1}
    told = token_prose.of_words(table, {"polarity": "too few"})
    value, text = told["verdict_words"]
    assert value == 0 and text.startswith("No answer word is read") and "in any of 3 comparisons" in text
    assert "log-probabilities do in 1: plane (at 2 of 2 states)" in text
    assert text.endswith("the other way round from what is known: lesion words over the lesion (at 1 of 2 states)")
    assert told["n_follow"][0] == 2 and told["n_against"][0] == 1 and told["n_word_tests"][0] == 4
    assert told["strongest_word"][1].startswith("+0.80 nats (+0.20 to +0.90; n = 9) for plane, state 10")
    assert told["left_out"] == (1, "polarity of the lesion") and told["n_read"][0] == 0
    assert told["last_state"] == (1, "at state 10 they follow: plane; the other way round: none")


def test_a_word_is_read_only_where_the_ten_first_words_follow_the_picture():
    table = compared(dict(comparison="plane", q=0.5), dict(comparison="plane", measure="share", layer=5))
    value, text = token_prose.of_words(table, {})["verdict_words"]
    assert value == 1 and "that the lens reads first, in 1 of 1 comparisons: plane (at 1 of 1 states)" in text
    assert "log-probabilities" not in text
    lost = compared(dict(comparison="plane"), dict(comparison="plane", measure="share", low=-0.9, high=-0.1))
    assert token_prose.of_words(lost, {})["verdict_words"][1].startswith("No answer word is read")


def test_nothing_found_and_nothing_to_compare_are_two_verdicts():
    none = token_prose.of_words(compared(dict(comparison="plane", q=0.5)), {})
    assert none["verdict_words"][1].startswith("No answer word is read") and none["left_out"][1] == "none"
    assert none["verdict_words"][1].endswith("nor do log-probabilities over the whole list")
    empty = token_prose.of_words(compared(dict(comparison="plane"))[:0], {"plane": "too few"})
    assert empty["verdict_words"][1].startswith("Not decided") and empty["strongest_word"][0] == "none"
    assert empty["last_state"][0] == "none"


def gaps(shuffled, black):
    rows = {"shuffled": shuffled, "black": black}
    return {name: pd.DataFrame(dict(layer=[0, 5, 10], value=0.2, low=low, high=0.4)) for name, low in rows.items()}


def shared(**ends):
    """Shares of answer words at one state, by version: (value, low, high); a black picture has no interval."""
    versions = {"as it is": (0.2, 0.1, 0.3), "black": (0.0, np.nan, np.nan)} | ends
    rows = [dict(variant=name, layer=5, value=a, low=b, high=c) for name, (a, b, c) in versions.items()]
    return pd.DataFrame(rows)


def test_first_words_are_the_pictures_only_where_another_scene_has_more_of_them_than_both_controls():
    likenesses = {
        label: pd.DataFrame(dict(value=[0.5, 0.6]))
        for label in ("a black picture", "its pixels shuffled", "another scene")
    }

    def told(*lows):
        return token_prose.of_lens(likenesses, gaps(*lows), shared())["first_words"]

    count, text = told([0.1, -0.1, 0], [0.1, 0.1, -0.2])
    assert count == 2 and "at states 5 and 10 than with its own pixels in random order" in text
    assert "and at state 10 than with a black picture: there they are not what the picture shows" in text
    count, text = told([0.1] * 3, [0.2] * 3)
    assert count == 0 and text.startswith("At all 3 states a picture has more")


def test_answer_words_of_a_picture_count_only_where_no_control_has_as_many():
    def told(**ends):
        return token_prose._share_verdict(shared(**ends))

    value, text = told(twin=(0.2, 0.1, 0.3), shuffled=(0.6, 0.5, 0.7))
    assert value == -1 and text == (
        "so they are no sign of what is shown: the shuffled picture has more of them than the picture (at state 5)"
    )
    assert told(twin=(0.2, 0.1, 0.3), shuffled=(0.0, 0.0, 0.05))[1].startswith("which is not shown")
    assert told(twin=(0.0, 0.0, 0.05), shuffled=(0.0, 0.0, 0.05)) == (1, "more than in each control at state 5")


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
    assert text.endswith("7 of 12 pictures")
    assert patched()["ahead"][1] == "1 of 2" and patched(low=-0.1)["ahead"][0] == 0
    value, text = patched(known=False)["verdict_patches"]
    assert value == "not decided" and text.startswith("Not decided") and "2 of 12" in text
    assert patched(known=False)["leaves"][1] == "not decided" and patched()["reaches"][1] == "9 (9 to 9)"
    assert patched(known=False)["counts"][1].startswith("does not count")
    assert "does not pass" in patched(leaves=11.0)["verdict_patches"][1]
    assert patched()["agreement"][1] == "0.50 (0.40 to 0.60)"


def recovered(**values):
    return {
        part: pd.DataFrame(dict(layer=[1, 2], value=[values.get(part, 0.0), 0.0]))
        for part in ("lesion", "random", "other image", "all image")
    }


def test_an_estimate_that_gives_less_than_half_of_what_image_tokens_recover_is_said_to_fail():
    exact = recovered(**{"lesion": 0.6, "other image": 0.3, "all image": 1.0})
    told = token_prose.of_parts(exact, recovered(**{"lesion": -0.01, "all image": 0.9}))
    assert told["estimate"][0] == 1 and told["estimate"][1] == (
        "It fails for image tokens: at layer 1 it gives -0.01 for the 0.60 of the tokens over the lesion and 0.90 for "
        "the 1.00 of all image tokens"
    )
    assert "tokens over the lesion recover 0.60, all other image tokens together 0.30" in told["spread"][1]
    near = token_prose.of_parts(exact, recovered(**{"lesion": 0.5, "all image": 0.9}))
    assert near["estimate"][0] == 0 and near["estimate"][1].startswith("It does not miss")
    assert "nothing at layer 1" in token_prose.of_parts(recovered(), recovered())["estimate"][1]


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
    gaps = token_tables.beyond(found)
    assert (gaps["shuffled"]["value"] <= 0).all()  # the shuffled picture has all of its words
    apart = likenesses["another scene"]["value"] - likenesses["a black picture"]["value"]
    assert gaps["black"]["value"].tolist() == pytest.approx(apart.tolist())
    told = token_prose.of_lens(likenesses, gaps, pd.concat([shares, own.to_frame().T.assign(variant="twin")]))
    assert told["like_shuffled"] == (1, "100%") and told["share_picture"][1].count("%") in (1, 2)


def test_the_maps_over_pictures_are_rows():
    heats = [np.array([[0.0, 1.0]]), np.array([[0.123456, -1.0]])]
    table = results.tidy(token_tables.map_rows(heats, [5, 9], 3), model="m", technique="image_tokens", seed=0)
    assert table["item"].tolist() == ["5", "5", "9", "9"] and table["position"].tolist() == [0, 1, 0, 1]
    assert table["value"].tolist() == [0, 1, 0.1235, -1] and set(table["layer"]) == {3}


def test_all_numbers_fit_the_results_table_and_the_interval_stands_beside_the_difference_alone():
    found = {"as it is": lensed(4), "shuffled": lensed(4), "black": lensed(1)}
    curve = pd.DataFrame(dict(layer=[1, 2], value=[1.0, 0.0], low=[0.9, -0.1], high=[1.1, 0.1], n=5))
    handovers = pd.DataFrame(dict(what=["leaves"], value=[2.0], low=[1.0], high=[3.0], n=[5]))
    sweep = pd.DataFrame(dict(scene=[3], layer=[1], group=["last"], recovered=[np.nan]))
    sweep = pd.concat([sweep, sweep.assign(recovered=0.5)])
    likenesses, shares = token_tables.likeness(found), token_tables.answer_shares(found)
    curves = dict.fromkeys(PARTS, curve)
    words = compared(dict(comparison="plane"), dict(comparison="place", measure="share"))
    gaps = token_tables.beyond(found)
    made = token_tables.rows(words, against({}), likenesses, gaps, shares, curves, curves, handovers, sweep)
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
    assert len(table[table["metric"] == "likeness_beyond"]) == 2 * 2
    assert len(table[table["item"].notna()]) == 1 and set(table["space"].dropna()) == set(PARTS)


def test_the_state_of_the_maps_is_that_of_the_largest_difference_by_place():
    table = compared(dict(comparison="place", layer=5), dict(comparison="place", layer=10, value=0.9))
    assert token_tables.largest_by_place(table, [0, 5, 10]) == 10
    assert token_tables.largest_by_place(table[:0], [0, 5, 10]) == 5


def test_what_a_lesion_does_to_any_word_is_no_gain_of_lesion_words():
    rng = np.random.default_rng(0)
    words = [*token_tables.LESION_WORDS, "random words 0", "random words 1"]

    def made(count):
        log_p = rng.normal(-9, 0.1, (count, 1, 6, len(words)))
        return lens_words.LensWords(log_p, log_p * 0, np.zeros((count, 1, 6), int), [0], words, 0.0)

    found, lesion = {"as it is": made(4), "twin": made(2)}, np.array([True, False, True, False])
    found["as it is"].log_p[:, :, 2] += 5  # any word
    assert np.abs(token_tables.gain(found, lesion)).max() < 0.5
    found["as it is"].log_p[:, :, 3, : len(words) - 2] += 5
    gain = token_tables.gain(found, lesion)
    assert gain.shape == (2, 1, 6) and gain[:, :, 3].min() > 4.5 > 0.5 > np.abs(gain[:, :, :3]).max()
