"""Is a heat map right?  Scores of a map against a known region, and against what the answer does without it.

A map has to beat two baselines that know nothing of the answer: the centre of the picture, where photographers put what
matters, and tokens in random order.  A third, the map of a model with its weights in random order, is randomised.py's.
"""

from hashlib import sha256
from numbers import Integral

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageFilter

from medlib.errors import MedlibError
from medlib.replay import tokens_per_call
from medlib.vision.inputs import answer_id, check_prompt, pixels_of
from medlib.vision.pictures import read_picture
from medlib.vision.view import on_grid
from medlib.vision.walk import own_logits

FILLS = ("mean", "blur")


def pointing_score(view, heat, region):
    """The share of the hottest token's pixels that lie in a region; over several hottest tokens their mean.

    >>> pointing_score(prompt.view, heat, region)

    `heat`: `[row, column]`; `region`: a mask (bool) of the original picture, `[height, width]`.  0..1; chance is the
    region's share of the pixels seen.  Raises `MedlibError` for another shape, and a region that is empty or not seen.
    Source: Zhang et al. 2016 (arXiv 1608.00507), whose hit is a score above 0.
    """
    heat, region = on_grid(heat, view.grid), _region(view, region)
    inside = view.to_grid(region)
    heat = np.where(np.isfinite(inside), heat, -np.inf)
    return float(inside[heat == heat.max()].mean())


def overlap(view, heat, region, threshold=0.5):
    """Intersection over union of a region and the pixels hotter than a threshold.

    >>> overlap(prompt.view, heat, region, threshold=0.5)

    `threshold`: a share of the way from the map's smallest to its largest value, 0..1.  Other arguments and errors as
    in `pointing_score`.
    """
    if not 0 <= threshold <= 1:
        raise MedlibError(f"threshold={threshold} is no share; give 0 to 1.")
    shown, region = view.to_picture(heat), _region(view, region)
    seen = np.isfinite(shown)
    low, high = shown[seen].min(), shown[seen].max()
    hot = seen & (shown >= low + threshold * (high - low))
    return float((hot & region).sum() / (hot | (region & seen)).sum())


def _region(view, region):
    region = np.asarray(region)
    if region.dtype != bool or region.shape != view.size:
        raise MedlibError(f"The region is {region.dtype} {region.shape}; give a mask (bool) of shape {view.size}.")
    if not (region & (view.tokens >= 0)).any():
        raise MedlibError("The region is empty, or lies where the model sees nothing of the picture.")
    return region


def centre_map(view):
    """A map that knows only where the middle of the picture is: the nearer, the hotter; `[row, column]`, pixels."""
    boxes = view.boxes()
    down = (boxes[..., 0] + boxes[..., 2]) / 2 - view.size[0] / 2
    across = (boxes[..., 1] + boxes[..., 3]) / 2 - view.size[1] / 2
    return -np.hypot(down, across)


def random_map(view, seed):
    """A map of tokens in random order: `[row, column]`."""
    return np.random.default_rng(seed).permutation(view.grid[0] * view.grid[1]).reshape(view.grid).astype(float)


def curves(model, prompt, heat, answer, fill="mean", steps=16):
    """The answer's probability as the picture is deleted in the order of a map, and as it is inserted.

    >>> curves(model, prompt, heat, "Yes").pivot(index="share", columns="curve", values="p")

    Tokens are filled hottest first, on the original pixels: with the picture's "mean" colour, from a "blur" of it as
    wide as two tokens, or from another picture of its size that `fill` is (what `read_picture` takes).  Ties go
    row by row.  Returns one row per curve and step: `curve` ("deletion": of the picture, "insertion": into the filled
    one), `share` (of tokens filled, or inserted), `p` (of the answer's first token).
    `attrs["area"]`: the area under each curve, 0..1; a good map has a small one for deletion and a large one for
    insertion.  Raises `MedlibError` for another fill, or fewer than one step.  Source: Petsiuk et al. 2018 (arXiv
    1806.07421).
    """
    table = map_curves(model, prompt, {"": heat}, answer, fill, steps)
    area = {curve: area for (_, curve), area in table.attrs["area"].items()}
    table = table.drop(columns="map")
    table.attrs["area"] = area
    return table


