"""Reading a patch sweep by place: which part of the prompt, which layer, and where the answer changes hands.

Pairs are screened before they are patched, for that costs nothing: what the model says after every question of a domain
is known.  A couple whose logit differences lie close together says little, for a small denominator makes any share; a
pair that the model gets wrong when clean is kept in the table, and flagged.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from medlib import concepts, knowledge, stats, summary
from medlib.attribution import attribution_sweep
from medlib.errors import MedlibError
from medlib.patching import encode_pairs, patch_sweep

PARTS = ("subject", "between", "last")
FEWEST = 5  # couples: an interval over fewer says next to nothing


class Drawn(NamedTuple):
    """Pairs to be patched: the `pairs`, their `labels`, one row each, and the `screened` table of all candidates."""

    pairs: list
    labels: pd.DataFrame
    screened: pd.DataFrame


def draw(model, domain, n, threshold=1.0, seed=0, weak=False):
    """Draw `n` couples of a domain at random among those that can be used: a `Drawn`.

    >>> pairs, labels, screened = draw(model, "drugs", 10)
    >>> screened["reason"].value_counts()

    A couple can be used where the clean logit difference lies `threshold` logits above the corrupt one; the two pairs'
    clean differences add up to that, so that at least one of them is right when clean.  `labels` has `item`, `other`,
    `template`, `couple` and the two differences.  With `weak`, couples are drawn that cannot be used, for their
    difference is too small.  A domain with fewer couples gives all that it has, perhaps none.
    """
    made, candidates = concepts.pairs(domain, model.tokenizer)
    screened = knowledge.filter_pairs(knowledge.ask(model, domain), candidates, threshold)
    labels = screened[candidates["kept"]].reset_index(drop=True)
    labels["couple"] = [" / ".join(sorted(names)) for names in zip(labels["item"], labels["other"], strict=True)]
    strong = labels["clean_diff"] - labels["corrupt_diff"] >= threshold
    chosen = labels[~strong if weak else strong]
    names = chosen["couple"].drop_duplicates()
    chosen = chosen[chosen["couple"].isin(names.sample(min(n, len(names)), random_state=seed))]
    labels = chosen.drop(columns=["kept", "reason"]).reset_index(drop=True)
    return Drawn([made[i] for i in chosen.index], labels, screened)


def counts(drawn):
    """What became of all pairs of some domains, `drawn`: domain -> `Drawn`; a row for each fate, a column a domain."""
    table = pd.DataFrame(
        {name: one.screened["reason"].replace("", "usable").value_counts() for name, one in drawn.items()}
    )
    table.loc["patched (both pairs of a couple)"] = [len(one.pairs) for one in drawn.values()]
    table.loc["of these right when clean, in the figures"] = [
        (one.labels["clean_diff"] > 0).sum() for one in drawn.values()
    ]
    return table.fillna(0).astype(int)


def accuracy(drawn, seed=0):
    """How often the model prefers the right answer of a pair, over all candidates, with its interval over items."""
    asked = drawn.screened.dropna(subset=["clean_diff"])
    return stats.bootstrap((asked["clean_diff"] > 0).astype(float), seed=seed, groups=asked["item"])


def token_groups(model, pairs):
    """Which part of its prompt each token is: `pair`, `position`, `group`, one row a token.

    "subject" are the tokens from the first to the last in which clean and corrupt differ, "last" is the last token of
    the prompt, "between" what lies between, "before" what stands before the subject, where a patch changes nothing.  A
    subject that ends the prompt ends in "last".
    """
    rows = []
    for number, (clean, corrupt) in enumerate(zip(*encode_pairs(model, pairs)[:2], strict=True)):
        differing = [i for i, (a, b) in enumerate(zip(clean, corrupt, strict=True)) if a != b]
        first, end, last = min(differing), max(differing), len(clean) - 1
        for position in range(len(clean)):
            if position == last:
                group = "last"
            elif position > end:
                group = "between"
            else:
                group = "subject" if position >= first else "before"
            rows.append((number, position, group))
    return pd.DataFrame(rows, columns=["pair", "position", "group"])


def sweep_parts(model, pairs, labels, component="residual", parts=PARTS, estimate=False):
    """Patch some parts of each prompt, clean into corrupt, with what a chapter needs beside each site.

    >>> table = sweep_parts(model, *draw(model, "drugs", 10)[:2])
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
    own, couples = _last_token(table)
    if other is None:
        return stats.bootstrap(own, _first_above_half, seed=seed, groups=couples)
    others, other_couples = _last_token(other)
    return stats.bootstrap_difference(own, others, _first_above_half, seed=seed, groups=(couples, other_couples))


def handovers(swept, controls, seed=0):
    """The handover of each medical domain, of its control, and the difference: one row each.

    `swept`: domain -> sweep, without those that had too few pairs.  Returns `domain`, `what` ("domain", "control" or
    "difference"), `value`, `low`, `high` (layers); a row that cannot be had is left out.
    """
    rows = []
    for domain, control in controls.items():
        for what, names in {"domain": [domain], "control": [control], "difference": [domain, control]}.items():
            if all(name in swept for name in names):
                rows.append((domain, what, *handover(*(swept[name] for name in names), seed=seed)))
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

    Returns `(matrix [layer, position], names of the tokens, number of pairs)`, from the subject's first token on.
    Raises `MedlibError` without pairs.
    """
    if not pairs:
        raise MedlibError("There are no pairs to map.")
    groups = token_groups(model, pairs)
    labels = labels.reset_index(drop=True)
    parts = groups.pivot(index="pair", columns="position", values="group").fillna("").agg(",".join, axis=1)
    shape = labels["template"] + " " + parts
    used = labels["clean_diff"] > 0
    chosen = labels.index[used & (shape == shape[used].mode()[0])][:most]
    sweep = patch_sweep(model, [pairs[i] for i in chosen])
    own = groups[(groups["pair"] == chosen[0]) & (groups["group"] != "before")]
    heat = sweep.pivot_table(index="layer", columns="position", values="recovered", aggfunc="median")
    words = sweep[sweep["pair"] == 0].drop_duplicates("position").set_index("position")["token"]
    number = iter(range(1, len(own) + 1))
    names = [
        f"subject {next(number)}" if group == "subject" else words[position].strip() or "(space)"
        for position, group in zip(own["position"], own["group"], strict=True)
    ]
    return heat[own["position"]].to_numpy(), names, len(chosen)


def _last_token(table):
    own = shares(table, "last").pivot(index=["item", "variant"], columns="layer", values="value")
    return own.to_numpy(), own.index.get_level_values("item").to_numpy()


def _first_above_half(curves, axis):
    return (np.median(curves, axis=axis) > 0.5).argmax(axis=-1) + 1.0
