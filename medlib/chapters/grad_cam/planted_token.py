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
def planted_token(model, prompt, number, answer, wrong, layer):
    """For the duration, block `layer` writes `answer` as far as its last token attends to image token `number`.

    >>> with vision.eager(model), planted_token(model, prompt, 17, " yes", " no", layer=3):
    ...     heat = vision.grad_cam(model, prompt, " yes", layer=3)

    What is written at the last token points from the row of `wrong` in the unembedding to that of `answer`, is as long
    as what the attention writes there by itself, and has that beside it as a constant: a norm that follows would else
    leave a single direction no slope.  The block's MLP adds nothing, and all other blocks are skipped.  Attention has
    to be eager while the model runs.
    """
    tokens = torch.tensor([answer_id(model, prompt, text) for text in (answer, wrong)])
    (right, other), position = model.unembedding(tokens)[0].detach().float(), int(prompt.image[number])
    direction = (right - other) / (right - other).norm()

    def writes(module, args, output):
        weight = output[1][:, :, -1, position].sum(1)
        share, own = (weight / weight.detach())[:, None], hidden(output)
        kept = own[:, -1].detach()
        added = share * kept.float().norm(dim=-1, keepdim=True) * direction.to(own.device)
        return with_hidden(output, torch.cat([own[:, :-1], (kept + added.to(own.dtype))[:, None]], dim=1))

    handle = model.part(layer, "attention").register_forward_hook(writes)
    try:
        with hooks.replace(model, layer, torch.zeros_like, component="mlp"), hooks.only(model, layer):
            yield
    finally:
        handle.remove()


def find_planted(model, prompt, answer, wrong, layer, numbers):
    """Plant the answer in some image tokens, one at a time, and see where the maps point: a list of dicts.

    >>> find_planted(model, prompt, "yes", "no", layer=15, numbers=[0, 55, 99])

    Each has `planted` (number of the token) and for the maps of the answer, of its difference from the other answer and
    of the sum of all logits which token is hottest and what share of the heat it holds: `answer`, `contrast`,
    `all_logits` with `(token, share)`.
    """
    answers, found = [said(prompt, answer), said(prompt, wrong), None], []
    for number in numbers:
        with vision.eager(model), planted_token(model, prompt, number, *answers[:2], layer):
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


def all_found(planted, share=0.5):
    """Whether both maps of the answer name every planted token, and give it at least a `share` of the heat."""
    pairs = [(one["planted"], one[name]) for one in planted for name in ("answer", "contrast")]
    return all(token == number and heat >= share for number, (token, heat) in pairs)


def told(planted):
    """What `find_planted` found, in words."""
    hot = {name: [one[name][0] for one in planted] for name in ("answer", "contrast", "all_logits")}
    least = min(one[name][1] for one in planted for name in ("answer", "contrast"))
    return (
        f"planted in {[one['planted'] for one in planted]}: hottest for the answer {hot['answer']}, against the other "
        f"answer {hot['contrast']}, at least {least:.0%} of the heat; for all logits {hot['all_logits']}"
    )
