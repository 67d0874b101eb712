"""The matrix of chapters, models and domains: what is to do, what it needs, and the Snakefile that runs it."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from medlib import MedlibError, paths
from medlib import plan as planned
from medlib.book import current, execute, jobs, kernels, lease, promote, work
from medlib.book.jobs import Cell, Matrix
from medlib.models import zoo

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks" / "slurm"))
import standin  # noqa: E402

MODEL, OTHER = "smollm2-135m", "gemma-3-270m"
MAP = Cell("knowledge_map", MODEL)
GPUS = [f"GPU-{os.getpid()}{letter}" for letter in "ab"]  # no other test's: the folder of leases is shared


def snakemake(house, profile, *more, **environment):
    command = [sys.executable, "-m", "snakemake", "--profile", ROOT / "profiles" / profile]
    command += ["--snakefile", ROOT / "Snakefile", "--directory", house, *more]
    given = os.environ | {"PYTHONPATH": str(ROOT), **environment}
    told = subprocess.run([str(word) for word in command], env=given, cwd=ROOT, capture_output=True, text=True)
    return told.returncode, told.stdout + told.stderr


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A stand-in house of two chapters and their map, run through the Snakefile on two GPUs that nothing opens."""
    folder = tmp_path_factory.mktemp("done")
    house = standin.house(folder / "house", ("geometry", "lesion"))
    (folder / "nvidia-smi").write_text("#!/bin/sh\nexit 1\n")  # or this machine's own, if it has one, would be asked
    (folder / "nvidia-smi").chmod(0o755)
    asked = ["--config", "hardware=h100", "lease=true", "threads=1", "--cores", "2", "--resources", "gpu=2"]
    there = dict(PATH=f"{folder}:{os.environ['PATH']}", CUDA_VISIBLE_DEVICES=",".join(GPUS))
    code, told = snakemake(house, "local", *asked, **there)
    assert code == 0, told
    yield house
    for name in GPUS:
        (lease._folder() / f"{name}.lock").unlink()


@pytest.fixture
def house(done, tmp_path):
    """A copy of that house to work in."""
    return shutil.copytree(done, tmp_path / "house")


@pytest.fixture
def fresh(tmp_path):
    return standin.house(tmp_path / "fresh")


def commit(house):
    """What `medlib record` does, and a clone then has."""
    assert promote.record(house) == (
        ["geometry on smollm2-135m", *(f"{name} on smollm2-135m" for name in ("knowledge_map", "lesion"))],
        [],
    )
    shutil.rmtree(house / "_build")


def test_the_snakefile_runs_every_cell_and_the_map_after_the_chapters_it_is_made_of(done):
    records = {
        name: execute.complete(paths.runs(done) / MODEL, name) for name in ("geometry", "lesion", "knowledge_map")
    }
    assert records["knowledge_map"]["numbers"]["tables"]["value"] == 2
    assert {record["numbers"]["gpu"]["value"] for record in records.values()} <= set(GPUS)


def test_what_is_current_is_not_run_again_whatever_snakemake_remembers(house):
    assert Matrix({}, house).to_do() == []
    shutil.rmtree(house / ".snakemake")
    shutil.rmtree(house / "_build" / "cells")
    code, told = snakemake(house, "local", "-n")
    assert code == 0 and "3 cells, of which 3 are current" in told and "chapter" not in told.split("3 are current")[1]


def test_a_fresh_clone_adopts_the_runs_that_were_committed_with_it(house):
    commit(house)
    assert Matrix({}, house).to_do() == []
    assert [cell.model for cell in Matrix({"models": f"{MODEL} {OTHER}"}, house).to_do()] == [OTHER] * 3


def test_a_committed_run_is_not_adopted_once_its_notebook_changed(house):
    commit(house)
    notebook = house / "notebooks" / "lesion.py"
    notebook.write_text(notebook.read_text() + "\n# %%\n1 + 1\n")
    assert Matrix({}, house).to_do() == [Cell("lesion", MODEL), MAP]


def test_a_later_local_run_that_is_stale_hides_a_committed_one_from_the_book_and_so_from_here(house):
    commit(house)
    outcome = execute.run("lesion", MODEL, {"domains": "age"}, house)
    assert outcome.state == "done", outcome.error
    assert set(Matrix({}, house).to_do()) == {Cell("lesion", MODEL), MAP}  # its table is not the map's either


def test_a_mark_of_an_earlier_run_is_removed_where_the_run_is_gone(house):
    (paths.runs(house) / MODEL / "lesion.json").unlink()
    code, told = snakemake(house, "slurm", "--configfile", ROOT / "profiles" / "slurm" / "matrix.yaml", "-n")
    assert code == 0, told
    assert "3 cells, of which 1 are current" in told
    assert told.count("gpu=1") >= 2 and "runtime=15" in told
    assert sorted(path.name for path in (house / "_build/cells/all" / MODEL).iterdir()) == ["geometry"]


