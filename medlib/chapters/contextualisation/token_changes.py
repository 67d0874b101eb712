"""Which tokens of the question change most with the picture?"""

import numpy as np
import pandas as pd

from medlib.chapters.contextualisation.later_layers import thirds
from medlib.geometry.contextual import pair_interval, pair_mean


def changes(look, tokens, seed=0):
    """How far each token is from itself over pictures, 1 - SelfSim, in the last third of the layers.

    >>> changes(look, read.tokens[question]).nlargest(3, "value")

    `tokens`: their texts.  Returns `position` (behind the picture, 0-based), `token`, `value, low, high` (pictures
    resampled) and `n`, in order of position.
    """
    _, last = thirds(len(look.own) - 1)
    tables = 1 - look.own[list(last)].mean(axis=0)
    value, low, high = pair_interval(tables, seed=seed)
    where = dict(component=look.component, variant=look.variant, space=look.space, metric="change")
    where |= dict(n=tables.shape[-1])
    return pd.DataFrame(dict(position=range(len(tokens)), token=tokens, value=value, low=low, high=high) | where)


def of_questions(looks, tokens, seed=0):
    """`changes` of each look of text tokens, one table; `tokens`: question -> their texts."""
    found = [changes(look, tokens[look.variant], seed) for look in looks if look.component == "text"]
    return pd.concat(found, ignore_index=True)


def change_map(look):
    """1 - SelfSim of every token at every state: `[state, token]`."""
    return 1 - pair_mean(look.own)


def lead(look, seed=0):
    """By how much the token that changes most leads the second: the positions of both, `(value, low, high)`.

    >>> first, second, (value, low, high) = lead(look)

    Pictures are resampled.  Which two they are was picked on the same pictures, so the lead is not less than it looks.
    """
    _, last = thirds(len(look.own) - 1)
    tables = 1 - look.own[list(last)].mean(axis=0)
    first, second = (int(at) for at in np.argsort(-pair_mean(tables), kind="stable")[:2])
    return first, second, pair_interval(tables[first] - tables[second], seed=seed)
