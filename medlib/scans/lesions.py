"""Lesions: bright or dark spots painted into a slice at a place that is known.

A lesion is an ellipse in the plane of the slice, soft at its edge and uneven inside.  It is painted in millimetres of
the template before the picture is drawn, so its mask in the picture is exact.  Simulated lesions look like no disease
in particular; what they give is a truth to measure against.
"""

from typing import NamedTuple

import numpy as np

EDGE = 1.5  # mm over which a lesion fades


class Lesion(NamedTuple):
    """`across`, `down`: its middle, mm of the template; `radius`: mm, of a circle of its area; `stretch`: the ratio of
    its axes; `turn`: degrees; `level`: the brightness it has (the brain's own is 0 to 0.7); `seed` of its texture.
    """

    across: float
    down: float
    radius: float
    stretch: float
    turn: float
    level: float
    seed: int


def paint(brightness, across, down, lesion):
    """A slice with a lesion in it: `(brightness, mask)`, both `[row, column]`.

    >>> painted, mask = paint(brightness, *millimetres(view), lesion)

    `across`, `down`: what each pixel shows, mm (see slices.millimetres).  The mask is True where the lesion covers more
    than half.
    """
    turn = np.deg2rad(lesion.turn)
    x, y = across - lesion.across, down - lesion.down
    along = (x * np.cos(turn) + y * np.sin(turn)) / lesion.stretch**0.5
    aside = (y * np.cos(turn) - x * np.sin(turn)) * lesion.stretch**0.5
    inside = np.clip((lesion.radius - np.hypot(along, aside)) / EDGE + 0.5, 0, 1)
    waves = np.random.default_rng(lesion.seed).uniform(0, 2 * np.pi, 2)
    texture = 0.03 * (np.sin(x / 2 + waves[0]) + np.sin(y / 2 + waves[1]))
    painted = brightness * (1 - inside) + (lesion.level + texture) * inside
    return painted.astype(brightness.dtype), inside > 0.5  # in one precision, so that nothing changes far from it
