"""A cluster of one node on the loopback, with as many made-up GPUs as wanted, in a folder of its own.

SLURM's controller, its node daemon and munge run from Debian's packages (`apt-get install slurm-wlm munge`) with their
own configuration, key and ports, beside whatever else the machine runs.  A GPU is a link to /dev/null: SLURM counts and
assigns it, and nothing can compute on it.
"""

import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd")
SILENCE = 15  # seconds after which a node that does not answer is down
CONFIGURATION = """ClusterName=loopback
SlurmctldHost={name}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/ended.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdTimeout={silence}
ReturnToService=2
MinJobAge=86400
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={name} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
SRUN = """#!/bin/sh
SLURM_CONF={conf} exec {srun} "$@"
"""


class Cluster:
    """Daemons with a lifetime: started on entry, ended with all their jobs on leaving.

    >>> with Cluster(folder, gpus=2) as cluster:
    ...     subprocess.run(["sbatch", ...], env=cluster.environment)
    """

    def __init__(self, folder, gpus):
        self.folder, self.running = folder, {}
        missing = [daemon for daemon in DAEMONS if not _path(daemon)]
        if missing:
            sys.exit(f"{', '.join(missing)} not found. On Debian: apt-get install slurm-wlm munge")
        for name in ("state", "spool", "bin"):
            (folder / name).mkdir(parents=True)
        for i in range(gpus):
            (folder / f"gpu{i}").symlink_to("/dev/null")  # slurmd wants a device, and asks nothing else of it
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o600)
        name = socket.gethostname().split(".")[0]
        self.settings = dict(
            cores=os.cpu_count(), gpus=gpus, memory=psutil.virtual_memory().total // 2**20, silence_seconds=SILENCE
        )
        sizes = {size: self.settings[size] for size in ("cores", "gpus", "memory")}
        facts = dict(name=name, ports=_free_ports(2), user=getpass.getuser(), silence=SILENCE, folder=folder)
        (folder / "slurm.conf").write_text(CONFIGURATION.format(**facts, **sizes))
        (folder / "gres.conf").write_text(f"NodeName={name} Name=gpu File={folder}/gpu[0-{gpus - 1}]\n")
        others = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        self.environment = others | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        }
        # the executor starts srun without the variable; on a real cluster the file is where SLURM looks for it
        (folder / "bin" / "srun").write_text(SRUN.format(conf=folder / "slurm.conf", srun=shutil.which("srun")))
        (folder / "bin" / "srun").chmod(0o755)

    def __enter__(self):
        try:
            kinds = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
            files = [f"--{option}={self.folder}/munge.{kind}" for option, kind in kinds.items()]
            self._start("munged", "--foreground", *files)
            _wait(lambda: (self.folder / "munge.socket").exists(), "munge")
            self._start("slurmctld", "-D")
            self.start_node()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with suppress(subprocess.CalledProcessError):
            self.ask("scancel", "--user", getpass.getuser())
        self.kill_node()
        for process in reversed(self.running.values()):
            process.terminate()
            process.wait()

    def start_node(self):
        """Start the node daemon and wait until the controller has jobs for it."""
        self._start("slurmd", "-D")
        _wait(lambda: re.search(r"^(idle|mix|alloc)", self.ask("sinfo", "-h", "-o", "%T")), "the node")

    def kill_node(self):
        """What a power cut does: the daemon and all processes of its jobs, killed at once; how many they were."""
        daemon = self.running.pop("slurmd", None)
        doomed = [*([psutil.Process(daemon.pid)] if daemon else []), *self._of_jobs()]
        for end in psutil.Process.suspend, psutil.Process.kill:  # or one lives to report how another died
            for process in doomed:
                with suppress(psutil.NoSuchProcess):
                    end(process)
        psutil.wait_procs(doomed, timeout=10)
        if daemon:
            daemon.wait()
        return len(doomed)

    def ask(self, *command):
        """What a command of SLURM's prints."""
        asked = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return asked.stdout.strip()

    def assigned(self):
        """The GPU of each running job: job -> index."""
        told = self.ask("scontrol", "-d", "-o", "show", "job").splitlines()
        jobs = (re.search(r"JobId=(\d+) .*JobState=RUNNING .*GRES=gpu:1\(IDX:(\d+)\)", line) for line in told)
        return {int(job[1]): int(job[2]) for job in jobs if job}

    def ended(self):
        """How the jobs ended so far, in order; one that lost its node, and ran again, ended twice."""
        log = self.folder / "ended.log"
        return re.findall(r"JobState=(\w+)", log.read_text()) if log.is_file() else []

    def _start(self, daemon, *arguments):
        log = (self.folder / f"{daemon}.out").open("a")
        command = [_path(daemon), *arguments]
        self.running[daemon] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def _of_jobs(self):
        """The processes of this cluster's jobs, with those that mind them."""
        found, ours = [], self.environment["SLURM_CONF"].encode()
        for process in psutil.process_iter():
            with suppress(OSError, psutil.Error):
                given = Path(f"/proc/{process.pid}/environ").read_bytes()  # psutil stops where a title overwrote it
                if ours in given and (process.name() == "slurmstepd" or b"SLURM_JOB_ID=" in given):
                    found.append(process)
        return found


def _path(daemon):
    return shutil.which(daemon, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait(ready, what, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(subprocess.CalledProcessError):
            if ready():
                return
        time.sleep(0.5)
    raise SystemExit(f"{what} did not come up in {seconds} s; its log lies beside the configuration")
