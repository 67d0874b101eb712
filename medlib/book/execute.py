"""Execute notebooks: one, or all that are not current.

A run is written in a work folder and put in its place when it is whole (placing.py): a failed, interrupted or killed
one never replaces what an earlier one found. Of a failed run the partial notebook stays beside it, as
`<technique>.failed.ipynb`.

Whether a run is current is a matter of content, not of dates: its record holds the sha256 of the notebook, of every
file of medlib that it imported, of the data tables, of the weights and of the lock file, its parameters and the pinned
model; of a chapter made of others' tables, those of these tables too. Equal ones are not run again. The record is
written last and holds the sha256 of the two files beside it, so half a run is no run.
"""

import hashlib
import json
import multiprocessing
import os
import platform
import shutil
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from multiprocessing import connection
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from medlib import paths, results
from medlib.book import at_hand, fitting, lease, pairs, placing, profiles, recorded, stamp
from medlib.book import parameters as told
from medlib.book.placing import PARTS
from medlib.book.recorded import complete
from medlib.errors import MedlibError
from medlib.run import PACKAGE, RECORD_VERSION, data, sha256, write_record

TRIES = 3  # a kernel that dies before it answers has run nothing: another took its port between choice and use
HERE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]  # this machine, whose name is nobody's business
ENOUGH = {"full": ("current",), "quick": ("current", "quick")}  # states of a run that serves for a profile


class Outcome(NamedTuple):
    """What became of one notebook: `state` is current (nothing to do), done, or failed with the error's last lines."""

    technique: str
    model: str
    state: str
    seconds: float | None = None
    peak_memory: int | None = None  # bytes
    error: str = ""


def techniques(house=None):
    """The techniques there are: names of the notebooks, with the question each asks (its title)."""
    folder = (house or paths.root()) / "notebooks"
    return {path.stem: _title(path) for path in sorted(folder.glob("*.py"))}


def run(technique, model=None, parameters=None, house=None, profile="full", limit=None, runs=None):
    """Execute one notebook and keep what it found.

    >>> run("lesion", "smollm2-135m", {"domains": "drugs"}).state
    'done'

    Without a model the notebook's own default is taken; `parameters` go before those of the `profile`. After `limit`
    minutes the kernel is ended. What is found is kept in `runs`, the local runs unless given. MedlibError for a
    technique, model, profile or parameter there is not; an error inside the notebook, a kernel that died and one that
    took too long are an Outcome with `state="failed"`.
    """
    house = house or paths.root()
    given = profiles.parameters(profile, technique, house) | (parameters or {})
    notebook, defaults, values = _prepare(technique, model, given, house)
    model = values["model_name"]
    fitting.check(notebook, technique, model)
    runs = runs or paths.runs(house)
    folder = runs / paths.slug(model)
    placing.check(folder)
    placing.settle(house, runs)
    work = _work_folder(house, technique, model)
    started = perf_counter()
    try:
        error = _execute(notebook, values, work, house, limit)
        if not error and _others_came(work, technique, house):
            error = _execute(notebook, values, work, house, limit)
        executed = _partial(work, notebook)
        if not error:
            error = "; ".join(problems(executed))
        written = next(work.glob(f"*/{technique}.json"), None)
        if not error and written is None:
            error = f"the notebook ended without `run.save(table)` of a run called {technique!r}"
        seconds = perf_counter() - started
        if error:
            profile = profiles.of(values, defaults, technique, house)
            _keep_failed(executed, error, profile, folder / f"{technique}.failed.ipynb", house)
            return Outcome(technique, model, "failed", seconds, None, error)
        record = _finish(executed, written, values, defaults, seconds, house)
        placing.place(written.parent, folder, technique, house)
        return Outcome(technique, model, "done", seconds, record["peak_memory_bytes"])
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run_all(
    names, models, house=None, announce=lambda technique, model: None, profile="full", jobs=1, limit=None, gpus=0
):
    """Execute every technique for every model it is for, yielding an Outcome each; what is current is left as it is.

    Chapters made of the others' tables come after these.  A current full run serves for a quick one too.  A failure
    does not stop the rest.  `announce` is called before each notebook that is executed; `jobs` are executed at a time,
    and share the cores; each waits for `gpus` GPUs of its own and may take `limit` minutes.  MedlibError, before
    anything runs, for a technique, model or profile there is not.
    """
    house = house or paths.root()
    lease.check(gpus)
    fit, late = set(), set()
    for technique in names:
        given = profiles.parameters(profile, technique, house)
        for model in models:
            notebook, *_ = _prepare(technique, model, given, house)
            if fitting.is_for(notebook, model):
                fit.add((technique, model))
            if fitting.made_of_tables(notebook):
                late.add(technique)
    for of_now in ([name for name in names if name not in late], [name for name in names if name in late]):
        wanted = []
        for technique, model in ((name, model) for model in models for name in of_now if (name, model) in fit):
            if state(technique, model, house=house)[0] in ENOUGH[profile]:
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
    with suppress(KeyboardInterrupt), lease.lease(gpus):
        pipe.send(run(*asked))


