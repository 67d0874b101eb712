"""Hashes of large files, which are read once for a place, size and time of change.

To hash a large model at each look takes minutes.  What was read is remembered in a file of the cache; a file that was
changed and given its old size and time again would not be noticed, all other changes are.
"""

import json
from contextlib import suppress
from pathlib import Path

from medlib import paths
from medlib.models import embedded


def sha256(path):
    """The sha256 of a file, in hex, as it was read when it last had another size or time of change.

    >>> sha256("model.safetensors")
    """
    kept, place, stat = _kept(), Path(path).resolve(), Path(path).stat()
    key, now = str(place), [stat.st_size, stat.st_mtime_ns]
    if kept.get(key, [])[:2] == now:
        return kept[key][2]
    digest = embedded.sha256(place)
    there = {one: told for one, told in {**_kept(), key: [*now, digest]}.items() if Path(one).exists()}
    with suppress(OSError):  # a cache that cannot be written remembers nothing: the file is read again
        paths.write_atomically(_file(), json.dumps(there, indent=1, sort_keys=True).encode())
    return digest


def _file():
    return paths.cache().expanduser() / "hashes.json"


def _kept():
    """What was read before, place -> [size, time of change, sha256]; nothing of a list that is damaged."""
    try:
        kept = json.loads(_file().read_text(encoding="utf-8"))
        return kept if all(map(_is_entry, kept.values())) else {}
    except (OSError, ValueError, AttributeError):  # not there, cut off, or no list of files
        return {}


def _is_entry(told):
    return isinstance(told, list) and list(map(type, told)) == [int, int, str]
