"""The launcher of a Slurm cluster: one array task for each group of cells, submitted with submitit."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frbench.harness.core.domains import NonNegativeInt, Positive, PositiveInt
from frbench.harness.core.errors import FrbenchError
from frbench.harness.sweeps.heartbeat import LOG
from frbench.harness.sweeps.launchers.base import Submission
from frbench.harness.sweeps.launchers.slurm_task import SlurmTask
from frbench.harness.sweeps.slurm_queue import joined, max_array_size

_MARGIN = 10.0  # seconds between the requeue of a task that does not finish its block and its time limit
_TIMEOUTS = 10**6  # submitit must not count them: the guard of the worker ends a cell that makes no progress


@dataclass(frozen=True)
class Slurm:
    """Submits the groups of a sweep as arrays and returns: fits first, then clean scores, then cells.

    Attributes:
        partition: of the site; null for its default.
        account: that pays for the jobs; null for the user's default.
        timeout_min: time limit of a task, in minutes. A task that reaches it is requeued and continues.
        cpus_per_task: CPU cores of a task.
        mem_gb: memory of a task in GB; null for the site's default.
        gpus: GPUs of a task.
        parallel: number of tasks that may run at once.
        setup: shell lines to run before each task, such as ``module load cuda``.
        sbatch: further options of sbatch, such as ``{qos: long}``.
        finish_s: seconds before the time limit at which a task gets the signal to finish its block of images.
        cells_per_job: groups of fewer cells are put together.
    """

    partition: str | None = None
    account: str | None = None
    timeout_min: PositiveInt = 60
    cpus_per_task: PositiveInt = 2
    mem_gb: Positive | None = 8.0
    gpus: NonNegativeInt = 0
    parallel: PositiveInt = 256
    setup: Sequence[str] = ()
    sbatch: Mapping[str, Any] = field(default_factory=dict)
    finish_s: PositiveInt = 120
    cells_per_job: PositiveInt = 4

    waits = False

    def launch(self, submission: Submission) -> int:
        """Submit one array for each wave, or several where ``MaxArraySize`` asks for it. Each starts after the last."""
        submission = submission.limited(self.timeout_min, self.finish_s)
        executor = self._executor(submission.folder.logs)
        size = max_array_size()
        before: list[str] = []
        noted: list[str] = []
        for wave, groups in submission.waves.items():
            name = f"frbench-{wave}-{submission.folder.id}"
            after = f"afterany:{':'.join(before)}" if before else None
            arrays: list[str] = []
            for start in range(0, len(groups), size):
                part = groups[start : start + size]
                executor.update_parameters(job_name=name, dependency=after)
                ids = _submit(executor, [self._task(submission, group) for group in part], [*noted, *arrays])
                parameters = {key: value for key, value in executor.parameters.items() if value is not None}
                submission.note("slurm", ids, part, scheduler="slurm", wave=str(wave), parameters=parameters)
                arrays.append(ids[0].partition("_")[0])
            before, noted = arrays or before, [*noted, *arrays]
        return 0

    def _executor(self, logs: Path) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise FrbenchError('launcher=slurm needs submitit; install it: pip install "frbench[slurm]"') from error
        missing = [name for name in ("sbatch", "srun", "scontrol") if not shutil.which(name)]
        if missing:
            raise FrbenchError(
                f"{', '.join(missing)} not found; launcher=slurm needs Slurm: run frbench on a login node"
            )
        logs.mkdir(parents=True, exist_ok=True)
        logs.chmod(0o700)  # jobs load pickles from this folder
        executor = submitit.SlurmExecutor(logs, max_num_timeout=_TIMEOUTS)
        executor.update_parameters(**self._parameters())
        return executor

    def _parameters(self) -> dict[str, Any]:
        """Parameters of submitit. srun takes the number of cores from its own option alone since Slurm 22.05."""
        memory = None if self.mem_gb is None else f"{round(self.mem_gb * 1024)}M"
        return {
            "partition": self.partition,
            "account": self.account,
            "time": self.timeout_min,
            "cpus_per_task": self.cpus_per_task,
            "srun_args": [f"--cpus-per-task={self.cpus_per_task}"],
            "mem": memory,
            "gpus_per_node": self.gpus or None,
            "array_parallelism": self.parallel,
            "setup": list(self.setup) or None,
            "signal_delay_s": self.finish_s,
            "stderr_to_stdout": True,
            "wckey": None,
            "additional_parameters": {"requeue": True, **self.sbatch},
        }

    def _task(self, submission: Submission, group: int) -> SlurmTask:
        patience = max(self.finish_s - _MARGIN, self.finish_s / 2)
        return SlurmTask(tuple(submission.command(group)), {LOG: "{log}", "PYTHONUNBUFFERED": "1"}, patience)


def _submit(executor: Any, tasks: Sequence[SlurmTask], noted: Sequence[str]) -> list[str]:
    """Submit an array and return the ids of its tasks. Raises FrbenchError: sbatch refused it."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    before = _unsubmitted(executor.folder)
    try:
        with redirect_stderr(io.StringIO()), _outside_of_a_job():  # submitit prints what sbatch says as well
            return [str(job.job_id) for job in executor.submit_array(tasks)]
    except (FailedJobError, FailedSubmissionError) as error:
        for path in _unsubmitted(executor.folder) - before:
            path.unlink(missing_ok=True)
        done = f"arrays {', '.join(noted)} are submitted and run" if noted else "nothing is submitted"
        raise FrbenchError(
            f"sbatch refused the jobs: {joined(str(error))}; {done}; correct the cause and run again"
        ) from error


def _unsubmitted(logs: Path) -> set[Path]:
    """The files of submitit without the id of a job."""
    scripts = {path for path in logs.glob(".submission_file_*.sh") if not path.is_symlink()}
    return scripts | {path for path in logs.glob("*.pkl") if re.fullmatch(r"[0-9a-f]{32}", path.stem)}


@contextmanager
def _outside_of_a_job() -> Iterator[None]:
    """Without the variables of the job in which frbench runs, if it does: a new job would inherit them."""
    inside = "SLURM_JOB_ID" in os.environ
    hidden = [name for name in os.environ if inside and name.startswith("SLURM") and name != "SLURM_CONF"]
    values = {name: os.environ.pop(name) for name in hidden}
    try:
        yield
    finally:
        os.environ.update(values)