def kept(technique, model=None, parameters=None, house=None, profile="full", runs=None):
    """The Outcome of a run that is current and need not be made again, or None.

    >>> kept("lesion", "smollm2-135m").state
    'current'

    It is looked for in `runs`; without, it is the run that the book shows, local or committed, so that a fresh clone
    has what was committed with it.  Arguments and errors are those of `run`.
    """
    house = house or paths.root()
    given = profiles.parameters(profile, technique, house) | (parameters or {})
    model = _prepare(technique, model, given, house)[2]["model_name"]
    placing.settle(house, runs or paths.runs(house))
    if runs is None:
        found = recorded.latest(model, technique, house)
        if found is None:
            return None
        runs = found[0].parent
    now, _ = state(technique, model, given if parameters else None, house, runs)
    if now not in (("current",) if parameters else ENOUGH[profile]):
        return None
    record = complete(runs / paths.slug(model), technique)
    return Outcome(technique, model, "current", record["seconds"], record["peak_memory_bytes"])


def state(technique, model, parameters=None, house=None, runs=None):
    """Where a run stands: `(state, reasons)`, reasons as short phrases.

    The state is current, quick (current, with the parameters of that profile), stale, failed or never.
    """
    house = house or paths.root()
    _, _, values = _prepare(technique, model, parameters or {}, house)
    runs = runs or paths.runs(house)
    placing.settle(house, runs)
    folder = runs / paths.slug(model)
    record = complete(folder, technique)
    reasons = _changes(record, technique, values, house) if record else []
    if record and not reasons:
        return "current", []
    quick = profiles.parameters("quick", technique, house)
    if record and not parameters and not _changes(record, technique, values | quick, house):
        return "quick", []
    failed = folder / f"{technique}.failed.ipynb"
    if failed.is_file():
        return "failed", [json.loads(failed.read_text())["metadata"]["medlib"]["error"]]
    if record:
        return "stale", reasons
    left = [part for part in PARTS if (folder / f"{technique}{part}").exists()]
    return ("stale", ["its files do not belong together"]) if left else ("never", [])


def profile_of(record, house):
    """The profile that a recorded run is of: "full", "quick", or "own" where its parameters were neither's.

    A record that does not say is told by its parameters; one made by an earlier state of the notebook, whose defaults
    are not known any more, counts as full.
    """
    told_so = record["run"].get("profile")
    if told_so:
        return told_so
    technique = record["technique"]
    path = house / "notebooks" / f"{technique}.py"
    if not path.is_file():
        return "full"
    found = profiles.of(record["parameters"], told.defaults(pairs.read(path), technique), technique, house)
    return "full" if found == "own" and record["run"]["notebook"] != sha256(path) else found


