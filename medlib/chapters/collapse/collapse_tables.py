"""The tables of the chapter on collapse, and the rows of the results table."""

from itertools import product

import numpy as np
import pandas as pd

from medlib import results
from medlib.chapters.collapse import depths as of_depths
from medlib.chapters.collapse.clouds import SIGNS, WAYS, templates
from medlib.chapters.collapse.large_dimensions import stretches


def domains(frames):
    """What each domain brings: items, prompts, labels and an example.

    >>> domains({"drugs": frame})
    """
    return pd.DataFrame(
        {
            name: dict(
                items=frame["item"].nunique(),
                prompts=len(frame),
                labels=frame["label"].nunique(),
                example=frame["prompt"].iloc[0],
            )
            for name, frame in frames.items()
        }
    ).T


def sided(table, controls):
    """The table with a column `kind`, "medical" or "control"; `controls`: medical domain -> control."""
    return table.assign(kind=table["domain"].isin(list(controls)).map({True: "medical", False: "control"}))


def counts(depths, controls):
    """How many layers of clouds collapse, by place and template: columns are (way, medical or control).

    >>> counts(depths, {"drugs": "foods"})
    """
    keys = ["place", "variant", "space", "kind"]
    table = sided(depths, controls).groupby(keys)["collapsed"].sum().unstack(["space", "kind"])
    return table.reindex(columns=pd.MultiIndex.from_product([WAYS, ["medical", "control"]]))


def by_count(depths, without, controls):
    """How what collapses depends on the number of dimensions left out; `without`: of `depths.by_count`.

    >>> by_count(depths, depths_module.by_count(states, frames, largest, [1, 3]), {"drugs": "foods"})
    """
    raw, rows = sided(depths[depths["space"] == "raw"], controls), []
    for count, part in sided(without, controls).groupby("count"):
        row = {("", "left out"): count}
        for kind in ("medical", "control"):
            found = of_depths.kept_and_new(raw[raw["kind"] == kind], part[part["kind"] == kind])
            row |= {
                (f"{kind} {name}", words): found[f"{which}_{name}"]
                for name in ("series", "layers")
                for which, words in (("kept", "still"), ("new", "new"))
            }
        rows.append(row)
    return pd.DataFrame(rows, columns=pd.MultiIndex.from_tuples(rows[0]))


