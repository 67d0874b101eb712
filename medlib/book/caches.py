"""What the cache and the work folder hold, how large it is, and what nothing needs any more.

The cache (`MEDLIB_CACHE`) holds what can be made again: converted weights, answers of the knowledge check, compiled
functions, hashes of local models.  Only what medlib put there is listed and removed; a cache may be shared.
"""

import json
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from medlib import paths
from medlib.errors import MedlibError
from medlib.models import embedded, zoo

_KEPT = {
    "knowledge": "answers of models, which the knowledge check is made of",
    "numba": "compiled functions of UMAP",
    "hashes.json": "hashes of the files of local models",
}
_OF_WEIGHTS = {"size", "mtime_ns", "sha256"}  # what is recorded of each file of converted weights
_BUILT = {
    "runs": "runs of this machine",
    "by_hand": "runs of notebooks executed by hand",
    "work": "runs that go on, or what is left of killed ones",
    "html": "the book",
    "source": "what the book is built from",
    "webp": "the book's pictures, made small",
    "reproduction": "recorded runs executed again",
    "domains": "runs of single domains",
    "cells": "marks of what the Snakefile ran",
    "bench": "what benchmarks measured",
    "checkpoints": "a model of random weights that benchmarks stream",
    "peers": "the libraries that benchmarks measure against",
    "audit": "what looks packages up among known vulnerabilities",
    "training": "what the training of scans-llava left",
}


class Entry(NamedTuple):
    """One thing in a cache: its name, what it is, its size, and whether anything can still need it."""

    name: str
    what: str
    bytes: int
    needed: bool
    path: Path


def mend_lists():
    """Remove the lists of files in the cache that are damaged, so that they are made anew; the names of those removed.

    They are the hashes of local models and what is recorded of converted weights.
    """
    folder = paths.cache().expanduser()
    listed = [folder / "hashes.json", *folder.glob(f"*/{embedded.RECORD}")]
    return _removed(file for file in listed if file.is_file() and not _lists_files(file))


def seal_compiled():
    """Note of the compiled functions in the cache what each holds, when a kernel that may have added some has ended."""
    with suppress(OSError):  # a cache that cannot be written notes nothing: functions are compiled again
        if found := sorted(embedded.sha256(file) for file in _compiled()):
            paths.write_atomically(_seals(), json.dumps(found, indent=1).encode())


def mend_compiled():
    """Remove the compiled functions in the cache that are not as `seal_compiled` found them; numba compiles them anew.

    Numba has no check of its own: it stops at a file that is cut short, and would run whatever else it holds.
    """
    with suppress(OSError):
        try:
            sealed = set(json.loads(_seals().read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):  # the first time, or damaged itself
            sealed = set()
        return _removed(file for file in _compiled() if embedded.sha256(file) not in sealed)
    return []


def _compiled():
    return list(_seals().parent.rglob("*.nb[ic]"))


def _seals():
    return paths.cache().expanduser() / "numba" / "sealed.json"


def _removed(files):
    names = []
    for file in files:
        with suppress(OSError):  # a cache that may not be written, or another process was quicker
            file.unlink()
            names.append(file.name)
    return names


def _lists_files(file):
    """Whether a file of JSON is a list of files with what is known of each, as the hashes and the weights have one."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        if file.name == "hashes.json":
            return all(len(known) == 3 and isinstance(known[2], str) for known in told.values())
        return bool(told["files"]) and all(dict(known).keys() == _OF_WEIGHTS for known in told["files"].values())
    except OSError:
        return True  # it cannot be read here, and so is not ours to remove
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def kept():
    """What medlib keeps in the cache, the largest first.

    >>> [entry.name for entry in kept() if not entry.needed]

    Not needed are weights converted from another file or by another medlib, and what a killed conversion left.
    """
    folder = paths.cache().expanduser()
    now = {embedded._kept(entry).name: name for name in zoo.names() if "wheel" in (entry := zoo.entry(name))}
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        converted = re.fullmatch(r"(\.?)(.+)-[0-9a-f]{16}-\d+(\.tmp\w*)?", path.name)
        if path.name in _KEPT:
            found.append(Entry(path.name, _KEPT[path.name], size(path), True, path))
        elif converted and converted[3] and path.is_dir():
            left = not _held(path)
            what = "left of a killed conversion" if left else "a conversion that goes on"
            found.append(Entry(path.name, what, size(path), not left, path))
        elif converted and not converted[1] and path.is_dir():
            needed = path.name in now
            what = f"weights of {converted[2]}, converted" + ("" if needed else " by another version")
            found.append(Entry(path.name, what, size(path), needed, path))
    return sorted(found, key=lambda entry: -entry.bytes)


def built(house=None):
    """What lies in a house's work folder (`_build`), the largest first; `make clean` removes it all."""
    folder = (house or paths.root()) / "_build"
    found = [
        Entry(path.name, _BUILT.get(path.name, ""), size(path), True, path)
        for path in (folder.iterdir() if folder.is_dir() else [])
        if path.is_dir() or path.suffix == ".pdf"
    ]
    return sorted(found, key=lambda entry: -entry.bytes)


def prune(names=()):
    """Remove entries of the cache by their names, or those that are not needed: the entries removed.

    MedlibError for a name that is not there, before anything is removed.
    """
    there = {entry.name: entry for entry in kept()}
    unknown = [name for name in names if name not in there]
    if unknown:
        raise MedlibError(f"The cache holds no {unknown[0]!r}. It holds: {', '.join(there) or 'nothing'}.")
    chosen = [entry for name, entry in there.items() if (name in names if names else not entry.needed)]
    for entry in chosen:
        if entry.path.is_dir():
            with FileLock(_lock(entry.path)):  # no process converts it meanwhile
                shutil.rmtree(entry.path)
        else:
            entry.path.unlink()
    return chosen


def size(path):
    """The bytes of a file, or of all files below a folder; of what vanishes meanwhile, none."""
    total = 0
    for file in path.rglob("*") if path.is_dir() else [path]:
        try:
            total += 0 if file.is_dir() or file.is_symlink() else file.stat().st_size
        except OSError:
            continue
    return total


def said(amount):
    """A size for people.

    >>> said(3 * 2**30), said(1500)
    ('3.0 GiB', '1.5 KiB')
    """
    for unit, bytes_ in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if amount >= bytes_:
            return f"{amount / bytes_:.1f} {unit}"
    return f"{amount} B"


def _lock(path):
    """The lock of a conversion, as embedded.py names it: that of the folder that is made, or is being made."""
    whole = re.sub(r"\.tmp\w*$", "", path.name).lstrip(".")
    return path.with_name(f".{whole}.lock")


def _held(path):
    """Whether a process holds the lock of a conversion."""
    lock = FileLock(_lock(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
