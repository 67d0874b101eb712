"""Speed and memory of medlib beside a plain hook loop over the same work, on the embedded model with one thread.

    python benchmarks/bench.py [JOB ...] [--strict]

Each way of a job has a process of its own (measure.py), and the ways (jobs.py) take turns.  All ways must give the same
results, or the exit status is 1.  A target that is missed is said in the table; with --strict it makes the status 2.
The table is printed, and written with the single measurements to _build/bench/bench.md and bench.json.
"""

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median

import measure
import torch
from jobs import JOBS
from rich import box
from rich.console import Console
from rich.table import Table

ROUNDS = 3
SLOW = 30  # a way that takes longer (CPU seconds) is run in the first round only
TOLERANCE = 1e-4
FOLDER = Path(__file__).parent.parent / "_build" / "bench"
COLUMNS = {
    "way": "plain, careful, or medlib's own function (all in benchmarks/jobs.py)",
    "CPU s": "processor time, one thread, median",
    "/plain": "its ratio to the plain hook loop's",
    "/careful": "its ratio to the careful one's",
    "floor": "block operations that branches cannot avoid, as a share of the plain loop's (larger batches go below it)",
    "peak": "peak memory of the process, weights included, as a ratio to the plain loop's",
    "MiB": "peak memory above that of the loaded model, median",
    "apart": "largest difference from the plain loop (lesions, patches: of the largest logit; states: of the largest "
    "number in the state; saliency: of each number)",
    "target": "for /plain, or for saliency for MiB as a share of all gradients' size; then whether it is met",
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("job", nargs="*", help=f"which jobs, instead of all: {', '.join(JOBS)}")
    arguments.add_argument("--strict", action="store_true", help="exit with status 2 when a target is missed")
    given = arguments.parse_args()
    if unknown := set(given.job) - set(JOBS):
        arguments.error(f"unknown job {', '.join(sorted(unknown))}; choose from {', '.join(JOBS)}")
    if not Path("/proc/self/clear_refs").exists():
        sys.exit("The benchmark reads peak memory from Linux's /proc, which is not here. Run it on Linux.")
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # the processes of the ways inherit it

    console = Console()
    facts = {"load before": load()} | machine()
    results = {}
    for job in given.job or JOBS:
        with console.status(job) as status:
            results[job] = run(job, status.update)
        console.print(table(job, results[job]))
    facts["load after"] = load()
    write(facts, results)
    for name, meaning in COLUMNS.items():
        console.print(f"[bold]{name}[/]: {meaning}", highlight=False)
    console.print(", ".join(f"{name} {value}" for name, value in facts.items()))
    console.print(f"Written to {FOLDER.relative_to(FOLDER.parent.parent)}")

    if different := [job for job, result in results.items() if not result["equal"]]:
        sys.exit(f"The ways of these jobs differ by more than {TOLERANCE:g}: {', '.join(different)}.")
    if given.strict and not all(result["met"] for result in results.values()):
        sys.exit(2)


def run(job, say):
    """Run all ways of a job in turn; a dict of what was measured, and of what follows from it."""
    definition = JOBS[job]
    say(f"{job}: loading the model")
    processes = {name: measure.Way(job, name) for name in definition.ways}
    facts = [process.ready() for process in processes.values()][0]
    runs = {name: [] for name in processes}
    for turn in range(ROUNDS):
        for name, process in processes.items():
            if not turn or runs[name][0]["seconds"] < SLOW:
                say(f"{job}: {name}, run {turn + 1}")
                runs[name].append(process())
    for process in processes.values():
        process.close()
    return summary(definition, facts, runs)


def summary(job, facts, runs):
    """Medians, ratios, differences, and whether the target is met."""
    expected = runs["plain"][0]["result"]
    ways = {
        name: {
            "seconds": median(run["seconds"] for run in repeats),
            "extra": median(run["extra"] for run in repeats),
            "peak": median(run["peak"] for run in repeats),
            "difference": max(float(job.apart(expected, run["result"], facts["largest"])) for run in repeats),
            "runs": [{key: value for key, value in run.items() if key != "result"} for run in repeats],
        }
        for name, repeats in runs.items()
    }
    for way in ways.values():
        way |= {f"of {other}": way["seconds"] / ways[other]["seconds"] for other in ("plain", "careful")}
        way["peak of plain"] = way["peak"] / ways["plain"]["peak"]
    reached = ways["medlib"]["extra"] / facts["weights"] if job.memory else ways["medlib"]["of plain"]
    return {
        "what": job.what,
        "target": job.target,
        "target is for": "extra memory / gradients" if job.memory else "CPU time / plain",
        "reached": reached,
        "met": reached <= job.target,
        "floor": job.floor and job.floor(facts["layers"], measure.LENGTH),
        "equal": all(way["difference"] <= TOLERANCE for way in ways.values()),  # false for NaN
        "ways": ways,
    }


def rows(result):
    """The cells of a job's table, as text."""
    for name, way in result["ways"].items():
        ours = name == "medlib"
        met = "met" if result["met"] else "MISSED"
        yield [
            name,
            f"{way['seconds']:.2f}",
            f"{way['of plain']:.3f}",
            f"{way['of careful']:.3f}",
            f"{result['floor']:.3f}" if ours and result["floor"] else "",
            f"{way['peak of plain']:.2f}",
            f"{way['extra'] / 2**20:.0f}",
            f"{way['difference']:.0e}",
            f"{result['reached']:.3f} <= {result['target']} {met}" if ours else "",
        ]


def table(job, result):
    drawn = Table(title=f"{job}: {result['what']}", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in COLUMNS:
        drawn.add_column(name, justify="left" if name in ("way", "target") else "right")
    for row in rows(result):
        drawn.add_row(*row)
    return drawn


def write(facts, results):
    FOLDER.mkdir(parents=True, exist_ok=True)
    whole = {"machine": facts, "tolerance": TOLERANCE, "jobs": results}
    (FOLDER / "bench.json").write_text(json.dumps(whole, indent=1) + "\n")
    lines = ["# medlib beside a plain hook loop", "", *(f"- {name}: {value}" for name, value in facts.items())]
    for job, result in results.items():
        head = ["", f"## {job}: {result['what']}", "", list(COLUMNS), ["---"] * len(COLUMNS)]
        lines += [line if isinstance(line, str) else f"| {' | '.join(line)} |" for line in [*head, *rows(result)]]
    lines += ["", *(f"- *{name}*: {meaning}" for name, meaning in COLUMNS.items())]
    (FOLDER / "bench.md").write_text("\n".join(lines) + "\n")


def machine():
    """What the times depend on, without the machine's name."""
    return {
        "model": measure.MODEL,
        "threads": 1,
        "cores": len(os.sched_getaffinity(0)),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
    }


def load():
    """Processes that want a core, mean over the last minute."""
    return f"{os.getloadavg()[0]:.2f}"


if __name__ == "__main__":
    main()
