"""Which couples of prompts are patched: drawn among those in which there is something to trace.

Pairs are screened before they are patched, for that costs nothing: what the model says after every question of a domain
is known.  A couple whose logit differences lie close together says little, for a small denominator makes any share.
"""

from typing import NamedTuple

import pandas as pd

from medlib import concepts, knowledge, stats
from medlib.errors import MedlibError

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
    made, candidates = concepts.pairs(domain, model)
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
    right = [(one.labels["clean_diff"] > 0).sum() for one in drawn.values()]
    table.loc["of these right when clean, in the figures"] = right
    table.loc["of these wrong when clean, shown apart"] = table.loc["patched (both pairs of a couple)"] - right
    return table.fillna(0).astype(int)


def accuracy(drawn, seed=0):
    """How often the model prefers the right answer of a pair, over all candidates, with its interval over items."""
    asked = drawn.screened.dropna(subset=["clean_diff"])
    return stats.bootstrap((asked["clean_diff"] > 0).astype(float), seed=seed, groups=asked["item"])


def too_few(drawn):
    """What a figure says in place of a domain with fewer than `FEWEST` usable couples: domain -> text.

    Raises `MedlibError` where that is all of them.
    """
    couples = {name: one.labels["couple"].nunique() for name, one in drawn.items()}
    if max(couples.values()) < FEWEST:
        found = ", ".join(f"{name} {n}" for name, n in couples.items())
        raise MedlibError(
            f"No domain has {FEWEST} couples whose answers the model tells apart ({found}), so there is nothing to "
            "patch. Give a domain of more items, a lower threshold, or another model."
        )
    return {name: f"too few couples ({n})" for name, n in couples.items() if n < FEWEST}


def first_couples(drawn, n):
    """The pairs and labels of the first `n` couples of a `Drawn`, in the order of their (random) drawing."""
    names = drawn.labels["couple"].drop_duplicates()[:n]
    chosen = drawn.labels[drawn.labels["couple"].isin(names)]
    return [drawn.pairs[i] for i in chosen.index], chosen.reset_index(drop=True)