def large(mean_share, top):
    """The dimensions `top`: their peak, its state, and the states at which they hold more than a tenth.

    >>> large({"medical": share, "control": other}, [507, 36])         # share: [state, hidden]
    """
    rows = []
    for dimension in top:
        row = {"dimension": dimension}
        for side, share in mean_share.items():
            row |= {
                f"peak, {side}, %": 100 * share[:, dimension].max(),
                f"at state, {side}": share[:, dimension].argmax(),
                f"states above 10 %, {side}": stretches(share[:, dimension] > 0.1),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def signs_where(depths, signs, size, frames, place):
    """Each sign's mean over the clouds that collapse, and over the others, in the same domains, for each domain.

    >>> signs_where(depths, signs, size, frames, "mean")

    `signs`: (place, domain) -> what `clouds` returns; `size`: domain -> what `max_over_median` returns.
    """
    raw = depths[(depths["space"] == "raw") & (depths["place"] == place)]
    rows = []
    for name, frame in frames.items():
        values = {sign: signs[place, name][sign][0, :, :, 0] for sign in SIGNS} | {"max_over_median": size[name][0]}
        mine = raw[raw["domain"] == name]
        at = list(templates(frame))
        for collapsed, part in mine.groupby("collapsed"):
            cells = part["layer"].to_numpy() - 1, [at.index(variant) for variant in part["variant"]]
            means = {sign: pd.Series(of[cells]).mean() for sign, of in values.items()}
            rows.append(dict(domain=name, layers="collapsed" if collapsed else "other", clouds=len(part)) | means)
    return pd.DataFrame(rows)


def results_table(depths, signs, scores, frames, size, share, place):
    """Everything the chapter measured in the columns of `medlib.results`; the place to read is in `component`.

    >>> results_table(depths, signs, scores, frames, size, share, "mean")

    `depths`, `scores`: tables with `place`, `domain` and `space`; `signs`: (place, domain) -> what `clouds` returns;
    `size`, `share`: domain -> what `max_over_median` returns, and a table of `share_of`, both at `place`.
    """
    parts = [depths.assign(metric="depth"), share.assign(metric="share_of_largest", place=place)]
    parts.append(
        depths.assign(metric="collapse", value=depths["collapsed"].astype(float)).drop(columns=["low", "high"])
    )
    for (where, domain), found in signs.items():
        for sign, values in found.items():
            parts.append(
                _long(*of_depths.interval(values, log=sign == "effective_rank"), frames[domain], domain, sign, where)
            )
    for domain, values in size.items():
        empty = np.full(values.shape, np.nan)
        parts.append(_long(values, empty, empty, frames[domain], domain, "max_over_median", place))
    by_item = scores.groupby(["place", "domain", "space", "layer", "item"], as_index=False)[["value", "excess"]].mean()
    above = by_item.assign(value=by_item["excess"], metric="silhouette_above_shuffled")
    table = pd.concat([*parts, by_item.assign(metric="silhouette"), above], ignore_index=True)
    table = table.rename(columns={"place": "component"})
    return table[table.columns.intersection(results.COLUMNS)]


def sign_means(found, size, controls, place):
    """Three signs over layers: mean over domains and templates, `low` and `high` of the domains' own means.

    >>> sign_means(clouds_of, max_over_medians, {"drugs": "foods"}, "mean")

    `found`: (place, domain) -> what `clouds` returns; `size`: domain -> what `max_over_median` returns.  One row a
    sign, way, side ("medical", "control") and layer: `metric, space, side, layer, value, low, high, n` (domains).
    """
    sides, tables = {"medical": list(controls), "control": list(controls.values())}, []
    for sign in ("first_component", "intrinsic_dimension", "max_over_median"):
        for (i, way), (side, of) in product(enumerate(WAYS), sides.items()):
            every = [found[place, name][sign][i, :, :, 0] if sign in SIGNS else size[name][i] for name in of]
            each = np.array([one.mean(axis=1) for one in every])
            ends = dict(value=each.mean(axis=0), low=each.min(axis=0), high=each.max(axis=0))
            rows = dict(metric=sign, space=way, side=side, layer=range(1, each.shape[1] + 1), n=len(of))
            tables.append(pd.DataFrame(ends | rows))
    return pd.concat(tables, ignore_index=True)


def drawn(depths, curves, signs, mean_share, top, place):
    """What the figures show beyond `results_table`: rows of the results table, the place to read in `component`.

    `depths`: of `depths.every_depth`; `curves`: metric -> (domain, way) -> table; `signs`: of `sign_means`; of
    `mean_share`, side -> `[state, hidden]`, the dimensions `top`.  A cell in which no wording collapses has no count.
    """
    cells = depths.groupby(["place", "domain", "space", "layer"])
    deepest = cells["value"].min().reset_index().assign(metric="depth_of_deepest")
    count = cells["collapsed"].sum().rename("value").reset_index().assign(metric="wordings_that_collapse")
    parts = [deepest, count[count["value"] > 0]]
    for metric, of_each in curves.items():
        for (domain, way), curve in of_each.items():
            parts.append(curve.assign(metric=metric, domain=domain, space=way, place=place))
    names = {metric: f"{metric}_over_domains" for metric in signs["metric"].unique()}
    parts.append(signs.assign(metric=signs["metric"].map(names), variant=signs["side"] + " domains", place=place))
    for side, share in mean_share.items():
        long = pd.DataFrame(results.significant(share[:, top]), columns=[f"dimension {one}" for one in top])
        long = long.rename_axis("layer").reset_index().melt("layer", var_name="space")
        parts.append(long.assign(metric="share_of_dimension", variant=f"{side} domains", place=place))
    table = pd.concat(parts, ignore_index=True).rename(columns={"place": "component"}).dropna(subset=["value"])
    return table[table.columns.intersection(results.COLUMNS)]


def _long(value, low, high, frame, domain, metric, place):
    """`[way, layer 1..L, template]` as rows of the results table; what is null is left out."""
    index = pd.MultiIndex.from_product(
        [WAYS, range(1, value.shape[1] + 1), list(templates(frame))], names=["space", "layer", "variant"]
    )
    table = pd.DataFrame(dict(value=value.ravel(), low=low.ravel(), high=high.ravel()), index=index).reset_index()
    constants = dict(domain=domain, metric=metric, place=place, n=frame["item"].nunique())
    return table.dropna(subset=["value"]).assign(**constants)
