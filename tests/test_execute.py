"""Executing notebooks: a run is whole or not there, current is a matter of content, a page carries its model."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from medlib import MedlibError, paths
from medlib.book import current, execute, forms, kernels, pairs, promote, stamp, work

MODEL = "smollm2-135m"
OTHER = "org/other-7b"
TINY = """# %% [markdown]
# # Which layer is odd?
#
# It is {glue:text}`odd_layer`: {numref}`tiny-figure`, {ref}`below <tiny-below>`, [there](#tiny-below), {eq}`tiny-eq`,
# not {ref}`elsewhere`.
#
# $$ x = 1 $$ (tiny-eq)
#
# (tiny-below)=
# ## Below

# %% [markdown] tags=["card"]
# To be filled.

# %% tags=["parameters", "remove-cell"]
model_name = "smollm2-135m"  # any model
seed = 0  # of everything random
rows = 2  # how many
share = 0.5  # of what
domain = "drugs"  # which
domains = ["drugs"]  # or several
mode = "good"  # good, bad, unsaved or slow

# %%
import os, sys, time, pathlib
from types import SimpleNamespace
import medlib

model = SimpleNamespace(name=model_name, source={"kind": "none"}, revision=None, weights_sha256=None, device="cpu")
run = medlib.Run("tiny", model, parameters={"rows": rows, "mode": mode}, seed=seed)
print(sys.executable, os.getcwd(), sep="\\n")

# %% mystnb={"figure": {"name": "tiny-figure", "caption": "One."}}
print("half way")
if mode == "bad":
    raise ValueError("no layer is odd")
if mode == "slow":
    pathlib.Path("running").write_text(str(os.getpid()))
    time.sleep(60)

# %%
run.number("odd_layer", 3, "layer 3")
if mode != "unsaved":
    run.save([{"metric": "kl", "value": float(i), "item": i} for i in range(rows)])
"""


def build_house(folder):
    (folder / "notebooks").mkdir(parents=True)
    (folder / "_toc.yml").touch()
    (folder / "requirements.lock").write_text("numpy==2\n")
    (folder / "notebooks" / "tiny.py").write_text(TINY)
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A house in which the tiny notebook was executed once for each of two models."""
    house = build_house(tmp_path_factory.mktemp("done") / "house")
    for model in (MODEL, OTHER):
        outcome = execute.run("tiny", model, {"rows": "3"} if model == OTHER else {}, house=house)
        assert outcome.state == "done", outcome.error
    return house


@pytest.fixture
def house(done, tmp_path, monkeypatch):
    """A copy of that house to work in."""
    copy = shutil.copytree(done, tmp_path / "house")
    monkeypatch.chdir(copy)
    return copy


def folder_of(house, model=MODEL):
    return paths.runs(house) / paths.slug(model)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_leaves_notebook_table_and_record_and_no_work_behind(house):
    assert sorted(contents(folder_of(house))) == ["tiny.ipynb", "tiny.json", "tiny.parquet"]
    assert list((house / "_build" / "work").iterdir()) == []
    assert execute.complete(folder_of(house), "tiny")["table"]["rows"] == 2
    assert execute.complete(folder_of(house, OTHER), "tiny")["table"]["rows"] == 3


def test_the_page_carries_its_model_in_title_labels_and_glued_numbers(house):
    for model in (MODEL, OTHER):
        notebook = pairs.read(folder_of(house, model) / "tiny.ipynb")
        text, name = notebook.cells[0].source, paths.slug(model)
        assert text.startswith(f"# Which layer is odd? · {model}\n")
        assert f"{{glue:text}}`odd_layer-tiny-{name}`" in text
        assert f"{{numref}}`tiny-figure-{name}`" in text
        assert f"{{ref}}`below <tiny-below-{name}>`" in text
        assert f"[there](#tiny-below-{name})" in text
        assert f"{{eq}}`tiny-eq-{name}`" in text
        assert f"$$ x = 1 $$ (tiny-eq-{name})" in text
        assert f"\n(tiny-below-{name})=\n" in text
        assert "{ref}`elsewhere`" in text
        figures = [cell.metadata["mystnb"]["figure"]["name"] for cell in notebook.cells if "mystnb" in cell.metadata]
        assert figures == [f"tiny-figure-{name}"]
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        glued = [
            output.metadata["scrapbook"]["name"] for output in outputs if "scrapbook" in output.get("metadata", {})
        ]
        record = execute.complete(folder_of(house, model), "tiny")
        assert glued == [execute.glue_key("odd_layer", record)] == [f"odd_layer-tiny-{name}"]