def map_curves(model, prompt, maps, answer, fill="mean", steps=16):
    """`curves` of several maps, one under the other; a picture that several of them come to is asked about once.

    >>> map_curves(model, prompt, {"grad_cam": heat, "rollout": other}, "Yes").attrs["area"]["grad_cam", "deletion"]

    `maps`: {name: `[row, column]`}.  Columns of `curves` after `map`; `attrs["area"]`: (map, curve) -> area.
    """
    if not isinstance(maps, dict):
        raise MedlibError(f"maps is a {type(maps).__name__}; give a dict of maps by their names.")
    if isinstance(fill, str) and fill not in FILLS:
        raise MedlibError(f"fill={fill!r} is not known. Choose one of {', '.join(FILLS)}, or give a picture.")
    if not isinstance(steps, Integral) or steps < 1:
        raise MedlibError(f"steps={steps}; give a whole number, at least 1.")
    token, view = answer_id(model, prompt, answer), prompt.view
    there = np.flatnonzero(view.in_picture().ravel())
    counts = np.unique(np.round(np.linspace(0, len(there), min(steps, len(there)) + 1)).astype(int))
    own, filled = np.asarray(prompt.picture), _filled(prompt, fill)
    orders = [there[np.argsort(-on_grid(heat, view.grid).ravel()[there], kind="stable")] for heat in maps.values()]
    pictures = (
        np.where(np.isin(view.tokens, order[:count])[..., None], below, above)
        for order in orders
        for below, above in ((filled, own), (own, filled))  # deletion puts the filling over the picture
        for count in counts
    )
    p = _probabilities(model, prompt, pictures, token)
    names = np.repeat(["deletion", "insertion"], len(counts))
    share = np.tile(counts / len(there), 2)
    columns = dict(map=np.repeat(list(maps), len(names)), curve=np.tile(names, len(maps)))
    table = pd.DataFrame(columns | dict(share=np.tile(share, len(maps)), p=p))
    table.attrs["area"] = {
        which: float(np.trapezoid(of_one["p"], of_one["share"])) for which, of_one in table.groupby(["map", "curve"])
    }
    return table


def _filled(prompt, fill):
    """The picture with nothing left in it: `[height, width, 3]`, uint8."""
    if not isinstance(fill, str):
        other = read_picture(fill)
        if other.size != prompt.picture.size:
            raise MedlibError(f"The filling has {other.size} pixels and the picture {prompt.picture.size}.")
        return np.asarray(other)
    if fill == "mean":
        colour = np.asarray(prompt.picture).reshape(-1, 3).mean(0).round().astype(int)
        return np.asarray(Image.new("RGB", prompt.picture.size, tuple(colour.tolist())))
    return np.asarray(prompt.picture.filter(ImageFilter.GaussianBlur(2 * max(prompt.view.cell))))


@torch.no_grad()
def _probabilities(model, prompt, pictures, token):
    """The probability of a token after the prompt with each of some pictures in it; equal ones are asked once."""
    step, found, waiting, keys = max(1, tokens_per_call(model) // prompt.length), {}, {}, []

    def ask():
        pixels = torch.cat([*waiting.values()])
        inputs = {
            name: value.repeat(len(pixels), *[1] * (value.ndim - 1)) if torch.is_tensor(value) else value
            for name, value in prompt.inputs.items()
        }
        logits = own_logits(model, inputs | {"pixel_values": pixels})[:, -1].double()
        found.update(zip(waiting, logits.softmax(-1)[:, token].tolist(), strict=True))
        waiting.clear()

    for shown in pictures:
        keys.append(sha256(shown.tobytes()).digest())
        if keys[-1] not in found and keys[-1] not in waiting:
            waiting[keys[-1]] = pixels_of(model, Image.fromarray(shown))
        if len(waiting) == step:
            ask()
    if waiting:
        ask()
    return [found[key] for key in keys]


def score_maps(model, prompt, maps, answer, region=None, threshold=0.5, fill="mean", steps=16, draws=5, seed=0):
    """Every score of some maps, beside the centre of the picture and random tokens.

    >>> score_maps(model, prompt, {"grad_cam": heat, "rollout": other}, "Yes", region=lesion)

    `maps`: {name: `[row, column]`}; `region`: a mask of the original picture, or None.  Returns one row per map, with
    "centre" and `draws` times "random" (of `seed`) added: `map`, `draw`, `pointing`, `overlap` (NaN without a region),
    `deletion`, `insertion` (areas under the curves).
    """
    if not isinstance(maps, dict):
        raise MedlibError(f"maps is a {type(maps).__name__}; give a dict of maps by their names.")
    check_prompt(model, prompt)
    every = [(name, 0, heat) for name, heat in maps.items()]
    every += [("centre", 0, centre_map(prompt.view))]
    every += [("random", draw, random_map(prompt.view, [seed, draw])) for draw in range(draws)]
    numbered = {number: heat for number, (*_, heat) in enumerate(every)}
    filled = map_curves(model, prompt, numbered, answer, fill, steps)
    area, rows = filled.attrs["area"], []
    for number, (name, draw, heat) in enumerate(every):
        known = (np.nan, np.nan)
        if region is not None:
            known = pointing_score(prompt.view, heat, region), overlap(prompt.view, heat, region, threshold)
        rows.append((name, draw, *known, area[number, "deletion"], area[number, "insertion"]))
    table = pd.DataFrame(rows, columns=["map", "draw", "pointing", "overlap", "deletion", "insertion"])
    table.attrs = {"seed": seed, "threshold": threshold, "fill": fill}
    return table
