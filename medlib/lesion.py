"""Lesions: what is lost when one block is taken out.

A lesioned block passes the residual stream through unchanged, so block l+1 receives the state that block l received.
Every lesion is a branch of one walk up the layers (see replay.py): a sweep over L blocks costs about L/2 forward
passes instead of L, and loads each weight once.
"""

import numpy as np
import pandas as pd
import torch

from medlib.errors import MedlibError
from medlib.prompts import answer_tokens, batches, check, encode
from medlib.replay import Replay, check_no_op, run_blocks


@torch.no_grad()
def lesion_sweep(model, prompts, answers=None, how="identity"):
    """Lesion each block in turn and measure how far the next-token distribution moves.

    >>> lesion_sweep(model, ["Insulin is used to treat"], [" diabetes"]).nlargest(3, "kl")

    `how="identity"` lets the residual stream pass the block unchanged (the paper's lesion).  Returns one row per prompt
    and block: `prompt` (index), `layer` (1..L), `kl` (nats, intact || lesioned, last token), `logprob_drop` (nats,
    first token of the answer, intact minus lesioned; null without answers), `top1_same`.  `attrs["no_op"]` is the
    largest difference from the model's own logits without a lesion, relative to the largest logit; too large a one
    raises `MedlibError`, as do empty prompts and answers without a first token of their own.
    """
    if how != "identity":
        raise MedlibError(f'how={how!r} is not a lesion. Choose "identity".')
    prompts = check(prompts)
    ids = encode(model, prompts)
    targets = None if answers is None else answer_tokens(model, prompts, answers).to(model.device)
    layers = model.n_layers
    kl, drop = np.empty((2, len(ids), layers))
    same = np.empty((len(ids), layers), dtype=bool)
    differences = []

    def rows_within_budget(length):
        table = (layers + 1) * length * model.hidden_size * model.dtype.itemsize
        return model.memory // 2 // table

    for members, batch, last in batches(ids, rows_within_budget):
        replay = Replay(model, {"input_ids": batch.to(model.device)})
        lesioned = _walk(replay)[:, torch.arange(len(members)), last]
        differences.append(check_no_op(replay, lesioned[0], last, "lesion_sweep"))
        intact = replay.tail(lesioned[0, :, None])[:, 0].float()
        scores = _compare(replay, intact.log_softmax(-1), lesioned[1:], None if targets is None else targets[members])
        kl[members], drop[members], same[members] = (score.T.cpu().numpy() for score in scores)

    table = pd.DataFrame(
        {
            "prompt": np.repeat(np.arange(len(ids)), layers),
            "layer": np.tile(np.arange(1, layers + 1), len(ids)),
            "kl": kl.ravel(),
            "logprob_drop": drop.ravel(),
            "top1_same": same.ravel(),
        }
    )
    table.attrs["no_op"] = max(differences)
    return table


def _walk(replay):
    """Final states `[branch, row, position, hidden]`: branch 0 is the trunk, branch l has block l lesioned."""
    states = replay.embedding
    branches = states.new_empty(replay.model.n_layers + 1, *states.shape)
    branches[0] = states
    rows = torch.arange(replay.rows, device=states.device).repeat(len(branches))
    for layer in range(1, len(branches)):
        branches[layer] = branches[0]
        run_blocks(replay, layer, branches[:layer].flatten(0, 1), rows)
    return branches


def _compare(replay, intact, lesioned, targets):
    """KL from the intact distribution, drop of the target's log-probability, same top token: each `[layer, row]`."""
    layers, rows = lesioned.shape[:2]
    kl, drop = lesioned.new_full((2, layers * rows), torch.nan, dtype=torch.float64)
    same = torch.empty(layers * rows, dtype=torch.bool, device=lesioned.device)
    row = torch.arange(rows, device=lesioned.device).repeat(layers)

    def reduce(logits, chunk):
        before, after = intact[row[chunk]], logits.log_softmax(-1)
        kl[chunk] = (before.exp() * (before - after)).sum(-1).double()
        same[chunk] = before.argmax(-1) == after.argmax(-1)
        if targets is not None:
            drop[chunk] = (before - after).gather(-1, targets[row[chunk], None]).squeeze(-1).double()

    replay.read_out(lesioned.flatten(0, 1), reduce)
    return kl.view(layers, rows), drop.view(layers, rows), same.view(layers, rows)