def test_the_card_says_what_was_run_and_the_command_that_does_it_again(house):
    card = pairs.read(folder_of(house, OTHER) / "tiny.ipynb").cells[1]
    assert card.metadata["tags"] == ["card"]
    assert "| org/other-7b | own parameters | 3 |" in card.source
    assert "\nmedlib run tiny --model org/other-7b -p rows=3\n" in card.source
    assert stamp.to_load({"name": "mine", "source": {"kind": "folder"}}) == "path/to/mine"


def test_an_executed_notebook_holds_no_path_time_or_secret_of_this_machine(house, done):
    for file in ("tiny.ipynb", "tiny.json"):
        text = (folder_of(house) / file).read_text()
        for trace in (str(done), sys.prefix, str(Path.home()), "/tmp", "iopub", "start_time", "duration", "input_path"):
            assert trace not in text, trace


def test_two_runs_of_the_same_are_the_same_notebook_and_table(house):
    before = contents(folder_of(house))
    assert execute.run("tiny", MODEL, house=house).state == "done"
    after = contents(folder_of(house))
    assert after["tiny.parquet"] == before["tiny.parquet"]
    old, new = (nbformat.reads(found["tiny.ipynb"].decode(), as_version=4).cells for found in (before, after))
    assert [cell for cell in old if "card" not in cell.metadata.get("tags", [])][2:] == [
        cell for cell in new if "card" not in cell.metadata.get("tags", [])
    ][2:]
    assert [cell.source for cell in old if cell.cell_type == "code"] == [c.source for c in new if c.cell_type == "code"]


def test_the_kernel_is_this_interpreter(house):
    notebook = pairs.read(folder_of(house) / "tiny.ipynb")
    printed = next(output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output)
    assert printed.splitlines() == [f"<python>/{Path(sys.executable).relative_to(sys.prefix)}", "."]


def test_a_run_is_current_until_something_it_came_from_changes(house, monkeypatch):
    def state(parameters=None):
        return current.state("tiny", MODEL, parameters, house=house)

    assert state() == ("current", [])
    assert state({"rows": 5}) == ("stale", ["the parameters changed"])
    (house / "requirements.lock").write_text("numpy==3\n")
    assert state() == ("stale", ["requirements.lock changed"])
    (house / "requirements.lock").write_text("numpy==2\n")
    (house / "notebooks" / "tiny.py").write_text(TINY + "\n# %%\n1 + 1\n")
    assert state() == ("stale", ["the notebook changed"])
    (house / "notebooks" / "tiny.py").write_text(TINY)
    os.utime(house / "notebooks" / "tiny.py", (1, 1))
    assert state() == ("current", [])
    monkeypatch.setattr(current, "data", lambda *_: {"medlib/concepts/new.csv": "1"})
    assert state() == ("stale", ["the data tables changed"])


def test_a_change_of_a_file_of_medlib_counts_where_it_was_imported(house, monkeypatch):
    real = current.sha256
    monkeypatch.setattr(current, "sha256", lambda path: "new" if Path(path).name == "results.py" else real(path))
    assert current.state("tiny", MODEL, house=house) == ("stale", ["medlib/results.py changed"])
    monkeypatch.setattr(current, "sha256", lambda path: "new" if Path(path).name == "lesion.py" else real(path))
    assert current.state("tiny", MODEL, house=house) == ("current", [])


def test_what_changes_while_a_notebook_runs_makes_the_run_stale_at_once(tmp_path, monkeypatch):
    house = build_house(tmp_path / "house")
    edits = [
        'pathlib.Path("notebooks/tiny.py").open("a").write("# a late thought\\n")',
        'pathlib.Path("requirements.lock").write_text("numpy==3\\n")',
    ]
    edited = TINY.replace('print("half way")', "\n".join(edits))
    (house / "notebooks" / "tiny.py").write_text(edited)
    assert execute.run("tiny", MODEL, house=house).state == "done"
    assert current.state("tiny", MODEL, house=house) == (
        "stale",
        ["the notebook changed", "requirements.lock changed"],
    )
    before = current.beforehand

    def other(*asked):
        found = before(*asked)
        found["sources"]["medlib/results.py"] = "what it was before"
        return found

    monkeypatch.setattr(current, "beforehand", other)
    (house / "notebooks" / "tiny.py").write_text(TINY)
    assert execute.run("tiny", MODEL, house=house).state == "done"
    assert current.state("tiny", MODEL, house=house) == ("stale", ["medlib/results.py changed"])


