"""Putting a finished run in its place so that a kill, at whatever moment, loses neither it nor the one before it.

A run is three files and three renames, and between two of them the files there are not of one run.  So they first stand
ready in a hidden folder beside their places, which gets its name in one step: from then on the new run counts, and
whoever reads runs next ends what was begun (`settle`).  Before that step the earlier run is untouched.

One lock a house, of the kernel's (flock), which ends with the process that holds it: whoever puts a run in its place
holds it alone, for milliseconds; who reads several runs and must not see one change (`still`) shares it with other
readers.  Where nothing can be locked, in a read-only house or on a file system without locks, reading goes on without.
"""

import errno
import fcntl
import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager, suppress

from medlib import paths
from medlib.book import disk

PARTS = (".parquet", ".ipynb", ".json")  # in the order in which they are put in place: the record names the others


def check(folder):
    """OSError where no run can be put into a folder: said before hours are spent on it."""
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


def place(whole, folder, technique, house):
    """Move the three files of a finished run from the folder `whole` into the folder of its model.

    >>> place(work / "lesion", paths.runs(house) / "smollm2-135m", "lesion", house)

    What a failed run had left there goes.  Of two at once the one that comes last counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    making = folder / f".{technique}.making"
    with _locked(house, fcntl.LOCK_EX):
        _move_in(folder, technique)
        shutil.rmtree(making, ignore_errors=True)  # of a process that was killed
        try:
            making.mkdir()
            for part in PARTS:
                _bring(whole / f"{technique}{part}", making / f"{technique}{part}")
            making.rename(folder / f".{technique}.ready")
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        _move_in(folder, technique)


def settle(house, *others):
    """Finish what a killed process began: a run that stands ready goes to its place.

    Runs are those of the house, local and committed, and in the folders `others`.  What may not be written is left.
    """
    if _ready(house, others):
        with _locked(house, fcntl.LOCK_EX):
            for folder, technique in _ready(house, others):
                _move_in(folder, technique)


@contextmanager
def still(house, *others):
    """While it lasts, all runs are settled and none is put in its place.  For seconds: who places one waits for it.

    >>> with still(house):
    ...     chapters, failed = building.choose(house)
    """
    while True:
        settle(house, *others)
        with _locked(house, fcntl.LOCK_SH):
            if not _ready(house, others):  # else a process was killed since; while we share the lock no more come
                yield
                return


def _ready(house, others):
    """The runs that stand ready where they can be put in place: pairs of a folder and a technique."""
    return [
        (path.parent, path.name[1:].removesuffix(".ready"))
        for runs in (paths.runs(house), paths.committed(house), *others)
        for path in runs.glob("*/.*.ready")
        if os.access(path.parent, os.W_OK)
    ]


def _move_in(folder, technique):
    """Rename what stands ready to its place; what a killed process had renamed already is there."""
    ready = folder / f".{technique}.ready"
    if not ready.is_dir():
        return
    for part in PARTS:
        with suppress(FileNotFoundError):
            (ready / f"{technique}{part}").replace(folder / f"{technique}{part}")
    (folder / f"{technique}.failed.ipynb").unlink(missing_ok=True)
    shutil.rmtree(ready)


def _bring(file, target):
    """Move a file, in one step where both are on one disk, which then need not have room for it."""
    try:
        file.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with disk.named(target):
            paths.write_atomically(target, file.read_bytes())


@contextmanager
def _locked(house, how):
    with ExitStack() as held:
        with suppress(OSError):
            (house / "_build").mkdir(parents=True, exist_ok=True)
            fcntl.flock(held.enter_context((house / "_build" / "placing.lock").open("a")), how)
        yield
