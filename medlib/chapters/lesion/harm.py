"""The harm that lesions do, domain by domain: from sweeps to curves and to differences from a control.

`sweep` asks a domain's questions of a lesioned model; everything after it works on its tables, `{domain: table}` with a
row for each prompt and layer, and gives long tables with the columns of the results table.  What is resampled or
shuffled is the unit of summary.py: an item with all its templates, or a cluster of items.
"""

import numpy as np
import pandas as pd

from medlib import results, stats, summary
from medlib.errors import MedlibError
from medlib.lesion import lesion_sweep, lesion_texts

LABELS = ["item", "variant", "cluster"]


def sweep(model, questions, function=lesion_sweep, answers=True, **options):
    """Lesion a model on a domain's `concepts.questions`: the rows of `function`, with `item`, `variant`, `cluster`.

    >>> sweep(model, concepts.questions("drugs"), medlib.lesion_windows, stride=2)

    Without `answers` only the divergence is measured.  A sweep with answers also has `repair`, the direct less the
    total effect on the answer's logit.  `attrs["no_op"]` is that of `function`.
    """
    own = list(questions["answer"]) if answers else None
    table = function(model, list(questions["prompt"]), own, **options)
    if "direct_drop" in table:
        table["repair"] = table["direct_drop"] - table["logit_drop"]
    found = table.join(questions[LABELS].reset_index(drop=True), on="prompt")
    found.attrs = table.attrs
    return found


def in_templates(questions, n):
    """The questions in the first `n` of their templates, in the order in which the domain names them."""
    return questions[questions["variant"].isin(questions["variant"].unique()[:n])]


def of_clusters(questions, n, seed=0):
    """The questions of `n` clusters, an item of each: for what is dear by the prompt."""
    items = questions.drop_duplicates("item").sample(frac=1, random_state=seed).drop_duplicates("cluster")
    return summary.sample_items(questions[questions["item"].isin(items["item"])], n, seed)


def neutral_text(model, texts):
    """What each block's loss costs texts: `item` (the text's number), `variant`, `layer`, `rise` (nats a token)."""
    losses = lesion_texts(model, texts).pivot(index="text", columns="layer", values="loss")
    rise = losses.drop(columns=0).sub(losses[0], axis=0).melt(ignore_index=False, value_name="rise").reset_index()
    return rise.rename(columns={"text": "item"}).assign(variant="text")


def curves(tables, metrics, seed=0):
    """The mean of each metric by domain and layer, with its interval: `domain, metric, layer, value, low, high, n`."""
    return pd.concat(
        summary.by_layer(table.astype({metric: float}), metric, seed=seed).assign(domain=domain, metric=metric)
        for domain, table in tables.items()
        for metric in metrics
    )


def by_domain(curves, metric):
    """The curves of one metric as the figures take them: domain -> table over layers."""
    return dict(iter(curves[curves["metric"] == metric].groupby("domain", sort=False)))


def of_controls(tables, controls):
    """The control's table in place of each medical domain's own: `{domain: table}`."""
    return {domain: tables[control] for domain, control in controls.items()}


def differences(tables, controls, metric, seed=0, n=9999):
    """Each medical domain minus its control, by layer: the columns of `curves`, `p` and `q`.

    >>> found = differences(tables, {"drugs": "foods"}, "kl")
    >>> found[found["q"] < 0.05]

    `p` is two-sided, from `n` shuffles of the units between the two domains; `q` corrects it over all layers and
    domains together (Benjamini & Hochberg 1995).
    """
    parts = []
    for domain, control in controls.items():
        part = summary.difference_by_layer(tables[domain], tables[control], metric, seed=seed)
        part["p"] = shuffled_p(tables[domain], tables[control], metric, seed, n)
        parts.append(part.assign(domain=domain, variant=f"minus {control}", metric=f"{metric}_difference"))
    found = pd.concat(parts, ignore_index=True)
    return found.assign(q=stats.benjamini_hochberg(found["p"]))


def tested(differences):
    """Tables of `differences` as rows of the results table: p and q become rows of their own, as `..._p` and `..._q`.

    >>> tested(differences(tables, controls, "kl"))["metric"].unique()
    array(['kl_difference', 'kl_difference_p', 'kl_difference_q'], dtype=object)
    """
    plain = differences.drop(columns=["p", "q"])
    where = plain.drop(columns=["low", "high", "value"])
    extra = (where.assign(value=differences[one], metric=where["metric"] + f"_{one}") for one in ("p", "q"))
    return pd.concat([plain, *extra], ignore_index=True)


def shuffled_p(frame, other, column, seed=0, n=9999):
    """P-value by layer of a difference of means between two domains, units shuffled between them: `[layer]`."""
    (sums, sizes), (other_sums, other_sizes) = unit_sums(frame, column), unit_sums(other, column)
    both, weights, here = np.concatenate([sums, other_sums]), np.concatenate([sizes, other_sizes]), len(sums)

    def difference(first):
        return first @ both / (first @ weights)[:, None] - (1 - first) @ both / ((1 - first) @ weights)[:, None]

    as_is = np.arange(len(both)) < here
    shuffled = np.random.default_rng(seed).permuted(np.tile(as_is, (n, 1)), axis=1)
    return stats.permutation_p(
        difference(as_is[None].astype(float))[0], difference(shuffled.astype(float)), "two-sided"
    )


def rows(parts):
    """Tables of this chapter, one under the other, as the results table takes them; a block where no part is named."""
    table = pd.concat(parts, ignore_index=True).reindex(columns=results.COLUMNS)
    return table.assign(component=table["component"].astype(object).fillna("block"))


def items(tables, metrics):
    """Each prompt's own numbers as rows of the results table: `domain, item, variant, layer, metric, value`."""
    return pd.concat(
        table[["item", "variant", "layer"]].assign(domain=domain, metric=metric, value=table[metric].astype(float))
        for domain, table in tables.items()
        for metric in metrics
    )


def unit_sums(frame, column):
    """A curve's sums over each unit `[unit, layer]`, and how many prompts each unit has.

    Raises `MedlibError` for fewer than three units.
    """
    wide = frame.pivot(index=["item", "variant"], columns="layer", values=column)
    groups = wide.groupby(summary.units(frame, wide.index.get_level_values("item")))
    sums = groups.sum().to_numpy(dtype=float)
    if len(sums) < 3:
        raise MedlibError(f"There are {len(sums)} units to resample; an interval needs at least 3: give more items.")
    return sums, groups.size().to_numpy(dtype=float)
