"""One process builds a book at a time; stale runs are marked, and runs in another form are refused, never hidden."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from standins import a_house, a_run

from medlib import MedlibError
from medlib.book import building, execute

ROOT = Path(__file__).resolve().parent.parent
HOLD = "import sys, time\nfrom medlib.book import building\nfrom pathlib import Path\n"
HOLD += "with building._alone(Path(sys.argv[1])):\n    print('in', flush=True)\n    time.sleep(600)\n"


def test_two_builds_of_one_book_come_one_after_the_other(tmp_path, monkeypatch):
    inside, most = [], []

    def build(root):
        inside.append(root)
        most.append(len(inside))
        time.sleep(0.2)
        inside.pop()

    monkeypatch.setattr(building, "_build", build)
    threads = [threading.Thread(target=building.build, args=(tmp_path,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


def test_a_second_build_says_who_builds_and_takes_over_from_a_killed_one(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(building, "_build", lambda root: "built")
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "in\n"
    built = []
    second = threading.Thread(target=lambda: built.append(building.build(tmp_path)))
    second.start()
    second.join(1)
    assert built == [] and second.is_alive()
    first.kill()
    first.wait()
    second.join(30)
    assert built == ["built"]
    assert re.search(rf"process {first.pid} on \S+ builds this book; waiting for it", capfd.readouterr().err)
    assert building.build(tmp_path) == "built" and capfd.readouterr().err == ""
    assert not (tmp_path / "_build" / "build.who").exists()


def test_a_build_that_fails_lets_the_next_one_in(tmp_path, monkeypatch):
    def fail(root):
        raise MedlibError("no")

    monkeypatch.setattr(building, "_build", fail)
    for _ in range(2):
        with pytest.raises(MedlibError, match="no"):
            building.build(tmp_path)


@pytest.fixture
def house(tmp_path):
    house = a_house(tmp_path, ROOT)
    (house / "requirements.lock").write_text("numpy==2\n")
    return house


def test_a_stale_run_is_in_the_book_and_says_so_on_its_page_and_in_the_matrices(house, monkeypatch):
    why = {"lesion": ["medlib/lesion.py changed"], "geometry": []}
    monkeypatch.setattr(execute, "why_stale", lambda record, house: why[record["technique"]])
    for technique in why:
        (house / "notebooks" / f"{technique}.py").write_text(
            "# %% [markdown]\n# # Q\n\n# %% tags=['parameters']\nmodel_name = 'smollm2-135m'\n"
        )
        a_run(house / "book" / "runs", technique, "smollm2-135m")
    source = building.assemble(house)
    pages = {name: nbformat.read(source / f"runs/smollm2-135m/{name}.ipynb", as_version=4) for name in why}
    marked = {name: [cell.source for cell in page.cells if "is stale" in cell.source] for name, page in pages.items()}
    assert marked["geometry"] == []
    (mark,) = marked["lesion"]
    assert "since it was made, medlib/lesion.py changed." in mark
    assert "medlib run lesion --model smollm2-135m" in mark
    matrix = (source / "generated" / "matrix.md").read_text()
    assert "[read](/runs/smollm2-135m/lesion.ipynb), [stale](/matrix.md)" in matrix and matrix.count("stale") == 1
    standing = (source / "generated" / "standing.md").read_text()
    assert "| lesion | stale |" in standing and "| geometry | current |" in standing
    assert "medlib/lesion.py changed" in (source / "generated" / "standing_why.md").read_text()


@pytest.mark.parametrize(
    ("form", "says"), [(9, "made by a later medlib"), (0, "the page on upgrading says what to do")]
)
@pytest.mark.parametrize("key", ["schema", "record"])
def test_a_committed_run_in_another_form_is_refused_by_name(house, key, form, says):
    a_run(house / "book" / "runs", "lesion", "m", **{key: form})
    with pytest.raises(
        MedlibError, match=f"lesion on m: its .* has the form {form}, and this medlib reads 1; .*{says}"
    ):
        building.choose(house)


def test_the_process_that_builds_is_this_one(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(building, "_build", lambda root: said.append((root / "_build" / "build.who").read_text()))
    building.build(tmp_path)
    assert said[0].startswith(f"process {os.getpid()} on ")
