"""Grad-CAM on self-attention: which image tokens an answer is read from, and attention rollout beside it.

Attention weights exist as a matrix in the eager implementation only, so the language model is switched to it for the
duration.  Both maps are attention's, and attention is not the whole of what a model does: whether they say anything of
the answer is for the curves and the randomised weights of maps.py to show.
"""

from contextlib import contextmanager

import numpy as np
import torch

from medlib.errors import MedlibError
from medlib.vision.inputs import answer_id
from medlib.vision.walk import blocks_asked, walk_of

VARIANTS = ("chosen", "all")


def grad_cam(model, prompt, answer, layer=None, variant="chosen"):
    """Grad-CAM of one layer's self-attention from the last token of the prompt to the image tokens: `[row, column]`.

    >>> heat = grad_cam(model, prompt, "Yes", layer=15)
    >>> prompt.view.to_picture(heat)                # on the original pixels

    mean over heads of A_h max(dy/dA_h, 0), with A_h the attention weights of head h, at the row of the token that
    produces the answer and the columns of the image tokens; y is the logit of the answer's first token (a text with its
    leading space, or an id), a map of logits.  `layer` 1..L, the middle one by default.  `variant="all"` takes the sum
    of all logits as y, and the maximum over heads: the answer then plays no part.  Raises `MedlibError` for another
    variant or layer, and where the model does not give its attention weights.  Source: Selvaraju et al. 2017 (arXiv
    1610.02391), on attention as Chefer et al. 2021 (arXiv 2103.15679).
    """
    if variant not in VARIANTS:
        raise MedlibError(f"variant={variant!r} is not known. Choose one of {', '.join(VARIANTS)}.")
    layer = max(1, model.n_layers // 2) if layer is None else layer
    attention, (slope,) = attention_slopes(model, prompt, [answer if variant == "chosen" else None], [layer])
    by_head = attention[0] * slope[0].clip(0)
    return prompt.on_grid(by_head.mean(0) if variant == "chosen" else by_head.max(0))


def attention_slopes(model, prompt, answers, layers=None):
    """What every Grad-CAM of a prompt is made of: attention from its last token to the image tokens, and the slopes.

    >>> attention, slopes = attention_slopes(model, prompt, ["Yes", "No", None], layers=[5, 10, 15])
    >>> (attention * (slopes[0] - slopes[1]).clip(0)).mean(1)       # of "Yes" less "No": [layer, token]

    `answers`: as in `grad_cam`, or None for the sum of all logits; `layers` 1..L, all by default, in rising order.
    Returns float64 `[layer, head, token]`, and `[answer, layer, head, token]`: the slope of each answer's logit by each
    attention weight.  Slopes are linear in what they are slopes of, so one walk up serves every combination of answers.
    Raises as `grad_cam` does.
    """
    layers, tokens = blocks_asked(model, layers), _ids(model, prompt, answers)
    with eager(model):
        return _descent(walk_of(model, prompt), prompt, tokens, layers)[:2]


def attention_traces(model, prompt, answers, layers=None):
    """`attention_slopes` and `attention_rollouts` of the same layers, from one walk: a tuple of three.

    >>> attention, slopes, rollouts = attention_traces(model, prompt, ["Yes", "No", None])
    """
    layers, tokens = blocks_asked(model, layers), _ids(model, prompt, answers)
    with eager(model):
        walk = walk_of(model, prompt)
        attention, slopes, means = _descent(walk, prompt, tokens, layers)
        means = {layer: _mean_attention(walk, layer) for layer in range(1, layers[0])} | means
    return attention, slopes, _rolled_out(prompt, means, layers)


def _ids(model, prompt, answers):
    """The id of each answer, None where it is None."""
    if isinstance(answers, str) or not hasattr(answers, "__iter__") or not (answers := list(answers)):
        raise MedlibError(f"answers={answers!r} is no list of answers; put a single one in a list.")
    return [None if answer is None else answer_id(model, prompt, answer) for answer in answers]


def _descent(walk, prompt, tokens, layers):
    """The two tables of `attention_slopes`; and attention from the lowest layer on, mean over heads, by layer."""
    found, means, model = {}, {}, walk.model
    every = range(layers[0], model.n_layers + 1)
    for layer, (attention,), slopes in walk.descend_each(tokens, lambda layer: attention_of(model, layer), every):
        means[layer] = attention[0].double().mean(0)
        if layer in layers:
            columns = torch.as_tensor(prompt.image, device=attention.device)
            parts = [attention, *(slope for (slope,) in slopes)]
            found[layer] = [part[0, :, -1, columns].double().cpu().numpy() for part in parts]
    parts = np.array([found[layer] for layer in layers])  # [layer, attention and slope of each answer, head, token]
    return parts[:, 0], parts[:, 1:].swapaxes(0, 1), means


@torch.no_grad()
def attention_rollout(model, prompt, layer=None):
    """Attention rolled out from the last token of the prompt down to the image tokens: `[row, column]`.

    >>> heat = attention_rollout(model, prompt)

    The product of (A_l + 1) / 2 over layers 1..`layer` (all by default), with A_l the mean over heads; a map of shares,
    that sum up to at most 1.  No answer enters it.  Raises as `grad_cam` does.  Source: Abnar and Zuidema 2020 (arXiv
    2005.00928).
    """
    return attention_rollouts(model, prompt, [model.n_layers if layer is None else layer])[0]


@torch.no_grad()
def attention_rollouts(model, prompt, layers=None):
    """The `attention_rollout` up to each of some layers, all by default, in rising order: `[layer, row, column]`.

    >>> attention_rollouts(model, prompt)[4]        # up to layer 5
    """
    layers = blocks_asked(model, layers)
    with eager(model):
        walk = walk_of(model, prompt)
        means = {layer: _mean_attention(walk, layer) for layer in range(1, layers[-1] + 1)}
    return _rolled_out(prompt, means, layers)


@torch.no_grad()
def _mean_attention(walk, layer):
    with attention_of(walk.model, layer) as found:
        walk.replay.block(layer, walk.states[layer - 1])
    return found[0][0].double().mean(0)


def _rolled_out(prompt, means, layers):
    """Rollouts up to each of some layers, `[layer, row, column]`; `means`: attention by layer, mean over heads."""
    maps = []
    for layer in layers:
        share = torch.zeros(prompt.length, dtype=torch.float64, device=means[layer].device)
        share[-1] = 1
        for below in range(layer, 0, -1):
            share = (share @ means[below].to(share.device) + share) / 2
        maps.append(prompt.on_grid(share[torch.as_tensor(prompt.image, device=share.device)].cpu().numpy()))
    return np.stack(maps)


@contextmanager
def eager(model):
    """The language model's attention in its eager implementation, which keeps the weights; as it was afterwards.

    >>> with eager(model), attention_of(model, 3) as found:
    ...     model.hf(**prompt.inputs)
    """
    before = model.config._attn_implementation
    _switch(model, "eager")
    try:
        if model.config._attn_implementation != "eager":
            raise MedlibError(
                f"{model.name} does not let its attention be switched to the eager implementation. Load it with "
                'attn_implementation="eager".'
            )
        yield
    finally:
        _switch(model, before)


def _switch(model, implementation):
    if model.config._attn_implementation == implementation:
        return
    config = model.hf.config
    part = [name for name in config.sub_configs if getattr(config, name, None) is model.config]
    model.hf.set_attn_implementation({part[0]: implementation} if part else implementation)


@contextmanager
def attention_of(model, layer):
    """While it lasts, the attention weights of block `layer` (1..L): a list of `[row, head, query, key]`."""
    found = []

    def hook(module, args, output):
        weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if not torch.is_tensor(weights) or weights.ndim != 4:
            raise MedlibError(f"The attention of block {layer} of {model.name} does not give its weights.")
        found.append(weights)

    handle = model.part(layer, "attention").register_forward_hook(hook)
    try:
        yield found
    finally:
        handle.remove()
