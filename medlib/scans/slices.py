"""Slices: one plane of a volume as a picture, under one display convention.

Axial and coronal slices are shown as radiologists show them: the patient's left is on the picture's right; up is front
(axial) or top (coronal).  Sagittal slices look to the picture's left.  The convention never changes.  A mirrored slice
is a slice of a mirrored brain under the same convention: what was on the patient's left is then on the right.

A view turns picture pixels into millimetres of the template, so that a mask, a lesion or a region is drawn with the
very transform of the picture.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates

SIZE = 120  # pixels, height and width of every picture
FIELD = 200.0  # mm that a picture of zoom 1 spans
PLANES = {  # axes (normal, across, down) of RAS, and the middle of the brain across and down, mm
    "axial": ((2, 0, 1), (0.0, -18.0)),
    "coronal": ((1, 0, 2), (0.0, 4.0)),
    "sagittal": ((0, 1, 2), (-18.0, 4.0)),
}


class View(NamedTuple):
    """How a slice is shown.

    `plane`; `position`: mm along the plane's normal; `mirrored`: whether the brain is, left for right (not sagittal);
    `angle`: degrees counter-clockwise; `zoom`; `across`, `down`: mm by which the picture's middle is off the brain's.
    """

    plane: str
    position: int
    mirrored: bool = False
    angle: float = 0.0
    zoom: float = 1.0
    across: float = 0.0
    down: float = 0.0


def millimetres(view):
    """What each pixel shows: `(across, down)`, each `[row, column]`, mm of the template's own (unmirrored) axes.

    >>> across, down = millimetres(View("axial", 20))
    >>> across[0, 0] > 0 > across[0, -1]            # the patient's right on the picture's left
    True
    """
    middle = PLANES[view.plane][1]
    step = FIELD / view.zoom / SIZE
    grid = (np.arange(SIZE) - (SIZE - 1) / 2) * step
    turn = np.deg2rad(view.angle)
    column = grid[None] * np.cos(turn) - grid[:, None] * np.sin(turn) + view.across
    row = grid[None] * np.sin(turn) + grid[:, None] * np.cos(turn) + view.down
    across = middle[0] - column  # columns go to the patient's left, or to the back; rows to the back, or downwards
    return (-across if view.mirrored else across), middle[1] - row


def pixel_of(view, across, down):
    """Where a place of the template, mm, lies in the picture: `(row, column)`, pixels, not rounded."""
    middle = PLANES[view.plane][1]
    right = middle[0] - (-across if view.mirrored else across) - view.across
    below = middle[1] - down - view.down
    turn = np.deg2rad(view.angle)
    step = FIELD / view.zoom / SIZE
    column = (right * np.cos(turn) + below * np.sin(turn)) / step
    row = (-right * np.sin(turn) + below * np.cos(turn)) / step
    return row + (SIZE - 1) / 2, column + (SIZE - 1) / 2


def plane_of(volume, plane, position):
    """One plane of a volume `[x, y, z]` and MNI's 0, 0 mm in it: `[across, down]`, `(across, down)` voxels.

    `volume`: a pair of the array and the `origin` of a `Volume`.
    """
    array, origin = volume
    (normal, across, down), _ = PLANES[plane]
    index = [slice(None)] * 3  # not np.take, which copies the whole volume first
    index[normal] = origin[normal] + position
    return array[tuple(index)], (origin[across], origin[down])


def sample(volume, view, order=1):
    """A volume's values at each pixel of a view: `[row, column]`; 0 outside.  Order 0 for labels, 1 for brightness."""
    flat, origin = plane_of(volume, view.plane, view.position)
    across, down = millimetres(view)
    return map_coordinates(flat, [across + origin[0], down + origin[1]], order=order, mode="constant", prefilter=False)


def to_picture(brightness, gamma=1.0, gain=1.0, noise=0.0, seed=0):
    """Brightness 0..1 `[row, column]` as a grey RGB picture `[row, column, 3]`, uint8.

    `gamma`, `gain` change its contrast; `noise` is the standard deviation of what `seed` adds inside the brain and
    out.
    """
    grey = gain * np.clip(brightness, 0, 1) ** gamma
    grey = grey + noise * np.random.default_rng(seed).standard_normal(grey.shape, np.float32)
    grey = np.round(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
