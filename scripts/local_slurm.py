#!/usr/bin/env python3
"""A real Slurm on this machine alone, to try ``launcher=slurm`` and for the tests marked ``slurm``.

    eval "$(python scripts/local_slurm.py up)"     # sets SLURM_CONF: sinfo, sbatch and frbench use this Slurm
    sinfo
    python scripts/local_slurm.py down             # cancels its jobs, stops its daemons, deletes its folder

Each node is a slurmd of its own with one CPU. Two partitions: ``low`` is the default, and a job in ``high`` preempts
a job in ``low``, which Slurm then requeues. All daemons run as the user who calls this script, so root is not needed.
They listen on free ports, authenticate each other through a munged with its own key, and keep all files in one folder,
so that an installed Slurm is not touched.

This script installs nothing; it names what is missing.
"""

from __future__ import annotations

import argparse
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

USER = getpass.getuser()
INSTALL = "apt-get install -y --no-install-recommends slurm-wlm munge"
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
MUNGE_FILES = (
    ("key-file", "key"),
    ("socket", "socket"),
    ("pid-file", "pid"),
    ("log-file", "log"),
    ("seed-file", "seed"),
)
READY_SECONDS = 30.0
CANCEL_SECONDS = 30.0
STOP_SECONDS = 15.0

# GraceTime: seconds between the signal and the requeue of a preempted job. KillWait: seconds from SIGTERM to SIGKILL.
# cred_expire is also the time that a requeued job waits before it starts again: 120 s by default, 5 s at least.
CONFIG = """\
ClusterName=frbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MaxArraySize={max_array_size}
KillWait=5
JobRequeue=1
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
MinJobAge=300
{nodes}
PartitionName=low Nodes=ALL Default=YES MaxTime=01:00:00 State=UP PriorityTier=1 GraceTime=3 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL MaxTime=01:00:00 State=UP PriorityTier=10 PreemptMode=OFF
"""


class SetupError(Exception):
    """Something that the user can fix; its text is printed in one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Start or stop a real Slurm on this machine.")
    parser.add_argument("action", choices=("up", "down"))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / f"frbench-slurm-{USER}")
    parser.add_argument("--nodes", type=int, default=2, help="number of nodes, each with one CPU")
    parser.add_argument("--memory", type=int, default=2000, help="memory of each node in MB")
    parser.add_argument("--max-array-size", type=int, default=1001, help="Slurm's MaxArraySize")
    options = parser.parse_args(arguments)
    folder = options.folder.absolute()
    try:
        if options.action == "up":
            check_programs()
            up(folder, options)
            print(f"export SLURM_CONF={folder / 'slurm.conf'}")
        else:
            down(folder)
    except SetupError as error:
        print(f"local_slurm: {error}", file=sys.stderr)
        return 2
    return 0


def check_programs() -> None:
    missing = [name for name in PROGRAMS if not shutil.which(name, path=search_path())]
    if missing:
        raise SetupError(f"{', '.join(missing)} not found; on Debian or Ubuntu: {INSTALL}")


def search_path() -> str:
    """The search path with the folders of system daemons, which an ordinary PATH lacks."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def up(folder: Path, options: argparse.Namespace) -> None:
    """Start munged, slurmctld and the slurmds, and wait until each node is idle; after an error none is left."""
    if folder.exists():
        raise SetupError(
            f"{folder} exists; stop that Slurm first: python scripts/local_slurm.py down --folder {folder}"
        )
    with ExitStack() as undo:
        undo.callback(down, folder)
        names = write_files(folder, options)
        start_daemons(folder, names)
        if not wait_until(lambda: node_states(folder) == ["idle"] * len(names), READY_SECONDS):
            raise SetupError(f"nodes are {node_states(folder)} after {READY_SECONDS:.0f} s; {last_lines(folder)}")
        undo.pop_all()


