"""Patching image tokens: which pieces of the picture, at which layer, hold what tells two pictures apart.

Two prompts differ in their picture only.  At one layer the states of chosen image tokens are taken from the clean run
into the corrupt one, and beside them those of as many other image tokens, drawn at random.
"""

from functools import partial

import numpy as np
import pandas as pd
import torch

from medlib.errors import MedlibError
from medlib.replay import run_blocks
from medlib.vision.inputs import answer_id, check_prompt
from medlib.vision.walk import Walk, states_asked


@torch.no_grad()
def image_patch_sweep(model, clean, corrupt, tokens, answer, wrong, layers=None, draws=5, seed=0, among=None):
    """Patch the states of a set of image tokens from the clean picture's run, at every layer, beside random sets.

    >>> table = image_patch_sweep(model, clean, corrupt, prompt.view.to_grid(region) > 0.5, " yes", " no")
    >>> table.groupby(["tokens", "layer"]).recovered.mean()

    `clean`, `corrupt`: `ImagePrompt`s with the same text; `tokens`: a mask `[row, column]`; `answer`, `wrong`: right
    for the clean and for the corrupt picture, compared by their first tokens.  Returns one row per set and state:
    `tokens` ("chosen", "random"), `draw` (0 for the chosen), `layer` (0..L, the state that is replaced; 0 is what
    enters block 1), `clean_diff`, `corrupt_diff`, `logit_diff` (answer minus wrong, logits; patched), `recovered`
    (logit_diff - corrupt_diff) / (clean_diff - corrupt_diff).  Random sets hold as many image tokens, all
    outside the mask, drawn with `seed`, of those in the mask `among` where it is given (such as the tissue).  `attrs`:
    `no_op`, `seed`.  Raises `MedlibError` for prompts whose texts or grids differ, equal pictures, a mask that is empty
    or leaves too few other tokens, and answers that begin with the same token.
    """
    for prompt in (clean, corrupt):
        check_prompt(model, prompt)
    if draws < 0:
        raise MedlibError(f"draws={draws}; give 0 or more.")
    sets = _sets(clean, corrupt, tokens, draws, seed, among)
    pair = [answer_id(model, clean, text) for text in (answer, wrong)]
    if pair[0] == pair[1]:
        raise MedlibError(
            f"The answers {answer!r} and {wrong!r} begin with the same token; their logits cannot differ."
        )
    layers = states_asked(model, layers)
    both = {
        name: torch.cat([value, clean.inputs[name]]) if torch.is_tensor(value) else value
        for name, value in corrupt.inputs.items()
    }
    walk = Walk(model, both)
    ends = walk.logit(pair, walk.states[-1])
    corrupt_diff, clean_diff = (ends[:, 0] - ends[:, 1]).tolist()
    span = clean_diff - corrupt_diff
    rows = []
    for name, draw, chosen in sets:
        found = _branches(walk, layers, torch.as_tensor(clean.image[chosen], device=model.device), pair)
        for layer, diff in zip(layers, found, strict=True):
            recovered = (diff - corrupt_diff) / span if span else float("nan")
            rows.append((name, draw, layer, clean_diff, corrupt_diff, diff, recovered))
    columns = ["tokens", "draw", "layer", "clean_diff", "corrupt_diff", "logit_diff", "recovered"]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs = {"no_op": walk.no_op, "seed": seed}
    return table


def _sets(clean, corrupt, tokens, draws, seed, among):
    """`(name, draw, numbers of image tokens)` of the chosen set and of the random ones."""
    if not torch.equal(clean.inputs["input_ids"], corrupt.inputs["input_ids"]):
        raise MedlibError("The two prompts differ in their text; give the same question to both pictures.")
    if clean.view.grid != corrupt.view.grid:
        raise MedlibError(f"The two pictures have grids {clean.view.grid} and {corrupt.view.grid}; they must agree.")
    if torch.equal(clean.inputs["pixel_values"], corrupt.inputs["pixel_values"]):
        raise MedlibError("The two pictures are the same to the model, so nothing can be patched.")
    mask = np.asarray(tokens)
    if mask.shape != clean.view.grid or mask.dtype != bool:
        raise MedlibError(f"tokens is {mask.dtype} {mask.shape}; give a mask (bool) over the grid {clean.view.grid}.")
    among = np.ones_like(mask) if among is None else np.asarray(among)
    if among.shape != mask.shape or among.dtype != bool:
        raise MedlibError(f"among is {among.dtype} {among.shape}; give a mask (bool) of the shape {mask.shape}.")
    chosen, others = np.flatnonzero(mask), np.flatnonzero(~mask & among)
    if not len(chosen):
        raise MedlibError("The mask of tokens is empty; choose at least one image token.")
    if draws and len(others) < len(chosen):
        raise MedlibError(
            f"{len(chosen)} tokens are chosen, and there are too few others ({len(others)}) to compare with. Choose "
            "at most half of them, or draws=0."
        )
    random = np.random.default_rng(seed)
    drawn = [("random", draw, random.choice(others, len(chosen), replace=False)) for draw in range(draws)]
    return [("chosen", 0, chosen), *drawn]


def _branches(walk, layers, positions, pair):
    """Logit differences of the corrupt run, patched at `positions` in one of the states `layers`: a list.

    A branch enters where it is patched, so that one walk up serves them all; the tokens before the first patched one
    are those of the walk.
    """
    start = int(positions.min()) if walk.shares_positions else 0
    positions, corrupt = positions - start, walk.states[-1][:1, start:]
    table = corrupt.new_empty(len(layers), *corrupt.shape[1:])
    zero = torch.zeros(len(layers), dtype=torch.long, device=corrupt.device)
    entered = 0
    for layer in range(walk.model.n_layers + 1):
        if layer and entered:
            run_blocks(walk.replay, layer, table[:entered], zero[:entered], partial(walk.block_from, start=start))
        if entered < len(layers) and layers[entered] == layer:
            table[entered] = walk.states[layer][0, start:]
            table[entered, positions] = walk.states[layer][1, start:][positions]
            entered += 1
    logits = walk.logit(pair, table)
    return (logits[:, 0] - logits[:, 1]).tolist()
