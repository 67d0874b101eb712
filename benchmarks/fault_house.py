"""A small house for the faults, and commands in it that can be killed, stopped and looked at.

A command is `medlib run`, `record` or `build` as a user gives it, in a process forked from one that has imported
everything, so that the seconds of a trial are those of the command's work and not of its imports.  It can be killed
from outside at a moment of the clock, or kill or stop itself just before a file operation of its choice: the n-th that
writes, renames or removes something.  A kill is SIGKILL.
"""

import hashlib
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from medlib import paths, results
from medlib.book import building, recorded

MODEL = "smollm2-135m"
TECHNIQUE = "tiny"
PARTS = (".parquet", ".ipynb", ".json")
NOTEBOOK = """# %% [markdown]
# # Which layer is odd?
#
# It is {glue:text}`odd_layer`.

# %% tags=["parameters", "remove-cell"]
model_name = "smollm2-135m"  # any model
seed = 0  # of everything random
mode = "good"  # how it ends [good | dies | crashes | exits | hangs]

# %%
import ctypes, datetime, os, pathlib, signal, time
from types import SimpleNamespace
import medlib, medlib.run

shift = float(pathlib.Path("clock.txt").read_text())
class Clock(datetime.datetime):
    @classmethod
    def now(cls, zone=None):
        return datetime.datetime.now(zone) + datetime.timedelta(seconds=shift)
medlib.run.datetime = Clock
model = SimpleNamespace(name=model_name, source={"kind": "none"}, revision=None, weights_sha256=None, device="cpu")
run = medlib.Run("tiny", model, parameters={"mode": mode}, seed=seed)

# %%
value = int(pathlib.Path("value.txt").read_text())
if mode == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
if mode == "crashes":
    ctypes.string_at(0)
if mode == "exits":
    os._exit(1)
if mode == "hangs":
    time.sleep(3600)

# %%
run.number("odd_layer", value, f"layer {value}")
run.save([{"metric": "kl", "value": float(value), "item": i} for i in range(20)])
"""
TOC = """format: jb-book
root: intro
parts:
  - caption: Results
    chapters:
      - glob: runs/*/*
  - caption: Reference
    chapters:
      - file: record
      - file: matrix
      - file: notation
"""
INTRO = "# A small house\n\nIts runs are in [the record](record.md).\n"
RECORD = "# The record\n\n```{include} generated/runs.md\n```\n"
NOTATION = "# Notation\n\n:::{glossary}\nlayer\n  A block of a model.\n:::\n"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
OPERATIONS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod")
STOP = signal.SIGSTOP
PATIENCE = 600  # seconds after which a command that should have ended is said to hang


def build_house(folder, root):
    """A house of one short notebook and four pages, with the settings of this project's book."""
    (folder / "notebooks").mkdir(parents=True)
    (folder / "notebooks" / f"{TECHNIQUE}.py").write_text(NOTEBOOK)
    (folder / "book").mkdir()
    (folder / "book" / "intro.md").write_text(INTRO)
    (folder / "book" / "record.md").write_text(RECORD)
    (folder / "book" / "matrix.md").write_text("# Chapters by models\n\n```{include} generated/matrix.md\n```\n")
    (folder / "book" / "notation.md").write_text(NOTATION)
    shutil.copyfile(root / "book" / "references.bib", folder / "book" / "references.bib")
    shutil.copytree(root / "book" / "_static", folder / "book" / "_static")
    (folder / "_toc.yml").write_text(TOC)
    shutil.copyfile(root / "_config.yml", folder / "_config.yml")
    (folder / "requirements.lock").write_text("numpy==2\n")
    (folder / "clock.txt").write_text("0")
    return folder


