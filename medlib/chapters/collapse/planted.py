"""Planted: clouds whose answer is known, for the check that comes before the results."""

import numpy as np
import pandas as pd

from medlib.chapters.collapse import clouds, depths, large_dimensions


def made_up(n, hidden, layers, kind, seed=0):
    """Clouds with a known answer for the planted-signal check: `[state, n, hidden]`, the middle third as `kind` says.

    `noise` is the same everywhere; `huge dimension` puts most of the variance on dimension 7; `few directions` leaves
    two directions that lie across all dimensions, and a little noise.
    """
    generator = np.random.default_rng(seed)
    states = generator.normal(size=(layers + 1, n, hidden))
    for layer in middle(layers):
        if kind == "huge dimension":
            states[layer, :, 7] *= 10 * np.sqrt(hidden)
        if kind == "few directions":
            flat = generator.normal(size=(n, 2)) @ generator.normal(size=(2, hidden))
            states[layer] = 10 * flat + 0.1 * states[layer]
    return states


def middle(layers):
    """The layers of the middle third, where `made_up` plants."""
    return range(1 + layers // 3, 1 + 2 * layers // 3)


EXPECTED = (  # what is planted, how it is looked at, and whether it must show
    ("noise", "raw", False),
    ("huge dimension", "raw", True),
    ("huge dimension", "without largest", False),
    ("few directions", "raw", True),
    ("few directions", "without largest", True),
)


def layers_found(kind, way, n, hidden, layers, count, seed=0):
    """The layers at which the clouds of a made-up domain collapse, its `count` largest dimensions chosen on another.

    >>> layers_found("huge dimension", "raw", n=48, hidden=576, layers=30, count=3) == list(middle(30))
    """
    made = [made_up(n, hidden, layers, kind, s) for s in (seed, seed + 1)]
    means = {i: large_dimensions.shares(x).mean(axis=1) for i, x in enumerate(made)}
    rows = pd.DataFrame(dict(variant="made up", cluster=range(n)))
    largest = large_dimensions.largest_of_others(means, count)[0]
    rank = clouds.clouds(made[0], rows, largest, ["effective_rank"], [way], seed)["effective_rank"][0]
    return depths.dips(rank, ["made up"]).query("collapsed")["layer"].tolist()


def answers(n, hidden, layers, count, seed=0):
    """Every check of `EXPECTED`: (name, passed, what was found).

    >>> for name, passed, detail in answers(48, 576, 30, 3): run.check(name, passed, detail)
    """
    for kind, way, shows in EXPECTED:
        found = layers_found(kind, way, n, hidden, layers, count, seed)
        expected = list(middle(layers)) if shows else []
        yield f"{kind}, {way}", found == expected, f"{len(found)} layers collapse, {len(expected)} planted"