def test_other_weights_under_the_same_name_make_a_run_stale(house, monkeypatch):
    path = folder_of(house) / "tiny.json"
    record = json.loads(path.read_text())
    record["model"]["weights_sha256"] = "a" * 64
    path.write_text(json.dumps(record))
    assert current.state("tiny", MODEL, house=house) == ("stale", ["the weights changed"])
    monkeypatch.setattr(current.at_hand, "weights_sha256", lambda model: "a" * 64)
    assert current.state("tiny", MODEL, house=house) == ("current", [])
    monkeypatch.setattr(current.at_hand, "weights_sha256", lambda model: None)  # not here: nothing to compare
    assert current.state("tiny", MODEL, house=house) == ("current", [])


def test_a_run_in_another_form_of_the_table_is_stale(house, monkeypatch):
    monkeypatch.setitem(forms._FORMS, "schema", ("table", 2))
    assert current.state("tiny", MODEL, house=house) == ("stale", ["its table has the form 1, not 2"])


def test_a_record_says_its_profile_and_is_held_against_it(house):
    full, own = (execute.complete(folder_of(house, model), "tiny") for model in (MODEL, OTHER))
    assert (full["run"]["profile"], own["run"]["profile"]) == ("full", "own")
    assert current.why_stale(full, house) == current.why_stale(own, house) == []
    (house / "notebooks" / "tiny.py").write_text(TINY.replace("rows = 2 ", "rows = 9 "))
    assert current.why_stale(full, house) == ["the notebook changed", "the parameters changed"]
    assert current.why_stale(own, house) == ["the notebook changed"]
    (house / "notebooks" / "tiny.py").unlink()
    assert current.why_stale(full, house) == ["its notebook is not there any more"]


def test_a_record_that_does_not_say_its_profile_is_told_by_its_parameters(house):
    own = execute.complete(folder_of(house, OTHER), "tiny")
    del own["run"]["profile"]
    assert current.profile_of(own, house) == "own"
    (house / "notebooks" / "quick.toml").write_text("[tiny]\nrows = 3\n")
    assert current.profile_of(own, house) == "quick"
    (house / "notebooks" / "tiny.py").write_text(TINY + "\n# %%\n1 + 1\n")
    assert current.profile_of(own | {"parameters": {"rows": 7}}, house) == "full"  # of a state with other defaults


def test_a_changed_pin_of_the_model_makes_its_runs_stale(house, monkeypatch):
    monkeypatch.setattr(current, "pinned", lambda model: {"hub": "org/x", "revision": "new"})
    assert current.state("tiny", MODEL, house=house) == ("stale", ["the model's pin changed"])


def test_half_a_run_is_no_run(house):
    (folder_of(house) / "tiny.parquet").write_bytes(b"half")
    assert execute.complete(folder_of(house), "tiny") is None
    assert current.state("tiny", MODEL, house=house) == ("stale", ["its files do not belong together"])
    shutil.rmtree(folder_of(house))
    assert current.state("tiny", MODEL, house=house) == ("never", [])


def test_a_failed_run_keeps_its_partial_notebook_and_the_run_before(house):
    before = contents(folder_of(house))
    outcome = execute.run("tiny", MODEL, {"mode": "bad"}, house=house)
    assert outcome.state == "failed"
    assert outcome.error == "In [4] ValueError: no layer is odd"
    after = contents(folder_of(house))
    assert after.pop("tiny.failed.ipynb")
    assert after == before
    partial = pairs.read(folder_of(house) / "tiny.failed.ipynb")
    assert "half way" in str(partial.cells)
    assert any("no layer is odd" in problem for problem in execute.problems(partial))
    assert current.state("tiny", MODEL, {"mode": "bad"}, house=house) == ("failed", [outcome.error])
    assert current.state("tiny", MODEL, house=house) == ("current", [])


def test_a_notebook_that_saves_nothing_has_failed(house):
    outcome = execute.run("tiny", MODEL, {"mode": "unsaved"}, house=house)
    assert outcome.state == "failed"
    assert "without `run.save(table)` of a run called 'tiny'" in outcome.error


