"""A Slurm cluster of this one machine: munged, slurmctld and slurmd in a folder, until they are stopped.

python -m tests.stages.slurm_node FOLDER    runs it until Ctrl-C; what to export stands on standard output

Needs Debian's packages slurm-wlm and munge. Two partitions: `cells` for the jobs, and `urgent`, whose jobs
take the place of those in `cells`, which Slurm queues again.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from getpass import getuser
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo", "squeue")
PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

CONFIGURATION = """\
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=2
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory}
PartitionName=cells Nodes=ALL Default=YES PriorityTier=1 State=UP
PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF State=UP
"""


def missing() -> list[str]:
    """The programs of Slurm and MUNGE that are not on this machine."""
    return [name for name in PROGRAMS if shutil.which(name, path=PLACES) is None]


@contextmanager
def slurm_node(folder: Path) -> Iterator[Path]:
    """The configuration file, to be named in SLURM_CONF, of a cluster that runs meanwhile.

    Raises RuntimeError with the end of the logs where the node is not idle within half a minute.
    """
    folder = folder.resolve()
    for own in (folder, folder / "state", folder / "spool"):
        own.mkdir(parents=True, exist_ok=True)
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(1024))
    host = socket.gethostname().split(".")[0]
    ports = _free_ports(2)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=host, controller=ports[0], node=ports[1], folder=folder, user=getuser(),
            cpus=os.cpu_count(), memory=memory,
        )
    )  # fmt: skip
    environment = {**os.environ, "PATH": PLACES, "SLURM_CONF": str(configuration)}
    munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
              f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munge.seed"]  # fmt: skip
    daemons = {"munged": munged, "slurmctld": ["slurmctld", "-D"], "slurmd": ["slurmd", "-D", "-N", host]}
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in daemons.items():
            with (folder / f"{name}.log").open("wb") as log:
                running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder))
            if name == "munged":
                _wait(lambda: (folder / "munge.socket").exists(), folder)
        _wait(lambda: _idle(environment), folder)
        yield configuration
    finally:
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _idle(environment: dict[str, str]) -> bool:
    asked = ["sinfo", "--noheader", "--partition", "cells", "--format", "%T"]
    return subprocess.run(asked, env=environment, capture_output=True, text=True).stdout.strip() == "idle"


def _wait(found, folder: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        if time.monotonic() > deadline:
            ends = {log.name: log.read_text(errors="replace")[-500:] for log in folder.glob("*.log")}
            raise RuntimeError(f"the node did not come up: {ends}")
        time.sleep(0.2)


if __name__ == "__main__":
    lacking = missing()
    if lacking or len(sys.argv) != 2:
        sys.exit(
            f"not installed: {', '.join(lacking)}; apt-get install slurm-wlm munge" if lacking else __doc__
        )
    with slurm_node(Path(sys.argv[1])) as written:
        print(f"export SLURM_CONF={written}", flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()
