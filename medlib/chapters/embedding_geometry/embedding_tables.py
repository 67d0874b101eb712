"""The tables of this chapter: how many tokens there are and were left out, and all rows of the results table."""

import numpy as np
import pandas as pd

from medlib import results
from medlib.chapters.embedding_geometry import project_b


def counts(clouds, hidden):
    """How many tokens each cloud holds and why others were left out: one row a kind.

    >>> counts(clouds, model.hidden_size)
    """
    return pd.DataFrame(
        [
            {
                "tokens": f"{kind} tokens",
                "read": cloud.read,
                "repeats left out": cloud.repeats,
                "left out for equal numbers": cloud.spare,
                "kept": cloud.states.shape[1],
                "scenes": len(set(cloud.scene.tolist())),
                "tokens per dimension": cloud.states.shape[1] / hidden,
            }
            for kind, cloud in clouds.items()
        ]
    )


def missing(table):
    """Which numbers are missing, where and why: `kind, metric, layers, reason`."""
    part = table[table["value"].isna() & table["reason"].notna()]
    found = part.groupby(["kind", "metric", "reason"], sort=False)["layer"].agg(lambda at: " ".join(map(str, at)))
    return found.rename("layers").reset_index()[["kind", "metric", "layers", "reason"]]


def drawn(few):
    """What figures show beyond `results_table`, as its rows: project B's ranges, and linearity by chance of few tokens.

    `few`: of `two_traps.few_tokens`.  A range is two rows, its ends named in `variant`.
    """
    rows = [
        dict(metric=f"{metric}_of_project_b", component=kind, variant=end, value=value)
        for metric, kind, *_ in project_b.PUBLISHED
        for end, value in zip(("lowest", "highest"), project_b.band(metric, kind), strict=True)
    ]
    noise = few[(few["data"] == "noise") & (few["score"] == "in sample")]
    chance = dict(metric="few_tokens_by_chance", component="text")
    parts = [pd.DataFrame(rows), pd.DataFrame(chance | dict(position=noise["tokens"], value=noise["chance"]))]
    return pd.concat(parts, ignore_index=True).reindex(columns=results.COLUMNS)


def results_table(steps, shapes, differences, pictures, few, copies, read):
    """All numbers as rows of the results table: `component` is the kind of token, `variant` the control or the data.

    `pictures`: of `linear_steps.of_pictures`; `steps`, `shapes`: with `control`, which becomes a row of its own, with
    variant "control"; what was refused has no row.
    """
    curves = pd.concat([steps, shapes], ignore_index=True).rename(columns={"kind": "component"})
    parts = [curves.dropna(subset=["value"])]
    control = curves.dropna(subset=["control"]).assign(low=None, high=None, variant="control")
    parts.append(control.assign(value=control["control"]))
    removed = shapes.drop_duplicates(["kind", "layer"]).rename(columns={"kind": "component"})
    parts.append(removed.assign(value=removed["duplicates"], low=None, high=None, metric="duplicates"))
    parts.append(differences.assign(component="image less text", metric=differences["metric"] + "_difference"))
    parts.append(pictures.rename(columns={"kind": "component"}))
    names = "few_tokens_" + few["score"].str.replace(" ", "_")
    parts.append(few.assign(metric=names, variant=few["data"], component="text", position=few["tokens"]))
    shares = copies["share"].map("{:.0%} copies".format)
    parts.append(copies.assign(metric="copies_" + copies["fit"], component="image", variant=shares))
    clean = dict(value=copies["clean"], low=None, high=None, variant=shares + " removed")
    parts.append(copies.assign(metric="copies_" + copies["fit"], component="image", **clean))
    if len(read):
        for column, variant in (("value", "repeats left in"), ("clean", "repeats removed")):
            metric = "as_read_" + read["fit"]
            rows = dict(value=read[column], metric=metric, variant=variant, component="image")
            parts.append(read.assign(**rows))
    table = pd.concat([part.dropna(axis=1, how="all") for part in parts], ignore_index=True)
    finite = table["value"].astype(float).replace([np.inf], np.nan).notna()  # many copies: a line of infinite slope
    return table[finite].reindex(columns=results.COLUMNS)
