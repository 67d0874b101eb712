"""The tables of the chapter on kinds: the labels, all of them side by side, and the rows of the results table."""

import numpy as np
import pandas as pd

from medlib import results
from medlib.chapters.geometry import kinds

PLACES = {
    "item": "residual stream",
    "mean": "residual stream, mean over the item",
    "end": "residual stream, last token of the prompt",
    "apart": "residual stream, no shared piece",
    "opening": "residual stream, item opens the text",
    "any": "residual stream, all wordings",
}


def labels(wanted, frames):
    """How many values, items and templates each label of the comparisons has.

    >>> labels(wanted, {"drugs": frame, ...})
    """
    rows = []
    for domain, label in (side for c in wanted for side in c.sides):
        frame = frames[domain]
        templates = frame.groupby("variant")["opens"].first()
        counts = dict(values=frame[label].nunique(), items=frame["item"].nunique(), templates=(~templates).sum())
        rows.append(dict(domain=domain, label=kinds.spoken(label)) | counts | {"item opens": templates.sum()})
    return pd.DataFrame(rows)


def gains(by_item, labels, seed=0):
    """`kinds.gain` of each label at the item's last token and in the mean over the item: `domain, label, view, ...`.

    >>> gains(by_item, {"drugs": ["mechanism", "specialty"]})
    """
    return pd.DataFrame(
        [
            dict(domain=domain, label=label, view=view)
            | kinds.gain(kinds.of_side(by_item, (domain, label), view), seed)
            for domain, names in labels.items()
            for label in names
            for view in ("item", "mean")
        ]
    )


def overview(wanted, p, gained, by_item):
    """One row for each side of each comparison, medical and control in turn.

    >>> overview(wanted, kinds.weakest(scores), gained, by_item)

    Columns: `name`, `medical`; on how many states p is below 0.05 in every template: `raw`, `pca30`, `apart` (no shared
    piece), `opening` (templates that the item opens; null where there are none), `any` (these among the others);
    `gain`, `gain_low`, `gain_high` and `best`, the states the gain chose; `highest`, the highest plain silhouette, and
    `at`, its state.
    """
    of_item = gained[gained["view"] == "item"].set_index(["domain", "label"])
    rows = []
    for c in wanted:
        for side, name in zip(c.sides, c.names, strict=True):
            row = dict(name=name, medical=side == c.sides[0])
            for column, view, space in (
                ("raw", "item", "raw"),
                ("pca30", "item", "pca30"),
                ("apart", "apart", "raw"),
                ("opening", "opening", "raw"),
                ("any", "any", "raw"),
            ):
                found = kinds.of_side(p, side, view, space)["p"]
                row[column] = (found < 0.05).sum() if len(found) else np.nan
            gain = of_item.loc[side]
            row |= dict(gain=gain["value"], gain_low=gain["low"], gain_high=gain["high"], best=gain["states"])
            curve = kinds.of_side(by_item, side).groupby("layer")["score"].mean()
            rows.append(row | dict(highest=curve.max(), at=curve.idxmax()))
    return pd.DataFrame(rows)


def shown(overview):
    """The overview as a page shows it, with words for column names.

    >>> shown(overview(wanted, p, gained, by_item))
    """
    table = pd.DataFrame({"label": overview["name"]})
    names = {"raw": "raw", "pca30": "30 components", "apart": "no shared piece", "opening": "item opens"}
    for column, words in names.items():
        if overview[column].notna().any():
            table[words] = [("" if np.isnan(n) else f"{n:.0f}") for n in overview[column]]
    return table.assign(
        **{
            "gain over state 0": [gain_in_words(row) for _, row in overview.iterrows()],
            "highest (state)": [f"{row['highest']:.2f} ({row['at']})" for _, row in overview.iterrows()],
        }
    )


