"""What this chapter shows as tables and saves: words side by side, curves of likeness, rows of the record."""

import numpy as np
import pandas as pd

from medlib import results, stats
from medlib.chapters.image_tokens import lens_words, neuron_words
from medlib.chapters.image_tokens.answer_words import OF_LESION, WORDS

LESION_WORDS = [word for kind in OF_LESION for word in WORDS[kind]]


def looked_for(model, tokens):
    """The words that are looked for and the tokens each counts by, a row a word."""
    kinds = {word: kind for kind, answers in WORDS.items() for word in answers}
    rows = [
        dict(kind=kinds[word], word=word, tokens=" ".join(repr(model.tokenizer.decode([one])) for one in own))
        for word, own in tokens.items()
    ]
    return pd.DataFrame(rows)


def side_by_side(model, found, count=4):
    """The words that come first at most image tokens, by state and version of the picture: a row a state.

    `found`: version -> `LensWords`.  Behind each word stands its share of the tokens.
    """
    cells = {}
    for version, own in found.items():
        table = lens_words.commonest(model, own, count)
        said = table["word"].map(repr) + " " + table["share"].map("{:.0%}".format)
        cells[version] = said.groupby(table["layer"]).agg(", ".join)
    return pd.DataFrame(cells).rename_axis("state")


def written(counts, top=neuron_words.TOP):
    """The words that most neurons write, by layer, strongest beside random: a row a layer."""
    best = neuron_words.top_words(counts, top)
    return best.groupby(["layer", "kind"])["word"].agg(", ".join).unstack()[["strongest", "random"]]


def likeness(found, seed=0):
    """How like the first words of a picture are to others', by state: label -> `layer, value, low, high, n`.

    Held against the same picture with its pixels shuffled, a black one, and another scene.  Pictures are resampled.
    """
    own = found["as it is"]
    pairs = {
        "another scene": lens_words.likeness_of_scenes(own),
        "its pixels shuffled": lens_words.likeness(own, found["shuffled"]),
        "a black picture": lens_words.likeness(own, found["black"]),
    }
    tables = {}
    for label, values in pairs.items():
        value, low, high = stats.bootstrap(values, seed=seed)
        tables[label] = pd.DataFrame(dict(layer=own.layers, value=value, low=low, high=high, n=len(values)))
    return tables


def beyond(found, seed=0):
    """How much more of a picture's first words are another scene's than its own without what is shown: as `likeness`.

    Another scene less the picture's pixels shuffled, and less a black picture, picture by picture.
    """
    own = found["as it is"]
    scenes = lens_words.likeness_of_scenes(own)
    tables = {}
    for version in ("shuffled", "black"):
        value, low, high = stats.bootstrap(scenes - lens_words.likeness(own, found[version]), seed=seed)
        tables[version] = pd.DataFrame(dict(layer=own.layers, value=value, low=low, high=high, n=len(scenes)))
    return tables


def answer_shares(found, seed=0):
    """The share of answer words among the ten first words at image tokens: `variant, layer, value, low, high, n`."""
    rows = []
    for version, own in found.items():
        values = own.together("share", own.answers).mean(axis=2)
        if len(values) < 3:
            one = zip(own.layers, values[0], strict=True)
            rows += [dict(variant=version, layer=layer, value=value) for layer, value in one]
            continue
        interval = stats.bootstrap(values, seed=seed)
        table = pd.DataFrame(dict(layer=own.layers, value=interval.value, low=interval.low, high=interval.high))
        rows += table.assign(variant=version, n=len(values)).to_dict("records")
    return pd.DataFrame(rows).assign(metric="answer_words")


def gain(found, lesion):
    """What lesion words gain by the lesion beyond random words, at each image token: nats, `[picture, layer, token]`.

    `found`: version -> `LensWords`; `lesion`: bool `[picture]`, those with a lesion.
    """
    real, twin = (_beyond_random(found[version]) for version in ("as it is", "twin"))
    return real[lesion] - twin


def _beyond_random(own):
    return own.together("log_p", LESION_WORDS) - own.of("log_p", own.random).mean(axis=-1)


def largest_by_place(tests, states):
    """The state with the largest difference by place, by log-probability; the middle one of `states` without a test."""
    own = tests[(tests["comparison"] == "place") & (tests["measure"] == "log_p")]
    return int(own.loc[own["value"].idxmax(), "layer"]) if len(own) else states[len(states) // 2]


def rows(tests, against, likenesses, gaps, shares, curves, estimates, handovers, sweep):
    """All of the chapter's numbers as rows of the results table.

    `tests`, `against`: tables of word_tests.py and neuron_words.py; `likenesses`, `gaps`: of `likeness` and `beyond`;
    `curves`, `estimates`: part -> table; `sweep`: the rows of single pictures.
    """
    tested = tests.rename(columns={"comparison": "domain"})
    parts = []
    for column in ("value", "own", "control", "p", "q"):
        own = tested.assign(metric=tested["measure"] + ("" if column == "value" else f"_{column}"))
        parts.append(_one(own, column))
    neurons = against.assign(domain="neurons", metric=against["measure"].str.replace(" ", "_"))
    for column in ("value", "own", "control", "p", "q"):
        own = neurons.assign(metric=neurons["metric"] + ("" if column == "value" else f"_{column}"))
        parts.append(_one(own, column))
    parts += [table.assign(domain="likeness", variant=label, metric="likeness") for label, table in likenesses.items()]
    parts += [
        table.assign(domain="likeness", variant=version, metric="likeness_beyond") for version, table in gaps.items()
    ]
    parts.append(shares.assign(domain="answer words"))
    for metric, tables in (("recovered", curves), ("recovered_estimated", estimates)):
        parts += [table.assign(domain="patching", space=part, metric=metric) for part, table in tables.items()]
    parts.append(handovers.assign(domain="patching", metric=handovers["what"] + "_layer"))
    single = sweep.rename(columns={"group": "space", "scene": "item"}).assign(domain="patching", metric="recovered")
    parts.append(single.assign(value=single["recovered"]))
    table = pd.concat(parts, ignore_index=True).reindex(columns=results.COLUMNS)
    return table[np.isfinite(table["value"].astype(float))]


def map_rows(heats, scenes, state):
    """Maps over pictures as rows of the results table: `heats [picture, row, column]`, `scenes [picture]`, one state.

    `position` is the image token, in reading order.
    """
    shown = results.significant(heats).reshape(len(heats), -1)
    index = pd.MultiIndex.from_product([map(str, scenes), range(shown.shape[1])], names=["item", "position"])
    table = pd.DataFrame({"value": shown.ravel()}, index=index).reset_index().dropna(subset=["value"])
    return table.assign(domain="place", layer=state, metric="lesion_words_gain")


def _one(table, column):
    """One column of a table as its value; the interval belongs to the difference alone."""
    kept = table if column == "value" else table.assign(value=table[column], low=np.nan, high=np.nan)
    return kept[["domain", "layer", "metric", "value", "low", "high", "n"]]
