"""Activations: the residual stream read at one place of each prompt, after every block.

The states come from one walk up the layers without the read-out, whose cost a reader of states need not pay.
"""

import numpy as np
import torch

from medlib.errors import MedlibError
from medlib.prompts import Prompt, batches, check, encode
from medlib.replay import Replay, check_no_op, tokens_per_call


@torch.no_grad()
def activations(model, prompts, at="last"):
    """The residual stream of each prompt, at one place, after every block.

    >>> activations(model, [Prompt.fill("{entity} is used to treat", "Insulin")], at="entity").shape
    (31, 1, 576)

    `at` is "last" (last token of the prompt), "entity" (last token of the entity) or "mean" (mean over the entity's
    tokens); the last two need `medlib.Prompt`s, which know where their entity stands.  Returns float32
    `[state 0..L, prompt, hidden]`.  Raises `MedlibError` for another `at`, an empty prompt, a prompt longer than the
    context, or a model whose replay does not give its own logits.
    """
    prompts = check(prompts)
    ids = encode(model, prompts)
    spans = _spans(model, prompts, ids, at)
    states = np.empty((model.n_layers + 1, len(ids), model.hidden_size), dtype=np.float32)
    tokens = tokens_per_call(model)
    for members, batch, last in batches(ids, lambda length: tokens // length):
        replay = Replay(model, {"input_ids": batch.to(model.device)})
        weights = _weights([spans[i] for i in members], replay)
        state = replay.embedding
        for layer in range(model.n_layers + 1):
            if layer:
                state = replay.block(layer, state)
            states[layer, members] = (weights @ state).squeeze(1).float().cpu().numpy()
        check_no_op(replay, state[torch.arange(len(members)), last], last, "activations")
    return states


def _spans(model, prompts, ids, at):
    """The half-open token span to average over, for each prompt."""
    if at not in ("last", "entity", "mean"):
        raise MedlibError(f'at={at!r} is not a place. Choose "last", "entity" or "mean".')
    if at == "last":
        return [(len(tokens) - 1, len(tokens)) for tokens in ids]
    spans = [entity_tokens(model, prompt) for prompt in prompts]
    return spans if at == "mean" else [(end - 1, end) for _, end in spans]


def entity_tokens(model, prompt):
    """The half-open span of tokens that overlap the entity of a `Prompt`."""
    if not isinstance(prompt, Prompt):
        raise MedlibError(
            f"The prompt {prompt!r} does not say where its entity stands. Build it with medlib.Prompt.fill (and pass a "
            'list: an array or a Series of pandas keeps the text alone), or use at="last".'
        )
    if not getattr(model.tokenizer, "is_fast", False):
        raise MedlibError(
            f"{type(model.tokenizer).__name__} does not map tokens to characters, so entities cannot be found. Use "
            'at="last".'
        )
    offsets = model.tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
    start, end = prompt.entity
    inside = [i for i, (left, right) in enumerate(offsets) if left < end and right > start]
    if not inside:
        raise MedlibError(f"No token of {prompt!r} overlaps its entity span {prompt.entity}.")
    return inside[0], inside[-1] + 1


def _weights(spans, replay):
    """Rows that average a batch's states over each prompt's span: `[row, 1, position]`."""
    weights = replay.embedding.new_zeros(replay.rows, 1, replay.positions)
    for row, (start, end) in enumerate(spans):
        weights[row, 0, start:end] = 1
    return weights / weights.sum(-1, keepdim=True)