def why_stale(record, house=None):
    """Why a recorded run is not current, as short phrases; empty where its key is that of now.

    >>> why_stale(recorded.complete(folder, "lesion"))
    ['medlib/lesion.py changed']

    Its parameters are held against those of its own profile; parameters of one's own have to be the notebook's still.
    MedlibError where its model is not to be found here.
    """
    house = house or paths.root()
    technique = record["technique"]
    if not (house / "notebooks" / f"{technique}.py").is_file():
        return ["its notebook is not there any more"]
    profile = profile_of(record, house)
    given = profiles.parameters(profile, technique, house) if profile != "own" else {}
    _, defaults, values = _prepare(technique, model_of(record, house), given, house)
    if profile == "own" and set(defaults) == set(record["parameters"]):
        values = {**record["parameters"], "model_name": values["model_name"]}
    return _changes(record, technique, values, house)


def model_of(record, house):
    """What a recorded run's model is called to load it again: its name, or its folder, as the record leads to it."""
    from medlib.models import zoo

    name, given = record["model"]["name"], str(record["parameters"].get("model_name", ""))
    if name not in zoo.names() and (folder := house / Path(given).expanduser()).is_dir() and given:
        return str(folder.resolve())
    return name


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


def record(house=None):
    """Promote the local runs to those committed with the book: `(promoted, refused)`, lists of phrases.

    Only runs that are whole, passed and current are promoted.
    """
    house = house or paths.root()
    passed, promoted, refused = [], [], []
    work = _work_folder(house, "record", "runs")
    try:
        with placing.still(house):
            for path in sorted(paths.runs(house).glob("*/*.json")):
                technique, model = path.stem, path.parent.name
                wrong = _refusal(path.parent, technique, house)
                before = complete(paths.committed(house) / model, technique)
                if wrong:
                    refused.append(f"{technique} on {model}: {', '.join(wrong)}")
                elif not before or before["run"] != json.loads(path.read_text())["run"]:
                    for part in PARTS:
                        paths.write_atomically(work / model / f"{technique}{part}", path.with_suffix(part).read_bytes())
                    passed.append((technique, model))
        for technique, model in passed:
            placing.place(work / model, paths.committed(house) / model, technique, house)
            promoted.append(f"{technique} on {model}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return promoted, refused


def _refusal(folder, technique, house):
    """Why a local run is not promoted, as phrases; empty where it is."""
    if technique not in techniques(house):
        return ["there is no such notebook any more"]
    found = complete(folder, technique)
    if not found:
        return ["incomplete"]
    if wrong := problems(pairs.read(folder / f"{technique}.ipynb")):
        return wrong
    try:
        _, defaults, values = _prepare(technique, found["model"]["name"], {}, house)
        if profiles.of(found["parameters"], defaults, technique, house) == "quick":
            return ["a quick run; the book keeps full ones, `medlib run` without a profile"]
        return _changes(found, technique, values, house)
    except MedlibError:
        return ["its model is not to be found here"]


def glue_key(key, record):
    """The key under which a number of a record is glued in its executed, stamped notebook."""
    return stamp.glue_key(key, record["technique"], record["model"]["name"])


def _prepare(technique, model, parameters, house):
    """A notebook as read, its default parameters and those of this run; MedlibError for what there is not."""
    import difflib

    path = house / "notebooks" / f"{technique}.py"
    if technique not in (known := techniques(house)):
        near = difflib.get_close_matches(technique, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise MedlibError(
            f"There is no technique {technique!r}.{hint} There are: {', '.join(known) or 'none'}.\n"
            "A technique is a notebook, notebooks/<technique>.py; `medlib techniques` lists them."
        )
    notebook = pairs.read(path)
    asked = told.read(notebook, technique)
    defaults, ranges = ({name: pair[i] for name, pair in asked.items()} for i in (0, 1))
    if "model_name" not in defaults:
        raise MedlibError(f"notebooks/{technique}.py has no parameter `model_name`: it cannot be run for a model.")
    if "model_name" in parameters:
        raise MedlibError("The model is chosen with --model, not with -p model_name=...")
    values = told.resolve(defaults, {**parameters, **({"model_name": model} if model else {})}, technique, ranges)
    values["model_name"] = _placed(values["model_name"])
    pinned(values["model_name"])
    return notebook, defaults, values


def _placed(model):
    """A model's name; a local folder by its whole path, since a kernel starts in the house, wherever the user is."""
    from medlib.models import zoo

    folder = Path(model).expanduser()
    return str(folder.resolve()) if model not in zoo.names() and folder.is_dir() else model


def pinned(model):
    """What pins a model before it is loaded: its entry in the zoo, its Hub id, or the files of its folder.

    MedlibError, with near names, for a name that is neither in the zoo nor the form of a Hub id (org/name) or a folder.
    """
    from medlib.models import zoo

    folder = Path(model).expanduser()
    if model not in zoo.names() and folder.is_dir():
        return {"folder": at_hand.files_sha256(folder)}
    if model not in zoo.names() and model.count("/") == 1 and model[0] not in "/.~":
        return {"hub": model}
    entry = zoo.entry(model)
    return {key: entry[key] for key in ("hub", "revision", "wheel") if key in entry}


def _changes(record, technique, values, house):
    """What differs between the inputs of a recorded run and the same inputs now."""
    then, now = record["run"], _inputs(record, technique, values, house)
    same = {
        f"its table has the form {record['schema']}, not {results.SCHEMA_VERSION}": record["schema"]
        == results.SCHEMA_VERSION,
        f"its record has the form {record['record']}, not {RECORD_VERSION}": record["record"] == RECORD_VERSION,
        "the notebook changed": then["notebook"] == now["notebook"],
        "the parameters changed": record["parameters"] == now["parameters"],
        "the model's pin changed": then["model"] == now["model"],
        "the weights changed": None in (weights := (record["model"]["weights_sha256"], now["weights"]))
        or weights[0] == weights[1],
        "requirements.lock changed": then["lock"] == now["lock"],
        "the data tables changed": record["data"] == now["data"],
    }
    changed = [name for name, digest in now["sources"].items() if record["sources"][name] != digest]
    changed += [
        f"the table of {name}"
        for name in recorded.other_tables(then.get("made_of", {}), record["model"]["name"], house)
    ]
    return [reason for reason, unchanged in same.items() if not unchanged] + [f"{name} changed" for name in changed]


def _inputs(record, technique, values, house):
    return {
        "notebook": sha256(house / "notebooks" / f"{technique}.py"),
        "parameters": paths.public(values, house),
        "model": paths.public(pinned(values["model_name"]), house),
        "weights": at_hand.weights_sha256(values["model_name"]),
        "lock": sha256(house / "requirements.lock"),
        "data": data(values, house, record["sources"]),
        "sources": {name: sha256(PACKAGE.parent / name) for name in record["sources"]},
    }


def _execute(notebook, values, work, house, limit=None):
    """Execute a notebook in a kernel of its own, for at most `limit` minutes; the error's last lines, or nothing.

    Papermill runs in a thread, so that an interrupt reaches us as one: nbclient takes over the signals of the main
    thread and an interrupted kernel then looks like one that died.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    kernel, failure = _kernel(work), []

    def attempt():
        papermill.execute_notebook(
            notebook,
            str(work / "notebook.ipynb"),
            parameters=values,
            kernel_manager_class=kernel,
            progress_bar=sys.stderr.isatty(),
            cwd=str(house),
        )

    def target():
        try:
            for left in reversed(range(TRIES)):
                try:
                    return attempt()
                except RuntimeError as error:
                    if not left or "before replying" not in str(error):
                        raise
        except PapermillExecutionError as error:
            failure.append(f"In [{error.exec_count}] {error.ename}: {error.evalue}")
        except (
            BaseException
        ) as error:  # e.g. a kernel that died: whatever it is, this run has failed and the next may not
            hint = " (the commonest cause is too little memory)" if type(error).__name__ == "DeadKernelError" else ""
            failure.append(f"{type(error).__name__}: {error}{hint}")

    thread = threading.Thread(target=target, daemon=True)
    end = float("inf") if limit is None else perf_counter() + 60 * limit
    thread.start()
    try:
        while thread.is_alive() and perf_counter() < end:
            thread.join(0.2)
    except BaseException:
        _end(kernel, thread)
        raise
    if thread.is_alive():
        _end(kernel, thread)
        return f"It was ended after {limit:g} minutes, the limit it was given; `--limit` gives it more."
    return failure[0] if failure else ""


def _end(kernel, thread):
    """End a kernel and the thread that waits for it; one that was about to start is ended as soon as it has."""
    for _ in range(60):
        kernel.kill()
        thread.join(1)
        if not thread.is_alive():
            return


def _kernel(work):
    """A kernel manager for this very interpreter, whatever kernels the machine has, in an environment fit for pages."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    environment = {
        "MEDLIB_RUNS": str(work),
        "NUMBA_CACHE_DIR": str(paths.cache() / "numba"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "TQDM_DISABLE": "1",
        "PYTHONWARNINGS": "ignore:IProgress not found",
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait by spinning starve the ones that work
    }
    spec = KernelSpec(**{**get_kernel_dict(), "env": environment})
    quiet = "--log-level=CRITICAL"  # or it reports every shutdown as an error
    spec.argv = [sys.executable, *spec.argv[1:], quiet]
    started = []

    class Kernel(AsyncKernelManager):
        kernel_spec = spec

        def __init__(self, **options):
            super().__init__(transport_encryption="auto", **options)  # others on the machine can reach the ports
            started.append(self)

        @staticmethod
        def kill():
            for manager in started:
                if getattr(manager.provisioner, "process", None) is not None:
                    manager.provisioner.process.kill()

    return Kernel


def _finish(executed, written, values, defaults, seconds, house):
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
    inputs = _inputs(record, technique, values, house)
    record["parameters"] = inputs["parameters"]
    files = {f"{technique}{part}": sha256(written.with_suffix(part)) for part in (".parquet", ".ipynb")}
    record["run"] = {"files": files, "profile": profile}
    record["run"] |= {name: inputs[name] for name in ("notebook", "model", "lock")}
    made_of = recorded.noted(written.parent)
    if made_of is not None:
        record["run"]["made_of"] = made_of
    write_record(record, written)
    return record


def _others_came(work, technique, house):
    """Whether a table that a run was made of was put in its place while the run read: it may have met half a run."""
    written = next(work.glob(f"*/{technique}.json"), None)
    made_of = written and recorded.noted(written.parent)
    return bool(made_of and recorded.other_tables(made_of, json.loads(written.read_text())["model"]["name"], house))


def _keep_failed(notebook, error, profile, path, house):
    stamp.clean(notebook, house)
    last = "\n".join(paths.public(error, house).strip().splitlines()[-3:])
    notebook.metadata["medlib"] = {"state": "failed", "error": last, "profile": profile}
    _write_notebook(notebook, path)


def _write_notebook(notebook, path):
    import nbformat

    paths.write_atomically(path, nbformat.writes(notebook, version=4).encode() + b"\n")


def _partial(work, notebook):
    """The notebook as papermill left it: it writes after each cell; the source where it did not come that far."""
    try:
        return pairs.read(work / "notebook.ipynb")
    except Exception:  # absent, or killed within a write
        return notebook


def _work_folder(house, technique, model):
    """A folder of this run alone, named by process and machine; those that a killed process here left are swept.

    Machines may share the house, and a number of another's process says nothing here.
    """
    work = house / "_build" / "work"
    for left in work.glob("*.*"):
        process, _, machine = left.name.split(".")[0].partition("-")
        if machine not in ("", HERE):
            continue
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except (ValueError, PermissionError):
            pass
    work.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-{HERE}.{technique}.{paths.slug(model)}.", dir=work))


def _title(path):
    lines = (line.removeprefix("# ") for line in path.read_text(encoding="utf-8").splitlines())
    return next((line.removeprefix("# ").strip() for line in lines if line.startswith("# ")), path.stem)
