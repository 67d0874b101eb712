"""Places: the residual stream read at several places of each prompt in one walk up the layers.

Reading three places by three calls of `medlib.activations` would pay for three walks.
"""

import numpy as np
import torch

from medlib.errors import MedlibError
from medlib.prompts import batches, check, encode
from medlib.replay import Replay, check_no_op, tokens_per_call
from medlib.states import entity_tokens

PLACES = ("entity", "mean", "last")


@torch.no_grad()
def states(model, prompts, at=PLACES):
    """The states of each prompt at each place: place -> float32 `[state 0..L, prompt, hidden]`.

    >>> states(model, [Prompt.fill("{entity} is used to treat", "Insulin")])["mean"].shape
    (31, 1, 576)

    `at`: some of "entity" (the last token of the item), "mean" (the mean over the item's tokens) and "last" (the last
    token of the prompt), as in `medlib.activations`, which gives the same numbers.  Raises `MedlibError` as it does.
    """
    if not at or not set(at) <= set(PLACES):
        raise MedlibError(f"at={at!r} names no places. Give some of {', '.join(map(repr, PLACES))}.")
    prompts = check(prompts)
    ids = encode(model, prompts)
    spans = [_spans(model, prompt, len(tokens), at) for prompt, tokens in zip(prompts, ids, strict=True)]
    found = np.empty((len(at), model.n_layers + 1, len(ids), model.hidden_size), dtype=np.float32)
    tokens = tokens_per_call(model)
    for members, batch, last in batches(ids, lambda length: tokens // length):
        replay = Replay(model, {"input_ids": batch.to(model.device)})
        state = replay.embedding
        weights = state.new_zeros(replay.rows, len(at), replay.positions)
        for row, member in enumerate(members):
            for place, (start, end) in enumerate(spans[member]):
                weights[row, place, start:end] = 1 / (end - start)
        for layer in range(model.n_layers + 1):
            if layer:
                state = replay.block(layer, state)
            found[:, layer, members] = (weights @ state).transpose(0, 1).float().cpu().numpy()
        check_no_op(replay, state[torch.arange(len(members)), last], last, "places.states")
    return dict(zip(at, found, strict=True))


def _spans(model, prompt, length, at):
    """The half-open token spans that the places of a prompt average over."""
    start, end = (0, 0) if tuple(at) == ("last",) else entity_tokens(model, prompt)
    of = {"entity": (end - 1, end), "mean": (start, end), "last": (length - 1, length)}
    return [of[place] for place in at]


def opens(model, prompt):
    """Whether the first token that the model reads, special tokens included, belongs to the item of a prompt.

    >>> opens(model, Prompt.fill("{entity} is used to treat", "Insulin"))

    The first token often carries activations far larger than any other (Sun et al. 2024, arXiv 2402.17762); where a
    tokenizer puts a special token in front, that one takes them, and no item opens the text.
    """
    return entity_tokens(model, prompt)[0] == 0
