"""What is compared: five jobs, each written three ways, side by side.

- *plain*: the hook loop as `medlib.hooks` shows it: one prompt and one intervention a forward pass;
- *careful*: the same hooks by a careful hand: padded batches with a mask and no logits that nobody reads, or gradients
  that are dropped as soon as they have been summed up;
- *medlib*: the library's own function.

A way is a function of a model and of what the job works on, and all ways of a job return arrays of the same meaning.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

import medlib
from medlib import hooks
from medlib.prompts import answer_token
from medlib.saliency import weight_matrices

ROWS = 16  # prompts a careful hand puts in one batch

# --- activations: the residual stream at the last token, [state, prompt, hidden] --------------------------------------


@torch.no_grad()
def activations_plain(model, prompts):
    found = np.empty((model.n_layers + 1, len(prompts), model.hidden_size), dtype=np.float32)
    for i, prompt in enumerate(prompts):
        with hooks.capture(model) as states:
            logits(model, prompt)
        for layer, state in states.items():
            found[layer, i] = state[0, -1].numpy()
    return found


@torch.no_grad()
def activations_careful(model, prompts):
    found = np.empty((model.n_layers + 1, len(prompts), model.hidden_size), dtype=np.float32)
    for members, inputs in padded(model, prompts):
        with hooks.capture(model) as states:
            model.hf.get_decoder()(**inputs, use_cache=False)
        for layer, state in states.items():
            found[layer, members] = state[:, -1].numpy()
    return found


def activations_medlib(model, prompts):
    return medlib.activations(model, prompts)


# --- lesions: KL divergence and drop of the answer's log-probability, [measure, prompt, layer] ------------------------


@torch.no_grad()
def lesion_plain(model, questions):
    found = np.empty((2, len(questions), model.n_layers))
    for i, (prompt, answer) in enumerate(questions):
        target = answer_token(model, prompt, answer)
        intact = logits(model, prompt)[0, -1].log_softmax(-1)
        for layer in range(1, model.n_layers + 1):
            with hooks.skip(model, layer):
                lesioned = logits(model, prompt)[0, -1].log_softmax(-1)
            found[0, i, layer - 1] = (intact.exp() * (intact - lesioned)).sum()
            found[1, i, layer - 1] = intact[target] - lesioned[target]
    return found


@torch.no_grad()
def lesion_careful(model, questions):
    found = np.empty((2, len(questions), model.n_layers))
    for members, inputs in padded(model, [prompt for prompt, _ in questions]):
        targets = torch.tensor([[answer_token(model, *questions[i])] for i in members])
        intact = last_logits(model, inputs).log_softmax(-1)
        for layer in range(1, model.n_layers + 1):
            with hooks.skip(model, layer):
                lesioned = last_logits(model, inputs).log_softmax(-1)
            found[0, members, layer - 1] = (intact.exp() * (intact - lesioned)).sum(-1)
            found[1, members, layer - 1] = (intact - lesioned).gather(-1, targets)[:, 0]
    return found


def lesion_medlib(model, questions):
    table = medlib.lesion_sweep(model, *zip(*questions, strict=True))
    return np.stack([table[name].to_numpy().reshape(len(questions), -1) for name in ("kl", "logprob_drop")])


# --- patches: logit difference with the clean state put into the corrupt run, [layer, position] -----------------------


@torch.no_grad()
def patch_plain(model, pair):
    a, b = (answer_token(model, pair.clean, answer) for answer in (pair.answer, pair.wrong))
    with hooks.capture(model) as clean:
        logits(model, pair.clean)
    positions = clean[0].shape[1]
    found = np.empty((model.n_layers, positions))
    for layer in range(1, model.n_layers + 1):
        for position in range(positions):

            def patched(state, position=position, layer=layer):
                state = state.clone()
                state[:, position] = clean[layer][:, position]
                return state

            with hooks.replace(model, layer, patched):
                last = logits(model, pair.corrupt)[0, -1]
            found[layer - 1, position] = last[a] - last[b]
    return found


@torch.no_grad()
def patch_careful(model, pair):
    a, b = (answer_token(model, pair.clean, answer) for answer in (pair.answer, pair.wrong))
    with hooks.capture(model) as clean:
        logits(model, pair.clean)
    positions = clean[0].shape[1]
    every = torch.arange(positions)
    inputs = {"input_ids": encoded(model, pair.corrupt).repeat(positions, 1)}
    found = np.empty((model.n_layers, positions))
    for layer in range(1, model.n_layers + 1):

        def patched(state, layer=layer):
            state = state.clone()
            state[every, every] = clean[layer][0]  # row p is patched at position p
            return state

        with hooks.replace(model, layer, patched):
            last = last_logits(model, inputs)
        found[layer - 1] = last[:, a] - last[:, b]
    return found


def patch_medlib(model, pair):
    table = medlib.patch_sweep(model, [pair])
    return table.logit_diff.to_numpy().reshape(model.n_layers, -1)


# --- saliency: mean |d log p(answer) / d w| over weights, then over prompts, [layer, weight matrix or block] ----------


def saliency_plain(model, questions):
    found = []
    for prompt, answer in questions:
        target = answer_token(model, prompt, answer)
        logits(model, prompt)[0, -1].log_softmax(-1)[target].backward()
        blocks = [weight_matrices(block).values() for block in model.blocks]
        found.append([means({w: absolute_sum(w.grad) for w in matrices}) for matrices in blocks])
        model.hf.zero_grad()
    return np.mean(found, 0)


def saliency_careful(model, questions):
    found = []
    blocks = [weight_matrices(block).values() for block in model.blocks]
    with dropped_gradients(model, [w for matrices in blocks for w in matrices]) as sums:
        for prompt, answer in questions:
            target = answer_token(model, prompt, answer)
            last_logits(model, {"input_ids": encoded(model, prompt)})[0].log_softmax(-1)[target].backward()
            found.append([means({w: sums[w] for w in matrices}) for matrices in blocks])
    return np.mean(found, 0)


def saliency_medlib(model, questions):
    table = medlib.weight_saliency(model, *zip(*questions, strict=True))
    return table.saliency.to_numpy().reshape(model.n_layers, -1)


# --- what the ways share ----------------------------------------------------------------------------------------------


def encoded(model, prompt):
    return model.tokenizer(prompt, return_tensors="pt")["input_ids"]


def logits(model, prompt):
    """The model's logits for one prompt, `[1, position, token]`."""
    return model.hf(input_ids=encoded(model, prompt), use_cache=False).logits


