"""The page "Adapt a chapter": its commands, code and diffs, read from the page and done in a copy of the repository."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medlib import results
from medlib.book import execute, pairs, parameters

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "book" / "adapt.md").read_text(encoding="utf-8")
NOT_COPIED = ("_build", "runs", "training", "benchmarks", "tests", "__pycache__", ".*")


def blocks(heading):
    """The blocks that a section of the page holds, in order: (kind, text)."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)[1]
    return re.findall(r"^```(console|python|diff)\n(.*?)^```$", section, re.S | re.M)


def do(house, heading):
    """Do what a section of the page says, block by block, as a reader at the top of the repository would."""
    path = f"{house / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(house), "GIT_CEILING_DIRECTORIES": str(house.parent)}
    reads = {"console": ["bash", "-e"], "python": [sys.executable], "diff": ["git", "apply"]}
    for kind, text in blocks(heading):
        done = subprocess.run(reads[kind], input=text, cwd=house, env=environment, text=True, capture_output=True)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A copy of the repository with a new chapter, on another model: the first two sections done."""
    house = tmp_path_factory.mktemp("adapt") / "house"
    shutil.copytree(ROOT, house, ignore=shutil.ignore_patterns(*NOT_COPIED))
    command = house / "bin" / "medlib"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m medlib "$@"\n')
    command.chmod(0o755)
    do(house, "Make one")
    do(house, "Another model")
    return house


@pytest.fixture
def house(first, tmp_path):
    """A copy of that to work in."""
    return shutil.copytree(first, tmp_path / "house")


def default(house, name):
    """A parameter's default in the notebook, and in its twin."""
    files = (house / "notebooks" / f"mine{suffix}" for suffix in (".py", ".ipynb"))
    script, twin = (parameters.defaults(pairs.read(file), "mine")[name] for file in files)
    assert script == twin
    return script


def found(house):
    """The record and the table of the chapter's run, after the gate that every page of the book goes through."""
    folder = house / "_build" / "runs" / "untrained"
    assert execute.complete(folder, "mine")
    assert execute.problems(pairs.read(folder / "mine.ipynb")) == []
    return json.loads((folder / "mine.json").read_text()), results.read(folder / "mine.parquet")


def test_another_model_is_run_and_can_become_the_default(first):
    record, table = found(first)
    assert (record["model"]["source"]["kind"], record["model"]["layers"]) == ("folder", 4)
    assert [check["passed"] for check in record["checks"]] == [True]
    curve = table[table["item"].isna() & (table["metric"] == "angular_distance")]
    assert curve.groupby("domain")["layer"].apply(list).to_dict() == {"animals": [1, 2, 3, 4], "symptoms": [1, 2, 3, 4]}
    assert (
        (curve["low"] < curve["high"]).all() and curve["value"].between(0.01, 0.99).all() and (curve["n"] == 24).all()
    )
    assert "Grey" in record["numbers"]["knowledge"]["text"]
    assert default(first, "model_name") == "_build/untrained"


def test_another_domain_is_run_and_can_become_the_default(house):
    guide = (ROOT / "book" / "methods" / "add_domain.md").read_text(encoding="utf-8")
    (house / "my").mkdir()
    for kind, suffix in (("text", "csv"), ("toml", "toml")):
        text = re.search(rf"```{kind}\n((?:item,|title).*?)```", guide, re.S)[1]
        (house / "my" / f"animals.{suffix}").write_text(text)
    do(house, "Another domain")
    record, table = found(house)
    assert {"crow", "wolf"} < set(table[table["domain"] == "my/animals.toml"]["item"].dropna())
    assert set(table["domain"].dropna()) == {"my/animals.toml", "numbers"}
    assert {"my/animals.csv", "my/animals.toml"} < set(record["data"])
    assert default(house, "domains") == "my/animals.toml"


def test_another_metric_is_measured_and_the_words_about_it_follow(house):
    do(house, "Another metric")
    _, table = found(house)
    assert set(table["metric"]) == {"relative_step", *(f"relative_step_difference{end}" for end in ("", "_p", "_q"))}
    page = (house / "book" / "methods" / "mine.md").read_text(encoding="utf-8")
    notebook = (house / "notebooks" / "mine.py").read_text(encoding="utf-8")
    assert r"\arccos" not in page + notebook and "half turns" not in page + notebook
    assert pairs.different(house) == []


def test_the_readme_begins_as_the_page_does():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Adapt a chapter\n(.*?)(?=^## )", readme, re.S | re.M)[1]
    assert re.findall(r"^```(console)\n(.*?)^```$", section, re.S | re.M) == blocks("Make one")
    assert "](book/adapt.md)" in section
