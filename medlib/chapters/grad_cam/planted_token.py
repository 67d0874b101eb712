"""A planted answer: in one block of the model, attention to one image token alone writes the answer.

Any model that gives its attention weights can carry it: what is added to the block's attention output is proportional
to the weight on that token, and no weight of the model changes.
"""

from contextlib import contextmanager

import numpy as np
import torch

from medlib import hooks, vision
from medlib.chapters.grad_cam.lesion_scenes import said
from medlib.hooks import hidden, with_hidden
from medlib.vision.inputs import answer_id


@contextmanager
def planted_token(model, prompt, number, answer, layer):
    """For the duration, block `layer` writes `answer` as far as its last token attends to image token `number`.

    >>> with planted_token(model, prompt, 17, " yes", layer=3):
    ...     heat = vision.grad_cam(model, prompt, " yes", layer=3)

    All other blocks are skipped.  What is written is half as long as the residual stream there, in the direction of the
    answer's row of the unembedding, less their mean.  Attention has to be eager while the model runs.
    """
    rows = model.unembedding(torch.tensor([answer_id(model, prompt, answer)]))[0][0].detach()
    every = [model.unembedding(slice(0, model.vocabulary) if part is None else part)[0] for part in parts_of(model)]
    direction = rows - sum(part.detach().sum(0) for part in every) / model.vocabulary
    position = int(prompt.image[number])
    with torch.no_grad(), hooks.capture(model, [0]) as states:
        model.hf(**prompt.inputs, use_cache=False)
    length = states[0][:, -1].float().norm(dim=-1).mean() / 2
    direction = (direction.float() / direction.float().norm() * length).to(model.dtype)

    def writes(module, args, output):
        weight = output[1][:, :, -1, position].sum(1)
        share = (weight / weight.detach())[:, None].to(model.dtype)
        own = hidden(output)
        added = torch.zeros_like(own)
        added[:, -1] = share * direction.to(own.device)
        return with_hidden(output, own + added)

    handle = model.part(layer, "attention").register_forward_hook(writes)
    try:
        with hooks.only(model, layer):
            yield
    finally:
        handle.remove()


def parts_of(model):
    return model.vocabulary_parts()


def find_planted(model, prompt, answer, wrong, layer, numbers):
    """Plant the answer in some image tokens, one at a time, and see where the maps point: a list of dicts.

    >>> find_planted(model, prompt, "yes", "no", layer=15, numbers=[0, 55, 99])

    Each has `planted` (number of the token) and for the maps of the answer, of its difference from the other answer and
    of the sum of all logits which token is hottest and what share of the heat it holds: `answer`, `contrast`,
    `all_logits` with `(token, share)`.
    """
    answers, found = [said(prompt, answer), said(prompt, wrong), None], []
    for number in numbers:
        with vision.eager(model), planted_token(model, prompt, number, answers[0], layer):
            attention, slopes = vision.attention_slopes(model, prompt, answers, [layer])
        maps = {
            "answer": (attention * slopes[0].clip(0)).mean(1)[0],
            "contrast": (attention * (slopes[0] - slopes[1]).clip(0)).mean(1)[0],
            "all_logits": (attention * slopes[2].clip(0)).max(1)[0],
        }
        hottest = {name: (int(heat.argmax()), share_of(heat, number)) for name, heat in maps.items()}
        found.append(dict(planted=int(number)) | hottest)
    return found


def share_of(heat, number):
    """The share of a map's heat that one token holds; 0 where there is none."""
    total = float(np.sum(heat))
    return float(heat[number]) / total if total else 0.0
