"""Heartbeats: a file that says what a worker does now, renewed while it lives."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from frbench.harness.core.atomic import is_alive
from frbench.harness.core.errors import DiskFull
from frbench.harness.runtime import activity, interrupts
from frbench.harness.sweeps.failures import Failure
from frbench.harness.sweeps.plan import PlannedCell
from frbench.harness.sweeps.sweep_folder import SweepFolder

INTERVAL = 30.0  # seconds between heartbeats
_LOOK = 5.0  # seconds between two looks for the file ``stop``
LOG = "FRBENCH_LOG"  # environment variable: the file with the output of this process
FRESH = 4 * INTERVAL  # seconds after which a worker counts as lost; more than the attribute cache of NFS keeps
_JOB = ("SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")  # job ids of schedulers
_TASK = ("SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX", "LSB_JOBINDEX", "SGE_TASK_ID")


def job_id() -> str | None:
    """The id of the job that runs this process, such as ``123_4``; None outside a scheduler."""
    job = next((os.environ[name] for name in _JOB if os.environ.get(name)), None)
    task = next((os.environ[name] for name in _TASK if os.environ.get(name) not in (None, "", "undefined")), None)
    return f"{job}_{task}" if job and task else job


@dataclass
class Heartbeat:
    """Writes the state of this worker to the folder of the sweep.

    The thread that writes also looks for the file ``stop`` there and then asks the worker to stop at the next block.
    """

    folder: SweepFolder
    interval: float = INTERVAL
    cell: PlannedCell | None = None
    _since: float = field(default_factory=time.time)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        """Of this worker: host, job and process."""
        job = job_id()
        return "-".join([socket.gethostname(), *([job] if job else []), str(os.getpid())])

    def starts(self, cell: PlannedCell | None) -> None:
        """The worker now evaluates ``cell``."""
        self.cell, self._since = cell, time.time()
        self.write()

    def located(self, failure: Failure) -> Failure:
        """``failure`` with the job and the log of this worker."""
        return replace(failure, job=job_id(), log=os.environ.get(LOG))

    def write(self, state: str = "running") -> None:
        beat: dict[str, Any] = {
            "state": state,
            "time": time.time(),
            "cell": self.cell.digest if self.cell else None,
            "since": self._since,
            "activity": _words(activity.current()),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "job": job_id(),
            "log": os.environ.get(LOG),
        }
        self.folder.write_heartbeat(self.name, beat)

    @contextmanager
    def beating(self) -> Iterator[Heartbeat]:
        """Renew the file until the end. It remains, with the state ``requeued``, after an ``Interrupted``."""
        thread = threading.Thread(target=self._beat, daemon=True)
        self.write()
        thread.start()
        try:
            yield self
        except interrupts.Interrupted:
            self._end(thread)
            self.write("requeued")
            raise
        except BaseException:
            self._end(thread)
            self.folder.remove_heartbeat(self.name)
            raise
        self._end(thread)
        self.folder.remove_heartbeat(self.name)

    def _end(self, thread: threading.Thread) -> None:
        self._ended.set()
        thread.join()

    def _beat(self) -> None:
        due = time.monotonic() + self.interval
        while not self._ended.wait(min(_LOOK, self.interval)):
            with suppress(OSError, DiskFull):  # a full disk or a lost mount: the work itself reports it
                self.obey_stop()
                if time.monotonic() >= due:
                    due = time.monotonic() + self.interval
                    self.write()

    def obey_stop(self) -> None:
        """Ask this process to stop if the sweep is stopped."""
        if self.folder.stop is not None:
            interrupts.request(f"the sweep is stopped: {self.folder.stop}")


def is_fresh(beat: Mapping[str, Any], now: float) -> bool:
    """Whether the worker of this heartbeat is alive, as far as its file says, and this host if it ran here."""
    if beat["host"] == socket.gethostname() and not is_alive(beat["pid"]):
        return False
    return bool(beat["state"] == "running" and now - beat["time"] < FRESH)


def _words(now: activity.Activity) -> str | None:
    """Such as "attack 128 of 600, 3.1/s"; None before the first loop."""
    if not now.title:
        return None
    total = "" if now.total is None else f" of {now.total}"
    rate = "" if now.rate is None else f", {now.rate:.3g}/s"
    return f"{now.title} {now.done}{total}{rate}"