def gain_in_words(row):
    """A gain with its interval, or that there is none, since the first state is the best one of both halves.

    >>> gain_in_words({"gain": 0.031, "gain_low": 0.01, "gain_high": 0.05, "best": [12]})
    '0.03 (0.01 to 0.05)'
    """
    if list(row["best"]) == [0]:
        return "state 0 is best"
    return f"{row['gain']:.2f} ({row['gain_low']:.2f} to {row['gain_high']:.2f})"


def two_labels(between):
    """The table of `kinds.two_labels` summed up: means over states, and on how many states one label is ahead.

    >>> two_labels(kinds.two_labels(by_item, wanted))
    """
    words = {
        ("item", "excess"): "above shuffled, all names",
        ("apart", "excess"): "above shuffled, no shared piece",
        ("item", "score"): "plain, all names",
    }
    rows = []
    for keys, part in between.groupby(["domain", "first", "second", "view", "column"], sort=False):
        domain, first, second, view, column = keys
        mean, curve = part[part["layer"].isna()].iloc[0], part.dropna(subset="layer")
        rows.append(
            {
                "domain": domain,
                "second − first": kinds.spoken(f"{second} − {first}"),
                "silhouette": words[view, column],
                "mean over states": f"{mean['value']:+.3f} ({mean['low']:+.3f} to {mean['high']:+.3f})",
                "states second ahead": (curve["low"] > 0).sum(),
                "states first ahead": (curve["high"] < 0).sum(),
            }
        )
    return pd.DataFrame(rows)


def trust(drawn):
    """The trustworthiness of each picture: domains by states; `drawn`: domain -> what `slider.pictures` returns.

    >>> trust({"drugs": drawn})
    """
    return pd.DataFrame(
        {d: {at: of["trustworthiness"] for at, of in pictures.items()} for d, pictures in drawn.items()}
    )


def results_table(scores, above, p, differences, between, gained, fits, drawn):
    """Everything the chapter measured in the columns of `medlib.results`; metrics are named after the label.

    `scores`: of `kinds.scores`, with `domain`; `above`, `p`: of `atlas.curves` and `kinds.weakest`; the
    others as `kinds.against_control`, `kinds.two_labels`, `gains`, `fits.in_umap` and `slider.pictures` return them.
    """
    main = kinds.over_templates(scores).query("view == 'item' and space == 'raw'")
    each = scores.groupby(["domain", "label", "view", "space", "layer", "variant"], as_index=False)
    each = each.agg(score=("score", "mean"), p=("p", "first"))
    umap = fits.assign(component="residual stream, " + fits["variant"])
    umap["variant"] = fits["variant"] + ", seed " + fits["draw"].astype(str)
    ends = "_minus_" + between["first"] + between["column"].map({"excess": "_above_shuffled", "score": ""})
    pictures = trust(drawn).rename_axis("layer").melt(var_name="domain", ignore_index=False).reset_index()
    parts = [
        rows(above, "_above_shuffled"),
        rows(main.drop(columns="variant").assign(value=main["excess"].round(4)), "_above_shuffled"),
        rows(each.assign(value=each["score"]), ""),
        rows(each.assign(value=each["p"]), "_p"),
        rows(p.assign(value=p["p"]), "_p_corrected"),
        *(
            rows(d.assign(domain=c.domain, label=c.label, space="raw"), "_minus_control")
            for c, d in differences.items()
        ),
        rows(between.assign(label=between["second"], space="raw"), ends),
        rows(gained.assign(space="raw"), "_gain_over_state_0"),
        rows(umap.assign(value=umap["excess"]), "_above_shuffled"),
        rows(umap.assign(value=umap["p"]), "_p"),
        pictures.assign(metric="trustworthiness", space="umap2"),
    ]
    return pd.concat(parts, ignore_index=True).fillna({"component": "residual stream"})


def rows(table, ending):
    """A table as rows of the results: `metric` from its `label` and the ending, `component` from its `view`.

    >>> rows(above, "_above_shuffled")
    """
    table = table.assign(metric="silhouette_" + table["label"] + ending)
    if "view" in table:
        table["component"] = table["view"].map(PLACES)
    return table[table.columns.intersection(results.COLUMNS)]
