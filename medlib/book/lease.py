"""GPUs of one machine, leased to one job each: a locked file for a GPU, and `CUDA_VISIBLE_DEVICES` for the job.

Snakemake and `run-all` count how many jobs run at a time, and tell none of them which GPU is its own: without more, all
take the first.  A lease is a lock of the kernel's (flock) on a file, which ends with the process that holds it however
that ends: the lease of a killed job is free at once, and there is nothing to clean up.  SLURM assigns GPUs itself; no
lease is needed there.

Leases are among the jobs of one user on one machine; who else uses a GPU is not seen.
"""

import fcntl
import getpass
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from medlib.errors import MedlibError

POLL = 0.5  # seconds between two looks for a free GPU


def gpus():
    """The GPUs that may be leased, as `CUDA_VISIBLE_DEVICES` names them: those it names already, else all there are.

    >>> gpus()
    ['GPU-5c93f1a2-...', 'GPU-8d0e7b44-...']
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    if shutil.which("nvidia-smi") is None:
        return []
    asked = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]  # numbers would follow CUDA_DEVICE_ORDER
    told = subprocess.run(asked, capture_output=True, text=True)
    return told.stdout.split() if told.returncode == 0 else []


def check(n):
    """The names of the GPUs there are; `MedlibError` where they are fewer than `n`."""
    names = gpus() if n else []
    if len(names) < n:
        raise MedlibError(
            f"GPUs asked for: {n}; here: {', '.join(names) or 'none'}. Ask for fewer, run on the processor with "
            "--gpus 0, or name them in CUDA_VISIBLE_DEVICES."
        )
    return names


@contextmanager
def lease(n, folder=None):
    """Wait until `n` GPUs are free and hold them, with `CUDA_VISIBLE_DEVICES` naming them: a list of their names.

    >>> with lease(1) as names:
    ...     execute.run("lesion", "smollm2-135m")

    0 changes nothing, and waits for nothing.  `folder` is where the locked files are, one of the user's own on this
    machine unless given.  `MedlibError` where there are fewer GPUs than that.
    """
    if not n:
        yield []
        return
    names = check(n)
    folder = Path(folder) if folder else _folder()
    with ExitStack() as held:
        waits = False
        while len(got := _lock(names, n, folder, held)) < n:
            held.close()  # whoever waits holds nothing, or two that want two each could wait for ever
            if not waits:
                taken = ", ".join(f"{name} by process {by}" for name, by in holders(folder).items())
                print(f"waiting for {n} of {len(names)} GPUs; leased: {taken}", file=sys.stderr)
            waits = True
            time.sleep(POLL)
        before = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(got)
        try:
            yield got
        finally:
            if before is None:
                del os.environ["CUDA_VISIBLE_DEVICES"]
            else:
                os.environ["CUDA_VISIBLE_DEVICES"] = before


def holders(folder):
    """Who holds what: GPU -> number of the process that leased it, of those that are leased now."""
    found = {}
    for path in sorted(folder.glob("*.lock")):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found[path.stem] = int(file.read() or 0)
    return found


def _lock(names, n, folder, held):
    """Lock up to `n` of the GPUs that are free, to be held as long as `held`: their names."""
    got = []
    for name in names:
        if len(got) == n:
            break
        file = (folder / f"{name.replace('/', '-')}.lock").open("a+")  # MIG names hold slashes
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        held.callback(file.close)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        got.append(name)
    return got


def _folder():
    """A folder of this user's on this machine; a home may be shared by machines whose GPUs have the same names."""
    folder = Path(tempfile.gettempdir()) / f"medlib-gpus-{getpass.getuser()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise MedlibError(f"{folder} belongs to someone else; set TMPDIR to a folder of your own on this machine.")
    return folder
