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

with lease.lease(int(sys.argv[2]), sys.argv[1] or None) as names:
    print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    sys.stdin.readline()
"""


# What `nvidia-smi` says, by what it is asked: two GPUs listed against their order on the bus; one that is divided.
TWO = """#!/bin/sh
case $1 in
  -L) echo "GPU 0: NVIDIA A (UUID: GPU-1b)"; echo "GPU 1: NVIDIA A (UUID: GPU-1a)" ;;
  --query-gpu=uuid,pci.bus_id) echo "GPU-1b, 00000000:3B:00.0"; echo "GPU-1a, 00000000:1A:00.0" ;;
esac
"""
DIVIDED = """#!/bin/sh
[ $1 = -L ] || exit 0
echo "GPU 0: NVIDIA A (UUID: GPU-2)"
echo "  MIG 3g.40gb     Device  0: (UUID: MIG-5)"
echo "  MIG 3g.40gb     Device  1: (UUID: MIG-6)"
"""
SILENT = "#!/bin/sh\nexit 1\n"


@pytest.fixture
def driver(monkeypatch, tmp_path):
    """Put a program `nvidia-smi` with some text before this machine's own, for this process and those it starts."""
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)

    def put(text):
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "nvidia-smi").write_text(text)
        (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    return put


@pytest.fixture
def two_gpus(monkeypatch, driver):
    """Two GPUs, which need not exist: nothing here opens one."""
    driver(SILENT)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    monkeypatch.setattr(lease, "POLL", 0.02)


@pytest.fixture
def holder(two_gpus, tmp_path):
    """Start a process that leases so many of two GPUs until it is told to end: the process, and what it got.

    Its locks are in `folder`, where medlib keeps them if that is empty; its environment is this one's and `changes`.
    """
    started = []

    def start(n=1, wait=True, folder=tmp_path, **changes):
        environment = {name: value for name, value in (os.environ | changes).items() if value is not None}
        command = [sys.executable, "-c", HOLDER, folder, str(n)]
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


def named(monkeypatch, names):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", names)
    return lease.gpus()


def test_gpus_are_those_that_the_driver_lists_where_no_one_chose(monkeypatch, driver):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with monkeypatch.context() as without:
        without.setattr(lease.shutil, "which", lambda name: None)
        assert lease.gpus() == []
    driver(TWO)
    assert lease.gpus() == ["GPU-1a", "GPU-1b"]
    for none in ("", "-1", "NoDevFiles"):
        assert named(monkeypatch, none) == []


def test_a_number_is_a_place_on_the_bus_and_a_beginning_is_enough_of_a_uuid(monkeypatch, driver):
    driver(TWO)
    assert named(monkeypatch, "0") == named(monkeypatch, "GPU-1a") == ["GPU-1a"]
    assert named(monkeypatch, "1,0,GPU-1b") == ["GPU-1b", "GPU-1a"]
    assert named(monkeypatch, "1,-1,0") == ["GPU-1b"]
    for names, words in (("2", "last that nvidia-smi lists is 1"), ("GPU-1", "more than one"), ("GPU-3", "is no dev")):
        with pytest.raises(MedlibError, match=words):
            named(monkeypatch, names)


def test_among_gpus_of_several_kinds_a_number_needs_an_order(monkeypatch, driver):
    driver(TWO.replace("NVIDIA A", "NVIDIA B", 1))
    with pytest.raises(MedlibError, match="NVIDIA A, NVIDIA B .* CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        named(monkeypatch, "0")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert named(monkeypatch, "0") == ["GPU-1a"]


def test_a_number_is_refused_where_nobody_says_which_gpu_it_is_and_a_uuid_is_taken(monkeypatch, driver):
    driver(SILENT)
    assert named(monkeypatch, "GPU-a,MIG-b") == ["GPU-a", "MIG-b"]
    with pytest.raises(MedlibError, match="no nvidia-smi is here"):
        named(monkeypatch, "0")


def test_a_divided_gpu_is_leased_by_its_parts_however_it_is_named(monkeypatch, driver):
    driver(DIVIDED)
    for names in ("0", "GPU-2", "MIG-5,MIG-6", "MIG-6,0"):
        assert sorted(named(monkeypatch, names)) == ["MIG-5", "MIG-6"]
    assert named(monkeypatch, "MIG-6") == ["MIG-6"]


def test_one_gpu_is_leased_once_whatever_it_is_called_and_whatever_tmpdir_is(holder, tmp_path):
    here, there = (f"GPU-{os.getpid()}{letter}" for letter in "ab")  # no other test's: the folder is shared
    (tmp_path / "bin" / "nvidia-smi").write_text(TWO.replace("GPU-1a", here).replace("GPU-1b", there))
    first, got = holder(folder="", CUDA_VISIBLE_DEVICES="0")
    assert got == here
    for changes in ({"CUDA_VISIBLE_DEVICES": here}, {"CUDA_VISIBLE_DEVICES": "0", "TMPDIR": str(tmp_path)}):
        second, _ = holder(folder="", wait=False, **changes)
        assert f"{here} by process {first.pid}" in second.stderr.readline()
    _, other = holder(folder="", CUDA_VISIBLE_DEVICES=None)
    assert other == there
    for name in (here, there):
        (lease._folder() / f"{name}.lock").unlink()


def test_locks_are_kept_in_a_folder_of_ones_own_only(monkeypatch, tmp_path):
    monkeypatch.setattr(lease, "PLACE", tmp_path)
    folder = lease._folder()
    assert folder.stat().st_mode & 0o777 == 0o700 and folder == lease._folder()
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to("elsewhere")
    with pytest.raises(MedlibError, match="no folder of yours"):
        lease._folder()
    folder.unlink()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    (tmp_path / "medlib-gpus-12345").mkdir()
    with pytest.raises(MedlibError, match="no folder of yours"):
        lease._folder()


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
