"""Speed and memory of medlib beside nnsight, TransformerLens and pyvene, on the embedded model with one thread.

    python benchmarks/peers.py [JOB ...] [--quick] [--strict]

Three jobs: states of prompts, a sweep of patches over all layers and positions (of two pairs of prompts), a lesion of
each block in turn.  Each library has a process and an interpreter of its own (peers/server.py), and a short file with
its ways of the jobs: as its documentation does it, batched by hand, and, where the library can start in the middle of
the model, resumed from there.  The ways take turns.  All must give medlib's numbers, or the exit status is 1.  A target
that is missed is said; with --strict it makes the status 2.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import bench
import jobs
import measure
import numpy as np
import texts
from rich import box
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file

import medlib
from medlib.models import embedded, zoo
from medlib.prompts import answer_token, encode

ROUNDS = 3
SLOW = 30  # a way that takes longer (CPU seconds) is run in the first round only
HERE = Path(__file__).parent / "peers"
BUILD = Path(__file__).parent.parent / "_build"
PEERS = ("nnsight", "transformer_lens", "pyvene")
OURS = ("medlib", "own")
QUICK = {"prompts": 4, "layers": 4, "rounds": 1}
# job: what it is, how many times faster than the best peer batched by hand medlib shall be, and the largest difference
JOBS = {
    "activations": ("states of 64 prompts after every block, last token", 1.2, 1e-4),
    "lesion": ("each block lesioned in turn, 16 prompts, KL at the last token", 2.2, 1e-3),
    "patch early": ("all layers x all positions, 16 tokens, the first differs", 3.0, 1e-3),
    "patch late": ("all layers x all positions, 16 tokens, 12 agree", 15.0, 1e-3),
}
COLUMNS = {
    "library": "and its way of the job (benchmarks/peers/with_*.py)",
    "way": "own: medlib's function; documented: as the library's pages do it; batched: by hand, in batches and without "
    "logits that nobody reads; resumed: batched, started by hand at the block after the intervention",
    "CPU s": "processor time, one thread, median",
    "/medlib": "its ratio to medlib's",
    "MiB": "peak memory above that of the loaded model, median",
    "MiB /medlib": "its ratio to medlib's",
    "apart": "largest difference from medlib's numbers (states: of the largest number in the state; else of the "
    "largest number in the result)",
    "": "whether that is within the tolerance; or why the library cannot do the job this way",
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("job", nargs="*", help=f"which jobs, instead of all: {', '.join(JOBS)}")
    arguments.add_argument("--strict", action="store_true", help="exit with status 2 when a target is missed")
    quick = "the first 4 layers, 4 prompts, one round: whether all ways run and agree; times and targets mean nothing"
    arguments.add_argument("--quick", action="store_true", help=quick)
    python = BUILD / "peers" / "bin" / "python"
    arguments.add_argument("--python", default=python, help="the interpreter of the peers (default: %(default)s)")
    given = arguments.parse_args()
    if unknown := set(given.job) - set(JOBS):
        arguments.error(f"unknown job {', '.join(sorted(unknown))}; choose from {', '.join(JOBS)}")
    if not Path("/proc/self/clear_refs").exists():
        sys.exit("The benchmark reads peak memory from Linux's /proc, which is not here. Run it on Linux.")
    if not shutil.which(given.python):
        sys.exit(f"There is no interpreter {given.python}. `make bench-peers` installs the peers there.")

    console = Console()
    facts = {"load before": bench.load()} | bench.machine()
    scratch = bench.FOLDER / "peers"
    scratch.mkdir(parents=True, exist_ok=True)
    if given.quick:
        facts["quick"] = ", ".join(f"{n} {what}" for what, n in QUICK.items())
    with console.status("preparing the model and the texts"):
        folder = embedded.folder(zoo.entry(measure.MODEL))
        if given.quick:
            folder = first_layers(folder, QUICK["layers"], scratch / "model")
        layers = write_work(folder, scratch / "work.json", QUICK["prompts"] if given.quick else None)
    with console.status("loading the model into each library"):
        libraries = {
            name: Library(name, python, folder, scratch)
            for name, python in {"medlib": sys.executable, **dict.fromkeys(PEERS, given.python)}.items()
        }
    facts |= {"layers": layers, **{name: plain(library.said()) for name, library in libraries.items()}}
    results = {}
    for job in given.job or JOBS:
        with console.status(job) as status:
            runs = run(job, libraries, QUICK["rounds"] if given.quick else ROUNDS, status.update)
        results[job] = summary(job, runs, layers)
        console.print(table(job, results[job]))
        if not given.quick:
            console.print(verdict(results[job]), "", sep="\n", highlight=False)
    for library in libraries.values():
        library.close()
    facts["load after"] = bench.load()
    stem = "peers-quick" if given.quick else "peers"
    write(facts, results, stem)
    for name, meaning in COLUMNS.items():
        console.print(f"[bold]{name or 'last'}[/]: {meaning}", highlight=False)
    console.print(", ".join(f"{name} {value}" for name, value in facts.items()), highlight=False)
    console.print(f"Written to {bench.FOLDER.relative_to(BUILD.parent)}/{stem}.md and .json")

    if different := [job for job, result in results.items() if not result["equal"]]:
        sys.exit(f"The libraries differ by more than the tolerance in: {', '.join(different)}.")
    if given.strict and not given.quick and not all(result["met"] for result in results.values()):
        sys.exit(2)


# --- what is run ------------------------------------------------------------------------------------------------------


class Library:
    """A process that holds the model in one library; `said()` waits for it, a call runs a way of a job."""

    def __init__(self, name, python, folder, scratch):
        self.name, self.result, self.log = name, scratch / f"{name}.npy", scratch / f"{name}.log"
        settings = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
        command = [python, HERE / "server.py", name, folder, scratch / "work.json"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | settings
            )
        self.ways = {}

    def said(self):
        """The versions of what it runs on, once it has loaded."""
        answer = self._answer()
        self.ways = answer["ways"]
        return answer["versions"]

    def __call__(self, job, way):
        """`{result, seconds, peak, extra}`, or `{error}`."""
        print(json.dumps([job, way, str(self.result)]), file=self.process.stdin, flush=True)
        answer = self._answer()
        return answer if "error" in answer else answer | {"result": np.load(self.result)}

    def _answer(self):
        if line := self.process.stdout.readline():
            return json.loads(line)
        sys.exit(f"The process of {self.name} ended; the end of its log:\n" + self.log.read_text()[-2000:])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def write_work(folder, path, n=None):
    """Write what each job works on, as texts for medlib and as token ids for its peers; the number of layers."""
    model = medlib.load(str(folder), device="cpu")
    questions = [question for question, _ in texts.QUESTIONS]
    pairs = {"patch early": (texts.EARLY, measure.EARLY), "patch late": (texts.LATE, measure.LATE)}
    two = texts.pair(model, "{drug}", 2, 0)
    work = {"activations": _prompts(model, texts.SENTENCES[:n]), "lesion": _prompts(model, questions[:n])}
    for job, (template, first) in pairs.items():
        whole = texts.pair(model, template, measure.LENGTH, first)
        work[job] = {"whole": _pair(model, whole), "small": _pair(model, two)}
    path.write_text(json.dumps(work))
    return model.n_layers


def _prompts(model, prompts):
    ids = encode(model, prompts)
    return {
        "whole": {"texts": prompts, "ids": ids},
        "small": {"texts": prompts[:2], "ids": ids[:2]},
    }


def _pair(model, pair):
    words = [pair.answer, pair.wrong]
    return {
        "texts": [pair.clean, pair.corrupt, *words],
        "ids": [*encode(model, [pair.clean, pair.corrupt]), *(answer_token(model, pair.clean, word) for word in words)],
    }


def first_layers(folder, n, target):
    """Write a model folder with the first n layers of another."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | {"num_hidden_layers": n}))
    kept = {}
    for name, weight in load_file(Path(folder) / "model.safetensors").items():
        block = re.search(r"layers\.(\d+)\.", name)
        if not block or int(block[1]) < n:
            kept[name] = weight
    save_file(kept, target / "model.safetensors", metadata={"format": "pt"})
    return target


