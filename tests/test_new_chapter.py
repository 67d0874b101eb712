"""`medlib new-chapter`: all of a chapter is written, in the form that the others have, or nothing is."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from medlib import MedlibError, cli, paths
from medlib.book import current, new_chapter, pairs, parameters, profiles

ROOT = Path(__file__).resolve().parent.parent
NAME = "a_chapter_of_thirty_characters"


@pytest.fixture
def house(tmp_path):
    """A house with two chapters and the lists of this one."""
    for name in ("_toc.yml", "book/intro.md", "notebooks/quick.toml", "notebooks/lesion.py", "notebooks/patching.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    (tmp_path / "book" / "methods").mkdir()
    return tmp_path


def contents(house):
    return {path.relative_to(house): path.read_bytes() for path in house.rglob("*") if path.is_file()}


def pages_of(house):
    return [
        entry.get("file")
        for part in yaml.safe_load((house / "_toc.yml").read_text())["parts"]
        for entry in part["chapters"]
    ]


def test_a_chapter_is_a_pair_with_its_page_and_is_listed_wherever_chapters_are(house):
    before = contents(house)
    new, changed = new_chapter.write("mine", house)
    assert {path.relative_to(house) for path in new} == set(contents(house)) - set(before)
    assert {path.relative_to(house) for path in changed} == {n for n, t in before.items() if contents(house)[n] != t}
    assert current.techniques(house)["mine"] == "How much does each layer change a state?"
    assert "mine" not in pairs.different(house)
    pages = pages_of(house)
    assert pages[pages.index("methods/patching") + 1] == "methods/mine"
    intro = (house / "book" / "intro.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in intro if re.search(r"methods/(patching|mine)\.md", line)]
    assert rows[1] == "| [Mine](methods/mine.md) | How much does each layer change a state? |"
    assert intro.index(rows[1]) == intro.index(rows[0]) + 1
    assert not re.search("CHAPTER|TITLE", "".join(path.read_text(encoding="utf-8") for path in new + changed))


def test_the_lists_lose_nothing(house):
    before = contents(house)
    _, changed = new_chapter.write("mine", house)
    for path in changed:
        old, new = before[path.relative_to(house)].decode().splitlines(), path.read_text(encoding="utf-8").splitlines()
        added = [line for line in new if "mine" in line]
        assert len(added) == 1
        rest = [line for line in new if line not in (*added, "n_items = 8", "")]
        assert rest == [line for line in old if line not in ("n_items = 8", "")]


def test_its_quick_profile_is_quicker_and_names_its_parameters(house):
    new_chapter.write("mine", house)
    notebook = pairs.read(house / "notebooks" / "mine.py")
    full = parameters.defaults(notebook, "mine")
    quick = profiles.parameters("quick", "mine", house)
    assert parameters.resolve(full, quick, "mine")["n_items"] < full["n_items"]
    assert tomllib.loads((house / "notebooks" / "quick.toml").read_text())["lesion"]


def test_a_house_without_a_quick_profile_gets_one(house):
    (house / "notebooks" / "quick.toml").unlink()
    new_chapter.write("mine", house)
    assert profiles.parameters("quick", "mine", house) == {"n_items": 8}


def test_its_page_has_the_headings_of_the_other_pages(house):
    new_chapter.write("mine", house)
    own = re.findall(r"^## .+$", (house / "book" / "methods" / "mine.md").read_text(), re.M)
    others = [(ROOT / "book" / "methods" / f"{name}.md").read_text() for name in ("lesion", "patching", "saliency")]
    assert len(own) > 4 and all(any(heading in other for other in others) for heading in own)
    assert "**Question.**" in (house / "book" / "methods" / "mine.md").read_text()


def test_its_notebook_is_in_the_house_style_under_a_long_name_too(house):
    for name in ("pyproject.toml", "notebooks/ruff.toml"):
        shutil.copyfile(ROOT / name, house / name)
    new_chapter.write(NAME, house)
    script = str(house / "notebooks" / f"{NAME}.py")
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, script], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "named in small letters"),
        ("Mine", "named in small letters"),
        ("my chapter", "named in small letters"),
        ("../mine", "named in small letters"),
        ("2nd", "named in small letters"),
        ("my-chapter", "named in small letters"),
        ("class", "no word of Python"),
        ("lesion", "There is notebooks/lesion.py already"),
        ("drawn", "There is notebooks/drawn.ipynb already"),
        ("replay", "There is book/methods/replay.md already"),
        ("grad_cam", r"There is \[grad_cam\] in notebooks/quick.toml already"),
        ("torch", "the name of a Python module"),
        ("random", "the name of a Python module"),
        ("medlib", "the name of a Python module"),
    ],
)
def test_a_name_that_cannot_be_or_is_taken_is_refused_and_nothing_is_written(house, name, words):
    (house / "book" / "methods" / "replay.md").touch()
    (house / "notebooks" / "drawn.ipynb").touch()
    before = contents(house)
    with pytest.raises(MedlibError, match=words):
        new_chapter.write(name, house)
    assert contents(house) == before


@pytest.mark.parametrize("file", ["_toc.yml", "book/intro.md"])
def test_a_list_without_a_page_of_methods_is_named_and_nothing_is_written(house, file):
    (house / file).write_text("# nothing\n")
    before = contents(house)
    with pytest.raises(MedlibError, match=f"{file} lists no page of book/methods"):
        new_chapter.write("mine", house)
    (house / file).unlink()
    with pytest.raises(MedlibError, match=f"{file} lists no page of book/methods"):
        new_chapter.write("mine", house)
    assert {name: text for name, text in before.items() if name != Path(file)} == contents(house)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("fails_at", range(6))
def test_where_one_file_cannot_be_written_none_is(house, monkeypatch, fails_at, error):
    before, real, calls = contents(house), paths.write_atomically, []

    def write(path, data):
        calls.append(path)
        if len(calls) == fails_at + 1:
            raise error
        real(path, data)

    monkeypatch.setattr(paths, "write_atomically", write)
    with pytest.raises(type(error)):
        new_chapter.write("mine", house)
    assert contents(house) == before
    assert len(calls) > fails_at


def test_the_command_says_what_it_wrote_and_what_comes_next(house, monkeypatch, capsys):
    monkeypatch.chdir(house)
    monkeypatch.setattr(sys, "argv", ["medlib", "new-chapter", "mine"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "wrote     notebooks/mine.py" and "added to  _toc.yml" in out
    assert out[-2].endswith("medlib run mine") and "book/adapt.md" in out[-1]