def write_files(folder: Path, options: argparse.Namespace) -> list[str]:
    """Make the folder with munge's key and slurm.conf, and return the names of the nodes."""
    folder.mkdir(parents=True, mode=0o755)
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    names = [f"n{number}" for number in range(1, options.nodes + 1)]
    host, (port, *node_ports) = socket.gethostname().split(".")[0], free_ports(options.nodes + 1)
    lines = []
    for name, node_port in zip(names, node_ports, strict=True):
        (folder / f"spool.{name}").mkdir()
        lines.append(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs=1 "
            f"RealMemory={options.memory} State=UNKNOWN"
        )
    text = CONFIG.format(
        folder=folder,
        host=host,
        port=port,
        user=USER,
        max_array_size=options.max_array_size,
        nodes="\n".join(lines),
    )
    (folder / "slurm.conf").write_text(text, encoding="utf-8")
    return names


def free_ports(count: int) -> list[int]:
    with ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def start_daemons(folder: Path, names: Sequence[str]) -> None:
    """All of them go to the background and write a pid file."""
    # --force: the socket may lie in a folder that only this user can enter, as temporary folders often are.
    munge = [f"--{name}={folder / f'munge.{ending}'}" for name, ending in MUNGE_FILES]
    call(folder, "munged", "--force", *munge)
    call(folder, "slurmctld", "-c", "-f", str(folder / "slurm.conf"))
    for name in names:
        call(folder, "slurmd", "-N", name, "-f", str(folder / "slurm.conf"))


def call(folder: Path, *command: str) -> None:
    """Run ``command`` to its end. Its output goes to a file: a daemon keeps the output of its parent open."""
    path = folder / f"{command[0]}.out"
    with path.open("wb") as out:
        code = subprocess.run(command, stdout=out, stderr=out, env=environment(folder), check=False).returncode
    if code:
        raise SetupError(f"{command[0]} failed with exit code {code}: {path.read_text(errors='replace').strip()}")


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PATH": search_path(), "SLURM_CONF": str(folder / "slurm.conf")}


def ask(folder: Path, *command: str) -> list[str]:
    """The lines that ``command`` prints, none if it fails."""
    run = subprocess.run(command, capture_output=True, text=True, env=environment(folder), check=False, timeout=60)
    return run.stdout.split("\n")[:-1] if run.returncode == 0 else []


def node_states(folder: Path) -> list[str]:
    """The state of each node; ``sinfo -N`` prints a node once for each of its partitions."""
    return [line.split()[1] for line in sorted({*ask(folder, "sinfo", "-h", "-N", "-o", "%N %T")})]


def last_lines(folder: Path) -> str:
    path = folder / "slurmctld.log"
    return " | ".join(path.read_text(errors="replace").splitlines()[-3:]) if path.is_file() else "no slurmctld.log"


def down(folder: Path) -> None:
    """Cancel all jobs, stop the daemons whose pid files lie in ``folder``, and delete it."""
    if not folder.is_dir():
        return
    if not (folder / "slurm.conf").is_file():
        raise SetupError(f"{folder} has no slurm.conf, so no Slurm of this script runs there")
    if ask(folder, "squeue", "-h", "-o", "%i"):
        ask(folder, "scancel", "--user", USER)
        wait_until(lambda: not ask(folder, "squeue", "-h", "-o", "%i"), CANCEL_SECONDS)
    for path in [*folder.glob("slurmd.*.pid"), folder / "slurmctld.pid", folder / "munge.pid"]:
        stop(path)
    shutil.rmtree(folder)


def stop(pid_file: Path) -> None:
    """End the process of ``pid_file`` if its command line still names the folder, and wait until it is gone."""
    if not pid_file.is_file():
        return
    pid = int(pid_file.read_text())
    for each in (signal.SIGTERM, signal.SIGKILL):
        if is_ours(pid, pid_file.parent):
            os.kill(pid, each)
            wait_until(lambda: not is_ours(pid, pid_file.parent), STOP_SECONDS)


def is_ours(pid: int, folder: Path) -> bool:
    try:
        return str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


if __name__ == "__main__":
    sys.exit(main())
