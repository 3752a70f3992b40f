"""One sweep through each launcher, its jobs disturbed: the tables are those of a run in this process, byte for byte."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.cluster_sweep import SECONDS, beating, own_parts, run_sweep, status, tables, the_sweep
from support.slurm_cluster import SlurmCluster, wait_for

from frbench.harness.sweeps.sweep_folder import sweep_folders

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the attack and of the experiment, which jobs find as this process does."""
    folder = own_parts(tmp_path_factory.mktemp("parts"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("frbench.harness.reporting.figures.collect.draw", lambda *arguments: [])
        patch.setenv("PYTHONPATH", str(folder))
        patch.syspath_prepend(str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


@pytest.fixture(scope="module")
def expected(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tables of a run in this process."""
    results = tmp_path_factory.mktemp("here")
    assert run_sweep(parts, results) == 1
    found = tables(results)
    assert b"broken on purpose" in b"".join(found.values())
    return found


def restarts(slurm: SlurmCluster, job: str) -> str:
    shown = slurm.run("scontrol", "show", "job", job)
    return next(word for word in shown.split() if word.startswith("Restarts=")).partition("=")[2]


@pytest.mark.slurm
@pytest.mark.timeout(240)
def test_that_requeued_preempted_and_killed_tasks_change_no_table(
    slurm: SlurmCluster, parts: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECONDS, "0.7")
    words = ["launcher=slurm", "launcher.cpus_per_task=1", "launcher.mem_gb=0.9", "launcher.cells_per_job=4"]
    assert run_sweep(parts, tmp_path, *words) == 0
    jobs = [job for each in the_sweep(tmp_path).jobs() if each["wave"] == "cells" for job in each["ids"]]
    assert status(tmp_path)[0] == 3

    wait_for(lambda: len(beating(tmp_path, jobs)) == 2, "two workers")
    requeued, killed = beating(tmp_path, jobs)
    slurm.run("scontrol", "requeue", requeued)
    os.kill(beating(tmp_path, [killed])[killed], signal.SIGKILL)
    wait_for(lambda: set(beating(tmp_path, jobs)) - {requeued, killed}, "another worker")
    preempted = (set(beating(tmp_path, jobs)) - {requeued, killed}).pop()
    slurm.run("sbatch", "--partition=high", "--nodes=2", "--output=/dev/null", "--wrap=sleep 1")
    slurm.wait_until_empty(150)

    assert [restarts(slurm, job) for job in (requeued, killed, preempted)] == ["1", "0", "1"]
    assert "ExitCode=137:0" in slurm.run("scontrol", "show", "job", killed)
    code, text = status(tmp_path)
    assert code in (1, 3) and "broken on purpose" in text
    assert run_sweep(parts, tmp_path) == 1
    assert tables(tmp_path) == expected


def after(condition: Callable[[], object], action: Callable[[], object]) -> threading.Thread:
    """A started thread that waits for ``condition``, then does ``action``."""

    def wait_and_act() -> None:
        wait_for(condition, "what the thread waits for")
        action()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def test_that_processes_one_of_which_is_killed_give_the_same_tables(
    parts: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECONDS, "0.2")

    def workers() -> list[int]:
        return [beat["pid"] for each in sweep_folders(tmp_path) for beat in each.workers().values() if beat["cell"]]

    killing = after(lambda: len(workers()) == 2, lambda: os.kill(workers()[0], signal.SIGKILL))
    assert run_sweep(parts, tmp_path, "launcher=processes", "launcher.workers=2") == 128 + signal.SIGKILL
    killing.join(60)
    assert run_sweep(parts, tmp_path) == 1
    assert tables(tmp_path) == expected


def test_that_a_loop_in_a_shell_over_the_array_script_gives_the_same_tables(
    parts: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    assert run_sweep(parts, tmp_path, "launcher=script", "launcher.cells_per_job=12") == 0
    script = the_sweep(tmp_path).root / "jobs.sh"
    count = len(the_sweep(tmp_path).plan.groups)
    loop = f"for number in $(seq {count}); do bash {script} $number; done"
    subprocess.run(["bash", "-c", loop], check=False, timeout=240, capture_output=True)
    assert status(tmp_path)[0] == 1
    assert tables(tmp_path) == expected


@pytest.mark.timeout(240)
def test_that_a_ray_cluster_that_loses_a_node_gives_the_same_tables(
    parts: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECONDS, "0.5")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray writes a file there
    pytest.importorskip("ray", reason='Ray is not installed; to run this test: pip install -e ".[ray]"')
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    results = tmp_path / "results"
    try:
        node = cluster.add_node(num_cpus=1)

        loss = after(
            lambda: len(list(results.glob("sweeps/*/workers/*.json"))) == 2,
            lambda: cluster.remove_node(node, allow_graceful=False),
        )
        words = ["launcher=ray", f"launcher.address={cluster.address}", "launcher.cells_per_job=8"]
        assert run_sweep(parts, results, *words) == 1
        loss.join(60)
        assert len([each for each in cluster.list_all_nodes() if each.node_id != node.node_id]) == 1
    finally:
        cluster.shutdown()
    assert run_sweep(parts, results) == 1
    assert tables(results) == expected
