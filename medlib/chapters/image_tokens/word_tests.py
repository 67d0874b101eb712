"""Do the words at image tokens follow what is known of the picture?  Two comparisons, each against its control.

*Place*: answer words of lesions at tokens over the lesion, less those at the other tokens of the picture, less the same
at the same places of the lesion-free twin, so that what a place always says does not count; held against as many random
words, so that what a lesion does to any word does not count either.

*Own word*: the word of the picture's own answer, less the mean of the other answers of its kind, each word less its
mean over pictures, so that a word that always comes first does not count; held against the same in the control picture
(the twin, or the picture with its pixels shuffled).  Here the other answers are the words that it is held against.

Pictures are what is resampled and what is shuffled.  All layers and comparisons of a measure are one family for the
false discovery rate.
"""

import numpy as np
import pandas as pd

from medlib import stats
from medlib.chapters.image_tokens.answer_words import OF_LESION, WORDS
from medlib.errors import MedlibError

MEASURES = {"log_p": "log-probability, nats", "share": "share of the ten first words"}
FEWEST = 6  # pictures of a comparison: with fewer, no shuffle of signs is rarer than one in twenty
SHUFFLES = 1999


def over_tokens(values, chosen):
    """The mean over each picture's chosen tokens: `values [picture, layer, token, ...]`, `chosen [picture, token]`."""
    weights = chosen / chosen.sum(axis=1, keepdims=True)
    return np.einsum("plt...,pt->pl...", values, weights)


def place(real, twin, inside):
    """What tokens over the lesion have more of than the others, the picture less its twin: `[picture, layer, ...]`.

    `real`, `twin`: `[picture, layer, token, ...]`; `inside`: bool `[picture, token]`.
    """
    own, control = (over_tokens(values, inside) - over_tokens(values, ~inside) for values in (real, twin))
    return own - control


def place_test(lesion, random, seed=0, shuffles=SHUFFLES):
    """The comparison by place: columns `own, control, value, low, high, p, n`, a row for each layer.

    `lesion`: `place` of lesion words, `[picture, layer]`; `random`: of sets of random words, `[picture, layer, set]`,
    whose mean counts.  `own` and `control` are their means over pictures, `value` the difference with its interval; p
    is two-sided, from shuffled signs of the differences: the scene and its twin trade places.
    """
    control = random.mean(axis=-1)
    difference = lesion - control
    _enough(len(difference))
    interval = stats.bootstrap(difference, seed=seed)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(shuffles, len(difference)))
    p = p_by_layer(difference.mean(0), signs @ difference / len(difference))
    return _table(lesion.mean(0), control.mean(0), interval, p, len(difference))


def own_word_test(real, control, labels, seed=0, shuffles=SHUFFLES):
    """The comparison by own word: the columns of `place_test`, a row for each layer.

    `real`, `control`: `[picture, layer, word]`, the measure over the tokens that count; `labels`: each picture's own
    word, as a number.  p is two-sided, from the labels shuffled over the pictures.
    """
    labels = np.asarray(labels)
    _enough(len(labels))
    if len(set(labels.tolist())) < 2:
        raise MedlibError("All pictures have the same answer, so no word can follow it. Give pictures that differ.")
    own = np.eye(real.shape[-1])[labels]
    difference = np.asarray(real, dtype=np.float64) - control
    values = [_own_word(x, own).mean(0) for x in (real, control)]
    packed = np.concatenate([difference, np.broadcast_to(own[:, None], difference.shape)], axis=-1)
    interval = stats.bootstrap(packed, _statistic, seed=seed)
    lead = _lead(difference - difference.mean(0))
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(len(labels)), (shuffles, 1)), axis=1)
    null = np.stack([np.einsum("plw,pw->l", lead, own[one]) for one in order]) / len(labels)
    observed = np.einsum("plw,pw->l", lead, own) / len(labels)
    p = p_by_layer(observed, null)
    return _table(*values, interval, p, len(labels))


