"""One library in a process of its own, which runs its ways of the jobs as it is told to.

    python server.py LIBRARY FOLDER WORK

Loads `with_LIBRARY.py` and the model in FOLDER, and reads orders from its input, a line of JSON each: a job, a way, and
the file that takes the result.  Each is answered with the CPU seconds and the memory it took, or with why it failed.
Runs under an interpreter that has the library, torch, transformers and numpy; nothing else is imported.
"""

import ctypes
import gc
import importlib
import json
import os
import sys
import time
import traceback
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch


def main(library, folder, work):
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # some libraries print to the standard output, which belongs to the answers
    torch.set_num_threads(1)
    peer = importlib.import_module(f"with_{library}")
    model = peer.load(folder)
    work = json.loads(Path(work).read_text())
    versions = {name: version(name) for name in (peer.PACKAGE, "torch", "transformers", "numpy")}
    ways = {job: list(ways) for job, ways in peer.WAYS.items()}
    print(json.dumps({"versions": versions, "ways": ways}), file=pipe)
    warm = set()
    for line in sys.stdin:
        job, way, target = json.loads(line)
        run = peer.WAYS[job.split()[0]][way]
        whole, small = (work[job][part][peer.READS] for part in ("whole", "small"))
        try:
            with torch.no_grad():
                if (job, way) not in warm:
                    run(model, *small)
                    warm.add((job, way))
                result, answer = measured(lambda run=run, whole=whole: run(model, *whole))
            np.save(target, np.asarray(result))
        except Exception as error:  # that a library cannot do a job is a result
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        print(json.dumps(answer), file=pipe)


def measured(function):
    """Run a function: its result, and `{seconds, peak, extra}`: CPU seconds, bytes at the peak, bytes above before."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # memory kept for re-use would hide what the run needs
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to VmRSS
    before, start = memory("VmRSS"), time.process_time()
    result = function()
    seconds, peak = time.process_time() - start, memory("VmHWM")
    return result, dict(seconds=seconds, peak=peak, extra=peak - before)


def memory(field):
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


if __name__ == "__main__":
    main(*sys.argv[1:])
