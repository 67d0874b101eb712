"""Weight saliency: how much the answer's log-probability hangs on each block's weights.

S_l = mean over prompts of the mean over the block's attention and MLP weights of |d log p(answer | prompt) / d w|: the
absolute value is taken for each prompt, since a signed mean would cancel.  The walk goes up once, keeping the state
that enters each block, and comes down once: a block is replayed, its gradients are reduced to a few numbers, and the
next lower block follows.

The gradient of a linear module's weight is a product of two thin matrices, (d log p / d output)^T input, a row for each
token.  So the walk down takes gradients of outputs only, of all prompts and answers at once, and the product is made
for one prompt at a time, a few of its rows at a time, in a buffer that stays in a core's cache.  Where a block
has other weight matrices (experts in one tensor), autograd makes their gradients, one block's and one prompt's at a
time.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pandas as pd
import torch

from medlib.errors import MedlibError
from medlib.prompts import answer_tokens, check, encode, together
from medlib.readout import normalised, one_hot
from medlib.replay import Replay, check_no_op, in_step, tokens_per_call, width

KINDS = ("grad", "weight_grad")
PLAIN = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
CHUNK = 2**17  # numbers of a gradient that are made at once: 512 KiB, which a core's cache holds; 2**20 takes twice


def weight_saliency(model, prompts, answers, kind="grad"):
    """Mean absolute gradient of the answer's log-probability, by block and by weight matrix.

    >>> weight_saliency(model, ["Insulin is used to treat"], [" diabetes"]).query("module == 'block'")

    `kind="grad"` is |d log p / d w|, "weight_grad" |w * d log p / d w|; log p is that of the answer's first token.
    Returns one row per block and weight matrix: `layer` (1..L), `module` (`q_proj` ..., and `block` for all attention
    and MLP weights together), `saliency` (nats per unit weight, or nats; mean over weights, then over prompts).
    `attrs["per_prompt"]` holds the same for each prompt, with the column `prompt`.  Raises `MedlibError` as
    `lesion_sweep` does, and where weights are codes.
    """
    found = saliency_sweep(model, prompts, {"": answers}, [kind])
    table = found[["prompt", "layer", "module", "saliency"]]
    mean = table.groupby(["layer", "module"], sort=False, as_index=False)["saliency"].mean()
    mean.attrs = found.attrs | {"per_prompt": table}
    return mean


def saliency_sweep(model, prompts, answers, kinds=KINDS):
    """Weight saliency of each prompt, for several answers to it and both kinds, in one walk up and down.

    >>> saliency_sweep(model, ["Insulin is used to treat"], {"right": [" diabetes"], "other": [" asthma"]})

    `answers`: {name: an answer for each prompt}; `kinds` as in `weight_saliency`.  Returns one row per prompt, block,
    weight matrix, answer and kind: `prompt` (index), `layer` (1..L), `module`, `answer` (its name), `kind`, `log_p`
    (nats, of the answer's first token), `saliency`.  `attrs["no_op"]` is the largest difference of the replayed logits
    from the model's own, relative to the largest logit.  A further answer costs a walk down, a further kind little.
    """
    for kind in (kinds := list(kinds)):
        if kind not in KINDS:
            raise MedlibError(f'kind={kind!r} is not a saliency. Choose "grad" or "weight_grad".')
    _check_plain(model)
    prompts = check(prompts)
    ids = encode(model, prompts)
    targets = torch.stack([answer_tokens(model, prompts, given) for given in answers.values()]).to(model.device)
    rows, differences = [], []

    def prompts_within_budget(length):
        state = (model.n_layers + 1) * length * model.hidden_size * model.dtype.itemsize
        return min(model.memory // 4 // state, tokens_per_call(model) // length)

    with _no_parameter_gradients(model):
        for group in together(ids, prompts_within_budget, waste=0):
            walks = [_Walk(model, members, inputs, targets[:, members]) for members, inputs, _ in group]
            in_step(walk.up() for walk in walks)
            ends = [(w.replay, w.states[-1][:, -1], last) for w, (*_, last) in zip(walks, group, strict=True)]
            differences.append(check_no_op(ends, "weight_saliency"))
            _turn(walks)
            for layer in range(model.n_layers, 0, -1):
                for walk in walks:
                    sums = walk.down(layer, kinds)
                    rows += _means(model.blocks[layer - 1], sums, walk.members, layer, list(answers), kinds, walk.log_p)

    columns = ["prompt", "layer", "module", "answer", "kind", "log_p", "saliency"]
    table = pd.DataFrame(rows, columns=columns).sort_values(["prompt", "layer"], kind="stable", ignore_index=True)
    table.attrs["no_op"] = max(differences)
    return table


def weight_matrices(block):
    """The attention and MLP weights of a block: {name: parameter}; norms and biases are left out.

    A name is the module's own (`q_proj`), with its parent where two modules of a block share it (`attn.c_proj`).
    """
    found = {name.removesuffix(".weight"): p for name, p in block.named_parameters() if p.ndim >= 2}
    short = [name.rpartition(".")[2] for name in found]
    return {s if short.count(s) == 1 else name: p for s, (name, p) in zip(short, found.items(), strict=True)}


def _check_plain(model):
    """Refuse weights that are codes of numbers: there is no gradient by a code."""
    quantizer = getattr(model.hf, "hf_quantizer", None)
    what = f"quantised ({_method(quantizer)})" if quantizer else None
    for layer, block in enumerate(model.blocks, 1):
        what = what or next((f"{coded} in block {layer}" for coded in _coded(block)), None)
    if what:
        raise MedlibError(
            f"weight_saliency refused: the weights of {model.name} are {what}, and there are gradients by plain "
            "numbers only. Load a version with plain weights (bfloat16 or float32). Activations, lesions, patches and "
            "attribution need no gradients by weights."
        )


def _method(quantizer):
    method = quantizer.quantization_config.quant_method
    return getattr(method, "value", method)


def _coded(block):
    """What holds codes in a block: matrices of integers or eight-bit floats, and weights that are no plain tensor."""
    for name, tensor in [*block.named_parameters(), *block.named_buffers()]:
        if tensor.ndim >= 2 and tensor.dtype != torch.bool and tensor.dtype not in PLAIN:
            yield f"{tensor.dtype} ({name})"
    for name, module in block.named_modules():
        if type(weight := getattr(module, "weight", None)) not in (type(None), torch.Tensor, torch.nn.Parameter):
            yield f"of {type(module).__name__}, as {type(weight).__name__} ({name})"


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


class _Walk:
    """One batch's walk: up, keeping the L+1 states `[row, position, hidden]`, and down with each answer's gradients."""

    def __init__(self, model, members, inputs, targets):
        self.replay, self.members, self.targets = Replay(model, inputs), members, targets
        self.states = [self.replay.embedding]

    @torch.no_grad()
    def up(self):
        """Pauses before each block (see `in_step`)."""
        for layer in range(1, self.replay.model.n_layers + 1):
            yield
            self.states.append(self.replay.block(layer, self.states[-1]))

    def down(self, layer, kinds):
        """Down through one block: {module: [answer, row, kind]}, sums of |gradient|."""
        sums, self.gradients = _descend(self.replay, layer, self.states[layer - 1], self.gradients, kinds)
        return sums


def _turn(walks):
    """Give each walk `log_p`, a list `[answer][row]`, and its `gradients [answer, row, position, hidden]` at the top.

    d log p(answer) / d logits is one at the answer less the distribution; it is taken through the model's own tail to
    the last state, a part of the vocabulary and a few rows at a time.
    """
    model = walks[0].replay.model
    logits = normalised((walk.replay, walk.states[-1][:, -1], walk.targets.T) for walk in walks)
    for walk, (own, norm) in zip(walks, logits, strict=True):
        walk.log_p = (own - norm).T.tolist()
        walk.gradients = torch.zeros(len(walk.targets), *walk.states[-1].shape).to(walk.states[-1])
    for part in model.vocabulary_parts():
        with walks[0].replay.only(part):
            for walk, (_, norm) in zip(walks, logits, strict=True):
                for rows in walk.replay.row_chunks(len(norm), width(part, model)):
                    last = walk.states[-1][rows, -1:].detach().requires_grad_()
                    every = walk.replay.tail(last)[:, 0].float()
                    p = (every.detach().double() - norm[rows]).exp()
                    for answer, target in enumerate(walk.targets[:, rows]):
                        slope = (one_hot(target, p, part) - p).to(every)
                        (below,) = torch.autograd.grad(every, last, slope, retain_graph=True)
                        walk.gradients[answer, rows, -1:] += below


def _descend(replay, layer, entering, gradients, kinds):
    """Down through one block: {module: [answer, row, kind]}, sums of |gradient|, and the gradients at its input."""
    linear = _linear_modules(replay.model.block(layer))
    if linear is not None:
        entering = entering.detach().requires_grad_()
        with _noted(linear) as calls:
            leaving = replay.block(layer, entering)
        if all(_by_row(call, entering) for of_one in calls.values() for call in of_one):
            return _from_thin_matrices(entering, leaving, calls, linear, gradients, kinds)
    return _from_autograd(replay, layer, entering, gradients, kinds)


def _linear_modules(block):
    """{name: module} where every weight matrix of a block is a plain linear module's, else None."""
    owner = {id(module.weight): module for module in block.modules() if type(module) is torch.nn.Linear}
    linear = {name: owner.get(id(matrix)) for name, matrix in weight_matrices(block).items()}
    return linear if all(linear.values()) else None


@contextmanager
def _noted(modules):
    """While it lasts, each call of the modules is noted: {name: [(input, output, the output's version)]}."""
    calls, handles = {name: [] for name in modules}, []
    for name, module in modules.items():

        def note(module, args, output, name=name):
            calls[name].append((args[0].detach(), output, output._version))

        handles.append(module.register_forward_hook(note, prepend=True))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _by_row(call, states):
    """Whether a call kept the rows apart, as `[row, position, ...]`, and its output was not written into later."""
    given, output, version = call
    return given.shape[:2] == states.shape[:2] and output._version == version and output.requires_grad


def _from_thin_matrices(entering, leaving, calls, linear, gradients, kinds):
    outputs = [output for of_one in calls.values() for _, output, _ in of_one]
    sums = {
        name: torch.zeros(*gradients.shape[:2], len(kinds), dtype=torch.float64, device=entering.device)
        for name in linear
    }
    moved = torch.empty_like(gradients)
    for answer, gradient in enumerate(gradients):
        below = torch.autograd.grad(
            leaving, [entering, *outputs], gradient, retain_graph=answer < len(gradients) - 1, materialize_grads=True
        )
        moved[answer], below = below[0], iter(below[1:])
        thin = {}
        for name, of_one in calls.items():
            if of_one:  # else it has no part in this forward pass
                given = torch.cat([given for given, *_ in of_one], dim=1)
                thin[name] = torch.cat([next(below) for _ in of_one], dim=1), given
        with _one_thread_each({slope.device.type for slope, _ in thin.values()}) as each:
            for name, (slope, given) in thin.items():
                found = each(partial(_absolute_sums, weight=linear[name].weight, kinds=kinds), slope, given)
                sums[name][answer] = torch.stack(list(found))
    return sums, moved


@contextmanager
def _one_thread_each(devices):
    """A `map` for products of a core's size: on several threads one such product takes longer than on one."""
    threads = torch.get_num_threads()
    if devices != {"cpu"} or threads == 1:
        yield map
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(threads)


def _absolute_sums(slope, given, weight, kinds):
    """Sum of |slope^T given|, and of that times |weight|: `slope [token, out]`, `given [token, in]`."""
    slope, given, weight = (part.to(torch.promote_types(part.dtype, torch.float32)) for part in (slope, given, weight))
    slope, weight = slope.T.contiguous(), weight.detach()
    rows = max(1, CHUNK // given.shape[1])
    buffer = given.new_empty(min(rows, len(slope)), given.shape[1])
    totals = torch.zeros(len(kinds), dtype=torch.float64, device=given.device)
    for at in range(0, len(slope), rows):
        part = slope[at : at + rows]
        gradient = torch.mm(part, given, out=buffer[: len(part)])
        for place, kind in sorted(enumerate(kinds), key=lambda pair: KINDS.index(pair[1])):
            if kind == "weight_grad":
                gradient.mul_(weight[at : at + rows])
            totals[place] += gradient.abs_().sum(-1).sum(dtype=torch.float64)
    return totals


def _from_autograd(replay, layer, entering, gradients, kinds):
    """The same for any block: the gradients of all its weights, for one prompt and one answer at a time."""
    matrices = weight_matrices(replay.model.blocks[layer - 1])
    sums = {
        name: torch.zeros(*gradients.shape[:2], len(kinds), dtype=torch.float64, device=entering.device)
        for name in matrices
    }
    moved = torch.empty_like(gradients)
    for parameter in matrices.values():
        parameter.requires_grad_(True)
    for row in range(len(entering)):
        own = entering[row : row + 1].detach().requires_grad_()
        leaving = replay.block(layer, own, rows=torch.tensor([row], device=own.device))
        for answer, gradient in enumerate(gradients[:, row : row + 1]):
            below, *grads = torch.autograd.grad(
                leaving, [own, *matrices.values()], gradient, retain_graph=True, materialize_grads=True
            )
            moved[answer, row] = below[0]
            for name, grad in zip(matrices, grads, strict=True):
                grad = grad.to(torch.promote_types(grad.dtype, torch.float32))
                for place, kind in enumerate(kinds):
                    size = grad if kind == "grad" else grad * matrices[name].detach()
                    sums[name][answer, row, place] = size.abs().sum(-1).sum(dtype=torch.float64)
    for parameter in matrices.values():
        parameter.requires_grad_(False)
    return sums, moved


def _means(block, sums, members, layer, answers, kinds, log_p):
    """Rows of the table: the mean over each matrix, and over all of a block."""
    counts = {name: matrix.numel() for name, matrix in weight_matrices(block).items()}
    means = {name: (total / counts[name]).tolist() for name, total in sums.items()}
    means["block"] = (sum(sums.values()) / sum(counts.values())).tolist()
    return [
        (member, layer, module, answer, kind, log_p[i][row], values[i][row][k])
        for row, member in enumerate(members)
        for module, values in means.items()
        for i, answer in enumerate(answers)
        for k, kind in enumerate(kinds)
    ]
