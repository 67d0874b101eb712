"""The maps of one answer, at every layer, from one walk: attention alone, its rollout, and three of its gradient.

Every Grad-CAM here is attention times a slope, clipped at zero.  They differ in what the slope is of: the logit of the
answer, the difference from the other answer, or the sum of all logits.
"""

from typing import NamedTuple

import numpy as np

from medlib import vision
from medlib.chapters.grad_cam.lesion_scenes import said
from medlib.errors import MedlibError

MAPS = {  # in the order of all figures and tables
    "attention": "attention",
    "rollout": "rollout",
    "grad_cam": "Grad-CAM",
    "contrast": "Grad-CAM against the other answer",
    "all_logits": "Grad-CAM of all logits",
}
JUDGED = MAPS | {"head": "the tower's own head"}


class Traced(NamedTuple):
    """What the maps of a prompt are made of, at some layers.

    `layers` 1..L; `attention` of the last token to the image tokens, `[layer, head, token]`; `slopes` by it of the
    logits of the answer and the other answer, and of the sum of all, `[3, layer, head, token]`; `rollout` `[layer, row,
    column]`; `vocabulary`: how many logits the sum is over.
    """

    layers: list
    attention: np.ndarray
    slopes: np.ndarray
    rollout: np.ndarray
    vocabulary: int


def trace(model, prompt, answer, wrong, layers):
    """What the maps of an answer are made of: a `Traced`.

    >>> maps_of(trace(model, prompt, "yes", "no", [5, 10]))["contrast"].shape
    (2, 10, 10)
    """
    answers = [said(prompt, answer), said(prompt, wrong), None]
    attention, slopes, rollout = vision.attention_traces(model, prompt, answers, layers)
    return Traced(sorted(layers), attention, slopes, rollout, model.vocabulary)


def maps_of(traced):
    """The maps of `MAPS`, `[layer, row, column]`: that of all logits is the maximum over heads, others are means."""
    attention, (answer, wrong, every) = traced.attention, traced.slopes
    flat = {
        "attention": attention.mean(1),
        "grad_cam": cam(attention, answer).mean(1),
        "contrast": cam(attention, answer - wrong).mean(1),
        "all_logits": cam(attention, every).max(1),
    }
    shaped = {name: heat.reshape(traced.rollout.shape) for name, heat in flat.items()}
    return {name: traced.rollout if name == "rollout" else shaped[name] for name in MAPS}


def cam(attention, slope):
    """Attention times what of its slope is positive, head by head."""
    return attention * slope.clip(0)


def layers_of(model, text):
    """The layers that a parameter names: "all", or numbers such as "5 10 15"; a list in rising order.

    Raises `MedlibError` for anything else, and for a layer that the model does not have.
    """
    every = list(range(1, model.n_layers + 1))
    if text.strip() == "all":
        return every
    numbers = text.split()
    if not numbers or not all(number.isdigit() and int(number) in every for number in numbers):
        raise MedlibError(f'layers={text!r}; give "all", or numbers from 1 to {model.n_layers} such as "5 10 15".')
    return sorted({int(number) for number in numbers})