def last_logits(model, inputs):
    """The logits at the last position only, `[row, token]`."""
    return model.hf(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1]


def padded(model, prompts):
    """Prompts of like length together, filled on the left so that each one's last token is last: (members, inputs)."""
    order = sorted(range(len(prompts)), key=lambda i: encoded(model, prompts[i]).shape[1])
    for at in range(0, len(order), ROWS):
        members = order[at : at + ROWS]
        texts = [prompts[i] for i in members]
        inputs = model.tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        yield members, dict(input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp_min(0))


def absolute_sum(gradient):
    return float(gradient.abs().sum(dtype=torch.float64))


def means(sums):
    """Mean of each weight matrix from its sum {matrix: sum}, and of all of them together."""
    counts = [weight.numel() for weight in sums]
    return [total / count for total, count in zip(sums.values(), counts, strict=True)] + [
        sum(sums.values()) / sum(counts)
    ]


@contextmanager
def dropped_gradients(model, weights):
    """Let gradients reach `weights` only, and keep of each gradient its absolute sum, {weight: sum}."""
    sums = {}
    wanted = [parameter for parameter in model.hf.parameters() if parameter.requires_grad]
    model.hf.requires_grad_(False)

    def sum_up(weight):
        sums[weight] = absolute_sum(weight.grad)
        weight.grad = None

    handles = [weight.requires_grad_().register_post_accumulate_grad_hook(sum_up) for weight in weights]
    try:
        yield sums
    finally:
        for handle in handles:
            handle.remove()
        model.hf.requires_grad_(False)
        for parameter in wanted:
            parameter.requires_grad_()


# --- how far two ways lie apart ---------------------------------------------------------------------------------------


def by_largest_logit(one, other, largest):
    """Logits, and differences and divergences of their logarithms, as a share of the largest logit."""
    return np.abs(one - other).max() / largest


def by_largest_of_each_state(one, other, largest):
    """States `[state, prompt, hidden]`, as a share of the largest number in the same state of all prompts."""
    return (np.abs(one - other).max((1, 2)) / np.abs(one).max((1, 2))).max()


def by_own_size(one, other, largest):
    """Positive numbers, each as a share of itself."""
    return (np.abs(one - other) / one).max()


# --- the jobs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A job: its ways, how their results are compared, and what is expected of medlib beside the plain loop.

    `target` bounds the ratio of CPU times or, where `memory` is set, medlib's extra memory as a share of the size of
    the model's gradients.  `floor(layers, positions)` is the share of the plain loop's work, counted in tokens that
    go through a block, that branches cannot avoid.
    """

    what: str
    ways: dict
    apart: callable
    target: float
    memory: bool = False
    floor: callable = None


def sites(layers, positions, same=0):
    """Share of the plain loop's work left in patches that begin where they differ, the first `same` tokens agreeing.

    A patch at layer l and position p replays layers l+1.. and positions p..; with same = 0 this is
    (L+1)(T+1) / 4LT, one over the factor F.
    """
    differing = positions - same
    return (layers + 1) / (2 * layers) * differing * (differing + 1) / (2 * positions**2)


JOBS = {
    "activations": Job(
        "states of 64 prompts",
        {"plain": activations_plain, "careful": activations_careful, "medlib": activations_medlib},
        by_largest_of_each_state,
        target=0.9,
    ),
    "lesion": Job(
        "30 layers x 16 prompts",
        {"plain": lesion_plain, "careful": lesion_careful, "medlib": lesion_medlib},
        by_largest_logit,
        target=0.5,
        floor=lambda layers, positions: 0.5,  # L trunk blocks and L(L-1)/2 of branches, beside L + L^2
    ),
    "patch early": Job(
        "all sites, 16 tokens, the first differs",
        {"plain": patch_plain, "careful": patch_careful, "medlib": patch_medlib},
        by_largest_logit,
        target=0.2,
        floor=sites,
    ),
    "patch late": Job(
        "all sites, 16 tokens, 12 agree",
        {"plain": patch_plain, "careful": patch_careful, "medlib": patch_medlib},
        by_largest_logit,
        target=0.07,
        floor=lambda layers, positions: sites(layers, positions, same=12),
    ),
    "saliency": Job(
        "gradients of 8 answers",
        {"plain": saliency_plain, "careful": saliency_careful, "medlib": saliency_medlib},
        by_own_size,
        target=0.15,
        memory=True,
    ),
}
