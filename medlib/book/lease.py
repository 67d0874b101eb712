"""GPUs of one machine, leased to one job each: a locked file for a device, and `CUDA_VISIBLE_DEVICES` for the job.

Snakemake and `run-all` count how many jobs run at a time, and tell none of them which GPU is its own: without more, all
take the first.  A lease is a lock of the kernel's (flock) on a file, which ends with the process that holds it however
that ends: the lease of a killed job is free at once, and there is nothing to clean up.  SLURM assigns GPUs itself; no
lease is needed there.

A device has one name here, its UUID, which is that of its file and what the job is given, however the user named it: a
number is another device under another `CUDA_DEVICE_ORDER`, and two names of one device would be two leases.  A GPU that
is divided (MIG) is leased by its parts, which are devices of their own.

Leases are among the jobs of one user on one machine; who else uses a GPU is not seen.
"""

import fcntl
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from medlib.errors import MedlibError

POLL = 0.5  # seconds between two looks for a free GPU
# The one place that all jobs of a user on a machine share.  TMPDIR may be each job's own; XDG_RUNTIME_DIR is a login's,
# goes with it and is not there in batch jobs; a home may be shared by machines, on a file system without locks.
PLACE = Path("/tmp")


class GPU(NamedTuple):
    """A GPU as the driver lists it; `devices`: the UUIDs under which it is used, its own or those of its parts."""

    uuid: str
    kind: str
    devices: list


def gpus():
    """The UUIDs of the devices that may be leased: those that `CUDA_VISIBLE_DEVICES` names, else all there are.

    >>> gpus()
    ['GPU-5c93f1a2-...', 'GPU-8d0e7b44-...']

    As CUDA does, it may name them by number, by UUID or by a UUID's beginning, and what comes after -1 is not seen.
    `MedlibError` where a name is of no device, or of more than one.
    """
    here, given = _listed(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [device for gpu in here for device in gpu.devices]
    found = []
    for name in (word.strip() for word in given.split(",")):
        if name in ("", "-1", "NoDevFiles"):
            break
        found += _devices(name, here)
    return list(dict.fromkeys(found))


def _listed():
    """The GPUs of this machine in the order of their places on the bus; none where no driver answers."""
    told = _nvidia_smi("--query-gpu=uuid,pci.bus_id", "--format=csv,noheader")
    places, found = dict(line.split(", ") for line in told if ", " in line), []
    for line in _nvidia_smi("-L"):
        if gpu := re.match(r"GPU \d+: (.*) \(UUID: (\S+)\)", line):
            found.append(GPU(gpu[2], gpu[1], []))
        elif part := re.match(r"\s+MIG .*\(UUID: (\S+)\)", line):
            found[-1].devices.append(part[1])
    found = [gpu if gpu.devices else gpu._replace(devices=[gpu.uuid]) for gpu in found]
    return sorted(found, key=lambda gpu: places.get(gpu.uuid, ""))


def _nvidia_smi(*asked):
    if shutil.which("nvidia-smi") is None:
        return []
    told = subprocess.run(["nvidia-smi", *asked], capture_output=True, text=True)
    return told.stdout.splitlines() if told.returncode == 0 else []


def _devices(name, here):
    """The UUIDs of what a name in `CUDA_VISIBLE_DEVICES` means, of the GPUs that are `here`."""
    if name.isdecimal():
        return _numbered(int(name), here)
    if not here:  # nobody to ask, and a UUID is one whoever is asked
        return [name]
    gpus = [gpu.devices for gpu in here if gpu.uuid.startswith(name)]
    parts = [[device] for gpu in here for device in gpu.devices if device != gpu.uuid and device.startswith(name)]
    if len(gpus + parts) != 1:
        listed = ", ".join(device for gpu in here for device in gpu.devices)
        raise MedlibError(
            f"CUDA_VISIBLE_DEVICES names {name}, which is {'more than one' if gpus + parts else 'no'} device of those "
            f"that nvidia-smi lists: {listed}. Name each by its UUID."
        )
    return (gpus + parts)[0]


def _numbered(number, here):
    """The UUIDs of a GPU that is named by its number.

    Numbers follow the bus where CUDA_DEVICE_ORDER says so; else CUDA puts the one first that it takes for the fastest.
    Among GPUs of one kind that tells none from another, and those who give numbers have them from `nvidia-smi`, which
    follows the bus.
    """
    kinds = {gpu.kind for gpu in here}
    if not here:
        why = "no nvidia-smi is here to say which that is"
    elif number >= len(here):
        why = f"the last that nvidia-smi lists is {len(here) - 1}"
    elif len(kinds) > 1 and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        why = f"which of {', '.join(sorted(kinds))} that is depends: set CUDA_DEVICE_ORDER=PCI_BUS_ID"
    else:
        return here[number].devices
    raise MedlibError(f"CUDA_VISIBLE_DEVICES names a GPU by its number, {number}, and {why}; or name it by its UUID.")


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
    """Wait until `n` GPUs are free and hold them, with `CUDA_VISIBLE_DEVICES` naming them: a list of their UUIDs.

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
    """The folder of this user's locks on this machine; `MedlibError` where someone else put something in its place."""
    folder = PLACE / f"medlib-gpus-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()  # a link would lead where someone else likes
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise MedlibError(f"{folder}, which is for the locks of your leases, is no folder of yours: have it removed.")
    return folder