def test_a_failed_cell_leaves_what_an_earlier_run_found_and_the_map_is_not_made_without_it(house):
    before = {path.name: path.read_bytes() for path in (paths.runs(house) / MODEL).iterdir()}
    notebook = house / "notebooks" / "lesion.py"
    notebook.write_text(notebook.read_text().replace("fail = False", "fail = True"))
    code, told = snakemake(house, "local", "--config", "threads=1")
    assert code == 1 and "asked to fail" in told
    after = {path.name: path.read_bytes() for path in (paths.runs(house) / MODEL).iterdir()}
    assert {name: after[name] for name in before} == before
    assert sorted(after.keys() - before.keys()) == ["lesion.failed.ipynb"]
    assert not (house / "_build/cells/all" / MODEL / "lesion").exists()


def test_a_job_has_the_limit_of_the_house_unless_another_is_given_and_under_slurm_none(fresh):
    of_slurm = yaml.safe_load((ROOT / "profiles" / "slurm" / "matrix.yaml").read_text())
    for config, last in (({}, ["--unless-current"]), ({"limit": 5}, ["--limit", "5"]), (of_slurm, ["--limit", "0"])):
        assert Matrix(config, fresh).arguments(Cell("lesion", MODEL))[-len(last) :] == last
    page = (ROOT / "book" / "cluster.md").read_text()
    assert f"longer than {kernels.LIMIT} minutes" in page and f"| {kernels.LIMIT}; 0 in" in page


@pytest.mark.parametrize(("said", "leased"), [("true", True), ("false", False), ("False", False), (True, True)])
def test_a_job_has_a_lease_of_its_own_only_where_the_configuration_says_so_as_a_word_too(fresh, said, leased):
    asked = Matrix({"lease": said, "hardware": "8-cores"}, fresh)
    assert ("--gpus" in asked.arguments(Cell("lesion", MODEL))) == leased


def test_a_cell_of_one_domain_is_kept_apart_from_the_book(house):
    before = {path.name: path.read_bytes() for path in (paths.runs(house) / MODEL).iterdir()}
    asked = Matrix({"domains": "drugs age", "techniques": "lesion"}, house)
    assert [cell.key for cell in asked.to_do()] == [f"drugs/{MODEL}/lesion", f"age/{MODEL}/lesion"]
    cell = asked.to_do()[0]
    assert asked.arguments(cell)[-4:] == ["-p", "domains=drugs", "--runs", str(house / "_build/domains/drugs")]
    outcome = execute.run(cell.technique, cell.model, cell.parameters(house), house, "quick", runs=cell.runs(house))
    assert outcome.state == "done", outcome.error
    assert [cell.domain for cell in asked.to_do()] == ["age"]
    assert {path.name: path.read_bytes() for path in (paths.runs(house) / MODEL).iterdir()} == before
    assert Matrix({}, house).to_do() == []


def test_the_books_own_chapters_split_where_they_name_domains_and_can_take_one():
    cells = Matrix({"domains": "drugs age"}, ROOT).cells.values()
    assert {cell.technique for cell in cells} == {"geometry", "lesion", "patching", "saliency"}
    of_geometry = [cell for cell in cells if cell.technique == "geometry"]
    assert [cell.domain for cell in of_geometry] == ["drugs"]  # ages have a chapter of their own
    assert of_geometry[0].parameters(ROOT) == {"comparisons": "drugs:mechanism/origin drugs:specialty/kind"}


def test_the_books_matrix_has_each_chapter_on_the_models_it_is_for():
    cells = Matrix({"models": " ".join((MODEL, OTHER, "scans-llava"))}, ROOT).cells.values()
    of = {model: {cell.technique for cell in cells if cell.model == model} for model in (MODEL, OTHER, "scans-llava")}
    assert of[MODEL] == of[OTHER] and "grad_cam" in of["scans-llava"]
    assert not of[MODEL] & of["scans-llava"]
    assert of[MODEL] | of["scans-llava"] == set(current.techniques(ROOT))


def test_the_map_waits_for_the_chapters_of_its_model_only(fresh):
    asked = Matrix({"models": f"{MODEL} {OTHER}"}, fresh)
    to_do = asked.to_do()
    assert {cell.key for cell in asked.after(MAP, to_do)} == {
        f"all/{MODEL}/{name}" for name in ("geometry", "lesion", "patching")
    }
    assert asked.after(Cell("lesion", MODEL), to_do) == []


