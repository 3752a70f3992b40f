"""The verbs that need the objects of cells: the launch of a sweep, plan, and work."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from frbench.harness.cli.summary_line import summary
from frbench.harness.cli.sweep_reports import PrintedCells, plan_text
from frbench.harness.cli.sweep_status import Follower, current_status, status_line
from frbench.harness.cli.sweep_words import parse
from frbench.harness.config.compose import printed
from frbench.harness.config.overrides import typed
from frbench.harness.config.running import CellConfig, WrongCell, cell_configs, finish
from frbench.harness.core.errors import ConfigError
from frbench.harness.runtime import threads
from frbench.harness.storage.cell_line import cell_line
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.sweeps.estimate import Estimator
from frbench.harness.sweeps.heartbeat import Heartbeat
from frbench.harness.sweeps.launchers.base import Submission
from frbench.harness.sweeps.planning import changed_code, make_launcher, plan_sweep
from frbench.harness.sweeps.schedulers import live_jobs
from frbench.harness.sweeps.submission import Retry, opened, remaining
from frbench.harness.sweeps.sweep_folder import SweepFolder, find_sweep
from frbench.harness.sweeps.worker import Controls, Worker


def run(words: Sequence[str]) -> int:
    """``frbench run``: one cell, or a sweep with the launcher that the words choose."""
    if printed("run", words):
        return 0
    cells = cell_configs(words)
    if len(cells) == 1 and _waits(cells[0]):
        return _run_one(cells[0])
    sweep = plan_sweep(words, cells)
    plan, controls, launcher = sweep.plan, sweep.controls, sweep.launcher
    folder = opened(plan, sweep.store, Retry(controls["retry"]))
    status = current_status(folder)
    live = live_jobs(folder)
    waves = remaining(folder, status, live)
    follower = Follower(folder)

    def work() -> int:
        return _work(folder, None, Controls(controls["fail_fast"], controls["images"] == "keep"))

    flags = (f"fail_fast={str(controls['fail_fast']).lower()}", f"images={controls['images']}")
    submission = Submission(folder, waves, flags, work, follower.show)
    if launcher.waits:
        return launcher.launch(submission)
    code = launcher.launch(submission) if any(waves.values()) else 0
    if controls["wait"]:
        return follower.follow()
    results = typed("paths.results", str(sweep.store.root))
    print(f"{plan.id}: {status_line(current_status(folder))}; next: frbench status {plan.id} {results}")
    return code


def _waits(cell: CellConfig | WrongCell) -> bool:
    return isinstance(cell, WrongCell) or make_launcher(cell.controls).waits


def _run_one(cell: CellConfig | WrongCell) -> int:
    """Evaluate one cell, or find its record. A sweep of one needs no plan."""
    if isinstance(cell, WrongCell):
        raise cell.error
    record, found = finish(cell)
    print(cell_line(record, found), flush=True)
    print(summary([record], 0, {cell.store.root}))
    return 1 if record["status"] == "crashed" else 0


def _work(folder: SweepFolder, group: int | None, controls: Controls) -> int:
    reports = PrintedCells(folder.plan, folder.results)
    code = Worker(folder, ResultStore(folder.results), Heartbeat(folder), reports, controls).run(group)
    reports.end()
    return code


def plan(words: Sequence[str]) -> int:
    """``frbench plan``: what ``frbench run`` with the same words would do, and what it would cost."""
    untimed = "--no-timing" in words
    words = [word for word in words if word != "--no-timing"]
    if printed("run", words):
        return 0
    sweep = plan_sweep(words, cell_configs(words))
    ended = sweep.ended()
    cost = None if untimed else Estimator(sweep.plan, sweep.store).estimate(ended)
    print(plan_text(sweep.plan, ended, cost))
    return 0


def work(words: Sequence[str]) -> int:
    """``frbench work SWEEP [--group N]``: one worker of a sweep."""
    given = parse("work", words)
    folder = find_sweep(given.results, given.sweep)
    group = _group(folder, given.flags.get("--group"))
    changed = changed_code(folder.code)
    if changed:
        print(f"frbench: since {folder.id} was planned this changed: {changed}", file=sys.stderr)
    threads.set_threads()
    minutes = given.settings.get("timeout_min")
    keep = given.settings.get("images", "keep") == "keep"
    controls = Controls(given.settings.get("fail_fast") == "true", keep, int(minutes) if minutes else None)
    return _work(folder, group, controls)


def _group(folder: SweepFolder, text: str | None) -> int | None:
    count = len(folder.plan.groups)
    if text is None:
        return None
    if not text.isdecimal() or int(text) >= count:
        raise ConfigError(f"--group {text} is not one of the {count} groups of {folder.id}, 0 to {count - 1}")
    return int(text)