def run(job, libraries, rounds, say):
    """Run all ways of a job in turn: {(library, way): runs}; a way that fails is not run again."""
    ways = [(name, way) for name, library in libraries.items() for way in library.ways[job.split()[0]]]
    runs = {way: [] for way in ways}
    for turn in range(rounds):
        for name, way in ways:
            done = runs[name, way]
            if not done or ("error" not in done[0] and done[0]["seconds"] < SLOW):
                say(f"{job}: {name}, {way}, run {turn + 1}")
                done.append(libraries[name](job, way))
    return runs


# --- what follows from it ---------------------------------------------------------------------------------------------


def summary(job, runs, layers):
    """Medians, ratios to medlib, differences from it, and whether the target is met."""
    what, target, tolerance = JOBS[job]
    if "error" in runs[OURS][0]:
        sys.exit(f"medlib failed at {job}: {runs[OURS][0]['error']}")
    expected = runs[OURS][0]["result"]
    ways = []
    for (library, way), repeats in runs.items():
        row = {"library": library, "way": way}
        if "error" in repeats[0]:
            ways.append(row | {"error": repeats[0]["error"]})
            continue
        row |= {key: median(run[key] for run in repeats) for key in ("seconds", "extra", "peak")}
        row["difference"] = max(apart(job, expected, run["result"]) for run in repeats)
        row["equal"] = row["difference"] <= tolerance  # false for NaN
        row["runs"] = [{key: value for key, value in run.items() if key != "result"} for run in repeats]
        ways.append(row)
    ours = next(row for row in ways if (row["library"], row["way"]) == OURS)
    done = [row for row in ways if "error" not in row]
    for row in done:
        row["of medlib"] = row["seconds"] / ours["seconds"]
        row["extra of medlib"] = row["extra"] / max(ours["extra"], 1)
    best = {
        way: min((row for row in done if row["way"] == way), key=lambda row: row["seconds"], default=None)
        for way in ("documented", "batched", "resumed")
    }
    return {
        "what": what,
        "tolerance": tolerance,
        "target": target,
        "floor": floor(job, layers),
        "best": {way: row and {key: row[key] for key in ("library", "of medlib")} for way, row in best.items()},
        "met": bool(best["batched"]) and best["batched"]["of medlib"] >= target,
        "equal": all(row["equal"] for row in done),
        "ways": ways,
    }


