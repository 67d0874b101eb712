"""Made-up number lines, of which it is known where they are bent and broken: what a chapter on ages must find.

A frame and states of men, women, roads and trails of 0 to 100, as `number_line` takes them.  All walk the same way: a
step in a random direction for each number, longer where a digit is added, plus noise of their own.
"""

import numpy as np
import pandas as pd

KINDS = ("man", "woman", "road", "trail")
PEOPLE = ("man", "woman")


def frame():
    """One row for each number from 0 to 100 and each kind, in one wording: `item`, `variant`, `value`, `kind`."""
    rows = [(f"{value} {kind}", "made up", value, kind) for value in range(101) for kind in KINDS]
    return pd.DataFrame(rows, columns=["item", "variant", "value", "kind"])


def straight(hidden, generator, noise=0.02):
    """States of `frame` on a straight line with some noise, [n, hidden]; the line is as long as its direction is."""
    along = np.outer(np.linspace(-1, 1, 101), generator.normal(size=hidden))
    return _of_kinds(along, generator, noise)


def helix(hidden, generator, noise=0.02, turns=(0.5, 1, 1.5, 2, 2.5, 10)):
    """States of `frame` on a helix: a circle for each number of `turns`, in planes of its own, and no straight axis."""
    angle = 2 * np.pi * np.outer(np.arange(101) / 100, turns)
    circles = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    return _of_kinds(circles @ generator.normal(size=(circles.shape[1], hidden)), generator, noise)


def walk(hidden, generator, gap=0.0, spike=0.0, noise=0.3):
    """States of `frame` on a random walk, where people have something at 18 that routes have not.

    With `gap` (in lengths of a usual step) all ages from 18 on lie off, a break; with `spike` the age of 18 alone does.
    """
    step = generator.normal(size=(101, hidden))
    step[[10, 100]] *= 2
    states = _of_kinds(step.cumsum(axis=0), generator, noise).reshape(101, len(KINDS), hidden)
    off = generator.normal(size=hidden)
    states[18:, : len(PEOPLE)] += gap * off
    states[18, : len(PEOPLE)] += spike * off
    return states.reshape(-1, hidden)


def _of_kinds(line, generator, noise):
    each = line[:, None] + generator.normal(size=(1, len(KINDS), line.shape[1]))
    return (each + noise * generator.normal(size=each.shape)).reshape(-1, line.shape[1])
