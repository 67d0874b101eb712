"""Words by neuron attribution, as project B counts them, and whether random neurons of the same layers write the same.

All pictures are asked the same question, and the gradient is that of one fixed answer.  With each picture's own answer
the comparison would be circular: neurons are chosen because they raise that answer, so of course they write it.
"""

import numpy as np
import pandas as pd

from medlib import stats, vision
from medlib.chapters.image_tokens.word_tests import SHUFFLES, p_by_layer

TOP = 10  # words of a layer that are shown, as project B does


def count_words(model, prompts, answer, layers, neurons=10, seed=0):
    """`vision.image_token_words` of each of a list of `ImagePrompt`s: its rows, with `picture` (index) in front.

    Random neurons are drawn anew for each picture, from `seed` and its index, so that an interval over pictures is one
    over draws as well.  `attrs["no_op"]`: the largest difference from the model's own logits.
    """
    parts, no_op, written = [], 0.0, {}
    for number, prompt in enumerate(prompts):
        own = vision.image_token_words(model, prompt, answer, layers, neurons, seed + number, written)
        no_op = max(no_op, own.attrs["no_op"])
        own.attrs = {}
        parts.append(own.assign(picture=number))
    table = pd.concat(parts, ignore_index=True)
    table.attrs["no_op"] = no_op
    return table


def top_words(counts, top=TOP):
    """The words that most neurons write: `layer, kind, rank, word, token, share` (of all counted)."""
    sums = counts.groupby(["layer", "kind", "token", "word"], as_index=False)["count"].sum()
    sums["share"] = sums["count"] / sums.groupby(["layer", "kind"])["count"].transform("sum")
    sums = sums.sort_values(["layer", "kind", "count", "token"], ascending=[True, True, False, True])
    sums["rank"] = sums.groupby(["layer", "kind"]).cumcount() + 1
    return sums[sums["rank"] <= top][["layer", "kind", "rank", "word", "token", "share"]].reset_index(drop=True)


def measures(counts, tokens, top=TOP):
    """What is compared, by picture, layer and kind: `answer words` and `top ten`, shares of the counted words.

    `tokens`: those of the answer words (`word_tokens`).  "top ten" is the share of the picture's ten commonest words:
    how far a few words stand for the whole.
    """
    answers = {token for own in tokens.values() for token in own}
    keys = ["picture", "layer", "kind"]
    total = counts.groupby(keys)["count"].sum()
    of_answers = counts[counts["token"].isin(answers)].groupby(keys)["count"].sum().reindex(total.index, fill_value=0)
    of_top = counts.groupby(keys)["count"].apply(lambda own: own.nlargest(top).sum())
    return pd.DataFrame({"answer words": of_answers / total, "top ten": of_top / total}).reset_index()


def against_random(table, seed=0, shuffles=SHUFFLES):
    """Strongest less random neurons, by measure and layer: `measure, layer, own, control, value, low, high, p, n, q`.

    `table` is that of `measures`.  p is two-sided, from signs of the pictures' differences shuffled; q over all layers
    of a measure.
    """
    parts = []
    for measure in ("answer words", "top ten"):
        wide = table.pivot(index="picture", columns=["kind", "layer"], values=measure)
        whole = wide.dropna()
        own, control = whole["strongest"], whole["random"]
        difference = (own - control).to_numpy()
        value, low, high = stats.bootstrap(difference, seed=seed)
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(shuffles, len(difference)))
        p = p_by_layer(value, signs @ difference / len(difference))
        rows = dict(own=own.mean().to_numpy(), control=control.mean().to_numpy(), value=value, low=low, high=high, p=p)
        found = pd.DataFrame(rows | dict(n=len(difference), q=stats.benjamini_hochberg(p)))
        parts.append(found.assign(measure=measure, layer=own.columns.to_numpy()))
    return pd.concat(parts, ignore_index=True)


def shared_with_random(counts, top=TOP):
    """How many of a layer's top words are also among the top words of random neurons: `layer, shared`."""
    best = top_words(counts, top)
    sets = best.groupby(["layer", "kind"])["token"].agg(set).unstack()
    return pd.DataFrame(
        dict(layer=sets.index, shared=[len(a & b) for a, b in zip(sets["strongest"], sets["random"], strict=True)])
    )
