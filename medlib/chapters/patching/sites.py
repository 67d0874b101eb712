"""Reading a patch sweep by place: which part of the prompt, which layer, and where the answer changes hands.

The parts follow the entity of the prompt, not the tokens in which two prompts happen to differ: of "81-year-old man"
beside "16-year-old man" all is the subject.  A pair that the model gets wrong when clean is kept in the table, and
flagged.
"""

import numpy as np
import pandas as pd

from medlib import concepts, hooks, stats, summary
from medlib.attribution import attribution_sweep
from medlib.chapters.patching.couples import FEWEST, first_couples
from medlib.errors import MedlibError
from medlib.patching import encode_pairs, patch_sweep
from medlib.prompts import Prompt
from medlib.states import entity_tokens

PARTS = ("subject", "between", "last")
ENDS = ("subject", "last")


def token_groups(model, pairs):
    """Which part of its prompt each token is: `pair`, `position`, `group`, one row a token.

    "subject" are the tokens of the entity, whichever of them the other prompt shares, "last" is the last token of the
    prompt, "between" what lies between, "before" what stands before the subject, where a patch changes nothing.  Where
    a tokenizer ends the entity's last or begins its first token elsewhere in the two prompts, both ends count.  A
    subject that ends the prompt ends in "last".  Raises `MedlibError` for texts that are no `medlib.Prompt`.
    """
    if any(not isinstance(text, Prompt) for pair in pairs for text in (pair.clean, pair.corrupt)):
        raise MedlibError(
            "A pair is of plain text, which does not say where its subject stands. Build its prompts with "
            "medlib.Prompt.fill, or patch single tokens with medlib.patch_sweep."
        )
    rows = []
    for number, (pair, clean) in enumerate(zip(pairs, encode_pairs(model, pairs)[0], strict=True)):
        starts, ends = zip(*(entity_tokens(model, text) for text in (pair.clean, pair.corrupt)), strict=True)
        last = len(clean) - 1
        for position in range(len(clean)):
            if position == last:
                group = "last"
            elif position >= max(ends):
                group = "between"
            else:
                group = "subject" if position >= min(starts) else "before"
            rows.append((number, position, group))
    return pd.DataFrame(rows, columns=["pair", "position", "group"])


def sweep_parts(model, pairs, labels, component="residual", parts=PARTS, estimate=False):
    """Patch some parts of each prompt, clean into corrupt, with what a chapter needs beside each site.

    >>> table = sweep_parts(model, *couples.draw(model, "drugs", 10)[:2])
    >>> summary.by_layer(shares(table, "last"), "share", np.median)

    `labels` has one row a pair, both pairs of each couple in it.  To what `patch_sweep` gives for these groups of
    tokens it adds the labels, `used` (the clean run prefers the answer), `share` (of the logit difference that the
    patch brings back), `removed` (the share that the opposite patch takes away, corrupt into clean: what the partner's
    patch brings back, for its clean prompt is this one's corrupt prompt) and `gap`, how far these two lie apart.  With
    `estimate` the table holds the first-order estimates of attribution patching.
    """
    groups = token_groups(model, pairs)
    groups = groups[groups["group"].isin(parts)]
    sweep = (attribution_sweep if estimate else patch_sweep)(model, pairs, component=component, groups=groups)
    labels = labels.reset_index(drop=True)
    labels = labels[labels.columns.difference(sweep.columns, sort=False)]
    table = sweep.rename(columns={"recovered": "share"}).join(labels, on="pair")
    table["used"] = table["clean_diff"] > 0
    place = ["template", "layer", "group"]
    partner = table.rename(columns={"item": "other", "other": "item", "share": "removed"})
    table = table.merge(partner[["item", "other", *place, "removed"]], on=["item", "other", *place], how="left")
    table["gap"] = (table["share"] - table["removed"]).abs()
    table.attrs["no_op"] = sweep.attrs["no_op"]
    return table


