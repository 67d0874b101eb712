"""Execute notebooks: one, or all that are not current.

A run is written in a work folder and put in its place when it is whole (placing.py): a failed, interrupted or killed
one never replaces what an earlier one found. Of a failed run the partial notebook stays beside it, as
`<technique>.failed.ipynb`.

What is current (current.py) is not run again.  The record is written last and holds the sha256 of the two files beside
it, so half a run is no run.
"""

import json
import multiprocessing
import os
import shutil
import signal
from contextlib import suppress
from multiprocessing import connection
from time import perf_counter
from typing import NamedTuple

from medlib import paths
from medlib.book import (
    choosing,
    current,
    disk,
    fitting,
    forms,
    kernels,
    lease,
    pairs,
    placing,
    profiles,
    recorded,
    stamp,
    work,
)
from medlib.book.forms import complete
from medlib.errors import MedlibError
from medlib.run import sha256, write_record

CHANGED = "changed while it ran"


class Outcome(NamedTuple):
    """What became of one notebook: `state` is current (nothing to do), done, or failed with the error's last lines."""

    technique: str
    model: str
    state: str
    seconds: float | None = None
    peak_memory: int | None = None  # bytes
    error: str = ""


def run(technique, model=None, parameters=None, house=None, profile="full", limit=None, runs=None):
    """Execute one notebook and keep what it found.

    >>> run("lesion", "smollm2-135m", {"domains": "drugs"}).state
    'done'

    Without a model the notebook's own default is taken; `parameters` go before those of the `profile`. After `limit`
    minutes (`kernels.LIMIT` unless given; 0: none) the kernel is ended. What is found is kept in `runs`, the local runs
    unless given. MedlibError for a technique, model, profile or parameter there is not; an error inside the notebook, a
    kernel that died and one that took too long are an Outcome with `state="failed"`.
    """
    house = house or paths.root()
    given = profiles.parameters(profile, technique, house) | (parameters or {})
    notebook, defaults, values = current.prepare(technique, model, given, house)
    model = values["model_name"]
    fitting.check(notebook, technique, model)
    before = current.beforehand(technique, values, house)
    runs = runs or paths.runs(house)
    folder = runs / paths.slug(model)
    placing.check(folder)
    placing.settle(house, runs)
    aside = work.folder(house, technique, model)
    started = perf_counter()
    try:
        error = kernels.execute(notebook, values, aside, house, limit)
        if not error and _others_came(aside, technique, house):
            error = kernels.execute(notebook, values, aside, house, limit)
        executed = _partial(aside, notebook)
        if not error:
            error = "; ".join(problems(executed))
        written = next(aside.glob(f"*/{technique}.json"), None)
        if not error and written is None:
            error = f"the notebook ended without `run.save(table)` of a run called {technique!r}"
        seconds = perf_counter() - started
        if error:
            profile = profiles.of(values, defaults, technique, house)
            _keep_failed(executed, error, profile, folder / f"{technique}.failed.ipynb", house)
            return Outcome(technique, model, "failed", seconds, None, error)
        record = _finish(executed, written, values, defaults, seconds, house, before)
        placing.place(written.parent, folder, technique, house)
        return Outcome(technique, model, "done", seconds, record["peak_memory_bytes"])
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def run_all(
    names, models, house=None, announce=lambda technique, model: None, profile="full", jobs=1, limit=None, gpus=0
):
    """Execute every technique for every model it is for, yielding an Outcome each; what is current is left as it is.

    Chapters made of the others' tables come after these.  A current full run serves for a quick one too.  A failure
    does not stop the rest.  `announce` is called before each notebook that is executed; `jobs` are executed at a time,
    and share the cores; each waits for `gpus` GPUs of its own and may take `limit` minutes.  MedlibError, before
    anything runs, for a technique, model or profile there is not.
    """
    house, names, models = house or paths.root(), dict.fromkeys(names), dict.fromkeys(models)  # each of them once
    lease.check(gpus)
    fit, late = set(), set()
    for technique in names:
        given = profiles.parameters(profile, technique, house)
        for model in models:
            notebook, *_ = current.prepare(technique, model, given, house)
            if fitting.is_for(notebook, model):
                fit.add((technique, model))
            if fitting.made_of_tables(notebook):
                late.add(technique)
    for of_now in ([name for name in names if name not in late], [name for name in names if name in late]):
        wanted = []
        for technique, model in ((name, model) for model in models for name in of_now if (name, model) in fit):
            if current.state(technique, model, house=house)[0] in current.ENOUGH[profile]:
                record = json.loads((paths.runs(house) / paths.slug(model) / f"{technique}.json").read_text())
                yield Outcome(technique, model, "current", record["seconds"], record["peak_memory_bytes"])
            elif jobs > 1:
                wanted.append((technique, model, None, house, profile, limit))
            else:
                announce(technique, model)
                with lease.lease(gpus):
                    outcome = run(technique, model, house=house, profile=profile, limit=limit)
                yield outcome
        yield from _side_by_side(wanted, jobs, announce, gpus)


