"""Section ``stops`` of scripts/faults.py: signals, ``frbench cancel``, and a cell that fails with ``fail_fast``."""

from __future__ import annotations

import random
from pathlib import Path

from _fault_tools import Bench, Child, Ended, Result, records, wait_until

STOPPED = 75  # exit code


def stops(bench: Bench, rng: random.Random, count: int) -> Result:
    """Sweeps that are stopped while they run and continued. count: of processes with ``launcher=processes``."""
    result = Result("stops")
    _terminated(bench, result, bench.results("processes"), "launcher=processes", f"launcher.workers={count}")
    if count > 1:
        _terminated(bench, result, bench.results("here"))
    _terminated_worker(bench, result)
    _cancelled(bench, result)
    _fail_fast(bench, result)
    result.check(int(str(result.facts["stopped"])) > 0, "every sweep ended before it was stopped")
    return result


def _terminated(bench: Bench, result: Result, results: Path, *launcher: str) -> None:
    """SIGTERM to ``frbench run`` when the first cell is done."""
    child = bench.start(["run", *bench.words(results, *launcher)])
    _wait_for_a_record(results, child)
    child.stop()
    _check_stopped(bench, result, results, child.wait())
    bench.check_finished(result, results, bench.sweep(results))


def _terminated_worker(bench: Bench, result: Result) -> None:
    results = bench.results("work")
    work = ["work", bench.plan(results), f"paths.results={results}"]
    child = bench.start(work)
    _wait_for_a_record(results, child)
    child.stop()
    _check_stopped(bench, result, results, child.wait())
    bench.check_finished(result, results, bench.run(work))


def _cancelled(bench: Bench, result: Result) -> None:
    """``frbench cancel`` while two workers run."""
    results = bench.results("cancel")
    sweep, where = bench.plan(results), f"paths.results={results}"
    workers = [bench.start(["work", sweep, where]) for _ in range(2)]
    _wait_for_a_record(results, *workers)
    cancelled = bench.run(["cancel", sweep, where])
    result.check(cancelled.code == 0, cancelled.err)
    done = len(records(results))
    for worker in workers:
        _check_stopped(bench, result, results, worker.wait())
    later = len(records(results)) - done
    result.count("cells after cancel", later)
    result.check(later <= len(workers), "a worker began a cell after frbench cancel")
    bench.check_finished(result, results, bench.sweep(results))


def _fail_fast(bench: Bench, result: Result) -> None:
    """The second cell has bad input; no cell after it runs."""
    results = bench.results("fail-fast")
    cells = ("attack=fgsm", "defense=none", "goal=dodging", "budget.radius=0.01,-1,0.02,0.03")
    ended = bench.sweep(results, "fail_fast=true", cells=cells)
    result.check(ended.code == 2 and "Traceback" not in ended.err, f"exit code {ended.code}: {ended.err}")
    result.check(len(records(results)) == 1, f"{len(records(results))} cells ran with fail_fast")
    result.facts["exit code of fail_fast"] = ended.code


def _wait_for_a_record(results: Path, *children: Child) -> None:
    wait_until(lambda: records(results) or not all(child.alive for child in children), "a first record")


def _check_stopped(bench: Bench, result: Result, results: Path, ended: Ended) -> None:
    """Check that a process stopped, unless nothing was left to do."""
    logs = "".join(path.read_text() for path in results.glob("sweeps/*/logs/*"))
    complete = len(records(results)) == bench.reference.cells
    result.count("stopped", ended.code == STOPPED)
    result.check(ended.code == STOPPED or (ended.code == 0 and complete), f"exit code {ended.code}: {ended.err}")
    result.check("Traceback" not in ended.err + logs, f"a traceback: {ended.err} {logs}")
