"""Pictures filled token by token, in the order of a map, and what the model says of each.

A lesion touches two or three tokens, so what matters happens in the first few steps.  Steps are therefore counted in
tokens, one at first, and a picture that two orders come to is asked about once: filled from a picture that differs in a
few tokens only, every token can be a step of its own.
"""

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageFilter

from medlib.replay import tokens_per_call
from medlib.vision.inputs import answer_id, pixels_of
from medlib.vision.walk import own_logits


def blurred(prompt):
    """The picture blurred as wide as two tokens: uint8 `[height, width, 3]`."""
    return np.asarray(prompt.picture.filter(ImageFilter.GaussianBlur(2 * max(prompt.view.cell))))


def growing(tokens, steps):
    """Numbers of tokens that grow by about the same factor, from none over one to all: `[step]`.

    >>> growing(100, 6)
    array([  0,   1,   3,   6,  16,  40, 100])
    """
    counts = np.round(np.geomspace(1, tokens, steps)) if steps > 1 else [tokens]
    return np.unique([0, *counts]).astype(int)


def curves(model, prompt, maps, answer, filling, counts):
    """The probability of an answer as tokens are filled, hottest first, and as a filled picture is restored.

    >>> curves(model, prompt, {"grad_cam": heat}, " yes", twin, growing(100, 10))

    `maps`: {name: `[row, column]`}; `filling`: a picture of the same size, uint8 `[height, width, 3]`; `counts`: after
    how many tokens the model is asked, rising from 0.  Ties go row by row; pixels that the model does not see stay.
    Returns a row for each map, curve and count: `map`, `curve` ("deletion", "insertion"), `share` (of tokens filled, or
    restored), `p`, and `area`, the one under the whole curve.  Source: Petsiuk et al. 2018 (arXiv 1806.07421).
    """
    view, own = prompt.view, np.asarray(prompt.picture)
    there = np.flatnonzero(view.in_picture().ravel())
    differs = np.nan_to_num(view.to_grid((own != filling).any(-1))).ravel() > 0
    parts, needed = [], {}
    for name, heat in maps.items():
        place = np.empty(differs.size, dtype=int)
        place[there[np.argsort(-np.ravel(heat)[there], kind="stable")]] = np.arange(len(there))
        for curve in ("deletion", "insertion"):
            filled = [((place < count) == (curve == "deletion")) & differs for count in counts]
            needed |= {mask.tobytes(): mask for mask in filled}
            keys = [mask.tobytes() for mask in filled]
            parts.append(pd.DataFrame(dict(map=name, curve=curve, share=counts / len(there), p=keys)))
    pictures = (np.where((mask[view.tokens] & (view.tokens >= 0))[..., None], filling, own) for mask in needed.values())
    found = probabilities(model, prompt, pictures, answer_id(model, prompt, answer))
    of_key = dict(zip(needed, found, strict=True))
    for part in parts:
        part["p"] = part["p"].map(of_key)
        part["area"] = float(np.trapezoid(part["p"], part["share"]))
    return pd.concat(parts, ignore_index=True)


@torch.no_grad()
def probabilities(model, prompt, pictures, token):
    """The probability of a token after a prompt with each of some pictures in it: a list."""
    step, found, waiting = max(1, tokens_per_call(model) // prompt.length), [], []

    def ask():
        pixels = torch.cat(waiting)
        inputs = {
            name: value.repeat(len(pixels), *[1] * (value.ndim - 1)) if torch.is_tensor(value) else value
            for name, value in prompt.inputs.items()
        }
        logits = own_logits(model, inputs | {"pixel_values": pixels})[:, -1].double()
        found.extend(logits.softmax(-1)[:, token].tolist())
        waiting.clear()

    for picture in pictures:
        waiting.append(pixels_of(model, Image.fromarray(picture)))
        if len(waiting) == step:
            ask()
    if waiting:
        ask()
    return found
