"""What the schedulers of clusters differ in, for one array script: its header, the line that submits it, requeuing.

Slurm               sbatch --array=1-9
OpenPBS, PBS Pro    qsub -J 1-9
Grid Engine         qsub -t 1-9
LSF                 bsub -J "name[1-9]"
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Resources:
    """What a job asks for.

    Attributes:
        name: of the job.
        logs: folder of its output.
        minutes: time limit.
        cores: CPU cores.
        memory_mb: in MB; None for the site's default.
        gpus: number of GPUs.
        finish_s: seconds before the time limit at which the scheduler signals the job.
    """

    name: str
    logs: Path
    minutes: int
    cores: int
    memory_mb: int | None
    gpus: int
    finish_s: int

    @property
    def clock(self) -> str:
        """The time limit as hours:minutes:seconds."""
        return _clock(self.minutes * 60)


@dataclass(frozen=True)
class Array:
    """One array: ``count`` tasks after the first ``offset`` groups of the script; it starts after the arrays ``after``.

    ``after`` are names of shell variables with job ids; ``parallel`` tasks run at once.
    """

    offset: int
    count: int
    parallel: int
    after: Sequence[str]

    @property
    def limit(self) -> str:
        """``%N`` where fewer tasks may run at once than there are."""
        return f"%{self.parallel}" if self.parallel < self.count else ""


class ArrayScript(Protocol):
    """How a scheduler runs an array script. index: the shell variable with the number of a task, from 1."""

    @property
    def index(self) -> str: ...

    @property
    def requeue(self) -> Sequence[str]:
        """Shell lines that run when a job stopped after a signal, before it exits with code 75."""
        ...

    def header(self, job: Resources) -> list[str]:
        """The lines after ``#!/bin/bash``."""
        ...

    def submit(self, array: Array, name: str, script: str) -> str:
        """A shell command that submits an array and prints the id of the job, and nothing else."""
        ...


@dataclass(frozen=True)
class SlurmScript:
    """Slurm."""

    index = "SLURM_ARRAY_TASK_ID"
    requeue = (
        "job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}",
        '[ "$(squeue --noheader --jobs "$job" --format %T)" = RUNNING ] && scontrol requeue "$job"',
    )

    def header(self, job: Resources) -> list[str]:
        words = [
            f"--job-name={job.name}",
            f"--output={shlex.quote(f'{job.logs}/%A_%a.log')}",
            "--open-mode=append",
            "--requeue",
            f"--signal=B:USR2@{job.finish_s}",
            f"--time={job.minutes}",
            f"--cpus-per-task={job.cores}",
        ]
        words += [f"--mem={job.memory_mb}M"] if job.memory_mb else []
        words += [f"--gpus-per-node={job.gpus}"] if job.gpus else []
        return [f"#SBATCH {word}" for word in words]

    def submit(self, array: Array, name: str, script: str) -> str:
        words = ["sbatch", "--parsable", f"--array=1-{array.count}{array.limit}"]
        words += [f"--export=ALL,FRBENCH_OFFSET={array.offset}"]
        words += ["--dependency=afterany:" + ":".join(f"${each}" for each in array.after)] if array.after else []
        return " ".join([*words, script])


@dataclass(frozen=True)
class PbsScript:
    """OpenPBS and PBS Pro. They let no user requeue a job, so a job that stopped is submitted again by hand."""

    index = "PBS_ARRAY_INDEX"
    requeue = ('echo "frbench: stopped before the time limit; submit the sweep again to continue"',)

    def header(self, job: Resources) -> list[str]:
        chunk = f"select=1:ncpus={job.cores}"
        chunk += f":mem={job.memory_mb}mb" if job.memory_mb else ""
        chunk += f":ngpus={job.gpus}" if job.gpus else ""
        lines = [f"-N {job.name[:15]}", f"-o {shlex.quote(f'{job.logs}/')}", "-j oe", "-V", "-r y", f"-l {chunk}"]
        return [f"#PBS {line}" for line in [*lines, f"-l walltime={job.clock}"]]

    def submit(self, array: Array, name: str, script: str) -> str:
        words = ["qsub", "-v", f"FRBENCH_OFFSET={array.offset}"]
        words += ["-J", f"1-{array.count}{array.limit}"] if array.count > 1 else []  # an array has two jobs or more
        words += ["-W", "depend=afterany:" + ":".join(f"${each}" for each in array.after)] if array.after else []
        return " ".join([*words, script])


@dataclass(frozen=True)
class GridEngineScript:
    """Sun, Univa and Altair Grid Engine. Exit code 99 requeues a job."""

    index = "SGE_TASK_ID"
    requeue = ("exit 99",)

    def header(self, job: Resources) -> list[str]:
        soft = max(60, job.minutes * 60 - job.finish_s)
        lines = [f"-N {job.name}", f"-o {shlex.quote(f'{job.logs}/')}", "-j y", "-S /bin/bash", "-V", "-r y", "-notify"]
        lines += [f"-pe smp {job.cores}", f"-l h_rt={job.clock}", f"-l s_rt={_clock(soft)}"]
        lines += [f"-l h_vmem={max(1, job.memory_mb // job.cores)}M"] if job.memory_mb else []  # of each core
        lines += [f"-l gpu={job.gpus}"] if job.gpus else []
        return [f"#$ {line}" for line in lines]

    def submit(self, array: Array, name: str, script: str) -> str:
        words = ["qsub", "-terse", "-t", f"1-{array.count}", "-tc", str(array.parallel)]
        words += ["-v", f"FRBENCH_OFFSET={array.offset}"]
        words += ["-hold_jid", ",".join(f"${each}" for each in array.after)] if array.after else []
        return " ".join([*words, script, "|", "cut", "-d.", "-f1"])


@dataclass(frozen=True)
class LsfScript:
    """LSF. Its option -Q names exit codes that requeue a job."""

    index = "LSB_JOBINDEX"
    requeue = ()

    def header(self, job: Resources) -> list[str]:
        lines = [f"-o {shlex.quote(f'{job.logs}/%J_%I.log')}", '-Q "75"', "-r", f"-n {job.cores}", '-R "span[hosts=1]"']
        lines += [f"-W {job.minutes}", "-wa USR2", f"-wt {max(1, job.finish_s // 60)}"]
        lines += [f"-M {job.memory_mb}MB"] if job.memory_mb else []
        lines += [f'-gpu "num={job.gpus}"'] if job.gpus else []
        return [f"#BSUB {line}" for line in lines]

    def submit(self, array: Array, name: str, script: str) -> str:
        words = ["bsub", "-J", f'"{name}[1-{array.count}]{array.limit}"']
        words += ["-env", f'"all, FRBENCH_OFFSET={array.offset}"']
        words += ["-w", '"' + " && ".join(f"ended(${each})" for each in array.after) + '"'] if array.after else []
        return " ".join([*words, "<", script, "|", "grep", "-o", "'[0-9]*'", "|", "head", "-1"])


ARRAY_SCRIPTS: Mapping[str, ArrayScript] = {
    "slurm": SlurmScript(),
    "pbs": PbsScript(),
    "sge": GridEngineScript(),
    "lsf": LsfScript(),
}


def _clock(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
