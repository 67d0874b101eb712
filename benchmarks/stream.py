"""A model of 8 billion parameters in less memory than a quarter of its weights: time, memory and bytes read.

    python benchmarks/stream.py [--size 8b] [--folder FOLDER] [--memory 4GiB] [--prefetch]

Writes a checkpoint of random numbers (once; 16 GB) and runs each technique on it in a process of its own, weights
streamed.  The peak is the kernel's VmHWM of that process from its start, imports and loading included; bytes are those
read from the checkpoint, as a ratio to its size, for each walk.  Exit status 1 when a limit is not kept.
"""

import argparse
import json
import multiprocessing
import sys
import time
from pathlib import Path

import bench
import measure
import random_checkpoint
import torch
from rich import box
from rich.console import Console
from rich.table import Table

import medlib
from medlib.model import to_bytes

FOLDER = Path(__file__).parent.parent / "_build" / "bench"
TEXT = "the patient was seen by a doctor who asked how long it had been there and what else was wrong"
THREADS = 2
WALKS = {"activations": 1, "lesion": 1, "patching": 1, "saliency": 2}
LIMIT = 1.0  # bytes read a walk, as a share of the weights; 1.05 where the embedding is the unembedding too


def prompts(model, n, length=12):
    """Prompts of so many tokens each, no two alike."""
    words, found = TEXT.split(), []
    for i in range(n):
        chosen = [words[(i * 5 + j * 3) % len(words)] for j in range(2 * length)]
        ids = model.tokenizer(" ".join(chosen))["input_ids"][:length]
        found.append(model.tokenizer.decode(ids))
    return found


def pairs(model, n, length=12):
    """Pairs of prompts of so many tokens each, which differ in their second word."""
    found = []
    for clean in prompts(model, n, length):
        first, second, rest = clean.split(" ", 2)
        other = " was" if second != "was" else " had"
        found.append(medlib.Pair(clean, f"{first}{other} {rest}", " yes", " no"))
    return found


def job(technique, model):
    if technique == "patching":
        asked = pairs(model, 1)
        return lambda: medlib.patch_sweep(model, asked)
    asked = prompts(model, 16)
    answers = [" yes"] * len(asked)
    return {
        "activations": lambda: medlib.activations(model, asked),
        "lesion": lambda: medlib.lesion_sweep(model, asked, answers),
        "saliency": lambda: medlib.weight_saliency(model, asked[:4], answers[:4]),
    }[technique]


def measured(technique, folder, memory, prefetch, pipe):
    """What one technique costs, sent through a pipe; the first walk, which checks the replay, is counted apart."""
    torch.set_num_threads(THREADS)
    model = medlib.load(folder, offload="disk", memory=memory, prefetch=prefetch)
    weights, run = model.weights, job(technique, model)
    start = time.perf_counter()
    medlib.activations(model, prompts(model, 1))
    checked, at = time.perf_counter() - start, weights.bytes_read
    start = time.perf_counter()
    run()
    pipe.send(
        {
            "technique": technique,
            "seconds": time.perf_counter() - start,
            "check": checked,
            "peak": measure.peak(),
            "walk": (weights.bytes_read - at) / weights.size / WALKS[technique],
            "size": weights.size,
            "no_op": model.checked,
        }
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--size", choices=random_checkpoint.SHAPES, default="8b")
    arguments.add_argument("--folder", type=Path, default=Path("_build/checkpoints"))
    arguments.add_argument("--memory", default="4GiB")
    arguments.add_argument("--prefetch", action="store_true")
    given = arguments.parse_args()
    folder = given.folder / given.size
    console = Console()
    if not (folder / "model.safetensors.index.json").exists():
        with console.status(f"writing {folder}"):
            random_checkpoint.write(folder, given.size)
    columns = "technique", "seconds", "check, s", "peak, GiB", "read a walk / weights", "no-op"
    table = Table(*columns, box=box.SIMPLE_HEAD)
    found = []
    for technique in WALKS:
        here, there = multiprocessing.Pipe()
        options = technique, folder, given.memory, given.prefetch, there
        process = multiprocessing.get_context("spawn").Process(target=measured, args=options)
        with console.status(technique):
            process.start()
            there.close()
            row = here.recv()
            process.join()
        found.append(row)
        numbers = [f"{row['seconds']:.0f}", f"{row['check']:.0f}", f"{row['peak'] / 2**30:.2f}", f"{row['walk']:.3f}"]
        table.add_row(technique, *numbers, f"{row['no_op']:.0e}")
    console.print(table)
    FOLDER.mkdir(parents=True, exist_ok=True)
    machine = bench.machine() | {"model": f"random Llama, {given.size}", "threads": THREADS}
    facts = {
        "machine": machine,
        "size": given.size,
        "memory": given.memory,
        "prefetch": given.prefetch,
        "weights": found[0]["size"],
        "techniques": found,
    }
    name = "stream" if given.size == "8b" else f"stream-{given.size}"  # a small one must not take the large one's place
    (FOLDER / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
    if any(row["peak"] > to_bytes(given.memory) or row["walk"] > LIMIT for row in found):
        sys.exit("A limit was not kept: memory, or bytes read a walk.")


if __name__ == "__main__":
    main()
