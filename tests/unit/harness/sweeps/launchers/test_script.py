"""The array script: as a loop in a shell, after signals, and how it is submitted."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.slurm_cluster import SlurmCluster, wait_for
from support.toy_sweeps import ToySweep, toy_sweep

from frbench.harness.core.errors import ConfigError
from frbench.harness.sweeps.launchers.array_scripts import ARRAY_SCRIPTS
from frbench.harness.sweeps.launchers.script import Script
from frbench.harness.sweeps.plan import Wave

WAVES = {Wave.FIT: [2], Wave.CLEAN: [], Wave.CELLS: [7, 8, 13]}
# A stand-in for sbatch, qsub and bsub: notes its arguments and the script on its standard input, prints a job id.
RECORDER = """\
#!/bin/bash
echo "$@" >>{log}
if [ ! -t 0 ]; then cat >/dev/null; fi
number=$(wc -l <{log})
echo "{answer}"
"""


def written(tmp_path: Path, launcher: Script, steps: int = 2, seconds: float = 0.05) -> tuple[ToySweep, Path]:
    sweep = toy_sweep(tmp_path / "a folder", WAVES, steps, seconds)
    assert launcher.launch(sweep) == 0
    return sweep, sweep.folder.root / "jobs.sh"


@pytest.mark.parametrize("scheduler", ARRAY_SCRIPTS)
def test_that_a_loop_in_a_shell_does_all_jobs(
    scheduler: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    launcher = Script(scheduler, gpus=1, header=["# mine"], setup=["echo prepared"])  # type: ignore[arg-type]
    sweep, script = written(tmp_path, launcher)
    codes = [subprocess.run(["bash", str(script), str(number)], timeout=60).returncode for number in (1, 2, 3, 4)]
    assert codes == [0, 0, 0, 1] and sweep.made() == {2: 2, 7: 2, 8: 2, 13: 2}
    assert capfd.readouterr().out.count("prepared") == 4
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/bash" and "# mine" in lines[: lines.index("groups=(2 7 8 13)")]


def test_that_a_task_of_an_array_writes_its_log_and_counts_from_its_offset(tmp_path: Path) -> None:
    sweep, script = written(tmp_path, Script())
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "2", "FRBENCH_OFFSET": "1"}
    subprocess.run(["bash", str(script)], env=environment, check=True, timeout=60)
    assert sweep.made() == {8: 2}
    log = sweep.folder.logs / "group-8.log"
    assert log.read_text() == "group 8\n"
    assert f" {log}" in (sweep.files / "starts-8").read_text()


def test_that_a_signalled_script_finishes_its_step_and_exits_with_75(tmp_path: Path) -> None:
    sweep, script = written(tmp_path, Script(), steps=50, seconds=0.2)
    job = subprocess.Popen(["bash", str(script), "1"])
    wait_for(lambda: sweep.starts(2), "the start of the job")
    job.send_signal(signal.SIGUSR2)
    assert job.wait(30) == 75
    assert 1 <= sweep.made()[2] < 50


def test_that_a_job_needs_time_to_work_before_it_is_asked_to_finish(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"finish_s=120 is more than half of launcher\.timeout_min=3;"):
        Script(timeout_min=3).launch(toy_sweep(tmp_path, WAVES))
    assert not (tmp_path / "sweeps" / "toy-1" / "jobs.sh").exists()


SUBMITTED = {
    "slurm": (
        "$number",
        [
            "--parsable --array=1-1 --export=ALL,FRBENCH_OFFSET=0 SCRIPT",
            "--parsable --array=1-2%1 --export=ALL,FRBENCH_OFFSET=1 --dependency=afterany:1 SCRIPT",
            "--parsable --array=1-1 --export=ALL,FRBENCH_OFFSET=3 --dependency=afterany:1 SCRIPT",
        ],
    ),
    "pbs": (
        "$number[].server",
        [
            "-v FRBENCH_OFFSET=0 SCRIPT",
            "-v FRBENCH_OFFSET=1 -J 1-2%1 -W depend=afterany:1[].server SCRIPT",
            "-v FRBENCH_OFFSET=3 -W depend=afterany:1[].server SCRIPT",
        ],
    ),
    "sge": (
        "$number.1-2:1",
        [
            "-terse -t 1-1 -tc 1 -v FRBENCH_OFFSET=0 SCRIPT",
            "-terse -t 1-2 -tc 1 -v FRBENCH_OFFSET=1 -hold_jid 1 SCRIPT",
            "-terse -t 1-1 -tc 1 -v FRBENCH_OFFSET=3 -hold_jid 1 SCRIPT",
        ],
    ),
    "lsf": (
        "Job <$number> is submitted to queue <normal9>.",
        [
            "-J frbench-toy-1[1-1] -env all, FRBENCH_OFFSET=0",
            "-J frbench-toy-1[1-2]%1 -env all, FRBENCH_OFFSET=1 -w ended(1)",
            "-J frbench-toy-1[1-1] -env all, FRBENCH_OFFSET=3 -w ended(1)",
        ],
    ),
}


@pytest.mark.parametrize("scheduler", ARRAY_SCRIPTS)
def test_that_each_wave_is_submitted_to_start_after_the_last(
    scheduler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer, expected = SUBMITTED[scheduler]
    sweep, script = written(tmp_path, Script(scheduler, array_size=2, parallel=1))  # type: ignore[arg-type]
    log = tmp_path / "submitted"
    for name in ("sbatch", "qsub", "bsub"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(RECORDER.format(log=log, answer=answer))
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    submit = sweep.folder.root / "submit.sh"
    done = subprocess.run(["bash", str(submit)], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert log.read_text().splitlines() == [line.replace("SCRIPT", str(script)) for line in expected]
    assert done.stdout.split()[:2] == ["submitted:", "1[].server" if scheduler == "pbs" else "1"]
    printed = capsys.readouterr().out
    assert all(line in printed for line in submit.read_text().splitlines()[2:])


@pytest.mark.slurm
def test_that_a_real_slurm_runs_the_script_and_requeues_a_signalled_task(slurm: SlurmCluster, tmp_path: Path) -> None:
    launcher = Script(cpus_per_task=1, mem_gb=0.5, finish_s=1, header=["#SBATCH --partition=low"])
    sweep, _ = written(tmp_path, launcher, steps=4, seconds=0.5)
    subprocess.run(["bash", str(sweep.folder.root / "submit.sh")], check=True, timeout=60)
    wait_for(lambda: sweep.starts(7), "the start of group 7")
    (job, *_) = slurm.queue("RUNNING")
    slurm.run("scancel", "--signal=USR2", "--batch", job)
    slurm.wait_until_empty()
    assert sweep.made() == {2: 4, 7: 4, 8: 4, 13: 4}
    assert sorted(len(sweep.starts(group)) for group in (2, 7, 8, 13)) == [1, 1, 1, 2]