def sweep_blocks(model, drawn, n):
    """Patch what attention or MLP of one block gives out, in the first `n` couples of each domain.

    Returns `(component, domain) -> table`, "attention" and "mlp", at subject and last token; nothing where `n` is below
    `FEWEST`.
    """
    if n < FEWEST:
        return {}
    chosen = {name: first_couples(one, n) for name, one in drawn.items()}
    return {
        (component, name): sweep_parts(model, *one, component=component, parts=ENDS)
        for name, one in chosen.items()
        for component in ("attention", "mlp")
    }


def estimates(model, drawn, exact, n):
    """The first-order estimate of each exact sweep, `(component, domain) -> table`, of the same pairs and parts.

    `drawn`: domain -> `couples.Drawn`; `n`: couples in which attention and MLP were patched.
    """
    found = {}
    for component, name in exact:
        whole = component == "residual"
        chosen = drawn[name][:2] if whole else first_couples(drawn[name], n)
        parts = PARTS if whole else ENDS
        found[component, name] = sweep_parts(model, *chosen, component, parts, estimate=True)
    return found


def planted(model, seed=0):
    """P by part of the prompt and side of the one block that is left in the model, and the largest error of P.

    With every block but the middle one taken out, only that one can move anything from the subject to the last token.
    So below it a patch of the subject must recover everything and one of the last token nothing, from it on the
    reverse, and one of the words between nothing at any layer.
    """
    if model.n_layers < 2:
        raise MedlibError(f"{model.name} has one block, and nothing lies below or above it: patching needs two.")
    block = max(2, model.n_layers // 2)
    pairs, labels = concepts.couples("cities", model, 3, seed)
    with hooks.only(model, block):
        table = sweep_parts(model, pairs, labels)
    table["block passed"] = table["layer"] >= block
    found = table.groupby(["group", "block passed"])["share"].median()
    expected = found * 0.0
    expected[[("subject", False), ("last", True)]] = 1
    return found.to_frame("P"), (found - expected).abs().max()


def wrong_when_clean(table):
    """A sweep in which the pairs that the model gets wrong when clean take the place of the used ones."""
    return table.assign(used=~table["used"])


def shares(table, group, column="share"):
    """A column of the used pairs at one part of the prompt: `item` (couple), `variant` (pair), `layer`, `value`."""
    used = table[table["used"] & (table["group"] == group)]
    columns = {"item": used["couple"], "variant": used["pair"], "layer": used["layer"], "value": used[column]}
    return pd.DataFrame(columns)


def curves(table, column="share", parts=PARTS, seed=0):
    """The median over used pairs by layer, for each part of the prompt: part -> `layer, value, low, high, n`.

    Intervals are over couples; a part that fewer than `FEWEST` couples have is left out.
    """
    found = {part: shares(table, part, column) for part in parts}
    return {
        part: summary.by_layer(one, "value", np.median, seed)
        for part, one in found.items()
        if one["item"].nunique() >= FEWEST
    }


def handover(table, other=None, seed=0):
    """The first layer at which the last token's median share exceeds one half, with its interval over couples.

    With `other`, a second sweep: the difference of the two layers.  At the last layer the share is 1 by construction,
    so there always is such a layer.
    """
    return _of_last_token(_first_above_half, table, other, seed)


def crossing(table, other=None, seed=0):
    """Where the last token's median share passes one half, interpolated between layers, as `handover`.

    A real number of layers: 12.4 lies four tenths of the way from layer 12 to layer 13, if the share rose evenly there.
    Before the first layer the share is 0, for both prompts end in the same token.
    """
    return _of_last_token(_crossing_of_half, table, other, seed)


def handovers(swept, controls, seed=0, measure=handover):
    """The handover of each medical domain, of its control, and the difference: one row each.

    `swept`: domain -> sweep, without those that had too few pairs; `measure`: `handover` or `crossing`.  Returns
    `domain`, `what` ("domain", "control" or "difference"), `value`, `low`, `high` (layers); a row that cannot be had is
    left out.
    """
    rows = []
    for domain, control in controls.items():
        for what, names in {"domain": [domain], "control": [control], "difference": [domain, control]}.items():
            if all(name in swept for name in names):
                rows.append((domain, what, *measure(*(swept[name] for name in names), seed=seed)))
    return pd.DataFrame(rows, columns=["domain", "what", "value", "low", "high"])


def agreement(exact, estimate, seed=0):
    """Rank correlation of the exact map and its estimate over a pair's sites: the median of the used pairs.

    Layers and parts of the prompt are the sites; those before the subject, where nothing moves by construction, are not
    counted.  The interval is over couples.
    """
    site = ["pair", "layer", "group"]
    both = exact[exact["used"]].merge(estimate[[*site, "share"]], on=site, suffixes=("", "_estimated"))
    found = [
        (rows["couple"].iloc[0], stats.spearman(rows["share"], rows["share_estimated"]))
        for _, rows in both.groupby("pair")
    ]
    couples, ranks = zip(*found, strict=True)
    return stats.bootstrap(np.array(ranks), np.median, seed=seed, groups=np.array(couples))


def extremes(table):
    """What a small denominator does, a row a pair: `span` (clean minus corrupt, logits), `share` and `moved`.

    `share` is the largest of |P| over all sites, `moved` the largest change of the logit difference itself (logits).
    """
    table = table.assign(
        span=(table["clean_diff"] - table["corrupt_diff"]).abs(),
        moved=(table["logit_diff"] - table["corrupt_diff"]).abs(),
        share=table["share"].abs(),
    )
    return table.groupby("pair")[["span", "share", "moved"]].max()


def token_map(model, pairs, labels, most):
    """Median P by layer and token over the used pairs of the commonest shape (template and length), `most` at most.

    Returns `(matrix [layer, position], names of the tokens, number of pairs)`, from the subject's first token on.  A
    token is named by its text where all these prompts share it, or else by its place in the subject.  Raises
    `MedlibError` without pairs.
    """
    if not pairs:
        raise MedlibError("There are no pairs to map.")
    groups = token_groups(model, pairs)
    labels = labels.reset_index(drop=True)
    parts = groups.pivot(index="pair", columns="position", values="group").fillna("").agg(",".join, axis=1)
    shape = labels["template"] + " " + parts
    used = labels["clean_diff"] > 0
    chosen = labels.index[used & (shape == shape[used].mode()[0])][:most]
    chosen_pairs = [pairs[i] for i in chosen]
    sweep = patch_sweep(model, chosen_pairs)
    own = groups[(groups["pair"] == chosen[0]) & (groups["group"] != "before")]
    heat = sweep.pivot_table(index="layer", columns="position", values="recovered", aggfunc="median")
    clean, corrupt, _ = encode_pairs(model, chosen_pairs)
    names = []
    for place, position in enumerate(own["position"], start=1):
        met = {ids[position] for ids in (*clean, *corrupt)}
        text = model.tokenizer.decode(sorted(met)[:1]).strip() or "(space)"
        names.append(text if len(met) == 1 else f"subject {place}")
    return heat[own["position"]].to_numpy(), names, len(chosen)


def _of_last_token(statistic, table, other, seed):
    own, couples = _last_token(table)
    if other is None:
        return stats.bootstrap(own, statistic, seed=seed, groups=couples)
    others, other_couples = _last_token(other)
    return stats.bootstrap_difference(own, others, statistic, seed=seed, groups=(couples, other_couples))


def _last_token(table):
    own = shares(table, "last").pivot(index=["item", "variant"], columns="layer", values="value")
    return own.to_numpy(), own.index.get_level_values("item").to_numpy()


def _first_above_half(curves, axis):
    return (np.median(curves, axis=axis) > 0.5).argmax(axis=-1) + 1.0


def _crossing_of_half(curves, axis):
    medians = np.median(curves, axis=axis)
    medians = np.concatenate([np.zeros_like(medians[..., :1]), medians], axis=-1)
    above = (medians > 0.5).argmax(axis=-1)
    below, there = (np.take_along_axis(medians, at[..., None], -1)[..., 0] for at in (above - 1, above))
    return above - 1 + (0.5 - below) / (there - below)
