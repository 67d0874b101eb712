"""The zoo: the models of the book by short name, as data (zoo.toml).

>>> zoo.entry("smollm2-135m")["layers"]
30
"""

import difflib
import tomllib
from functools import cache
from pathlib import Path

from medlib.errors import MedlibError
from medlib.models import embedded


@cache
def _entries():
    entries = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {name: {"name": name, **entry} for name, entry in entries.items()}


def names():
    """The short names, the embedded default first."""
    return list(_entries())


def entry(name):
    """What is known about a model: a dict with the keys of zoo.toml and `name`.

    >>> entry("gemma-3-270m")["wheel"]["pip"]

    `MedlibError` for a name that the zoo does not have, with the names near it.
    """
    if name not in _entries():
        near = difflib.get_close_matches(str(name).lower(), names(), n=3, cutoff=0.5)
        raise MedlibError(
            f"There is no model {str(name)!r}. {'Near names: ' + ', '.join(near) + '. ' if near else ''}"
            f"The zoo has {', '.join(names())}. Any other model loads by its Hub id (owner/name) or its local folder."
        )
    return dict(_entries()[name])


def table():
    """One row per model, for the command line and the page of models.

    >>> table()[["name", "layers", "bf16_gb", "here"]]

    Columns: `name`, `what`, `hub`, `revision` (null: the Hub's main branch), `architecture`, `parameters`, `layers`,
    `hidden`, `bf16_gb` (weights in bfloat16, 10^9 bytes), `licence`, `terms`, `gated`, `modality`, `load` (wheel or
    hub), `here` (what stands between this machine and a run), `note`.
    """
    import pandas as pd  # late: the names alone need no data frame

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
        for found in _entries().values()
    ]
    return pd.DataFrame(rows)


def _here(found):
    if "wheel" not in found:
        return "from the Hub, with a token" if found["gated"] else "from the Hub"
    return "ready" if embedded.at_hand(found) else found["wheel"]["install"]