def warm_up():
    """The kind of process that commands run in: forked, with what they import already imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["bench", "medlib.cli", "medlib.book.building", "papermill", "jupytext", "pandera.pandas", "pyarrow.parquet"]
    )
    return context


@dataclass
class Ended:
    """How a command ended: its exit code (negative: the signal), what it printed, and the file operations it made."""

    code: int
    printed: str
    operations: int
    seconds: float

    @property
    def message(self):
        """The line that says what happened: the last that was printed."""
        lines = [line.strip() for line in self.printed.splitlines() if line.strip()]
        return lines[-1] if lines else ""


class Command:
    """A command of medlib at work in a house.

    >>> ended = Command(context, house, ["run", "tiny"]).ended()

    `at`: the number of the file operation before which it gives itself the signal `how`; `group`: its children get a
    kill too (the kernel has a session of its own and does not).
    """

    def __init__(self, context, house, arguments, at=None, how=signal.SIGKILL, group=False):
        self.log = Path(tempfile.mkstemp(prefix="faults-")[1])
        self.counter = context.Value("l", 0, lock=False)
        self.group, self.started = group, time.monotonic()
        options = (str(house), arguments, str(self.log), self.counter, at, int(how), group)
        self.process = context.Process(target=_work, args=options)
        self.process.start()

    def kill(self):
        if self.process.is_alive():
            leads = os.getpgid(self.process.pid) == self.process.pid  # not so before its first line
            (os.killpg if self.group and leads else os.kill)(self.process.pid, signal.SIGKILL)

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def stopped(self, patience=PATIENCE):
        """Wait until it has stopped itself: true; false where it ended before."""
        deadline = time.monotonic() + patience
        while self.process.is_alive() and time.monotonic() < deadline:
            state = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2][0]
            if state == "T":
                return True
            time.sleep(0.05)
        return False

    def ended(self, patience=PATIENCE):
        """Wait for its end; one that takes longer than `patience` seconds is killed, and said to hang (code None)."""
        self.process.join(patience)
        code = self.process.exitcode
        if code is None:
            self.kill()
            self.process.join()
        printed = self.log.read_text(errors="replace")
        self.log.unlink()
        return Ended(code, printed, self.counter.value, time.monotonic() - self.started)


def _work(house, arguments, log, counter, at, how, group):
    """In the forked process: the command, its output in a file."""
    os.setsid()
    output = os.open(log, os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(house)
    sys.stdin = None

    def count(event, arguments):
        if event == "open":
            path, _, flags = arguments
            if not (isinstance(path, str) and path.startswith(house) and flags & WRITES):
                return
        elif event not in OPERATIONS:
            return
        counter.value += 1
        if at is not None and counter.value == at:
            (os.killpg if group else os.kill)(0 if group else os.getpid(), how)

    sys.addaudithook(count)
    sys.argv = ["medlib", *arguments]
    from medlib import cli

    cli.main()


# What is there


def folders(house):
    """The folders of the local and of the committed run."""
    return paths.runs(house) / MODEL, paths.committed(house) / MODEL


def files(folder):
    """The three files of the run in a folder, those that are there: name -> bytes."""
    found = (folder / f"{TECHNIQUE}{part}" for part in PARTS)
    return {path.name: path.read_bytes() for path in found if path.exists()}


def value_of(folder):
    """The value in a table, read as the book reads it: through its record.  None where there is no whole run."""
    if recorded.complete(folder, TECHNIQUE) is None:
        return None
    values = results.read(folder / f"{TECHNIQUE}.parquet")["value"].unique()
    return int(values[0]) if len(values) == 1 else None


def put(value, folder, stored):
    """Put a finished run that was stored into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in stored[value].items():
        (folder / name).write_bytes(content)


def chosen(house):
    """The value of the run that the book would take: of the local and the committed one, the later."""
    return value_of(building.choose(house)[0][0].folder)


def left(house, patience=20):
    """The kernels and Sphinxes of a house still at work, `patience` seconds after their command was killed."""
    deadline = time.monotonic() + patience
    while found := [process for process in psutil.process_iter() if _works_for(process, house)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    return found


def _works_for(process, house):
    try:
        kernel = process.environ().get("MEDLIB_RUNS", "").startswith(str(house))
        return kernel or any(word.startswith(str(house)) for word in process.cmdline())
    except psutil.Error:
        return False


def site(house, name="html"):
    """The built book: its files' sha256 together, or None where there is no first page."""
    folder = house / "_build" / name
    if not (folder / "index.html").is_file():
        return None
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def shown(house):
    """The value that the built book shows for the run; None where there is no such page."""
    page = house / "_build" / "html" / "runs" / MODEL / f"{TECHNIQUE}.html"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    found = re.search(r"layer (\d+)", re.sub(r"<[^<>]*>", "", text))  # the word may be a link to the glossary
    return int(found[1]) if found else None


def without_temporary(message):
    """A message in which temporary files and folders, whose names are of a process, a machine and chance, have none.

    >>> without_temporary("./_build/work/12-ab.record.runs.x_y cannot be written")
    './_build/work/... cannot be written'
    """
    return re.sub(r"(_build/work/)[^\s/]+|(?<=/)tmp\w{8}", lambda at: f"{at[1] or ''}...", message)


# Disks that are full or may not be written


@contextmanager
def small_disk(folder, size="400m"):
    """A disk in memory, mounted on a folder; needs the right to mount."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield Path(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full_disk(house, left=0):
    """While it lasts the house's disk has `left` bytes of room."""
    filler = house.parent / "filler"
    free = os.statvfs(house)
    size = free.f_bavail * free.f_frsize - left
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(house):
    """While it lasts nothing on the house's disk can be written, by root neither."""
    subprocess.run(["mount", "-o", "remount,ro", str(house.parent)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(house.parent)], check=True)
