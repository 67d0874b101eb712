"""Do words follow the picture?  On made-up data: what is planted is found, and nothing else is."""

import numpy as np
import pandas as pd
import pytest

from medlib import MedlibError
from medlib.chapters.image_tokens import lens_words, word_tests
from medlib.chapters.image_tokens.answer_words import OF_LESION, WORDS

ALL = [word for answers in WORDS.values() for word in answers]
LAYERS, TOKENS = [0, 1, 2], 9


def scenes(count=60):
    """Every third is another picture, and half of the slices have a lesion."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        row = dict.fromkeys(WORDS, "") | dict(scene=number, lesion=False, modality="CT")
        if number % 3:
            row |= dict(modality="MRI", plane=rng.choice(WORDS["plane"]), lesion=bool(number % 2))
        if row["lesion"]:
            row |= {kind: rng.choice(WORDS[kind]) for kind in OF_LESION}
        rows.append(row)
    return pd.DataFrame(rows)


def lensed(count, seed):
    rng = np.random.default_rng(seed)
    words = ALL + ["random words 0", "random words 1"]
    shape = (count, len(LAYERS), TOKENS, len(words))
    log_p = rng.normal(-8, 0.3, shape) + 3 * np.arange(len(words))  # some words always come first
    return lens_words.LensWords(log_p, np.zeros(shape), np.zeros(shape[:3], int), LAYERS, words, 0.0)


def made(table, kind=None, layer=1, by=2.0):
    """A lens in which the own word of a kind is raised at one layer; None: at no layer."""
    own = lensed(len(table), 1)
    if kind is not None:
        for number, row in enumerate(table.to_dict("records")):
            if row[kind]:
                own.log_p[number, layer, :, ALL.index(row[kind])] += by
    lesion = table["lesion"].to_numpy()
    found = {"as it is": own, "shuffled": lensed(len(table), 2), "twin": lensed(lesion.sum(), 3)}
    inside = np.zeros((lesion.sum(), TOKENS), bool)
    inside[:, :2] = True
    return found, inside


def clear(tests, measure="log_p"):
    own = tests[(tests["measure"] == measure) & (tests["q"] < 0.05)]
    return set(zip(own["comparison"], own["layer"], strict=True))


@pytest.mark.parametrize("kind", ["plane", "modality", "polarity", "side"])
def test_a_word_that_follows_the_picture_at_one_layer_is_found_there_alone(kind):
    table = scenes()
    tests, missing = word_tests.all_tests(*_args(table, kind), LAYERS)
    assert clear(tests) == {(kind, 1)} and missing == {}
    row = tests.query("comparison == @kind and layer == 1 and measure == 'log_p'").iloc[0]
    assert row["low"] < row["value"] < row["high"] and row["low"] > 0 and row["p"] == pytest.approx(0.001)
    assert row["value"] == pytest.approx(row["own"] - row["control"]) and abs(row["control"]) < 0.5


def _args(table, kind=None, **more):
    found, inside = made(table, kind, **more)
    return found, table, inside


def test_nothing_is_found_where_nothing_is_planted_though_some_words_always_come_first():
    table = scenes()
    tests, _ = word_tests.all_tests(*_args(table), LAYERS)
    assert clear(tests) == set() and set(tests["comparison"]) == {"place", *WORDS}
    share = tests[tests["measure"] == "share"]
    assert (share["value"] == 0).all() and (share["p"] == 1).all()


def test_what_the_twin_says_at_the_same_place_does_not_count():
    table = scenes()
    found, inside = made(table)
    lesion = table["lesion"].to_numpy()
    words = [ALL.index(word) for kind in OF_LESION for word in WORDS[kind]]
    found["as it is"].log_p[np.ix_(np.flatnonzero(lesion), [0, 1, 2], [0, 1], words)] += 3
    tests, _ = word_tests.all_tests(found, table, inside, LAYERS)
    assert {layer for name, layer in clear(tests) if name == "place"} == {0, 1, 2}
    row = tests.query("comparison == 'place' and measure == 'log_p'").iloc[0]
    assert row["own"] == pytest.approx(3, abs=0.2) and row["control"] == pytest.approx(0, abs=0.2)
    found["twin"].log_p[:, :, :2][..., words] += 3
    tests, _ = word_tests.all_tests(found, table, inside, LAYERS)
    assert not [name for name, _ in clear(tests) if name == "place"]


def test_what_a_lesion_does_to_random_words_too_does_not_count():
    table = scenes()
    found, inside = made(table)
    found["as it is"].log_p[table["lesion"].to_numpy(), 1, :2] += 3
    tests, _ = word_tests.all_tests(found, table, inside, LAYERS)
    assert not [name for name, _ in clear(tests) if name == "place"]
    row = tests.query("comparison == 'place' and measure == 'log_p' and layer == 1").iloc[0]
    assert row["own"] == pytest.approx(3, abs=0.2) and row["control"] == pytest.approx(3, abs=0.2)


def test_a_comparison_of_too_few_or_equal_pictures_is_left_out_with_the_reason():
    table = scenes(9)
    tests, missing = word_tests.all_tests(*_args(table), LAYERS)
    assert {"place", "polarity"} <= set(missing) and "it takes 6" in missing["place"]
    assert set(tests["comparison"]) == {"modality", "plane"}
    same = scenes(9).assign(modality="CT", plane="", lesion=False)
    found, _ = made(same)
    tests, missing = word_tests.all_tests(found, same, np.zeros((0, TOKENS), bool), LAYERS)
    assert tests.empty and "same answer" in missing["modality"] and list(tests) == [*tests.columns]


def test_p_values_of_noise_are_spread_evenly():
    rng = np.random.default_rng(4)
    p = [
        word_tests.own_word_test(*rng.normal(size=(2, 12, 1, 3)), np.arange(12) % 3, shuffles=99)["p"][0]
        for _ in range(200)
    ]
    assert 0.02 < np.mean(np.array(p) <= 0.1) < 0.18 and 0.4 < np.mean(p) < 0.65


def test_the_mean_over_chosen_tokens_is_taken_picture_by_picture():
    values = np.arange(8.0).reshape(2, 1, 4)
    chosen = np.array([[True, False, False, True], [False, True, False, False]])
    assert word_tests.over_tokens(values, chosen).ravel().tolist() == [1.5, 5]
    with pytest.raises(MedlibError, match="same answer"):
        word_tests.own_word_test(np.zeros((6, 1, 2)), np.zeros((6, 1, 2)), [0] * 6)
