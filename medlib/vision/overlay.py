"""A heat map over the original picture, each token's colour on the pixels that the model saw there."""

import numpy as np


def overlay(ax, prompt, heat, alpha=0.5, limits=None):
    """Draw a map over the original picture on an axes of matplotlib; returns what a colour bar is made of.

    >>> drawn = overlay(ax, prompt, heat)
    >>> figure.colorbar(drawn, label="Grad-CAM (logits)")

    `heat`: `[row, column]`; `alpha`: how opaque the map is, 0..1; `limits`: the values at the ends of the colours,
    those of the map by default (give the same to maps that are compared).  What the model did not see stays bare.
    Raises `MedlibError` for a map of another shape.
    """
    shown = prompt.view.to_picture(heat)
    low, high = (np.nanmin(shown), np.nanmax(shown)) if limits is None else limits
    height, width = prompt.view.size
    ax.imshow(prompt.picture.convert("L"), cmap="grey", vmin=0, vmax=255)
    drawn = ax.imshow(
        np.ma.masked_invalid(shown),
        cmap="viridis",
        alpha=alpha,
        vmin=low,
        vmax=high,
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        interpolation="nearest",
    )
    ax.set_axis_off()
    return drawn
