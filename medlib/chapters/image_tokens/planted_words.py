"""What is planted, and has to be found: words at image tokens, and a block that alone moves what the picture holds."""

import itertools

import numpy as np
import torch

from medlib import hooks, patching
from medlib.chapters.image_tokens.image_sites import as_written, parts
from medlib.errors import MedlibError
from medlib.prompts import Pair
from medlib.vision.logit_lens import logit_lens
from medlib.vision.walk import own_logits

WHOLE = ("all image", "question", "last")  # parts of the prompt for which it is known what a patch must recover


def planted_share(model, prompt, layer, tokens):
    """Of words planted at the image tokens after block `layer`, the share that the lens reads there as the first word.

    >>> planted_share(model, prompt, 15, [1234, 567])
    1.0

    `tokens`: ids, given to the image tokens in turn.  An image token's state is set to the word's row of the
    unembedding less the mean of all rows, at the length that the token's own state has; without that mean, words with
    long rows come first whatever is planted.
    """
    at = torch.as_tensor(prompt.image, device=model.device)
    given = np.resize(np.asarray(tokens), len(prompt.image))
    rows = model.unembedding(torch.as_tensor(given))[0].float() - _mean_row(model)

    def plant(state):
        if state.numel() % (prompt.length * model.hidden_size):  # a probe of the model, not the prompt
            return state
        state = state.clone()
        own = state.view(-1, prompt.length, model.hidden_size)
        length = own[:, at].float().norm(dim=-1, keepdim=True)
        own[:, at] = (rows.to(length) / rows.to(length).norm(dim=-1, keepdim=True) * length).to(state.dtype)
        return state

    with hooks.replace(model, layer, plant):
        found = logit_lens(model, prompt, [layer])
    return float((found["token"].to_numpy() == given).mean())


def planted_handover(model, clean, corrupt, layer, words):
    """What patches recover where one block is left in place: rows of `patch_sweep`, and `expected`.

    With all other blocks taken out, what the picture holds can reach the last token in block `layer` alone: before it
    all image tokens together recover everything and the last token nothing, from it on the other way round.  The words
    between recover nothing at any.  The answer and the wrong answer are the two of `words` that the
    pictures tell apart best.  Raises `MedlibError` where they tell none apart.
    """
    with hooks.only(model, layer):
        answer, wrong = _told_apart(model, clean, corrupt, words)
        pair = Pair(clean, corrupt, answer, wrong)
        groups = parts(clean, np.eye(*clean.view.grid, dtype=bool), np.ones(clean.view.grid, bool))
        table = patching.patch_sweep(model, [pair], groups=groups[groups["group"].isin(WHOLE)].assign(pair=0))
    before = table["layer"] < layer
    holds = {"all image": before, "last": ~before, "question": before & False}
    return table.assign(expected=sum((table["group"] == part) & where for part, where in holds.items()).astype(float))


def furthest(table):
    """The largest distance of what was recovered from what has to be."""
    return float((table["recovered"] - table["expected"]).abs().max())


def _told_apart(model, clean, corrupt, words):
    gap = (own_logits(model, clean.inputs) - own_logits(model, corrupt.inputs))[0, -1]
    written = [as_written(clean, word) for word in words]
    ids = [patching.answer_token(model, clean, word) for word in written]
    values = gap[ids].tolist()
    pairs = [(values[a] - values[b], a, b) for a, b in itertools.permutations(range(len(ids)), 2) if ids[a] != ids[b]]
    best, a, b = max(pairs)
    if not best > 0:
        raise MedlibError("The two pictures give the same logits for all words, so nothing of them can be traced.")
    return written[a], written[b]


def _mean_row(model):
    total = 0
    for part in model.vocabulary_parts():
        rows = slice(0, model.vocabulary) if part is None else part
        total = total + model.unembedding(rows)[0].float().sum(0)
    return total / model.vocabulary
