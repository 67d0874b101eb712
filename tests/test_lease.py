"""A GPU is leased to one job at a time, and the lease of a job that died is free."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path

import pytest

from medlib import MedlibError, cli
from medlib.book import execute, lease

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks" / "slurm"))
import standin  # noqa: E402

HOLDER = """
import os, sys, time
from medlib.book import lease

with lease.lease(int(sys.argv[2]), sys.argv[1]) as names:
    print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def two_gpus(monkeypatch):
    """Two GPUs, which need not exist: nothing here opens one."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    monkeypatch.setattr(lease, "POLL", 0.02)


@pytest.fixture
def holder(tmp_path):
    """Start a process that leases so many of two GPUs until it is told to end: the process, and what it got."""
    started = []

    def start(n=1, wait=True):
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}
        command = [sys.executable, "-c", HOLDER, tmp_path, str(n)]
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process = subprocess.Popen(command, env=environment, text=True, **pipes)
        started.append(process)
        return (process, process.stdout.readline().strip()) if wait else (process, None)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_jobs_at_the_same_time_get_different_gpus(holder, tmp_path):
    (first, of_first), (second, of_second) = holder(), holder()
    assert {of_first, of_second} == {"GPU-a", "GPU-b"}
    assert lease.holders(tmp_path) == {of_first: first.pid, of_second: second.pid}


def test_a_third_job_waits_says_who_holds_what_and_gets_the_gpu_that_becomes_free(holder):
    (first, of_first), (second, of_second) = holder(), holder()
    third, _ = holder(wait=False)
    told = third.stderr.readline()
    assert f"{of_first} by process {first.pid}" in told and f"{of_second} by process {second.pid}" in told
    second.stdin.write("end\n")
    second.stdin.flush()
    assert third.stdout.readline().strip() == of_second
    assert first.poll() is None and second.wait() == 0


def test_the_lease_of_a_killed_job_is_free_at_once_and_nothing_is_cleaned_up(holder, two_gpus, tmp_path):
    process, got = holder(2)
    assert got == "GPU-a,GPU-b"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sorted(path.read_text() for path in tmp_path.glob("*.lock")) == [str(process.pid)] * 2  # left as they were
    assert lease.holders(tmp_path) == {}
    with lease.lease(2, tmp_path) as names:
        assert names == ["GPU-a", "GPU-b"]
        assert lease.holders(tmp_path) == {"GPU-a": os.getpid(), "GPU-b": os.getpid()}


def test_a_file_left_by_a_process_whose_number_is_in_use_again_holds_nothing(two_gpus, tmp_path):
    (tmp_path / "GPU-a.lock").write_text(str(os.getppid()))  # a process that lives, and leased nothing
    with lease.lease(1, tmp_path) as names:
        assert names == ["GPU-a"]


def test_two_that_want_both_gpus_do_not_wait_for_each_other(holder):
    started = time.monotonic()
    processes = [holder(2, wait=False)[0] for _ in range(3)]
    for process in processes:
        process.stdin.write("end\n")
        process.stdin.flush()
    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    assert [process.stdout.readline().strip() for process in processes] == ["GPU-a,GPU-b"] * 3, (
        time.monotonic() - started
    )


def test_the_environment_is_as_before_once_the_lease_is_over(two_gpus, tmp_path):
    with pytest.raises(ValueError), lease.lease(1, tmp_path):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a"
        raise ValueError
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    assert lease.holders(tmp_path) == {}


def test_more_gpus_than_there_are_is_refused_before_anyone_waits(two_gpus, tmp_path):
    with pytest.raises(MedlibError, match=r"3; here: GPU-a, GPU-b"), lease.lease(3, tmp_path):
        pass


def test_no_gpu_asked_for_changes_nothing_and_needs_none(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with lease.lease(0, tmp_path) as names:
        assert names == [] and os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert list(tmp_path.iterdir()) == []


def test_gpus_are_those_that_the_driver_lists_where_no_one_chose(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert lease.gpus() == []
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n[ $1 = --query-gpu=uuid ] && echo GPU-1 && echo GPU-2\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert lease.gpus() == ["GPU-1", "GPU-2"]
    for none in ("", "-1", "NoDevFiles"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert lease.gpus() == []


@pytest.fixture
def leased(two_gpus, tmp_path, monkeypatch):
    """A stand-in house in which executing a notebook only tells, as its error, what it was leased."""
    house = standin.house(tmp_path / "house")

    def run(technique, model=None, *_, **__):
        got = ",".join(lease.holders(tmp_path))
        assert got == os.environ["CUDA_VISIBLE_DEVICES"]
        return execute.Outcome(technique, model or "smollm2-135m", "done", error=got)

    monkeypatch.setattr(execute, "run", run)
    monkeypatch.setattr(lease, "_folder", lambda: tmp_path)
    monkeypatch.chdir(house)
    return house


def test_run_all_leases_gpus_for_each_notebook_one_at_a_time_or_several(leased):
    asked = execute.run_all(["lesion", "geometry"], ["smollm2-135m"], leased, gpus=1)
    assert [outcome.error for outcome in asked] == ["GPU-a", "GPU-a"]  # the first is free again
    here, there = Pipe(duplex=False)
    execute._send_outcome(there, 2, 2, "lesion", "smollm2-135m")  # what each process of several does
    assert here.recv().error == "GPU-a,GPU-b"
    with pytest.raises(MedlibError, match="asked for: 3"):
        next(execute.run_all(["lesion"], ["smollm2-135m"], leased, gpus=3, jobs=2))


def test_the_command_leases_too_and_says_when_there_are_not_so_many(leased, monkeypatch, capsys):
    codes = []
    for n in "2", "3":
        monkeypatch.setattr(sys, "argv", ["medlib", "run", "lesion", "--gpus", n])
        with pytest.raises(SystemExit) as end:
            cli.main()
        codes.append(end.value.code)
    assert codes == [0, 1] and "GPUs asked for: 3; here: GPU-a, GPU-b" in capsys.readouterr().err
