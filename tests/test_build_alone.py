"""One process builds a book at a time; stale runs are marked, and runs in another form are refused, never hidden."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil
import pytest
from filelock import FileLock
from kills import killed
from standins import a_house, a_run

from medlib import MedlibError, cli
from medlib.book import building, current, leash, printing

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
def site(tmp_path, monkeypatch):
    """A house whose book was built, and is built of what `words` holds: one page, and no Sphinx."""
    (tmp_path / "words").write_text("earlier")

    def assemble(root):
        (root / "_build" / "source").mkdir(exist_ok=True)
        shutil.copyfile(root / "words", root / "_build" / "source" / "words")
        return root / "_build" / "source"

    def sphinx(source, target, doctrees):
        target.mkdir()
        for name in ("intro.html", "other.html"):
            (target / name).write_text((source / "words").read_text())

    monkeypatch.setattr(building, "assemble", assemble)
    monkeypatch.setattr(building, "_sphinx", sphinx)
    monkeypatch.setattr(building, "_digest", lambda source: (source / "words").read_text())
    building.build(tmp_path)
    (tmp_path / "words").write_text("later")
    return tmp_path / "_build" / "html"


def words(site):
    """What the pages of a book say, where they say the same."""
    found = {(site / name).read_text() for name in ("index.html", "intro.html", "other.html")}
    return found.pop() if len(found) == 1 else found


def refuse(source, target, doctrees):
    raise MedlibError("Sphinx complains")


def test_a_kill_before_any_file_operation_of_a_build_leaves_a_book_and_the_next_clears_up(site, monkeypatch):
    house, found, at = site.parent.parent, set(), 1
    real = building._sphinx
    while killed(at, building.build, house):
        monkeypatch.setattr(building, "_sphinx", refuse)
        with suppress(MedlibError):  # nothing is built where the later book is whole
            building.build(house)
        found.add(words(site))
        assert not [path.name for path in site.parent.iterdir() if path.name.startswith("html.") and path.is_dir()]
        monkeypatch.setattr(building, "_sphinx", real)
        (house / "words").write_text("earlier")
        building.build(house)
        (house / "words").write_text("later")
        at += 1
    assert at > 20 and found == {"earlier", "later"} and words(site) == "later"


def test_a_build_that_fails_leaves_the_last_good_book_and_nothing_half_made(site, monkeypatch):
    monkeypatch.setattr(building, "_sphinx", refuse)
    with pytest.raises(MedlibError, match="Sphinx complains"):
        building.build(site.parent.parent)
    assert words(site) == "earlier"
    assert not list(site.parent.glob("html.making.*"))


def test_the_last_line_of_a_build_that_broke_off_says_why(tmp_path):
    (tmp_path / "conf.py").touch()
    (tmp_path / "file").touch()
    with pytest.raises(MedlibError) as raised:
        building._sphinx(tmp_path, tmp_path / "file" / "html", tmp_path / "doctrees")
    assert str(raised.value).splitlines()[-1].startswith("NotADirectoryError: ")


def test_what_an_orphan_of_a_killed_build_writes_is_not_in_the_next_book(site, monkeypatch):
    places, real = [], building._sphinx

    def sphinx(source, target, doctrees):
        if places:
            places[0].mkdir(parents=True)
            (places[0] / "other.html").write_text("an orphan's")
        places.append(target)
        real(source, target, doctrees)

    monkeypatch.setattr(building, "_sphinx", sphinx)
    for word in ("later", "latest"):
        (site.parent.parent / "words").write_text(word)
        building.build(site.parent.parent)
        assert words(site) == word
    monkeypatch.setattr(building, "_sphinx", real)
    (site.parent.parent / "words").write_text("last")
    building.build(site.parent.parent)
    assert not list(site.parent.glob("html.making.*"))


def test_a_child_on_a_leash_ends_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "sleeper.py").write_text(
        "import os, time\nopen('new', 'w').write(str(os.getpid()))\nos.rename('new', 'pid')\ntime.sleep(600)\n"
    )
    start = f"import runpy; runpy.run_path({leash.__file__!r})['run']('sleeper')"
    parent = subprocess.Popen([sys.executable, "-c", start], cwd=tmp_path)
    while not (tmp_path / "pid").exists():
        time.sleep(0.05)
    child = psutil.Process(int((tmp_path / "pid").read_text()))
    parent.kill()
    parent.wait()
    child.wait(20)
    assert not child.is_running()


def test_a_module_on_a_leash_does_what_it_does_without(tmp_path):
    (tmp_path / "module.py").write_text("import sys\nprint(sys.argv[1:])\nsys.exit('no')\n")
    done = leash.run("module", "-W", tmp_path, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, f"['-W', '{tmp_path}']\n", "no\n")


def test_the_book_is_not_built_anew_while_it_is_printed(site, monkeypatch, capsys):
    house, held = site.parent.parent, []
    monkeypatch.setattr("medlib.paths.root", lambda: house)

    def pdf(folder, toc, target):
        lock = FileLock(house / "_build" / "build.lock", timeout=0)
        with pytest.raises(TimeoutError):
            lock.acquire()
        held.append(words(folder))
        return target

    monkeypatch.setattr(printing, "pdf", pdf)
    cli.pdf()
    assert held == ["later"] and "book.pdf" in capsys.readouterr().out


@pytest.fixture
def house(tmp_path):
    house = a_house(tmp_path, ROOT)
    (house / "requirements.lock").write_text("numpy==2\n")
    return house


def test_a_stale_run_is_in_the_book_and_says_so_on_its_page_and_in_the_matrices(house, monkeypatch):
    why = {"lesion": ("stale", ["medlib/lesion.py changed"]), "geometry": ("current", [])}
    why["patching"] = ("unknown", ["its model's folder is not here"])
    monkeypatch.setattr(current, "standing", lambda record, house: why[record["technique"]])
    for technique in why:
        (house / "notebooks" / f"{technique}.py").write_text(
            "# %% [markdown]\n# # Q\n\n# %% tags=['parameters']\nmodel_name = 'smollm2-135m'\n"
        )
        a_run(house / "book" / "runs", technique, "smollm2-135m")
    source = building.assemble(house)
    pages = {name: nbformat.read(source / f"runs/smollm2-135m/{name}.ipynb", as_version=4) for name in why}
    marked = {name: [cell.source for cell in page.cells if "is stale" in cell.source] for name, page in pages.items()}
    assert marked["geometry"] == marked["patching"] == []
    (doubt,) = [cell.source for cell in pages["patching"].cells if "is current is not known" in cell.source]
    assert "is not known**: its model's folder is not here." in doubt and "--model smollm2-135m" in doubt
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
