"""The positive control: the vision tower's own dense head, which was trained to say where the lesion is.

If the head points and the maps do not, the lesion is in what the language model was given, and the maps miss it.
Only a model whose tower is that of the trained part (medlib/scans/trained) has such a head.
"""

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from medlib.chapters.grad_cam.heat_scores import METRICS, score
from medlib.chapters.grad_cam.lesion_scenes import ask
from medlib.scans import draw
from medlib.scans.model import TRAINED, WEIGHTS, Heads

NO_HEAD = "This model's vision tower has no dense head of its own, so there is no positive control of that kind"


def head_of(model, folder=TRAINED):
    """The heads that the tower of a model was trained with, or None where its tower is not that of `folder`.

    >>> heads = head_of(medlib.load("scans-llava"))

    A tower is that of the folder where every one of its weights is, in the precision of the model.
    """
    tower = getattr(getattr(model.hf, "model", None), "vision_tower", None)
    if tower is None or not (folder / WEIGHTS).is_file():
        return None
    tensors = load_file(folder / WEIGHTS)
    kept, own = _part(tensors, "vision_tower."), tower.state_dict()
    same = all(
        name in own and own[name].shape == value.shape and torch.equal(own[name].cpu(), value.to(own[name].dtype))
        for name, value in kept.items()
    )
    if not same or not kept:
        return None
    heads = Heads(len(tensors["heads.norm.weight"]))
    heads.load_state_dict({name: value.float() for name, value in _part(tensors, "heads.").items()})
    return heads.eval()


def _part(tensors, prefix):
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@torch.no_grad()
def head_map(model, heads, prompt):
    """The head's logit that a patch holds lesion, from the features that the projector is given: `[row, column]`."""
    given = []
    projector = model.hf.model.multi_modal_projector
    handle = projector.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    try:
        model.hf.model.get_image_features(pixel_values=prompt.inputs["pixel_values"])
    finally:
        handle.remove()
    return prompt.on_grid(heads(given[0].float().cpu())["patch_lesion"][0, :, 0].numpy())


def head_scores(model, heads, table):
    """Scores of the head on the scenes of some questions: rows such as those of `heat_scores.baselines`, and the maps.

    Without heads (None) there are no rows and no maps.
    """
    rows, maps = [], {}
    if heads is None:
        table = table.head(0)
    for row in table.to_dict("records"):
        where, prompt = (row["scene"], row["question_kind"]), ask(model, row)
        maps[where] = head_map(model, heads, prompt)
        rows.append((*where, "head", "none", *score(prompt.view, maps[where], draw(row)[1])))
    return pd.DataFrame(rows, columns=["scene", "kind", "map", "weights", *METRICS]), maps


def head_said(compared, kind):
    """What the positive control comes to, in words: `(value, text)`; `compared` is `heat_scores.compared`."""
    part = compared[(compared["map"] == "head") & (compared["kind"] == kind) & (compared["metric"] == "hit")]
    if part.empty:
        return "none", NO_HEAD
    own = part[part["control"].isna()].iloc[0]
    beats = bool((part.loc[part["control"].notna(), "low"] > 0).all())
    verb = "points at it" if beats else "does not point at it more often than the controls"
    share = f"{own.value:.0%} of {own.n} scenes ({own.low:.0%} to {own.high:.0%})"
    return float(np.round(own.value, 6)), f"The tower's own head, the positive control, {verb}: in {share}"
