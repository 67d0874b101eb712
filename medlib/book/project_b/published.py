"""Project B beside a recorded run: what it published, and the curve of the same measure on our model.

The two models have different numbers of blocks, so a layer is placed by its relative depth: state or block l of L at
l / L.  Ours are read from the tables of the recorded runs; nothing is measured here.
"""

import re
import tomllib
from functools import cache
from pathlib import Path

import pandas as pd

from medlib import paths, results
from medlib.chapters.embedding_geometry.enough_tokens import comparable

MODEL = "scans-llava"
CHAPTERS = ("embedding_geometry", "contextualisation", "image_tokens", "grad_cam", "multimodal_neurons")
STRICTER = {  # metric -> what this book goes by instead
    "linearity": ("linearity_held_out", "held out"),
    "update_linearity": ("update_linearity_held_out", "held out"),
    "dimension_lowest": ("dimension", "by maximum likelihood"),
}
CONTROL = {"dimension_lowest": "dimension"}  # metric -> the one that has its control, where it has none itself


@cache
def read():
    """What B published: `(facts, quantities)`, two dicts, as the TOML file beside this module has them.

    >>> read()[1]["mev"]["points"]
    {0: 1.0, 10: 0.9571, 20: 0.8863, 25: 0.7658, 32: 0.8133}
    """
    told = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    quantities = {name: value for name, value in told.items() if isinstance(value, dict)}
    for quantity in quantities.values():
        if "points" in quantity:
            quantity["points"] = {int(layer): value for layer, value in quantity["points"].items()}
    return {name: value for name, value in told.items() if name not in quantities}, quantities


def recorded(chapters, model=MODEL):
    """The recorded runs of the chapters on pictures on one model: technique -> `(table, record)`.

    `chapters`: those of the book, as `building.choose` gives them.
    """
    ours = [one for one in chapters if one.model == paths.slug(model) and one.technique in CHAPTERS]
    return {one.technique: (results.read(one.file(".parquet")), one.record) for one in ours}


def command(technique):
    """The command that makes a missing run.

    >>> command("grad_cam")
    'medlib run grad_cam --model scans-llava'
    """
    return f"medlib run {technique} --model {MODEL}"


def not_run(technique):
    """What stands in place of the numbers of a missing run."""
    return f"Not run in this copy; `{command(technique)}` does.\n"


def curves(quantity, runs):
    """Our curves of one of B's quantities: "own", "stricter" and "control" -> `layer, depth, value, low, high`.

    >>> curves(read()[1]["mev"], recorded(chapters))["own"]

    "own" is B's measure, "stricter" what this book goes by instead.  A curve that a run refused or does not have is
    empty, and states with too few distinct tokens are left out; without the run, there is none.
    """
    if quantity["chapter"] not in runs:
        return {}
    table, record = runs[quantity["chapter"]]
    metric, here = quantity["metric"], table[table["component"] == quantity["tokens"]]
    if quantity["chapter"] == "contextualisation":
        asked = record["numbers"]["question"]["text"]
        here = here[(here["domain"] == "scans") & (here["variant"] == asked) & (here["space"] == "raw")]
        found = {"own": here[here["metric"] == metric], "control": here[here["metric"] == f"{metric}_baseline"]}
    else:
        plain, control = comparable(here[here["variant"].isna()]), here[here["variant"] == "control"]
        found = {"own": plain[plain["metric"] == metric]}
        found["control"] = control[control["metric"] == CONTROL.get(metric, metric)]
        if metric in STRICTER:
            found["stricter"] = plain[plain["metric"] == STRICTER[metric][0]]
    return {name: _placed(rows, record["model"]["layers"]) for name, rows in found.items()}


def _placed(rows, n_layers):
    found = rows.sort_values("layer")[["layer", "value", "low", "high"]].astype(float).reset_index(drop=True)
    return found.assign(layer=found["layer"].astype(int), depth=found["layer"] / n_layers)


def nearest(curve, layer, n_blocks, n_layers):
    """The row of a curve at the relative depth of B's `layer` of `n_blocks`: the nearest layer that was measured."""
    at = (curve["layer"] - layer / n_blocks * n_layers).abs().idxmin()
    return curve.loc[at]


def at_points(quantity, own, control, n_layers):
    """B's printed values beside ours: `layer` of B, `published`, `ours_at`, `value`, `low`, `high`, `control`.

    `own`, `control`: of `curves`; `n_layers` of our model.
    """
    rows = []
    for layer, value in quantity["points"].items():
        there = [nearest(curve, layer, read()[0]["blocks"], n_layers) for curve in (own, control)]
        row = dict(layer=layer, published=value, ours_at=int(there[0]["layer"]), control=there[1]["value"])
        rows.append(row | {name: there[0][name] for name in ("value", "low", "high")})
    return pd.DataFrame(rows)


def inside(quantity, own):
    """In how many layers a curve of ours lies within B's range, above and below it: `(within, above, below)`.

    Compared with as many digits as B tells, so that 0.9451 is within a range that ends at 0.945.
    """
    value = own["value"].round(digits(quantity["said"]))
    above, below = int((value > quantity["high"]).sum()), int((value < quantity["low"]).sum())
    return len(own) - above - below, above, below


def digits(said):
    """Digits after the point of the most exact number in B's words.

    >>> digits("0.88 to 0.945, a peak near transition 25")
    3
    """
    return max((len(part) for part in re.findall(r"\d\.(\d+)", said)), default=0)
