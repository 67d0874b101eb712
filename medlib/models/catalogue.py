"""The zoo as a table: its models, and what stands between this machine and a run of each."""

import pandas as pd

from medlib.models import embedded, zoo


def table():
    """One row per model, for the command line and the page of models.

    >>> table()[["name", "layers", "bf16_gb", "here"]]

    Columns: `name`, `what`, `hub`, `revision` (null: the Hub's main branch), `architecture`, `parameters`, `layers`,
    `hidden`, `bf16_gb` (weights in bfloat16, 10^9 bytes), `licence`, `terms`, `gated`, `modality`, `load` (wheel or
    hub), `here` (what stands between this machine and a run), `note`.
    """
    columns = ["name", "what", "hub", "revision", "architecture", "parameters", "layers", "hidden"]
    rows = [
        {
            **{column: found.get(column) for column in columns},
            "bf16_gb": round(found["parameters"] * 2 / 1e9, 1),
            **{column: found.get(column) for column in ("licence", "terms", "gated", "modality")},
            "load": "wheel" if "wheel" in found else "hub",
            "here": _here(found),
            "note": found.get("note"),
        }
        for found in map(zoo.entry, zoo.names())
    ]
    return pd.DataFrame(rows)


def _here(found):
    if "wheel" not in found:
        return "from the Hub, with a token" if found["gated"] else "from the Hub"
    return "ready" if embedded.at_hand(found) else found["wheel"]["install"]
