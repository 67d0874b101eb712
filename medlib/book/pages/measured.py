"""The files of the benchmarks, which pages are written from: one that no page can be made of is named."""

import json
from contextlib import contextmanager

from medlib.errors import MedlibError


def read(file):
    """What a benchmark measured; None where there is no such file.

    >>> read(paths.root() / "benchmarks" / "measured" / "peers.json")
    """
    if not file.is_file():
        return None
    with damage_named(file):
        found = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        raise TypeError(f"it holds a {type(found).__name__}")


@contextmanager
def damage_named(file):
    """While it lasts a page is made of a file: where that cannot be, MedlibError names the file and what to do."""
    try:
        yield
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise MedlibError(
            f"benchmarks/measured/{file.name} is damaged ({type(error).__name__}: {error}). Bring back the committed "
            "one with git, or delete it: its page then says which command measures anew."
        ) from error