def test_memory_and_time_are_those_of_the_plan_and_of_the_recorded_run():
    on_cores, on_gpu = Matrix({"hardware": "8-cores"}, ROOT), Matrix({"hardware": "h100"}, ROOT)
    small, large = (on_cores.needs(Cell("lesion", model)) for model in (MODEL, "qwen3-32b"))
    recorded = json.loads((ROOT / "book" / "runs" / MODEL / "lesion.json").read_text())
    assert small["gpu"] == 0 and on_gpu.needs(Cell("lesion", MODEL))["gpu"] == 1
    assert small["mem_mb"] > recorded["peak_memory_bytes"] / 1e6
    assert small["runtime"] >= recorded["seconds"] / 60 * jobs.MARGIN
    assert large["mem_mb"] > zoo.entry("qwen3-32b")["parameters"] * 4 / 1e6 > 10 * small["mem_mb"]
    assert small["runtime"] < on_gpu.needs(Cell("lesion", "qwen3-32b"))["runtime"] < large["runtime"] / 10
    again = on_cores.needs(Cell("lesion", MODEL), attempt=2)
    assert again == {"gpu": 0, "mem_mb": 2 * small["mem_mb"], "runtime": 2 * small["runtime"]}


def test_a_model_of_which_nothing_is_known_yet_gets_the_time_of_the_recorded_run():
    needs = Matrix({"hardware": "8-cores"}, ROOT).needs(Cell("lesion", "org/other-7b"))
    recorded = [json.loads(path.read_text())["seconds"] for path in (ROOT / "book" / "runs").glob("*/lesion.json")]
    assert needs["runtime"] == pytest.approx(max(recorded) / 60 * jobs.MARGIN, abs=1)


def test_a_model_larger_than_the_gpu_is_refused_since_a_chapter_runs_on_one():
    with pytest.raises(MedlibError, match=r"llama-3\.3-70b needs \d+ GB, and one h100 has 80"):
        Matrix({"hardware": "h100"}, ROOT).needs(Cell("lesion", "llama-3.3-70b"))


def test_hardware_there_is_not_is_refused_with_what_there_is(fresh):
    with pytest.raises(MedlibError, match="no hardware known here.*h100"):
        Matrix({"hardware": "tpu"}, fresh).needs(Cell("lesion", MODEL))


def test_every_accelerator_of_the_plan_has_its_memory():
    assert set(jobs.GPU) == set(planned.ACCELERATORS)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model": MODEL}, "no model in the matrix.*models"),
        ({"models": "smolm2-135m"}, "no model 'smolm2-135m'"),
        ({"techniques": "lesions"}, "Did you mean 'lesion'"),
        ({"profile": "fast"}, "no profile 'fast'"),
        ({"domains": "surgery"}, "No chapter is both for these models"),
        ({"domains": "drugs surgery"}, "None of these chapters has the domain surgery.*they have: drugs"),
        ({"lease": "maybe"}, "lease is true or false, not 'maybe'"),
        ({"threads": "two"}, "threads is a number, not 'two'"),
        ({"models": ""}, "No chapter is both for these models"),
    ],
)
def test_a_mistake_in_the_configuration_is_told_with_what_there_is(fresh, config, words):
    with pytest.raises(MedlibError, match=words):
        Matrix(config, fresh)


def test_the_work_of_another_machine_in_a_shared_house_is_left_alone(fresh):
    mine, other = (fresh / "_build" / "work" / f"999999999-{machine}.lesion.x" for machine in (work.HERE, "0" * 8))
    for folder in (mine, other):
        folder.mkdir(parents=True)
    work.folder(fresh, "lesion", MODEL)
    assert not mine.exists() and other.exists()


@pytest.mark.parametrize(
    ("words", "tries"), [("Kernel died before replying to kernel_info", kernels.TRIES), ("no such kernel", 1)]
)
def test_a_kernel_that_lost_its_port_to_another_is_started_again(fresh, monkeypatch, words, tries):
    import papermill

    calls = []

    def die(*_, **__):
        calls.append(1)
        raise RuntimeError(words)

    monkeypatch.setattr(papermill, "execute_notebook", die)
    outcome = execute.run("lesion", MODEL, house=fresh)
    assert (outcome.state, len(calls)) == ("failed", tries) and words in outcome.error


def test_the_extra_for_clusters_is_what_the_lock_has():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["cluster"]
    lock = (ROOT / "requirements.lock").read_text()
    assert len(extra) == 2 and all(f"\n{pin} " in lock for pin in extra)


def test_both_profiles_go_on_after_a_failure_and_only_one_uses_slurm():
    local, slurm = (
        yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text()) for name in ("local", "slurm")
    )
    assert local["keep-going"] and slurm["keep-going"] and "executor" not in local
    assert slurm["executor"] == "slurm" and slurm["slurm-requeue"]
