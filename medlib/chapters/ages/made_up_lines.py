"""Made-up number lines, of which it is known where they are bent and broken: what a chapter on ages must find.

A frame and states of men, women, roads and trails of 0 to 100, as `number_line` takes them.  All walk the same way: a
step in a random direction for each number, longer where a digit is added, plus noise of their own.
"""

import numpy as np
import pandas as pd

from medlib import geometry

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


def noise_of(shape, r2, hidden, seed=0):
    """The noise with which a probe reads a made-up `shape` about as well as the states: `r2` of people, by bisection.

    >>> made_up_lines.straight(576, generator, made_up_lines.noise_of(made_up_lines.straight, 0.98, 576))
    """
    people = frame()["kind"].isin(PEOPLE).to_numpy()
    value = frame()["value"][people].to_numpy()
    low, high = -3.0, 2.0  # powers of ten of the noise, where a line is about one long
    for _ in range(9):
        middle = (low + high) / 2
        x = shape(hidden, np.random.default_rng(seed), 10**middle)[people]
        read = geometry.ridge_probe(x, value, seed, groups=value)["r2"]
        low, high = (middle, high) if read > r2 else (low, middle)
    return 10 ** ((low + high) / 2)


def walk(hidden, generator, gap=0.0, spike=0.0, stretch=0.0, noise=0.3, small=1.0):
    """States of `frame` on a random walk, where people have something at 18 that routes have not.

    With `gap` (in lengths of a usual step) all ages from 18 on lie off, a break; with `spike` the age of 18 alone does;
    with `stretch` people take two fast steps, from 17 to 19, and no break more at 18 than at 19.  `small` is how many
    times more the lengths of steps scatter among numbers below 20.
    """
    step = generator.normal(size=(101, hidden))
    step[[10, 100]] *= 2
    walked = np.repeat(step[:, None], len(KINDS), axis=1)
    scatter = np.where(np.arange(101) < 20, small, 1.0)[:, None, None] * 0.1
    walked *= np.exp(scatter * generator.normal(size=(101, len(KINDS), 1)))
    states = _of_kinds(walked.cumsum(axis=0), generator, noise).reshape(101, len(KINDS), hidden)
    off = generator.normal(size=(3, hidden))
    states[18:, : len(PEOPLE)] += gap * off[0] + stretch * off[1]
    states[19:, : len(PEOPLE)] += stretch * off[2]
    states[18, : len(PEOPLE)] += spike * off[0]
    return states.reshape(-1, hidden)


def _of_kinds(line, generator, noise):
    line = line if line.ndim == 3 else line[:, None]
    each = line + generator.normal(size=(1, len(KINDS), line.shape[2]))
    return (each + noise * generator.normal(size=each.shape)).reshape(-1, line.shape[2])
