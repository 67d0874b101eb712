"""Weight saliency: how much the answer's log-probability hangs on each block's weights.

S_l = mean over prompts of the mean over the block's attention and MLP weights of |d log p(answer | prompt) / d w|: the
absolute value is taken for each prompt, since a signed mean would cancel.  The walk goes up once, keeping the state
that enters each block, and comes down once: a block is replayed with its gradients, these are reduced to a few numbers,
and the next lower block follows.  So the gradients of one block at a time are in memory.
"""

from contextlib import contextmanager

import pandas as pd
import torch

from medlib.errors import MedlibError
from medlib.prompts import answer_tokens, batches, check, encode
from medlib.replay import Replay, check_no_op


def weight_saliency(model, prompts, answers, kind="grad"):
    """Mean absolute gradient of the answer's log-probability, by block and by weight matrix.

    >>> weight_saliency(model, ["Insulin is used to treat"], [" diabetes"]).query("module == 'block'")

    `kind="grad"` is |d log p / d w|, "weight_grad" |w * d log p / d w|; log p is that of the answer's first token.
    Returns one row per block and weight matrix: `layer` (1..L), `module` (`q_proj` ..., and `block` for all attention
    and MLP weights together), `saliency` (nats per unit weight, or nats; mean over weights, then over prompts).
    `attrs["per_prompt"]` holds the same for each prompt, with the column `prompt`.  Raises `MedlibError` as
    `lesion_sweep` does.
    """
    if kind not in ("grad", "weight_grad"):
        raise MedlibError(f'kind={kind!r} is not a saliency. Choose "grad" or "weight_grad".')
    prompts = check(prompts)
    ids = encode(model, prompts)
    targets = answer_tokens(model, prompts, answers).to(model.device)
    rows, differences = [], []

    def prompts_within_budget(length):
        return model.memory // 4 // ((model.n_layers + 1) * length * model.hidden_size * model.dtype.itemsize)

    with _no_parameter_gradients(model):
        for members, batch, last in batches(ids, prompts_within_budget, waste=0):
            replay = Replay(model, {"input_ids": batch.to(model.device)})
            states = _walk_up(replay)
            differences.append(check_no_op(replay, states[-1][:, -1], last, "weight_saliency"))
            gradient = _from_the_answer(replay, states[-1], targets[members])
            for layer in range(model.n_layers, 0, -1):
                for row, member in enumerate(members):
                    sizes = _descend(replay, layer, states[layer - 1], gradient, row, kind)
                    rows += [(member, layer, module, size) for module, size in sizes.items()]

    table = pd.DataFrame(rows, columns=["prompt", "layer", "module", "saliency"])
    mean = table.groupby(["layer", "module"], sort=False, as_index=False)["saliency"].mean()
    mean = mean.sort_values("layer", kind="stable", ignore_index=True)
    mean.attrs["no_op"] = max(differences)
    mean.attrs["per_prompt"] = table.sort_values(["prompt", "layer"], kind="stable", ignore_index=True)
    return mean


def weight_matrices(block):
    """The attention and MLP weights of a block: {name: parameter}; norms and biases are left out.

    A name is the module's own (`q_proj`), with its parent where two modules of a block share it (`attn.c_proj`).
    """
    found = {name.removesuffix(".weight"): p for name, p in block.named_parameters() if p.ndim >= 2}
    short = [name.rpartition(".")[2] for name in found]
    return {s if short.count(s) == 1 else name: p for s, (name, p) in zip(short, found.items(), strict=True)}


@contextmanager
def _no_parameter_gradients(model):
    """Gradients reach a parameter only while its block is asked for them."""
    wanted = [p for p in model.hf.parameters() if p.requires_grad]
    model.hf.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


@torch.no_grad()
def _walk_up(replay):
    """The state that enters each block, and the last block's output: L+1 states `[row, position, hidden]`."""
    states = [replay.embedding]
    for layer in range(1, replay.model.n_layers + 1):
        states.append(replay.block(layer, states[-1]))
    return states


def _from_the_answer(replay, state, targets):
    """Gradient of each row's answer log-probability with respect to the last block's output."""
    gradient = torch.zeros_like(state)
    for row, target in enumerate(targets):
        last = state[row : row + 1, -1:].detach().requires_grad_()
        log_p = replay.tail(last)[0, -1].float().log_softmax(-1)[target]
        gradient[row, -1] = torch.autograd.grad(log_p, last)[0][0, 0]
    return gradient


def _descend(replay, layer, states, gradient, row, kind):
    """One prompt down through one block: its `gradient` moves to the block's input; mean |gradient| by module."""
    matrices = weight_matrices(replay.model.blocks[layer - 1])
    entering = states[row : row + 1].detach().requires_grad_()
    for parameter in matrices.values():
        parameter.requires_grad_(True)
    leaving = replay.block(layer, entering, rows=torch.tensor([row], device=states.device))
    wanted = [entering, *matrices.values()]
    moved, *grads = torch.autograd.grad(leaving, wanted, gradient[row : row + 1], materialize_grads=True)
    for parameter in matrices.values():
        parameter.requires_grad_(False)
    gradient[row] = moved[0]
    totals = {
        name: float((grad if kind == "grad" else grad * matrix.detach()).abs().sum(-1).sum(dtype=torch.float64))
        for grad, (name, matrix) in zip(grads, matrices.items(), strict=True)
    }
    sizes = {name: total / matrices[name].numel() for name, total in totals.items()}
    return sizes | {"block": sum(totals.values()) / sum(m.numel() for m in matrices.values())}
