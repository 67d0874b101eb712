"""The view: where on the original picture the model's image tokens lie.

A processor resizes, crops and pads as it likes, and the way it says so differs from one to the next.  So the view is
measured: two ramps, a black and a white picture of the same size go through the processor, and every pixel that comes
out tells which place of the original it shows, or that it is padding.  Along each axis the places are a straight line.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from medlib.errors import MedlibError

SMALLEST = 5  # pixels a side: below, a filter bends the whole ramp, and tokens were found a third of one off


@dataclass(frozen=True)
class View:
    """Rows and columns of image tokens on the original picture.

    >>> view.boxes()[0, 0]                          # top, left, bottom, right of the first token, in original pixels
    >>> view.to_picture(heat)                       # [row, column] -> [height, width] of the original

    `grid` (rows, columns); `size` (height, width) of the original, pixels; `origin` and `cell`: where the grid begins
    and how large a token is, (down, across), original pixels.  A grid may begin outside the picture (padding), and a
    picture may reach outside the grid (crop).
    """

    grid: tuple[int, int]
    size: tuple[int, int]
    origin: tuple[float, float]
    cell: tuple[float, float]

    def boxes(self):
        """Each token's box in original pixels: `[row, column, 4]` with top, left, bottom, right."""
        row, column = np.indices(self.grid)
        top, left = self.origin[0] + row * self.cell[0], self.origin[1] + column * self.cell[1]
        return np.stack([top, left, top + self.cell[0], left + self.cell[1]], axis=-1)

    @cached_property
    def places(self):
        """For each pixel row and each pixel column of the original the grid's row and column, -1 where it has none."""
        found = []
        for length, count, origin, cell in zip(self.size, self.grid, self.origin, self.cell, strict=True):
            at = np.floor((np.arange(length) + 0.5 - origin) / cell).astype(int)
            found.append(np.where((at >= 0) & (at < count), at, -1))
        return tuple(found)

    @cached_property
    def tokens(self):
        """The token that each original pixel belongs to, row by row; -1 where the model does not see it."""
        down, across = self.places
        number = down[:, None] * self.grid[1] + across[None]
        return np.where((down[:, None] >= 0) & (across[None] >= 0), number, -1)

    def to_picture(self, heat):
        """A map over the tokens, `[row, column]`, at each original pixel, `[height, width]`; NaN where none sees it."""
        heat = on_grid(heat, self.grid)
        return np.where(self.tokens >= 0, heat.ravel()[self.tokens], np.nan)

    def to_grid(self, region):
        """The mean of a picture `[height, width]` (such as a region, 0 or 1) in each token: `[row, column]`.

        A token that lies in the padding alone is NaN.
        """
        region = np.asarray(region, dtype=np.float64)
        if region.shape != self.size:
            raise MedlibError(f"The region has shape {region.shape} and the picture {self.size}; they must agree.")
        seen, count = self.tokens >= 0, self.grid[0] * self.grid[1]
        pixels = np.bincount(self.tokens[seen], minlength=count)
        sums = np.bincount(self.tokens[seen], weights=region[seen], minlength=count)
        return np.divide(sums, pixels, out=np.full(count, np.nan), where=pixels > 0).reshape(self.grid)

    def in_picture(self):
        """Which tokens hold at least one pixel of the picture, rather than padding alone: `[row, column]`."""
        return np.isfinite(self.to_grid(np.zeros(self.size)))


def on_grid(heat, grid):
    """A map over the grid as float64 `[row, column]`; refuses another shape, or NaN."""
    heat = np.asarray(heat, dtype=np.float64)
    if heat.shape != tuple(grid) or not np.isfinite(heat).all():
        raise MedlibError(f"A map of shape {heat.shape} was given; it needs a finite number for each of {grid} tokens.")
    return heat


def find_grid(count, height, width):
    """Rows and columns of `count` image tokens over a processed picture, the tokens near to square.

    >>> find_grid(576, 336, 336)
    (24, 24)

    Raises `MedlibError` where no such grid has that many tokens, as when a class token is among them.
    """
    rows, columns = round((count * height / width) ** 0.5), round((count * width / height) ** 0.5)
    if not count or rows * columns != count:
        raise MedlibError(
            f"{count} image tokens make no grid over a picture of {height} x {width} pixels. A class token among them, "
            "or a picture cut into tiles, does that; choose the processor's plain patches of one whole picture."
        )
    return rows, columns


def measure_view(process, size, count, patch=None):
    """The view of a picture of `size` (height, width), measured on pictures that say where each pixel is.

    `process`: PIL image -> `[channel, height, width]` as the model sees it; `count` image tokens; `patch`: side of the
    vision tower's patch, pixels, where known (what does not fill a patch is not seen).  Raises `MedlibError` where the
    processor does more than resize, crop and pad, and for a picture of fewer than 5 pixels a side.
    """
    height, width = size
    if min(size) < SMALLEST:
        raise MedlibError(
            f"A picture of {height} x {width} pixels is too small for image tokens to be mapped to its pixels. Give at "
            f"least {SMALLEST} a side."
        )
    black, white = (_mean(process(Image.new("RGB", (width, height), (level,) * 3))) for level in (0, 255))
    span = white - black
    inside = np.abs(span) > 0.5 * np.abs(span).max()
    grid = find_grid(count, *span.shape)
    origin, cell = [], []
    for axis, length in enumerate(size):
        ramp = np.round((np.arange(length) + 0.5) / length * 255).astype(np.uint8)
        ramp = np.broadcast_to(ramp[:, None] if axis == 0 else ramp[None], size)
        share = (_mean(process(Image.fromarray(ramp).convert("RGB"))) - black) / np.where(inside, span, 1)
        slope, begin = _line(np.where(inside, share, np.nan), axis, length)
        seen = span.shape[axis] if patch is None else span.shape[axis] // patch * patch
        origin.append(begin)
        cell.append(slope * seen / grid[axis])
    return View(grid, tuple(size), tuple(origin), tuple(cell))


def _mean(pixels):
    return np.asarray(pixels, dtype=np.float64).mean(axis=0)


def _line(share, axis, length):
    """Original pixels for each processed one along an axis, and the original place of the first one's edge."""
    if not np.isfinite(share).any():
        raise MedlibError("The processor leaves nothing of the picture.")
    with np.errstate(invalid="ignore"):
        there = np.isfinite(share)
        along = np.where(there, share, 0).sum(axis=1 - axis) / np.maximum(there.sum(axis=1 - axis), 1)
        spread = np.nanmax(np.where(there, np.abs(share - np.expand_dims(along, 1 - axis)), 0))
    at = np.flatnonzero(there.any(axis=1 - axis))
    value = along[at]
    margin = min(3 / length, 0.25)  # a filter that reaches over the picture's edge bends the ramp there
    inner = (value > margin) & (value < 1 - margin)
    if inner.sum() < 2:
        inner = np.ones_like(inner)
    if len(at) < 2:
        raise MedlibError("The processor leaves less than two pixels of the picture along a side.")
    slope, level = np.polyfit(at[inner] + 0.5, value[inner] * length, 1)
    bent = np.abs(slope * (at[inner] + 0.5) + level - value[inner] * length).max()
    if spread > 0.05 or bent > max(0.03 * length, 1) or slope <= 0:
        raise MedlibError(
            "The processor does more to a picture than to resize, crop and pad it, so tokens cannot be mapped back to "
            "its pixels."
        )
    return float(slope), float(level)