def _side_by_side(wanted, jobs, announce, gpus=0):
    """Execute some notebooks, `jobs` at a time, each from a process of its own: an Outcome as each ends."""
    context, running = multiprocessing.get_context("spawn"), {}
    try:
        while wanted or running:
            while wanted and len(running) < jobs:
                told, asked = wanted[0][:2], wanted.pop(0)
                announce(*told)
                here, there = context.Pipe(duplex=False)
                process = context.Process(target=_send_outcome, args=(there, jobs, gpus, *asked))
                process.start()
                there.close()
                running[here] = process, told
            for pipe in connection.wait(running):
                process, told = running.pop(pipe)
                try:
                    yield pipe.recv()
                except EOFError:
                    yield Outcome(*told, "failed", error="its process ended without a word")
                process.join()
    finally:  # interrupted, or nobody waits for the rest
        for process, _ in running.values():
            os.kill(process.pid, signal.SIGINT)
        for process, _ in running.values():
            process.join()


def _send_outcome(pipe, jobs, gpus, *asked):
    """In a process of its own: execute one notebook with its share of the cores, and GPUs of its own."""
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    with suppress(KeyboardInterrupt):
        try:
            with lease.lease(gpus):
                outcome = run(*asked)
        except (MedlibError, OSError) as error:  # a full disk, say: the parent tells it, and goes on with the rest
            outcome = Outcome(*asked[:2], "failed", error=str(error))
        pipe.send(outcome)


def kept(technique, model=None, parameters=None, house=None, profile="full", runs=None):
    """The Outcome of a run that is current and need not be made again, or None.

    >>> kept("lesion", "smollm2-135m").state
    'current'

    It is looked for in `runs`; without, it is the run that the book shows, local or committed, so that a fresh clone
    has what was committed with it.  Arguments and errors are those of `run`.
    """
    house = house or paths.root()
    given = profiles.parameters(profile, technique, house) | (parameters or {})
    model = current.prepare(technique, model, given, house)[2]["model_name"]
    placing.settle(house, runs or paths.runs(house))
    if runs is None:
        found = choosing.chosen(model, technique, house)
        if found is None:
            return None
        runs = found[0].parent
    now, _ = current.state(technique, model, given if parameters else None, house, runs)
    if now not in (("current",) if parameters else current.ENOUGH[profile]):
        return None
    record = complete(runs / paths.slug(model), technique)
    return Outcome(technique, model, "current", record["seconds"], record["peak_memory_bytes"])


def problems(notebook):
    """What is wrong with an executed notebook, as phrases; empty when every cell ran and none failed."""
    found = []
    told_so = notebook.metadata.get("medlib", {})
    if told_so.get("state") == "failed":
        found.append(f"the run failed: {told_so.get('error', '')}")
    if notebook.metadata.get("papermill", {}).get("exception"):
        found.append("papermill met an exception")
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type != "code":
            continue
        errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
        if errors:
            found.append(f"cell {number}: {errors[0].ename}: {errors[0].evalue}")
        elif cell.metadata.get("papermill", {}).get("exception"):
            found.append(f"cell {number} failed")
        elif cell.source.strip() and cell.get("execution_count") is None:
            found.append(f"cell {number} was not executed")
    return found


def glue_key(key, record):
    """The key under which a number of a record is glued in its executed, stamped notebook."""
    return stamp.glue_key(key, record["technique"], record["model"]["name"])


def _finish(executed, written, values, defaults, seconds, house, before):
    """Complete the record, make the notebook a page, and leave the three files of the run in the work folder."""
    record = json.loads(written.read_text())
    technique, model = record["technique"], record["model"]["name"]
    record["seconds"] = round(seconds, 1)
    profile = profiles.of(values, defaults, technique, house)
    for cell in executed.cells:
        if "card" in cell.metadata.get("tags", []):
            cell.source = stamp.card(record, defaults, profile)
    stamp.stamp(executed, technique, model)
    stamp.clean(executed, house)
    executed.metadata["medlib"] = {"technique": technique, "model": model, "state": "complete"}
    _write_notebook(executed, written.with_suffix(".ipynb"))
    record["parameters"] = before["parameters"]
    for part in ("sources", "data"):
        record[part] = {name: _unchanged(before[part].get(name), digest) for name, digest in record[part].items()}
    files = {f"{technique}{part}": sha256(written.with_suffix(part)) for part in (".parquet", ".ipynb")}
    record["run"] = {"files": files, "profile": profile}
    record["run"] |= {name: before[name] for name in ("notebook", "model", "lock")}
    made_of = recorded.noted(written.parent)
    if made_of is not None:
        record["run"]["made_of"] = made_of
    with disk.named(written):
        write_record(record, written)
    return record


def _unchanged(before, digest):
    """The hash of a file that a run came from; one that changed while it ran has none, and the run is stale."""
    return digest if before == digest else CHANGED


def _others_came(aside, technique, house):
    """Whether a table that a run was made of was put in its place while the run read: it may have met half a run."""
    written = next(aside.glob(f"*/{technique}.json"), None)
    made_of = written and recorded.noted(written.parent)
    return bool(made_of and forms.other_tables(made_of, json.loads(written.read_text())["model"]["name"], house))


def _keep_failed(notebook, error, profile, path, house):
    stamp.clean(notebook, house)
    last = "\n".join(paths.public(error, house).strip().splitlines()[-3:])
    notebook.metadata["medlib"] = {"state": "failed", "error": last, "profile": profile}
    _write_notebook(notebook, path)


def _write_notebook(notebook, path):
    import nbformat

    with disk.named(path):
        paths.write_atomically(path, nbformat.writes(notebook, version=4).encode() + b"\n")


def _partial(aside, notebook):
    """The notebook as papermill left it: it writes after each cell; the source where it did not come that far."""
    try:
        return pairs.read(aside / "notebook.ipynb")
    except Exception:  # absent, or killed within a write
        return notebook