def test_an_interrupted_run_is_lost_alone_and_its_kernel_ends(house):
    before = contents(folder_of(house))
    command = [sys.executable, "-m", "medlib", "run", "tiny", "--model", MODEL, "-p", "mode=slow"]
    process = interruptible(command, house)
    kernel = wait_for(house / "running")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=100)  # a busy machine takes its time over ending a kernel
    assert process.returncode != 0
    assert contents(folder_of(house)) == before
    assert list((house / "_build" / "work").iterdir()) == []
    time.sleep(0.2)
    assert not psutil.pid_exists(kernel) or psutil.Process(kernel).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("limit", [0.02, "side by side"])
def test_a_notebook_that_takes_longer_than_its_limit_has_failed_and_says_so(house, limit):
    if limit == "side by side":
        slow = TINY.replace('mode = "good"', 'mode = "slow"').replace("time.sleep(60)", "time.sleep(600)")
        (house / "notebooks" / "slow.py").write_text(slow)
        (outcome,) = execute.run_all(["slow"], [MODEL], house, jobs=2, limit=0.1)
    else:
        outcome = execute.run("tiny", MODEL, {"mode": "slow"}, house=house, limit=limit)
    minutes = 0.1 if limit == "side by side" else limit
    assert outcome.state == "failed"
    assert outcome.error == f"It was ended after {minutes:g} minutes, the limit it was given; `--limit` gives it more."
    partial = pairs.read(folder_of(house) / f"{outcome.technique}.failed.ipynb")
    assert partial.metadata["medlib"]["error"] == outcome.error
    assert list((house / "_build" / "work").iterdir()) == []


def test_without_a_limit_that_of_the_house_ends_a_notebook_that_hangs_and_0_is_none(house, monkeypatch):
    monkeypatch.setattr(kernels, "LIMIT", 0.02)
    outcome = execute.run("tiny", MODEL, {"mode": "slow"}, house=house)
    assert outcome.error.startswith("It was ended after 0.02 minutes, the limit it was given; `--limit`")
    (house / "notebooks" / "slow.py").write_text(TINY.replace('mode = "good"', 'mode = "slow"'))
    (outcome,) = execute.run_all(["slow", "slow"], [MODEL, MODEL], house)  # named twice, executed once
    assert outcome.error.startswith("It was ended after 0.02 minutes")
    assert execute.run("tiny", MODEL, house=house, limit=0).state == "done"


def test_a_kernel_that_dies_has_failed_and_says_so(house):
    (house / "notebooks" / "dying.py").write_text(TINY.replace('print("half way")', "os._exit(1)"))
    outcome = execute.run("dying", MODEL, house=house)
    assert outcome.state == "failed"
    assert "DeadKernelError" in outcome.error and "too little memory" in outcome.error


def test_what_a_killed_process_left_is_swept(house):
    left = house / "_build" / "work" / "999999999.tiny.smollm2-135m.x"
    left.mkdir(parents=True)
    kept = house / "_build" / "work" / f"{os.getppid()}.tiny.smollm2-135m.x"
    kept.mkdir()
    mine = work.folder(house, "tiny", MODEL)
    assert not left.exists()
    assert kept.exists()
    assert mine.exists()


def test_all_that_is_current_is_skipped_and_a_failure_does_not_stop_the_rest(house, monkeypatch):
    (house / "notebooks" / "worse.py").write_text(TINY)
    ran = []

    def run(technique, model, house, profile, limit):
        ran.append((technique, model))
        return execute.Outcome(technique, model, "failed", 1.0, None, "boom")

    monkeypatch.setattr(execute, "run", run)
    (house / "requirements.lock").write_text("numpy==3\n")
    assert [outcome.state for outcome in execute.run_all(["tiny", "worse"], [MODEL], house)] == ["failed", "failed"]
    (house / "requirements.lock").write_text("numpy==2\n")
    ran.clear()
    states = [outcome.state for outcome in execute.run_all(["tiny", "worse"], [MODEL], house)]
    assert states == ["current", "failed"]
    assert ran == [("worse", MODEL)]


