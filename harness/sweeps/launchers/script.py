"""The launcher for any scheduler: writes one array script and the lines that submit it."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from frbench.harness.core.atomic import write_atomically
from frbench.harness.core.domains import NonNegativeInt, Positive, PositiveInt
from frbench.harness.sweeps.heartbeat import LOG
from frbench.harness.sweeps.launchers.array_scripts import ARRAY_SCRIPTS, Array, ArrayScript, Resources
from frbench.harness.sweeps.launchers.base import Submission
from frbench.harness.sweeps.plan import Wave

# $1: the number of a task, for a loop in a shell; the output is then shown. After a signal the worker finishes its
# block and exits with code 75.
_BODY = """\
# Jobs of the sweep {sweep}. Submit it with submit.sh, or run all of it here, one job after the other:
#     for number in $(seq {count}); do bash {script} $number; done
groups=({groups})
number=$((${{FRBENCH_OFFSET:-0}} + ${{1:-${{{index}:-1}}}}))
group=${{groups[number - 1]}}
export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{cores}}} PYTHONUNBUFFERED=1
if [ -z "$1" ]; then
  export {log}={logs}/group-$group.log
  exec >>"${log}" 2>&1
fi
cd {folder} || exit 1
{setup}{command} &
worker=$!
trap 'kill -TERM $worker' TERM INT USR1 USR2
while kill -0 $worker 2>/dev/null; do wait $worker; done
wait $worker
code=$?
{requeue}exit $code
"""


@dataclass(frozen=True)
class Script:
    """Writes an array script and the commands that submit it, prints where they are, and stops.

    Attributes:
        scheduler: slurm, pbs (OpenPBS, PBS Pro), sge (Grid Engine) or lsf.
        timeout_min: time limit of a job, in minutes.
        cpus_per_task: CPU cores of a job.
        mem_gb: memory of a job in GB; null for the site's default.
        gpus: GPUs of a job.
        parallel: number of jobs that may run at once.
        array_size: number of jobs of an array; a wave with more jobs is cut.
        header: further lines of the head of the script, such as ``#SBATCH --partition=gpu``.
        setup: shell lines to run before each job, such as ``module load cuda``.
        finish_s: seconds before the time limit at which a job gets the signal to finish its block of images.
        cells_per_job: groups of fewer cells are put together.
    """

    scheduler: Literal["slurm", "pbs", "sge", "lsf"] = "slurm"
    timeout_min: PositiveInt = 60
    cpus_per_task: PositiveInt = 2
    mem_gb: Positive | None = 8.0
    gpus: NonNegativeInt = 0
    parallel: PositiveInt = 256
    array_size: PositiveInt = 1000
    header: Sequence[str] = ()
    setup: Sequence[str] = ()
    finish_s: PositiveInt = 120
    cells_per_job: PositiveInt = 4

    waits = False

    def launch(self, submission: Submission) -> int:
        """Write ``jobs.sh`` and ``submit.sh`` into the folder of the sweep, and print the lines of the latter."""
        submission = submission.limited(self.timeout_min, self.finish_s)
        folder = submission.folder
        folder.logs.mkdir(parents=True, exist_ok=True)
        scheduler = ARRAY_SCRIPTS[self.scheduler]
        script, submit = folder.root.absolute() / "jobs.sh", folder.root.absolute() / "submit.sh"
        lines = self._submit_lines(scheduler, submission.waves, f"frbench-{folder.id}", script)
        _write(script, self._text(scheduler, submission, script))
        _write(submit, "\n".join(["#!/bin/bash", "set -e", *lines, ""]))
        submission.note("script", [], array_script=self.scheduler)
        print(f"jobs: {script}\nto submit them: bash {submit}, or")
        print("\n".join(f"    {line}" for line in lines))
        return 0

    def _text(self, scheduler: ArrayScript, submission: Submission, script: Path) -> str:
        groups = [group for wave in submission.waves.values() for group in wave]
        memory = None if self.mem_gb is None else round(self.mem_gb * 1024)
        logs, cores = submission.folder.logs.absolute(), self.cpus_per_task
        name = f"frbench-{submission.folder.id}"
        job = Resources(name, logs, self.timeout_min, cores, memory, self.gpus, self.finish_s)
        body = _BODY.format(
            sweep=submission.folder.id,
            count=len(groups),
            script=shlex.quote(str(script)),
            groups=" ".join(map(str, groups)),
            index=scheduler.index,
            log=LOG,
            logs=shlex.quote(str(logs)),
            cores=cores,
            folder=shlex.quote(os.getcwd()),
            setup="".join(f"{line}\n" for line in self.setup),
            command=submission.line("group"),
            requeue=_requeuing(scheduler),
        )
        return "\n".join(["#!/bin/bash", *scheduler.header(job), *self.header, body])

    def _submit_lines(
        self, scheduler: ArrayScript, waves: Mapping[Wave, Sequence[int]], name: str, script: Path
    ) -> list[str]:
        """A line for each array, which puts its job id into a variable that the next wave waits for."""
        lines: list[str] = []
        before: list[str] = []
        offset = 0
        for wave, groups in waves.items():
            arrays = []
            for start in range(0, len(groups), self.array_size):
                count = min(self.array_size, len(groups) - start)
                array = Array(offset, count, self.parallel, before)
                arrays.append(f"{wave}{start // self.array_size or ''}")
                lines.append(f"{arrays[-1]}=$({scheduler.submit(array, name, shlex.quote(str(script)))})")
                offset += count
            before = arrays or before
        return [*lines, f"echo submitted: {' '.join(f'${each}' for each in _names(lines))}"]


def _requeuing(scheduler: ArrayScript) -> str:
    """Shell lines for a job that a signal stopped; none in a loop in a shell."""
    lines = "".join(f"  {line}\n" for line in scheduler.requeue)
    return f'if [ $code = 75 ] && [ -z "$1" ]; then\n{lines}fi\n' if lines else ""


def _names(lines: Sequence[str]) -> list[str]:
    return [line.partition("=")[0] for line in lines]


def _write(path: Path, text: str) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(temporary.stat().st_mode | stat.S_IXUSR)

    write_atomically(path, write)
