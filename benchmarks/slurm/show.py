"""The matrix through SLURM on this machine: two made-up GPUs, a node that dies in the middle, and what is kept.

    python benchmarks/slurm/show.py           # stand-in chapters that wait and save a table: minutes
    python benchmarks/slurm/show.py --real    # the book's text chapters on both embedded models, quick profile: hours

Starts a cluster of one node on the loopback, runs the Snakefile with the SLURM profile, kills the node daemon and the
jobs of the node once some cells are done and others run, starts the daemon again, and waits for the end.  Then it asks
again, and asks in a clone that has the runs committed.  Exit status 1 when a finished cell was run again, a cell is
missing, two jobs had one GPU, or either of the two had anything to do.
"""

import argparse
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import standin  # noqa: E402
from cluster import Cluster  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "_build" / "bench"
MODELS = "smollm2-135m gemma-3-270m"
GPUS, DONE = 2, 3  # the node is killed once so many cells are done
WAIT = 10  # seconds that each stand-in chapter takes, besides starting


def snakemake(house, cluster, *more):
    """The command a user would give, in words for `subprocess`."""
    profile = ROOT / "profiles" / "slurm"
    files = ["--profile", profile, "--snakefile", ROOT / "Snakefile", "--configfile", profile / "matrix.yaml"]
    local = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5"]  # no accounting here
    asked = ["--directory", house, "--config", f"models={MODELS}", "threads=1"]
    command = [sys.executable, "-m", "snakemake", *files, *asked, *(local if cluster else ()), *more]
    return [str(word) for word in command]


def a_house(folder, real):
    """Notebooks to run, in a folder of their own without a run."""
    if not real:
        return standin.house(folder, seconds=WAIT)
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    for name in ("_toc.yml", "requirements.lock"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def records(house):
    """The runs there are: cell -> sha256 of its record."""
    files = sorted((house / "_build" / "runs").glob("*/*.json"))
    return {f"{path.parent.name}/{path.stem}": hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def show(folder, real):
    """Run, kill, recover and ask again: what was seen, as JSON values."""
    house, start = a_house(folder / "house", real), time.monotonic()
    log = (folder / "snakemake.log").open("w")
    seen = {"stand_in": not real, "gpus": GPUS, "shared": 0, "at_once": 0}

    def clock():
        return round(time.monotonic() - start)

    with Cluster(folder / "slurm", GPUS) as cluster:
        seen["node"] = cluster.settings
        seen["slurm"] = cluster.ask("sinfo", "--version").split()[-1]
        run = subprocess.Popen(
            snakemake(house, cluster, "--nocolor"), env=cluster.environment, stdout=log, stderr=subprocess.STDOUT
        )
        kept = None
        try:
            while run.poll() is None:
                time.sleep(1)
                assigned = cluster.assigned()
                seen["shared"] += len(set(assigned.values())) < len(assigned)
                seen["at_once"] = max(seen["at_once"], len(assigned))
                done, works = records(house), list((house / "_build" / "work").glob("*.*"))
                if kept is None and len(done) >= DONE and len(works) == len(assigned) == GPUS:
                    kept = done
                    seen["killed"] = dict(
                        at=clock(), done=len(done), running=len(assigned), processes=cluster.kill_node()
                    )
                    down(cluster)
                    seen["killed"]["noticed"] = clock()
                    cluster.start_node()
                    seen["killed"]["back"] = clock()
        finally:
            run.kill()  # asked to end, it would wait for its jobs
            run.wait()
        seen["seconds"], seen["exit"], seen["ended"] = clock(), run.returncode, cluster.ended()
        after = records(house)
        seen["cells"] = len(after)
        seen["kept"] = sum(after.get(cell) == digest for cell, digest in (kept or {}).items())
        again = subprocess.run(
            snakemake(house, cluster), env=cluster.environment, capture_output=True, text=True, check=True
        )
        seen["again"] = said(again.stderr)
    shutil.copytree(house, folder / "clone", ignore=shutil.ignore_patterns("_build", ".snakemake"))
    shutil.copytree(house / "_build" / "runs", folder / "clone" / "book" / "runs")
    clone = subprocess.run(snakemake(folder / "clone", None, "-n"), capture_output=True, text=True, check=True)
    seen["clone"] = said(clone.stderr + clone.stdout)
    return seen


def down(cluster):
    """Wait until the controller takes the node for dead; its jobs are queued again then."""
    while "down" not in cluster.ask("sinfo", "-h", "-o", "%T"):
        time.sleep(1)


def said(text):
    """What the Snakefile says of the matrix: `[cells, current]`."""
    return [int(number) for number in re.search(r"(\d+) cells, of which (\d+) are current", text).groups()]


def right(seen):
    """Whether what was seen is what the page says."""
    killed = seen.get("killed")
    whole = seen["exit"] == 0 and seen["again"] == seen["clone"] == [seen["cells"]] * 2
    lost = seen["ended"].count("NODE_FAIL")
    jobs = len(seen["ended"]) == seen["cells"] + lost and seen["ended"].count("COMPLETED") == seen["cells"]
    alone = not seen["shared"]
    return bool(whole and jobs and alone and killed and seen["kept"] == killed["done"] and lost == killed["running"])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--real", action="store_true", help="the book's chapters in place of stand-ins")
    real = arguments.parse_args().real
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the daemons end too
    folder = Path(tempfile.mkdtemp(prefix="medlib-slurm-"))
    folder.chmod(0o711)  # munge refuses a socket that others cannot reach
    seen = show(folder, real)
    packages = ("snakemake", "snakemake-executor-plugin-slurm")
    machine = {"slurm": seen.pop("slurm"), **{name: version(name) for name in packages}}
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "slurm.json").write_text(json.dumps({"machine": machine | seen.pop("node"), **seen}, indent=1) + "\n")
    print((FOLDER / "slurm.json").read_text())
    if not right(seen):
        sys.exit(f"Not as it should be; the logs are in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