LATE = """# %% [markdown]
# # What do the others say?

# %% tags=["parameters", "remove-cell", "made-of-tables"]
model_name = "smollm2-135m"  # any model

# %%
from types import SimpleNamespace
import medlib
from medlib.book import recorded

tables, sources = recorded.tables(model_name, ["tiny", "absent"])
model = SimpleNamespace(name=model_name, source={"kind": "none"}, revision=None, weights_sha256=None, device="cpu")
run = medlib.Run("a_late_one", model, parameters={}, seed=0)
recorded.note(run, sources)
run.save([{"metric": "sum", "value": tables["tiny"]["value"].sum()}])
"""


def test_a_chapter_made_of_others_tables_comes_last_and_is_stale_when_one_is_another(house):
    (house / "notebooks" / "a_late_one.py").write_text(LATE)
    (house / "requirements.lock").write_text("numpy==3\n")
    outcomes = list(execute.run_all(["a_late_one", "tiny"], [MODEL], house))
    assert [(outcome.technique, outcome.state) for outcome in outcomes] == [("tiny", "done"), ("a_late_one", "done")]
    record = json.loads((folder_of(house) / "a_late_one.json").read_text())
    assert record["run"]["made_of"] == {"absent": None, "tiny": current.sha256(folder_of(house) / "tiny.parquet")}
    assert not (folder_of(house) / "made_of.json").exists()
    assert current.state("a_late_one", MODEL, house=house) == ("current", [])
    assert execute.run("tiny", MODEL, {"rows": "5"}, house=house).state == "done"
    assert current.state("a_late_one", MODEL, house=house) == ("stale", ["the table of tiny changed"])


def test_notebooks_side_by_side_leave_the_same_runs_and_share_the_cores(house):
    told = TINY.replace('print("half way")', 'print("threads", os.environ["OMP_NUM_THREADS"])')
    (house / "notebooks" / "other.py").write_text(told.replace('"tiny"', '"other"'))
    (house / "notebooks" / "worse.py").write_text(TINY.replace('mode = "good"', 'mode = "bad"'))
    (house / "requirements.lock").write_text("numpy==3\n")
    outcomes = {
        outcome.technique: outcome for outcome in execute.run_all(["tiny", "other", "worse"], [MODEL], house, jobs=2)
    }
    assert {name: outcome.state for name, outcome in outcomes.items()} == {
        "tiny": "done",
        "other": "done",
        "worse": "failed",
    }
    assert "no layer is odd" in outcomes["worse"].error
    assert current.state("tiny", MODEL, house=house) == ("current", [])
    executed = (folder_of(house) / "other.ipynb").read_text()
    assert f"threads {max(1, os.cpu_count() // 2)}" in executed


def test_umap_leaves_torch_the_threads_it_was_given(house, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    used = [
        "import numba, torch",
        "@numba.njit(parallel=True)",
        "def total():",
        "    found = 0",
        "    for i in numba.prange(9):",
        "        found += i",
        "    return found",
        "total()",
        'print("threads", numba.get_num_threads(), torch.get_num_threads())',
    ]
    (house / "notebooks" / "tiny.py").write_text(TINY.replace('print("half way")', "\n".join(used)))
    assert execute.run("tiny", MODEL, house=house).state == "done"
    assert "threads 1 1" in (folder_of(house) / "tiny.ipynb").read_text()


def test_side_by_side_what_cannot_be_written_is_the_error_of_its_notebook(house, capfd):
    folder_of(house, "gemma-3-270m").write_text("a file where the runs are to be")
    (outcome,) = execute.run_all(["tiny"], ["gemma-3-270m"], house, jobs=2)
    assert outcome.state == "failed" and "gemma-3-270m" in outcome.error and "exists" in outcome.error
    assert "Traceback" not in capfd.readouterr().err


def test_side_by_side_a_process_that_is_killed_has_failed_and_an_interrupt_ends_them_all(house):
    (house / "requirements.lock").write_text("numpy==3\n")
    (house / "notebooks" / "slow.py").write_text(TINY.replace('mode = "good"', 'mode = "slow"'))
    outcomes = execute.run_all(
        ["slow"], [MODEL], house, jobs=2, announce=lambda *told: threading.Timer(0, kill).start()
    )

    def kill():
        wait_for(house / "running")
        for child in psutil.Process().children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()

    assert [(o.state, o.error) for o in outcomes] == [("failed", "its process ended without a word")]
    (house / "running").unlink()
    script = f"import medlib.book.execute as e; list(e.run_all(['slow'], ['{MODEL}'], jobs=2))"
    process = interruptible([sys.executable, "-c", script], house)
    kernel = wait_for(house / "running")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=100)
    time.sleep(0.2)
    assert not psutil.pid_exists(kernel) or psutil.Process(kernel).status() == psutil.STATUS_ZOMBIE


