"""Cause: do the image tokens of the lesion carry the answer, whatever any map says?

In the run of a scene, the states of the lesion's tokens are taken from its twin, the same slice without it, at one
layer; beside them those of as many other tokens of the brain.  What moves the answer is what it hung on.  Outside the
lesion the twin is the same picture, so the other tokens hold nearly the same states in both, and can move the answer
only by what the tower spread to them: they show that the place matters, and not that other tokens do not.
"""

from itertools import takewhile

import numpy as np
import pandas as pd

from medlib import stats, vision
from medlib.chapters.grad_cam.lesion_scenes import ask, brain_of, brain_tokens, said, twin_of
from medlib.errors import MedlibError
from medlib.scans import draw


def lesion_patch(model, table, layers, draws=3, seed=0):
    """Patch the lesion's tokens from the twin, in every scene and layer, beside random tokens: one row each.

    >>> lesion_patch(model, answered, layers=range(0, 31, 3)).groupby(["tokens", "layer"])["moved"].mean()

    `table`: questions whether there is a lesion.  Columns: `scene`, `tokens` ("lesion", "random"), `draw`, `layer`
    (0..L), `moved` (by how much the logit difference of "no" and "yes" rises, logits), `span` (by how much it would if
    all were the twin's), `size` (how many tokens).  A scene whose lesion leaves too few other tokens of the brain is
    left out, and `attrs["left_out"]` counts them.  Raises `MedlibError` where fewer than 3 are left.
    """
    parts, left_out = [], 0
    for row in table.to_dict("records"):
        scene, without = ask(model, row), ask(model, row, draw(twin_of(row))[0])
        brain, lesion = brain_of(row), np.nan_to_num(scene.view.to_grid(draw(row)[1])) > 0
        among = brain_tokens(scene.view, brain) & ~lesion
        if among.sum() < lesion.sum():
            left_out += 1
            continue
        answer, wrong = said(scene, row["wrong"]), said(scene, row["answer"])
        options = dict(layers=layers, draws=draws, seed=[seed, row["scene"]], among=among)
        found = vision.image_patch_sweep(model, without, scene, lesion, answer, wrong, **options)
        moved = found["logit_diff"] - found["corrupt_diff"]
        span = found["clean_diff"] - found["corrupt_diff"]
        named = found["tokens"].replace("chosen", "lesion")
        found = found.assign(scene=row["scene"], tokens=named, moved=moved, span=span, size=int(lesion.sum()))
        parts.append(found[["scene", "tokens", "draw", "layer", "moved", "span", "size"]])
    if len(parts) < 3:
        raise MedlibError(
            f"{len(parts)} scenes can be patched, and an interval needs 3. Ask whether there is a lesion (the kind "
            "'lesion') about more scenes; the lesion must leave as many other tokens of the brain."
        )
    table = pd.concat(parts, ignore_index=True)
    table.attrs["left_out"] = left_out
    return table


def patch_curves(table, seed=0):
    """How far the answer moves at each layer, in logits: `tokens, layer, value, low, high, n`.

    `tokens`: "lesion", "random" (mean of the draws) and "difference" of the two, scene by scene.
    """
    mean = table.groupby(["tokens", "scene", "layer"])["moved"].mean().unstack("layer")
    every = {name: mean.loc[name] for name in ("lesion", "random")}
    every["difference"] = every["lesion"] - every["random"]
    parts = [
        pd.DataFrame(dict(tokens=name, layer=wide.columns, n=len(wide)) | stats.bootstrap(wide, seed=seed)._asdict())
        for name, wide in every.items()
    ]
    return pd.concat(parts, ignore_index=True)


def whole_span(table, seed=0):
    """By how much the logit difference rises if the whole picture is the twin's, mean over scenes: an `Interval`."""
    return stats.bootstrap(table.drop_duplicates("scene")["span"], seed=seed)


def share_moved(table, layer, seed=0):
    """The share of that rise that the lesion's tokens bring at a layer, a ratio of means: `(value, text)`.

    Not known where the rise itself is not clear of zero, since a share of nothing, or of a fall, means nothing.
    """
    if whole_span(table, seed).low <= 0:
        return "not known", "not known, for the whole picture does not clearly move it"
    part = table[(table["layer"] == layer) & (table["tokens"] == "lesion")]
    value, low, high = stats.bootstrap(part[["moved", "span"]], _ratio, seed=seed)
    return value, f"{value:.0%} ({low:.0%} to {high:.0%})"


def times_random(table, layer, seed=0):
    """How many times as far as random tokens the lesion's move the answer, a ratio of means: `(value, text)`.

    Not known where random ones are not shown to move it, since nothing can be so many times as far as nothing.
    """
    wide = table[table["layer"] == layer].groupby(["scene", "tokens"])["moved"].mean().unstack("tokens")
    if stats.bootstrap(wide["random"], seed=seed).low <= 0:
        return "not known", "not known, for random ones are not shown to move it"
    value, low, high = stats.bootstrap(wide[["lesion", "random"]], _ratio, seed=seed)
    return value, f"{value:.0f} times as far ({low:.0f} to {high:.0f})"


def _ratio(values, axis):
    mean = values.mean(axis)
    return mean[..., 0] / mean[..., 1]


def causal_verdict(table, curves, seed=0):
    """Whether the lesion's tokens carry the answer: `(word, sentence)`, the word "yes", "no" or "not decided".

    Not decided where the model does not tell a scene from its twin (the interval of the whole rise reaches zero).
    "yes" where the lesion's tokens move the answer at the lowest patched layer, and by more than random ones, both with
    intervals above zero.
    """
    span, first = whole_span(table, seed), curves["layer"].min()
    at = curves[curves["layer"] == first].set_index("tokens")
    lesion, difference, random = (at.loc[name] for name in ("lesion", "difference", "random"))
    whole = f"{span.value:.2g} logits ({span.low:.2g} to {span.high:.2g})"
    if span.low <= 0:
        return "not decided", f"Not decided: without the lesion the answer moves towards the twin's by {whole}"
    moved = f"{lesion.value:.2g} logits ({lesion.low:.2g} to {lesion.high:.2g}) of {whole}"
    more = (
        f"{difference.value:.2g} ({difference.low:.2g} to {difference.high:.2g}) more than as many random ones, which "
        f"move it by {random.value:.2g} ({random.low:.2g} to {random.high:.2g})"
    )
    if lesion.low > 0 and difference.low > 0:
        ahead = curves[curves["tokens"] == "difference"].sort_values("layer").set_index("layer")["low"] > 0
        *_, end = takewhile(ahead.get, ahead.index)  # a layer that is ahead again further up does not count
        return "yes", f"Yes: the lesion's tokens move the answer by {moved}, {more}; they are ahead up to layer {end}"
    return "no", f"No: the lesion's tokens move the answer by {moved}, {more}"
