"""The words of the stages: an order that is spelled out before a model has read anything.

Neighbouring stages are written with the same words, late ones can be longer, and a phrase that comes back late makes a
ring of itself.  So words and lengths are taken out of the distances, and what comes back is named.
"""

import numpy as np
import pandas as pd

from medlib import geometry, stats
from medlib.states import entity_tokens

SMALL_WORDS = {
    *(
        "a",
        "an",
        "and",
        "at",
        "but",
        "by",
        "for",
        "from",
        "in",
        "into",
        "no",
        "not",
        "of",
        "on",
        "or",
        "the",
        "to",
        "up",
    ),
    *("when", "with", "without"),
}


def causes(model, frame):
    """What the texts of the stages do by themselves, [series, cause, stage, stage]: two causes without any order.

    The difference in tokens, and the share of words that two stages do not have in common (one minus Jaccard's index of
    their sets of words).  `frame`: as `prompts` gives it; the text is the description in the first template.
    """
    first = frame[frame["variant"] == frame["variant"].iloc[0]]
    found = []
    for _, rows in first.groupby("series", sort=False):
        spans = [entity_tokens(model, prompt) for prompt in rows["prompt"]]
        tokens = np.array([end - start for start, end in spans])
        words = [set(item.lower().replace(",", "").split()) for item in rows["item"]]
        apart = [[1 - len(a & b) / len(a | b) for b in words] for a in words]
        found.append([np.abs(tokens[:, None] - tokens), apart])
    return np.array(found, dtype=float)


def corrected_for(tables, causes):
    """Distances [state, series, stage, stage] with each series' `causes` taken out (`geometry.without`)."""
    return np.array([[geometry.without(d, c) for d, c in zip(one, causes, strict=True)] for one in tables])


def cause_shares(tables, causes, names, cause_names):
    """Spearman of the distances with each cause, per state and series: `layer`, `item`, `cause`, `value`."""
    upper = np.triu_indices(tables.shape[-1], 1)
    return pd.DataFrame(
        {"layer": layer, "item": name, "cause": cause_name, "value": stats.spearman(table[upper], cause[upper])}
        for layer, of_series in enumerate(tables)
        for name, table, of_cause in zip(names, of_series, causes, strict=True)
        for cause_name, cause in zip(cause_names, of_cause, strict=True)
        if np.ptp(cause[upper]) and np.ptp(table[upper])
    )


def recurring(frame, tables, n=6, least=3):
    """The words that come back in the series that are most like a ring: `circularity` (mean over states) and `words`.

    >>> stage_words.recurring(prompts, main)

    `frame`: domain -> `stages.prompts`; `tables`: domain -> table with `layer`, `item`, `circularity`.  The `n` series
    of the highest mean after the blocks; of each, up to four words that stand in `least` stages or more, with these
    stages, those in most stages first.
    """
    mean = pd.concat(tables).query("layer > 0").groupby("item")["circularity"].mean().nlargest(n)
    rows = pd.concat(frame.values()).drop_duplicates(["series", "stage"])
    said = []
    for item in mean.index:
        of = rows[rows["series"] == item].sort_values("stage")
        where = {}
        for stage, text in zip(of["stage"], of["item"], strict=True):
            for word in dict.fromkeys(text.lower().replace(",", "").split()):
                where.setdefault(word, []).append(stage)
        often = {word: at for word, at in where.items() if len(at) >= least and word not in SMALL_WORDS}
        most = sorted(often, key=lambda word: -len(often[word]))[:4]
        said.append("; ".join(f"{word} ({stretches(often[word])})" for word in most) or "none")
    return pd.DataFrame({"circularity": mean, "words in three stages or more": said}).rename_axis("series")


def stretches(stages):
    """Numbers in order, with runs drawn together.

    >>> stretches([0, 1, 2, 8, 9, 5])
    '0-2, 5, 8-9'
    """
    runs = []
    for stage in sorted(stages):
        if runs and stage == runs[-1][1] + 1:
            runs[-1][1] = stage
        else:
            runs.append([stage, stage])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