def interruptible(command, house):
    """A process that an interrupt reaches, also where the tests were started in the background and ignore theirs."""
    return subprocess.Popen(
        command,
        cwd=house,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(running):
    """The process of the kernel whose slow cell has begun."""
    deadline = time.monotonic() + 60
    while not (running.exists() and running.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return int(running.read_text())


def test_unknown_names_and_ill_typed_values_are_refused_before_anything_runs(house):
    def refused(message, technique="tiny", model=MODEL, **parameters):
        with pytest.raises(MedlibError, match=message):
            execute.run(technique, model, parameters, house=house)

    refused("no technique 'tin'. Did you mean 'tiny'", technique="tin")
    refused("There is no model 'smolm2-135m'. Near names: smollm2-135m", model="smolm2-135m")
    refused("no parameter 'row'. Did you mean 'rows'?(.|\n)*rows = 2", row="3")
    refused("'rows' of 'tiny' must be a whole number; got 'three'", rows="three")
    refused("'rows' of 'tiny' must be a whole number; got '3.5'", rows="3.5")
    refused("'rows' of 'tiny' must be a whole number; got 'True'", rows="True")
    refused("'share' of 'tiny' must be a finite number; got 'nan'", share="nan")
    refused("'domains' of 'tiny' must be a list; got 'drugs'", domains="drugs")
    refused("chosen with --model", model_name="x")


def test_values_are_read_in_the_type_of_the_default(house):
    given = {"rows": "4", "share": "1", "domain": "3", "domains": "['age', 'drugs']"}
    _, _, values = current.prepare("tiny", MODEL, given, house)
    assert [values[name] for name in given] == [4, 1.0, "3", ["age", "drugs"]]
    assert type(values["share"]) is float


def test_a_notebook_needs_one_parameters_cell_of_plain_values(house):
    for text, message in [
        ("# %%\nx = 1\n", "has 0 cells tagged `parameters`"),
        ('# %% tags=["parameters"]\nmodel_name = "a"\nx = 1 + len("a")\n', r"hold `x = 1 \+ len\('a'\)`"),
        ('# %% tags=["parameters"]\nx = 1\n', "has no parameter `model_name`"),
    ]:
        (house / "notebooks" / "odd.py").write_text(text)
        with pytest.raises(MedlibError, match=message):
            current.state("odd", MODEL, house=house)


def test_the_gate_finds_errors_unexecuted_cells_and_papermills_own_mark():
    new = nbformat.v4
    good = new.new_code_cell("1", execution_count=1)
    error = new.new_output("error", ename="ValueError", evalue="boom", traceback=[])
    assert execute.problems(new.new_notebook(cells=[good, new.new_code_cell(""), new.new_markdown_cell("x")])) == []
    assert execute.problems(new.new_notebook(cells=[good, new.new_code_cell("2")])) == ["cell 2 was not executed"]
    failed = new.new_code_cell("3", execution_count=1, outputs=[error])
    assert execute.problems(new.new_notebook(cells=[failed])) == ["cell 1: ValueError: boom"]
    marked = new.new_notebook(cells=[good], metadata={"papermill": {"exception": True}})
    assert execute.problems(marked) == ["papermill met an exception"]


def test_only_whole_current_runs_are_recorded_and_recording_again_changes_nothing(house):
    promoted, refused = promote.record(house)
    assert promoted == ["tiny on smollm2-135m"]
    assert refused == ["tiny on org--other-7b: the parameters changed"]
    committed = paths.committed(house) / MODEL
    assert contents(committed) == contents(folder_of(house))
    assert current.state("tiny", MODEL, house=house, runs=paths.committed(house)) == ("current", [])
    assert promote.record(house)[0] == []
    (house / "notebooks" / "tiny.py").write_text(TINY + "\n# %%\n1 + 1\n")
    assert "tiny on smollm2-135m: the notebook changed" in promote.record(house)[1]
    (folder_of(house) / "tiny.ipynb").write_text("{}")
    assert "tiny on smollm2-135m: incomplete" in promote.record(house)[1]


def test_plain_papermill_on_the_pair_writes_table_and_record(house):
    assert pairs.write(house) == ["tiny"]
    assert pairs.different(house) == []
    command = [
        sys.executable,
        "-m",
        "papermill",
        "--no-progress-bar",
        "notebooks/tiny.ipynb",
        "out.ipynb",
        "-p",
        "rows",
        "5",
    ]
    before = current.state("tiny", MODEL, house=house)
    subprocess.run(command, cwd=house, check=True, capture_output=True)
    by_hand = house / "_build" / "by_hand" / paths.slug(MODEL)
    assert json.loads((by_hand / "tiny.json").read_text())["table"]["rows"] == 5
    assert current.state("tiny", MODEL, house=house) == before  # a run by hand leaves the house's runs alone


def test_a_pair_differs_when_a_cell_a_tag_or_an_output_does(house):
    pairs.write(house)
    path = house / "notebooks" / "tiny.ipynb"
    (house / "notebooks" / "tiny.py").write_text(TINY.replace('["card"]', '["cards"]'))
    assert pairs.different(house) == ["tiny"]
    (house / "notebooks" / "tiny.py").write_text(TINY)
    notebook = pairs.read(path)
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="x")]
    nbformat.write(notebook, path)
    assert pairs.different(house) == ["tiny"]
    path.rename(path.with_stem("lost"))
    assert (pairs.different(house), pairs.alone(house)) == (["tiny"], ["lost"])


