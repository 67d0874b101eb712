"""One way of one job in a process of its own: its CPU time and how far its memory rises.

The process loads the model and warms up before anything is counted.  Then it runs the way as often as it is asked to,
so that the ways of a job take turns and a change of the machine's load meets them all.  The peak is the kernel's own
(VmHWM), set back before each run; so this is for Linux.
"""

import ctypes
import gc
import multiprocessing
import sys
import time
from pathlib import Path

import jobs
import texts
import torch

import medlib

MODEL = "smollm2-135m"
LENGTH, EARLY, LATE = 16, 0, 12  # tokens of a pair, and where its prompts first differ


class Way:
    """A process that holds the model and runs one way of a job whenever it is called: a dict of `measured`."""

    def __init__(self, job, way):
        here, there = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, job, way), daemon=True)
        self.process.start()
        there.close()
        self.pipe, self.name = here, f"{job}, {way}"

    def ready(self):
        """Wait until the process has warmed up: `{largest, layers, weights}`, logit, number, and size in bytes."""
        return self._answer()

    def __call__(self):
        self.pipe.send("run")
        return self._answer()

    def _answer(self):
        try:
            return self.pipe.recv()
        except EOFError:
            sys.exit(f"{self.name} failed; its own message is above.")

    def close(self):
        self.pipe.close()
        self.process.join()


def measured(function):
    """Run a function: `{result, seconds, peak, extra}`: CPU seconds, bytes at the peak, bytes above those before."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # memory kept for re-use would hide what the run needs
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to VmRSS
    before, start = _memory("VmRSS"), time.process_time()
    result = function()
    seconds, peak = time.process_time() - start, _memory("VmHWM")
    return dict(result=result, seconds=seconds, peak=peak, extra=peak - before)


def work(model, job):
    """What a job works on, and a small part of it to warm up with."""
    if job == "activations":
        return texts.SENTENCES, texts.SENTENCES[:2]
    if job == "lesion":
        return texts.QUESTIONS, texts.QUESTIONS[:1]
    if job == "saliency":
        return texts.QUESTIONS[:8], texts.QUESTIONS[:1]
    template, first = (texts.EARLY, EARLY) if job == "patch early" else (texts.LATE, LATE)
    return texts.pair(model, template, LENGTH, first), texts.pair(model, "{drug}", 2, 0)


def _serve(pipe, job, way):
    torch.set_num_threads(1)
    model = medlib.load(MODEL, device="cpu")
    whole, small = work(model, job)
    run = jobs.JOBS[job].ways[way]
    largest = float(jobs.logits(model, texts.SENTENCES[-1]).detach().abs().max())  # every weight has been read once
    run(model, small)
    weights = sum(parameter.nbytes for parameter in model.hf.parameters())  # tied ones once
    pipe.send(dict(largest=largest, layers=model.n_layers, weights=weights))
    try:
        while pipe.recv():
            pipe.send(measured(lambda: run(model, whole)))
    except EOFError:
        return


def peak():
    """The kernel's highest resident set of this process, in bytes."""
    return _memory("VmHWM")


def _memory(field):
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))
