"""Large dimensions: the few that take much of the squared length of a state, and what they take.

Those to leave out of a domain are chosen on all other domains, each counting alike.
"""

import numpy as np
import pandas as pd

from medlib.chapters.collapse.clouds import WAYS, prepared, templates
from medlib.errors import MedlibError


def shares(states):
    """Each dimension's share of the squared length of a state: `[state, prompt, hidden]`, each row's sum is one."""
    square = np.asarray(states, dtype=np.float64) ** 2
    return square / square.sum(axis=-1, keepdims=True)


def largest_of_others(means, count):
    """The `count` dimensions that are largest on all other domains, for each domain and state: `[state, count]`.

    >>> largest_of_others({name: shares(x).mean(axis=1) for name, x in states.items()}, 3)["drugs"][12]

    `means`: domain -> mean shares `[state, hidden]`; the other domains count alike.  Raises `MedlibError` for one
    domain alone, which has no others.
    """
    if len(means) < 2:
        raise MedlibError("The dimensions to leave out are chosen on other domains; give two domains or more.")
    hidden = next(iter(means.values())).shape[-1]
    if not 0 < count < hidden:
        raise MedlibError(f"cannot drop {count} of {hidden} dimensions; give 1 to {hidden - 1}")
    total = sum(means.values())
    return {name: np.argsort(total - own, axis=-1, kind="stable")[:, : -count - 1 : -1] for name, own in means.items()}


def of_each_place(means, count):
    """`largest_of_others` for each place by itself: (place, domain) -> `[state, count]`, the largest first.

    >>> of_each_place({("mean", "drugs"): share, ("mean", "foods"): other}, 20)["mean", "drugs"][12]
    """
    found = {}
    for place in dict.fromkeys(where for where, _ in means):
        here = {name: share for (where, name), share in means.items() if where == place}
        found |= {(place, name): dims for name, dims in largest_of_others(here, count).items()}
    return found


def overlap(one, other, count):
    """The share of the `count` largest dimensions that two domains have in common: `[state]`.

    `one`, `other`: mean shares, `[state, hidden]`.
    """
    tops = [np.argsort(-means, axis=-1, kind="stable")[:, :count] for means in (one, other)]
    return np.array([len(set(a) & set(b)) / count for a, b in zip(*tops, strict=True)])


def share_of(states, frame, largest):
    """The share of the squared length that the left-out dimensions take: `item, layer, value`, mean over templates."""
    parts = [
        pd.DataFrame(dict(item=frame["item"], layer=layer, value=shares(states[layer])[:, largest[layer]].sum(axis=1)))
        for layer in range(1, len(states))
    ]
    return pd.concat(parts).groupby(["item", "layer"], as_index=False).mean()


def max_over_median(states, frame, largest):
    """The largest over the median absolute activation of each cloud: `[way, layer 1..L, template]`."""
    found = [
        [
            [
                _largest_over_median(prepared(states[layer, rows], way, largest[layer]))
                for rows in templates(frame).values()
            ]
            for layer in range(1, len(states))
        ]
        for way in WAYS
    ]
    return np.array(found)


def _largest_over_median(x):
    size = np.abs(x)
    return size.max() / np.median(size)


def stretches(flags):
    """The stretches of true values, as a reader would write them.

    >>> stretches([False, True, True, True, False, True])
    '1 to 3, 5'
    """
    at = np.flatnonzero(flags)
    runs = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1) if len(at) else []
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs) or "none"
