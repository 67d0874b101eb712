"""Activations: the residual stream read at some places of each prompt, after every block.

The states come from one walk up the layers without the read-out, whose cost a reader of states need not pay; several
places are read in one walk.
"""

import numpy as np
import torch

from medlib.errors import MedlibError
from medlib.prompts import Prompt, check, encode, together, tokenised
from medlib.replay import Replay, check_no_op, in_step, run_blocks

PLACES = ("entity", "mean", "last")


def activations(model, prompts, at="last"):
    """The residual stream of each prompt, at one place, after every block.

    >>> activations(model, [Prompt.fill("{entity} is used to treat", "Insulin")], at="entity").shape
    (31, 1, 576)

    `at` is "last" (last token of the prompt), "entity" (last token of the entity) or "mean" (mean over the entity's
    tokens); the last two need `medlib.Prompt`s, which know where their entity stands.  Returns float32
    `[state 0..L, prompt, hidden]`.  Raises `MedlibError` for another `at`, an empty prompt, a prompt longer than the
    context, or a model whose replay does not give its own logits.
    """
    return states_at(model, prompts, (at,))[at]


@torch.no_grad()
def states_at(model, prompts, places=PLACES):
    """`activations` at several places, read in one walk up the layers: place -> `[state 0..L, prompt, hidden]`.

    >>> states_at(model, [Prompt.fill("{entity} is used to treat", "Insulin")])["mean"].shape
    (31, 1, 576)

    States that are NaN or infinite anywhere are refused, as are logits that are.
    """
    if wrong := [place for place in places or ["nothing"] if place not in PLACES]:
        raise MedlibError(f'{wrong[0]!r} is not a place. Choose "last", "entity" or "mean".')
    prompts = check(prompts)
    ids = encode(model, prompts)
    spans = [_spans(model, prompt, len(tokens), places) for prompt, tokens in zip(prompts, ids, strict=True)]
    found = np.empty((len(places), model.n_layers + 1, len(ids), model.hidden_size), dtype=np.float32)

    def walk(batch, ends):
        members, inputs, last = batch
        replay = Replay(model, inputs)
        weights = _weights([spans[i] for i in members], replay)
        state, own = replay.embedding.clone(), torch.arange(len(members), device=model.device)
        for layer in range(model.n_layers + 1):
            if layer:
                yield
                run_blocks(replay, layer, state, own)
            found[:, layer, members] = (weights @ state.float()).transpose(0, 1).cpu().numpy()
        ends.append((replay, state[torch.arange(len(members)), last], last))

    for group in together(ids, rows_within_budget(model)):
        ends = []
        in_step(walk(batch, ends) for batch in group)
        check_no_op(ends, "activations")
    if wrong := [layer for layer, states in enumerate(found.swapaxes(0, 1)) if not np.isfinite(states).all()]:
        raise MedlibError(
            f"activations refused: on {model.name}, state {wrong[0]} of 0..{model.n_layers} is NaN or infinite. Try a "
            "wider dtype; if it stays so, the weights are damaged."
        )
    return dict(zip(places, found, strict=True))


def _spans(model, prompt, length, places):
    """The half-open token spans that the places of a prompt average over."""
    start, end = (0, 0) if tuple(places) == ("last",) else entity_tokens(model, prompt)
    of = {"entity": (end - 1, end), "mean": (start, end), "last": (length - 1, length)}
    return [of[place] for place in places]


def opens(model, prompt):
    """Whether the first token that the model reads, special tokens included, belongs to the item of a prompt.

    >>> opens(model, Prompt.fill("{entity} is used to treat", "Insulin"))

    The first token often carries activations far larger than any other (Sun et al. 2024, arXiv 2402.17762); where a
    tokenizer puts a special token in front, or a chat template a text, that one takes them, and no item opens the text.
    """
    return entity_tokens(model, prompt)[0] == 0


def rows_within_budget(model):
    """How many prompts of a length have their states of one layer in memory at once, when little else is kept."""
    return lambda length: model.memory // 32 // (length * model.hidden_size * model.dtype.itemsize)


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
    offsets = tokenised(model, prompt, offsets=True)
    start, end = prompt.entity
    inside = [i for i, (left, right) in enumerate(offsets) if left < end and right > start]
    if not inside:
        raise MedlibError(f"No token of {prompt!r} overlaps its entity span {prompt.entity}.")
    return inside[0], inside[-1] + 1


def _weights(spans, replay):
    """Rows that average a batch's states over each prompt's spans: `[row, place, position]`."""
    shape = replay.rows, len(spans[0]), replay.positions
    weights = torch.zeros(shape, device=replay.embedding.device)  # float32: a half loses digits of a mean
    for row, of_prompt in enumerate(spans):
        for place, (start, end) in enumerate(of_prompt):
            weights[row, place, start:end] = 1
    return weights / weights.sum(-1, keepdim=True)