def all_tests(found, table, inside, layers, seed=0):
    """Every comparison that has enough pictures, by measure and layer, with its q: a long table, and what was left out.

    `found`: version -> `LensWords` of the pictures of `table`, "twin" those of its pictures with a lesion; `inside`:
    bool `[picture, token]` of these.  Returns the table, columns `comparison, measure, layer` and those of the tests
    with `q`, and a dict comparison -> why it is missing.
    """
    lesion = table["lesion"].to_numpy()
    parts, missing = [], {}
    for measure in MEASURES:
        for name, test in _comparisons(found, table, inside, lesion, measure, seed):
            try:
                rows = test()
            except MedlibError as error:
                missing[name] = str(error)
                continue
            parts.append(rows.assign(comparison=name, measure=measure, layer=layers))
    if not parts:
        return pd.DataFrame(columns=["comparison", "measure", "layer", *COLUMNS, "q"]), missing
    done = pd.concat(parts, ignore_index=True)
    families = done.groupby("measure", sort=False)["p"]
    return done.assign(q=families.transform(lambda p: stats.benjamini_hochberg(p.to_numpy()))), missing


COLUMNS = ["own", "control", "value", "low", "high", "p", "n"]


def _comparisons(found, table, inside, lesion, measure, seed):
    """`(name, test)` of each comparison: a function without arguments that gives its rows."""
    words = [word for kind in OF_LESION for word in WORDS[kind]]

    def by_place():
        _enough(int(lesion.sum()))
        pair = found["as it is"], found["twin"]
        real, twin = (own.together(measure, words) for own in pair)
        random = [own.of(measure, own.random) for own in pair]
        return place_test(place(real[lesion], twin, inside), place(random[0][lesion], random[1], inside), seed)

    yield "place", by_place
    for kind, answers in WORDS.items():

        def by_word(kind=kind, answers=answers):
            has = table[kind].isin(answers).to_numpy()
            if kind in OF_LESION:
                has = has & lesion
            _enough(int(has.sum()))
            labels = table.loc[has, kind].map(answers.index)
            real = found["as it is"].of(measure, answers)[has]
            if kind in OF_LESION:
                own = has[lesion]
                twin = found["twin"].of(measure, answers)[own]
                pair = [over_tokens(values, inside[own]) for values in (real, twin)]
            else:
                pair = [real.mean(2), found["shuffled"].of(measure, answers)[has].mean(2)]
            return own_word_test(*pair, labels, seed)

        yield kind, by_word


def _own_word(values, own):
    """By picture and layer, the lead of its own word, each word less its mean: `[picture, layer]`."""
    return np.einsum("plw,pw->pl", _lead(values - values.mean(0)), own)


def _lead(values):
    """Each word less the mean of the others, `[..., word]`."""
    words = values.shape[-1]
    return (values * words - values.sum(-1, keepdims=True)) / (words - 1)


def _statistic(packed, axis):
    """The mean lead of the own word, of arrays that hold words and labels behind one another: axis -1."""
    half = packed.shape[-1] // 2
    values, own = packed[..., :half], packed[..., half:]
    return (_lead(values - values.mean(axis, keepdims=True)) * own).sum(-1).mean(axis)


def p_by_layer(observed, null):
    """Two-sided p by layer; numbers that only the order of a sum sets apart are ties."""
    scale = np.maximum(np.abs(null).max(axis=0), np.abs(observed))
    step = np.where(scale > 0, scale, 1) * 1e-10
    return stats.permutation_p(np.round(observed / step), np.round(null / step), "two-sided")


def _enough(count):
    if count < FEWEST:
        raise MedlibError(f"There are {count} pictures to compare, and it takes {FEWEST}; give more scenes.")


def _table(own, control, interval, p, n):
    value, low, high = interval
    return pd.DataFrame(dict(own=own, control=control, value=value, low=low, high=high, p=p, n=n))[COLUMNS]
