"""The zoo: the models of the book by short name, as data (zoo.toml).

>>> zoo.entry("smollm2-135m")["layers"]
30
"""

import difflib
import tomllib
from functools import cache
from pathlib import Path

from medlib.errors import MedlibError


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
