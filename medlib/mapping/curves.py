"""A curve over layers from each technique's results table, for each domain, with what can be resampled under it.

| technique | chapter | curve | rule |
|---|---|---|---|
| geometry | geometry | silhouette of the true labels above shuffled ones, states 0..L | rise |
| geometry, age | ages | local anisotropy, states 1..L | rise |
| saliency | saliency | mean size of the answer's gradient, blocks 1..L, logarithmic | level |
| lesion | lesion | divergence without the block, blocks 1..L, logarithmic | level |
| patching | patching | share recovered by the state at the last token, states 0..L | rise |

A patch of the residual stream brings with it whatever earlier blocks wrote, so at the last token its curve ends at 1
and its upper quarter is the last quarter of the layers, whatever the model; where it rises is a finding.  Divergence
and gradients are compared by ratio: on a plain scale one extreme block would lift its neighbours when it is smoothed.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from medlib import concepts
from medlib.errors import MedlibError
from medlib.mapping.rules import LEVEL, RISE

TECHNIQUES = ("geometry", "saliency", "lesion", "patching")
CHAPTERS = (*TECHNIQUES, "ages")
LABELS = {  # the label whose clusters count: that which the questions ask for, and its counterpart in the control
    "diseases": "organ_system",
    "cities": "subregion",
    "drugs": "specialty",
    "foods": "kind",
    "progression": "disease",
    "processes": "process",
    "symptoms": "system",
    "animals": "group",
}
ON_A_LINE = ("age", "numbers")  # no labels: their geometry is that of a line
FEWEST = 5  # units; with fewer a median over couples is anyone's


class Measured(NamedTuple):
    """What a technique measured of a domain.

    `status`: "run", or why there is no curve.  `curve [state or block]`: as the chapter reports it.  `frame`: `unit,
    item, variant, layer, value` of every prompt or item, None where the table holds the curve alone.  `spread [state or
    block]`: where there is no frame, the standard error that the curve's interval says.  `median`: whether the curve is
    the median of the frame's rows, and not their mean.  `logarithmic`: whether its logarithm is smoothed and compared.
    """

    status: str
    rule: str = LEVEL
    curve: np.ndarray | None = None
    frame: pd.DataFrame | None = None
    by_template: pd.DataFrame | None = None
    spread: np.ndarray | None = None
    median: bool = False
    logarithmic: bool = False
    n: int = 0


def measured(tables, technique, domain):
    """What `technique` measured of `domain`: a `Measured`.

    >>> measured({"lesion": table}, "lesion", "drugs").curve.argmax() + 1

    `tables`: chapter -> results table, all of one model; a chapter that did not run is left out.  A chapter that looked
    at some layers only has no curve that can be held against others: its status is "not at every layer".  Raises
    `MedlibError` for a technique there is not.
    """
    readers = {"geometry": _geometry, "saliency": _saliency, "lesion": _lesion, "patching": _patching}
    if technique not in readers:
        raise MedlibError(f"There is no technique {technique!r} in the map. Choose one of {', '.join(TECHNIQUES)}.")
    chapter = "ages" if technique == "geometry" and domain in ON_A_LINE else technique
    if chapter not in tables:
        return Measured("not run")
    table = tables[chapter]
    found = readers[technique](table[table["domain"] == domain], domain)
    if found.status == "run" and len(found.curve) != _deepest(tables) + (found.rule == RISE):
        return Measured("not at every layer")
    return found


def _deepest(tables):
    """The number of blocks of the model: the deepest layer that any chapter of the map looked at."""
    return max(int(tables[name]["layer"].max()) for name in CHAPTERS if name in tables)


def known(tables):
    """Whether the model knows each domain, as the knowledge chapter found: domain -> bool; empty where it did not run.

    >>> known({"knowledge": table})["drugs"]
    """
    if "knowledge" not in tables:
        return {}
    table = tables["knowledge"]
    table = table[table["metric"] == "known"]
    return {domain: bool(value) for domain, value in zip(table["domain"], table["value"], strict=True)}


def from_layer_one(measured, values):
    """The values `[.., state or block]` of a rise curve with a state 0, where the chapter starts at 1: as it starts."""
    return np.concatenate([values[..., :1], values], axis=-1) if measured.rule == RISE else values


def units(domain, items):
    """What is resampled for each item: what several are about (an age, a disease in stages), else the item itself."""
    items = pd.Series(np.asarray(items, dtype=object))
    of_item = _clusters(domain)
    return items.map(of_item).astype(object).where(items.isin(of_item.index), items).to_numpy()


@cache
def _clusters(domain):
    """The cluster of each item that a domain of the library asks about: Series, named by item."""
    if domain not in concepts.domains():
        return pd.Series(dtype=object)
    return concepts.questions(domain).drop_duplicates("item").set_index("item")["cluster"]


def _geometry(table, domain):
    if domain in ON_A_LINE:
        return _line(table)
    if domain not in LABELS:
        return Measured("no labels")
    score = f"silhouette_{LABELS[domain]}"
    raw = table[(table["space"] == "raw") & (table["component"] == "residual stream")]
    above = raw[raw["metric"] == f"{score}_above_shuffled"]
    frame = above[above["item"].notna()]
    if frame.empty:
        return Measured("not measured")
    templates = raw[(raw["metric"] == score) & raw["variant"].notna()]
    return _of_rows(
        frame.assign(unit=frame["item"], variant="all"),
        rule=RISE,
        by_template=templates.pivot(index="variant", columns="layer", values="value"),
    )


def _line(table):
    rows = table[(table["metric"] == "local_anisotropy") & (table["space"] == "raw") & table["item"].isna()]
    if rows.empty:
        return Measured("not measured")
    rows = rows.sort_values("layer")
    width = ((rows["high"] - rows["low"]) / (2 * 1.96)).to_numpy(dtype=float)
    found = Measured("run", RISE, rows["value"].to_numpy(dtype=float), spread=width, n=int(rows["n"].max()))
    return found._replace(curve=from_layer_one(found, found.curve), spread=from_layer_one(found, found.spread))


def _saliency(table, domain):
    return _prompts(table[(table["metric"] == "grad") & (table["component"] == "block")], domain)


def _lesion(table, domain):
    return _prompts(table[(table["metric"] == "kl") & (table["component"] == "block")], domain)


def _prompts(table, domain):
    """A curve that is the mean over prompts, on a scale of ratios."""
    frame = table[table["item"].notna()]
    if frame.empty:
        return Measured("not measured")
    frame = frame.assign(unit=units(domain, frame["item"]))
    by_template = np.log(frame.groupby(["variant", "layer"])["value"].mean().unstack())
    return _of_rows(frame, by_template=by_template, logarithmic=True)


def _patching(table, domain):
    pairs = table[table["metric"].isin(["clean_diff", "corrupt_diff"])]
    pairs = pairs.pivot(index=["item", "variant"], columns="metric", values="value")
    sites = table[(table["metric"] == "logit_diff") & (table["component"] == "residual") & (table["space"] == "last")]
    if pairs.empty or sites.empty:
        return Measured("not measured")
    used = pairs[pairs["clean_diff"] > 0]
    if used.index.get_level_values("item").nunique() < FEWEST:
        return Measured("too few couples")
    frame = sites.join(used, on=["item", "variant"], how="inner")
    frame = frame.assign(value=(frame["value"] - frame["corrupt_diff"]) / (frame["clean_diff"] - frame["corrupt_diff"]))
    start = frame.drop_duplicates(["item", "variant"]).assign(layer=0, value=0.0)  # both prompts end in the same token
    frame = pd.concat([frame, start], ignore_index=True)
    template = frame["variant"].str.partition(": ")[0]
    by_template = frame.groupby([template, "layer"])["value"].median().unstack()
    return _of_rows(frame.assign(unit=frame["item"]), rule=RISE, by_template=by_template, median=True)


def _of_rows(frame, rule=LEVEL, by_template=None, median=False, logarithmic=False):
    frame = frame[["unit", "item", "variant", "layer", "value"]].astype({"layer": int})
    curve = frame.groupby("layer")["value"].agg("median" if median else "mean").to_numpy(dtype=float)
    n = frame["unit"].nunique()
    return Measured("run", rule, curve, frame, by_template, None, median, logarithmic, n)
