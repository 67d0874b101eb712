"""A baseline that sees the picture and no model: how far a token's brightness is from that of the brain.

The lesions of this book are brighter or darker than what lies around them, so a map that only follows brightness finds
many of them.  A map of an answer has to do better than that.
"""

import numpy as np

from medlib.chapters.grad_cam.lesion_scenes import brain_tokens


def brightness_map(view, picture, brain):
    """How far the brain's pixels in a token are from the median of the brain, on average: `[row, column]`, 0..255.

    >>> brightness_map(prompt.view, prompt.picture, brain_of(row))

    `picture`: the original, in RGB; `brain`: which pixels show it, bool `[height, width]`.  The background beside the
    brain does not count; tokens that are not brain by at least half are -1, behind all others.
    """
    grey = np.asarray(picture, dtype=np.float64).mean(-1)
    away = np.abs(grey - np.median(grey[brain])) * brain
    tokens = brain_tokens(view, brain)
    share = np.where(tokens, view.to_grid(brain), 1)
    return np.where(tokens, np.nan_to_num(view.to_grid(away)) / share, -1.0)