def apart(job, expected, found):
    """The largest difference, relative to the largest number (states: to that of the same state)."""
    if expected.shape != found.shape:
        return float("inf")
    if job == "activations":
        return float(jobs.by_largest_of_each_state(expected, found, None))
    return float(np.abs(expected - found).max() / np.abs(expected).max())


def floor(job, layers):
    """How many times fewer block operations branches need than a naive sweep, which runs all blocks each time."""
    share = {
        "activations": lambda: 1,
        "lesion": lambda: 0.5,
        "patch early": lambda: jobs.sites(layers, measure.LENGTH),  # one over F = 4LT / ((L+1)(T+1))
        "patch late": lambda: jobs.sites(layers, measure.LENGTH, same=measure.LATE),
    }
    return 1 / share[job]()


def verdict(result):
    """Whether the target is met, in words, with what the best of the other ways takes beside it."""
    best = {way: found for way, found in result["best"].items() if found}
    said = []
    if "batched" in best:
        met = "met" if result["met"] else "MISSED"
        said.append(f"{_times(best['batched'])} the best batched by hand; target {result['target']:g} times: {met}")
    else:
        said.append(f"no peer batched by hand; target {result['target']:g} times: MISSED")
    said += [f"{_times(best[way])} the best {way}" for way in ("resumed", "documented") if way in best]
    return f"medlib's speed is {'; '.join(said)}. Floor, a naive sweep: {result['floor']:.2f} times the operations."


def _times(found):
    return f"{found['of medlib']:.2f} times that of {found['library']},"


def plain(versions):
    return " ".join(f"{name} {number}" for name, number in versions.items())


def rows(result):
    """The cells of a job's table, as text."""
    for row in result["ways"]:
        if "error" in row:
            yield [row["library"], row["way"], *[""] * 5, f"cannot: {row['error']}"]
            continue
        yield [
            row["library"],
            row["way"],
            f"{row['seconds']:.2f}",
            f"{row['of medlib']:.2f}",
            f"{row['extra'] / 2**20:.0f}",
            f"{row['extra of medlib']:.2f}",
            f"{row['difference']:.0e}",
            "same" if row["equal"] else f"DIFFERS by more than {result['tolerance']:g}",
        ]


def table(job, result):
    drawn = Table(title=f"{job}: {result['what']}", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in COLUMNS:
        drawn.add_column(name, justify="left" if name in ("library", "way", "") else "right")
    for row in rows(result):
        drawn.add_row(*row)
    return drawn


def write(facts, results, stem):
    whole = {"machine": facts, "jobs": results}
    (bench.FOLDER / f"{stem}.json").write_text(json.dumps(whole, indent=1) + "\n")
    lines = ["# medlib beside its peers", "", *(f"- {name}: {value}" for name, value in facts.items())]
    for job, result in results.items():
        head = ["", f"## {job}: {result['what']}", "", list(COLUMNS), ["---"] * len(COLUMNS)]
        lines += [line if isinstance(line, str) else f"| {' | '.join(line)} |" for line in [*head, *rows(result)]]
        if stem == "peers":  # the targets are for the whole model
            lines += ["", verdict(result)]
    lines += ["", *(f"- *{name or 'last'}*: {meaning}" for name, meaning in COLUMNS.items())]
    (bench.FOLDER / f"{stem}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
