"""The work folder: each process makes its run in a folder of its own there, which is swept where it was killed."""

import hashlib
import os
import platform
import shutil
import tempfile
from pathlib import Path

from medlib import paths

HERE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]  # this machine, whose name is nobody's business


def folder(house, technique, model):
    """A folder of this run alone, named by process and machine; those that a killed process here left are swept.

    Machines may share the house, and a number of another's process says nothing here.
    """
    work = house / "_build" / "work"
    for left in work.glob("*.*"):
        process, _, machine = left.name.split(".")[0].partition("-")
        if machine not in ("", HERE):
            continue
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except (ValueError, PermissionError):
            pass
    work.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-{HERE}.{technique}.{paths.slug(model)}.", dir=work))
