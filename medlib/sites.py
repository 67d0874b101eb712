"""Reading a patch sweep by place: which part of the prompt, which layer, and where the answer changes hands.

A pair that says little is not counted: one whose clean and corrupt logit differences lie close together (a small
denominator makes any share), and one that the model gets wrong when clean.  Both are kept in the table, and flagged.
"""

import numpy as np
import pandas as pd

from medlib import stats
from medlib.errors import MedlibError
from medlib.patching import encode_pairs, patch_sweep


def token_groups(model, pairs):
    """Which part of its prompt each token is: `pair`, `position`, `group`, one row a token.

    "subject" is the last token in which clean and corrupt differ, "subject, earlier" those from the first such token to
    it, "last" the last token of the prompt, "relation" what lies between, "before" what stands before the subject,
    where a patch changes nothing.  A subject that ends the prompt is "last".
    """
    rows = []
    for number, (clean, corrupt) in enumerate(zip(*encode_pairs(model, pairs)[:2], strict=True)):
        differing = [i for i, (a, b) in enumerate(zip(clean, corrupt, strict=True)) if a != b]
        first, end, last = min(differing), max(differing), len(clean) - 1
        for position in range(len(clean)):
            if position == last:
                group = "last"
            elif position == end:
                group = "subject"
            elif position > end:
                group = "relation"
            else:
                group = "subject, earlier" if position >= first else "before"
            rows.append((number, position, group))
    return pd.DataFrame(rows, columns=["pair", "position", "group"])


def of_one_token(model, pairs):
    """The pairs whose subject is one token, so that one patch can bring all of it; `MedlibError` if there is none."""
    groups = token_groups(model, pairs)
    of_group = {name: set(rows["pair"]) for name, rows in groups.groupby("group")}
    single = of_group.get("subject", set()) - of_group.get("subject, earlier", set())
    if not single:
        raise MedlibError(f"No subject of these {len(pairs)} pairs is one token for {model.name}; give other pairs.")
    return [pair for number, pair in enumerate(pairs) if number in single]


def share_sweep(model, pairs, labels, direction="denoise", threshold=1.0):
    """A patch sweep with what a chapter needs beside each site.

    `labels` has one row a pair.  Adds its columns, `group` (`token_groups`), `share` (of the logit difference that a
    patch recovers, or with direction "noise" takes away), `weak` (clean - corrupt under `threshold` logits), `right`
    (the clean run prefers the answer) and `used` (right and not weak).  Raises as `patch_sweep` does.
    """
    sweep = patch_sweep(model, pairs, direction=direction)
    table = sweep.merge(token_groups(model, pairs)).join(labels.reset_index(drop=True), on="pair")
    table["share"] = table["recovered"] if direction == "denoise" else 1 - table["recovered"]
    table["weak"] = table["clean_diff"] - table["corrupt_diff"] < threshold
    table["right"] = table["clean_diff"] > 0
    table["used"] = table["right"] & ~table["weak"]
    table.attrs["no_op"] = sweep.attrs["no_op"]
    return table


def shares(table, group):
    """Mean share of the used pairs at a group's tokens: `item` (the couple), `variant` (the pair), `layer`, `share`."""
    used = table[table["used"] & (table["group"] == group)]
    mean = used.groupby(["couple", "pair", "layer"], as_index=False)["share"].mean()
    return mean.rename(columns={"couple": "item", "pair": "variant"})


def handover(table, other=None, seed=0):
    """The first layer at which the last token's median share exceeds one half, with its interval over couples.

    With `other`, a second sweep: the difference of the two layers.  At the last layer the share is 1 by construction,
    so there always is such a layer.
    """
    curves, couples = _last_token(table)
    if other is None:
        return stats.bootstrap(curves, _first_above_half, seed=seed, groups=couples)
    others, other_couples = _last_token(other)
    return stats.bootstrap_difference(curves, others, _first_above_half, seed=seed, groups=(couples, other_couples))


def _last_token(table):
    curves = shares(table, "last").pivot(index=["item", "variant"], columns="layer", values="share")
    return curves.to_numpy(), curves.index.get_level_values("item").to_numpy()


def _first_above_half(curves, axis):
    return (np.median(curves, axis=axis) > 0.5).argmax(axis=-1) + 1.0
