"""The page of speed and memory says what the benchmarks wrote, and what has not been measured."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from medlib.book.pages import speed_pages

sys.path[:0] = [str(Path(__file__).parent.parent / "benchmarks")]
import bench  # noqa: E402
import jobs  # noqa: E402
import peers  # noqa: E402

MACHINE = {"machine": {"model": "a-model", "threads": 1}}


def runs(seconds):
    return [dict(seconds=seconds, extra=2**20, peak=2**21, result=np.array([[1.0, -2.0]]))]


def through_slurm():
    killed = dict(at=90, done=3, running=2, processes=9, noticed=105, back=107)
    seen = dict(stand_in=True, gpus=2, shared=0, at_once=2, cells=8, killed=killed, kept=3, seconds=400, exit=0)
    machine = {"slurm": "22.05.8", "snakemake": "9", "snakemake-executor-plugin-slurm": "2"}
    seen["machine"] = machine | dict(cores=2, gpus=2, memory=24 * 2**10, silence_seconds=15)
    return seen | dict(ended=["COMPLETED"] * 8 + ["NODE_FAIL"] * 2, again=[8, 8], clone=[8, 7])


@pytest.fixture
def measured(tmp_path):
    """What each benchmark writes, through its own functions where it has them."""
    beside = {
        peers.OURS: runs(2),
        ("nnsight", "batched"): runs(9),
        ("pyvene", "batched"): [{"error": "TypeError: no"}],
        ("nnsight", "documented"): runs(40),
    }
    facts = dict(largest=1.0, layers=30, weights=1000)
    hooks = {"plain": runs(10), "careful": runs(5), "medlib": runs(4)}
    curve = dict(sweep="patch_sweep", size="layers", sizes=[4, 8], seconds=[1, 3.9])
    curve |= dict(exponent=1.96, end=1.98, expected=2)
    plan = {"model": "a-model", "technique": "lesion", "planned": 2.0, "measured": 4.0, "within": False}
    plan |= {"planned memory": 2**30, "measured memory": 2**31}
    walk = dict(technique="saliency", seconds=74, check=20, peak=1.5 * 2**30, walk=0.921)
    found = {
        "peers": MACHINE | {"jobs": {"patch early": peers.summary("patch early", beside, 30)}},
        "bench": MACHINE | {"jobs": {"lesion": bench.summary(jobs.JOBS["lesion"], facts, hooks)}},
        "scaling": MACHINE | {"curves": [curve, curve | {"sweep": "lesion_sweep"}]},
        "planned": MACHINE | {"plans": [plan]},
        "stream": MACHINE | dict(weights=15 * 2**30, memory="4GiB", techniques=[walk]),
        "slurm": through_slurm(),
    }
    for name, content in found.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def pages(folder):
    return {name: (folder / f"speed_{name}.md").read_text() for name in speed_pages.MEASURED}


def test_the_page_shows_ratios_targets_and_the_machine(measured, tmp_path):
    speed_pages.write(tmp_path, measured)
    said = pages(tmp_path)
    assert "| 4.5 (nnsight) | – | 20 (nnsight) | 3, met |" in said["peers"]
    assert "cannot: TypeError: no" in said["peers"]
    assert "CPU time / plain 0.4, at most 0.5" in said["bench"] and "met" in said["bench"]
    assert "| 1.96 | 1.98 | 2 |" in said["scaling"] and (tmp_path / "scaling.png").stat().st_size > 10_000
    assert "2.00, off" in said["planned"]
    assert "| saliency | 74 s | 20 s | 1.50 GiB | 0.921 |" in said["stream"] and "at most 4 GiB" in said["stream"]
    assert "| 8, stand-ins for chapters" in said["slurm"] and "| 3 of 3, byte for byte |" in said["slurm"]
    assert "| completed 8, node fail 2 |" in said["slurm"] and "| 7 of 8 |" in said["slurm"]
    assert "one node of 2 cores and 24 GiB, given up after 15 s without" in said["slurm"]
    assert all("threads 1" in said[name] for name in said if name != "slurm")


def test_what_was_not_measured_is_said_with_the_command_that_does(tmp_path):
    speed_pages.write(tmp_path, tmp_path / "nowhere")
    for name, command in speed_pages.MEASURED.items():
        assert f"`{command}`" in pages(tmp_path)[name]
