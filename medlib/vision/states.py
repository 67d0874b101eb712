"""The residual stream at image tokens and at text tokens, apart, with repeated images found.

Image tokens come before the question, and under causal attention no token sees what comes after it: one picture asked
about twice gives the same image states twice.  Such repeats make a cloud look denser and lower-dimensional than it is,
and are marked, to be left out before any statistic.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from medlib.errors import MedlibError
from medlib.replay import difference, tolerance
from medlib.vision.inputs import ImagePrompt
from medlib.vision.walk import own_states

KINDS = ("image", "text")


@dataclass(frozen=True)
class TokenStates:
    """States of the tokens of one kind, `[state 0..L, token, hidden]` in float32, and a table with a row for each.

    >>> first = image.tokens.repeats.isna().to_numpy()
    >>> geometry.anisotropy(image.states[20][first])

    `tokens`: `prompt` (index), `position` (in the prompt, 0-based), `row`, `column` (of the grid; null for text),
    `token` (text), `repeats` (the earlier prompt whose image states these are, else null).
    """

    states: np.ndarray
    tokens: pd.DataFrame


def token_states(model, prompts, sample=None, seed=0):
    """States of image tokens and of text tokens after every block: {"image": TokenStates, "text": TokenStates}.

    >>> found = token_states(model, [image_prompt(model, path, "What is shown?") for path in paths])
    >>> found["image"].states.shape                 # [state 0..L, token, hidden]

    `prompts`: `ImagePrompt`s; `sample`: so many tokens of each kind a prompt, drawn with `seed` (the same places in
    prompts of one length), all by default.  A prompt repeats an earlier one's image when all that goes into the image
    tokens is equal and so are the states, within the tolerance of the model's precision.  States are those of
    the model's own forward.  Raises `MedlibError` for an empty list, and for logits that are NaN.
    """
    if isinstance(prompts, str | ImagePrompt) or not hasattr(prompts, "__iter__"):
        raise MedlibError("prompts must be a list of ImagePrompts. Put a single one in a list.")
    prompts = list(prompts)
    if not prompts:
        raise MedlibError("The list of prompts is empty; give at least one ImagePrompt.")
    if sample is not None and sample < 1:
        raise MedlibError(f"sample={sample}; give at least 1 token of each kind, or None for all.")
    found, seen = {kind: ([], []) for kind in KINDS}, {}
    for number, prompt in enumerate(prompts):
        states = torch.cat(own_states(model, prompt)[0])  # [state, position, hidden]
        image = states[:, torch.as_tensor(prompt.image, device=states.device)].float().cpu()
        repeats = _repeated(model, prompt, image, seen, number)
        for kind, positions in (("image", prompt.image), ("text", prompt.words)):
            order = np.arange(len(positions))
            if sample is not None:
                order = np.sort(np.random.default_rng(seed).permutation(len(positions))[:sample])
            at = torch.as_tensor(positions[order], device=states.device)
            found[kind][0].append(states[:, at].float().cpu().numpy())
            found[kind][1].append(_rows(model, prompt, number, kind, positions[order], order, repeats))
    return {
        kind: TokenStates(np.concatenate(states, axis=1), pd.concat(rows, ignore_index=True))
        for kind, (states, rows) in found.items()
    }


def _repeated(model, prompt, image, seen, number):
    """The earlier prompt with the same image states, or None; `seen`: {what goes in: (prompt, its image states)}.

    Only the states of the last layer are kept to compare: they follow from all the others.
    """
    before = prompt.inputs["input_ids"][0, : prompt.image[-1] + 1]
    key = (prompt.inputs["pixel_values"].float().cpu().numpy().tobytes(), tuple(before.tolist()))
    if key not in seen:
        seen[key] = number, image[-1].clone()
        return None
    earlier, last = seen[key]
    return earlier if difference(last, image[-1]) <= tolerance(model) else None


def _rows(model, prompt, number, kind, positions, order, repeats):
    ids = prompt.inputs["input_ids"][0].cpu().numpy()
    columns = prompt.view.grid[1]
    image = kind == "image"
    table = pd.DataFrame(
        {
            "prompt": number,
            "position": positions,
            "row": order // columns if image else pd.NA,
            "column": order % columns if image else pd.NA,
            "token": [model.tokenizer.decode([token]) for token in ids[positions]],
            "repeats": repeats if image and repeats is not None else pd.NA,
        }
    )
    return table.astype({"row": "Int64", "column": "Int64", "repeats": "Int64"})