def test_labels_of_figures_directives_and_equations_are_stamped_once_each():
    text = (
        "# Q\n\n```{figure} x.png\n:name: fig-a\n```\n"
        "\\begin{align}\\label{eq-b}\\end{align} \\eqref{eq-b} {ref}`fig-a`, fig-a"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    stamp.stamp(notebook, "t", "m")
    assert notebook.cells[0].source == (
        "# Q · m\n\n```{figure} x.png\n:name: fig-a-m\n```\n"
        "\\begin{align}\\label{eq-b-m}\\end{align} \\eqref{eq-b-m} {ref}`fig-a-m`, fig-a"
    )


def test_paths_inside_pictures_are_left_alone():
    picture = nbformat.v4.new_output(
        "display_data", data={"image/png": f"{Path.home()}/AAAA", "text/plain": f"{Path.home()}/x"}
    )
    cell = nbformat.v4.new_code_cell("1", outputs=[picture])
    notebook = nbformat.v4.new_notebook(cells=[cell])
    stamp.clean(notebook)
    assert notebook.cells[0].outputs[0].data == {"image/png": f"{Path.home()}/AAAA", "text/plain": "~/x"}


def test_what_chance_and_time_leave_in_outputs_is_taken_out():
    def a_notebook(ids, address, cuts):
        html = [
            f'<style>#{name} th {{}}</style><table id="{name}"><td id="{name}_row0_col0">T_beefs</td>' for name in ids
        ]
        tables = [nbformat.v4.new_output("display_data", data={"text/html": text}) for text in html]
        told = nbformat.v4.new_output("display_data", data={"text/plain": f"<Styler at {address}>"})
        printed = [nbformat.v4.new_output("stream", text=text) for text in cuts]
        cells = [nbformat.v4.new_code_cell("1", outputs=[told, *printed, tables[0]])]
        cells += [nbformat.v4.new_code_cell("2", outputs=[tables[1], nbformat.v4.new_output("stream", text="end")])]
        return nbformat.v4.new_notebook(cells=cells)

    one = a_notebook(["T_fa493", "T_0beef"], "0x7f5f3c13c110", ["one\n", "two\n"])
    other = a_notebook(["T_cd8fe", "T_12345"], "0x7fdb18102b50", ["one\ntwo\n"])
    stamp.clean(one)
    stamp.clean(other)
    assert one == other
    outputs = [output for cell in one.cells for output in cell.outputs]
    assert [output.get("text") for output in outputs] == [None, "one\ntwo\n", None, None, "end"]
    assert outputs[0].data["text/plain"] == "<Styler>"
    assert outputs[2].data["text/html"].startswith('<style>#T_00000 th {}</style><table id="T_00000"><td id="T_00000_r')
    assert 'id="T_00001"' in outputs[3].data["text/html"] and "T_0beef" not in outputs[3].data["text/html"]
    before = nbformat.writes(one)
    stamp.clean(one)
    assert nbformat.writes(one) == before
