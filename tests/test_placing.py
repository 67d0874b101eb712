"""A run goes to its place whole: whenever a process is killed, the earlier run is there or the new one is."""

import errno
import shutil
import threading
import time
from pathlib import Path

import nbformat
import pytest
from kills import killed
from standins import a_notebook, a_run

from medlib import paths, results
from medlib.book import building, current, execute, kernels, matrix, placing, promote, recorded
from medlib.book.placing import PARTS
from medlib.book.reproduction import rerun

MODEL, TECHNIQUE = "smollm2-135m", "lesion"
NOTEBOOK = "# %% [markdown]\n# # Q\n\n# %% tags=['parameters']\nmodel_name = 'smollm2-135m'\n"
EARLIER, LATER, LAST = 1.0, 2.0, 3.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Whole runs, told by the value in their table: value -> folder."""
    made = {}
    for value in (EARLIER, LATER, LAST):
        rows = {"metric": "kl", "value": [value], "item": "aspirin"}
        finished = f"2026-01-0{value:.0f}T00:00:00Z"
        made[value] = a_run(tmp_path_factory.mktemp("whole"), TECHNIQUE, MODEL, rows=rows, finished=finished)
    return made


@pytest.fixture
def house(tmp_path, whole):
    """A house with an earlier run, here and committed, and the later one in a work folder."""
    house = tmp_path / "house"
    (house / "notebooks").mkdir(parents=True)
    (house / "notebooks" / f"{TECHNIQUE}.py").write_text(NOTEBOOK)
    (house / "requirements.lock").write_text("numpy==2\n")
    (house / "_toc.yml").write_text("root: intro\n")
    for runs in (paths.runs(house), paths.committed(house)):
        put(whole[EARLIER], runs / MODEL)
    put(whole[LATER], work(house))
    return house


def put(run, folder):
    shutil.rmtree(folder, ignore_errors=True)
    return shutil.copytree(run, folder)


def local(house):
    return paths.runs(house) / MODEL


def work(house):
    return house / "_build" / "work" / MODEL


def value(folder):
    """What the next reader finds in a folder; None where there is no whole run."""
    if recorded.complete(folder, TECHNIQUE) is None:
        return None
    return float(results.read(folder / f"{TECHNIQUE}.parquet")["value"].iloc[0])


def stand_ready(house, folder, done=0):
    """Leave a folder as a process does that was killed when it had put `done` files of the later run in their place."""
    ready = folder / f".{TECHNIQUE}.ready"
    ready.mkdir(parents=True)
    for part in PARTS:
        shutil.copyfile(work(house) / f"{TECHNIQUE}{part}", ready / f"{TECHNIQUE}{part}")
    for part in PARTS[:done]:
        (ready / f"{TECHNIQUE}{part}").replace(folder / f"{TECHNIQUE}{part}")


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_kill_before_any_file_operation_leaves_the_earlier_run_or_the_later(house, whole):
    found, at = [], 1
    while killed(at, placing.place, work(house), local(house), TECHNIQUE, house):
        placing.settle(house)
        found.append(value(local(house)))
        assert recorded.complete(paths.committed(house) / MODEL, TECHNIQUE)
        put(whole[EARLIER], local(house))
        put(whole[LATER], work(house))
        at += 1
    assert at > 10 and set(found) == {EARLIER, LATER}
    assert found == sorted(found)  # there is one step before which it is the earlier, and after which it is the later
    assert value(local(house)) == LATER and hidden(local(house)) == []


def test_a_run_after_a_kill_clears_up_and_the_last_one_counts(house, whole):
    (local(house) / f".{TECHNIQUE}.making").mkdir()
    (local(house) / f".{TECHNIQUE}.making" / "half").write_text("x")
    stand_ready(house, local(house), done=1)
    placing.place(put(whole[LAST], work(house)), local(house), TECHNIQUE, house)
    assert value(local(house)) == LAST and hidden(local(house)) == []


def test_what_a_failed_run_left_goes_when_a_later_one_is_in_place(house):
    failed = local(house) / f"{TECHNIQUE}.failed.ipynb"
    failed.write_text("{}")
    stand_ready(house, local(house), done=3)
    placing.settle(house)
    assert not failed.exists() and value(local(house)) == LATER


READERS = {
    "state": lambda house: current.state(TECHNIQUE, MODEL, house=house),
    "kept": lambda house: execute.kept(TECHNIQUE, MODEL, house=house),
    "record": lambda house: promote.record(house),
    "status": lambda house: matrix.matrix(house),
    "book": lambda house: building.choose(house),
    "reproduce": lambda house: next(rerun.reproduce([MODEL], house=house, executed=paths.runs(house))),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("done", [0, 2])
def test_whoever_reads_runs_first_puts_in_its_place_what_stands_ready(house, reader, done):
    for runs in (paths.runs(house), paths.committed(house)):
        stand_ready(house, runs / MODEL, done)
    READERS[reader](house)
    for runs in (paths.runs(house), paths.committed(house)):
        assert value(runs / MODEL) == LATER and hidden(runs / MODEL) == []


def test_a_folder_of_ones_own_is_settled_too(house, tmp_path):
    stand_ready(house, tmp_path / "mine" / MODEL)
    execute.kept(TECHNIQUE, MODEL, house=house, runs=tmp_path / "mine")
    assert value(tmp_path / "mine" / MODEL) == LATER


def test_runs_that_may_not_be_written_are_read_as_they_are(house, monkeypatch):
    (house / "_build" / "placing.lock").unlink(missing_ok=True)
    (house / "_build" / "placing.lock").mkdir()  # nothing can be locked either
    committed = paths.committed(house) / MODEL
    stand_ready(house, committed)
    monkeypatch.setattr(placing.os, "access", lambda path, how: committed not in (path, *path.parents))
    with placing.still(house):
        placing.settle(house)
        assert value(committed) == EARLIER and value(local(house)) == EARLIER
    assert hidden(committed) == [f".{TECHNIQUE}.ready"]


def test_readers_share_and_a_writer_waits_for_them(house):
    placed = threading.Thread(target=placing.place, args=(work(house), local(house), TECHNIQUE, house))
    with placing.still(house), placing.still(house):
        placed.start()
        placed.join(0.3)
        placing.settle(house)  # finds nothing that it would have to wait for
        assert placed.is_alive() and value(local(house)) == EARLIER
    placed.join(30)
    assert value(local(house)) == LATER


def test_two_at_once_and_a_reader_between_them_see_whole_runs_alone(house, whole, tmp_path):
    seen, stop = [], time.monotonic() + 1

    def place(own):
        while time.monotonic() < stop:
            placing.place(put(whole[own], tmp_path / f"work{own}"), local(house), TECHNIQUE, house)

    writers = [threading.Thread(target=place, args=(own,)) for own in (EARLIER, LATER)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        with placing.still(house):
            seen.append(value(local(house)))
    assert None not in seen and value(local(house)) in (EARLIER, LATER) and hidden(local(house)) == []


def test_a_disk_that_is_full_leaves_the_earlier_run(house, monkeypatch):
    def full(file, target):
        if target.suffix == ".json":
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        shutil.copyfile(file, target)

    monkeypatch.setattr(placing, "_bring", full)
    with pytest.raises(OSError, match="No space left"):
        placing.place(work(house), local(house), TECHNIQUE, house)
    assert value(local(house)) == EARLIER and hidden(local(house)) == []
    monkeypatch.undo()
    placing.place(work(house), local(house), TECHNIQUE, house)
    assert value(local(house)) == LATER


def test_a_run_comes_from_another_disk_too(house, monkeypatch):
    real = Path.rename

    def rename(path, target):
        if path.parent == work(house):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    placing.place(work(house), local(house), TECHNIQUE, house)
    assert value(local(house)) == LATER


def test_a_folder_that_takes_no_run_is_refused_before_anything_runs(house, monkeypatch):
    monkeypatch.setattr(kernels, "execute", lambda *told: pytest.fail("it ran"))
    (house / "full").write_text("")
    with pytest.raises(OSError, match="full"):
        execute.run(TECHNIQUE, MODEL, house=house, runs=house / "full")


def test_a_chapter_whose_tables_were_put_in_place_while_it_read_them_is_executed_again(house, whole, monkeypatch):
    executed, late = [], a_run(house / "elsewhere", "late", MODEL)

    def made(notebook, values, folder, inside, limit):
        table = recorded.complete(local(house), TECHNIQUE)["run"]["files"][f"{TECHNIQUE}.parquet"]
        run = shutil.copytree(late, folder / MODEL, dirs_exist_ok=True)
        (run / "made_of.json").write_text(f'{{"{TECHNIQUE}": "{table}"}}')
        nbformat.write(a_notebook("late", MODEL), folder / "notebook.ipynb")
        executed.append(table)
        if len(executed) == 1:
            placing.place(work(house), local(house), TECHNIQUE, house)
        return ""

    monkeypatch.setattr(kernels, "execute", made)
    (house / "notebooks" / "late.py").write_text(NOTEBOOK)
    assert execute.run("late", MODEL, house=house).state == "done"
    assert len(set(executed)) == len(executed) == 2
    assert recorded.complete(local(house), "late")["run"]["made_of"] == {TECHNIQUE: executed[1]}
