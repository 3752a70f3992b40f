"""Runs a planned sweep: writes its folder, finds out what is left to do, and gives that to a launcher."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum

from frbench.harness.storage.result_store import ResultStore
from frbench.harness.sweeps.failures import FailureKind
from frbench.harness.sweeps.ledger import ENDED, State, Status
from frbench.harness.sweeps.plan import Plan, Wave
from frbench.harness.sweeps.planning import code_facts
from frbench.harness.sweeps.sweep_folder import SweepFolder, sweep_folder


class Retry(StrEnum):
    """Which failed cells the same command runs again."""

    FAILED = "failed"
    CRASHED = "crashed"
    NONE = "none"


_RETRIED: Mapping[Retry, Collection[FailureKind]] = {
    Retry.FAILED: tuple(FailureKind),
    Retry.CRASHED: (FailureKind.CRASHED,),
    Retry.NONE: (),
}


def opened(plan: Plan, store: ResultStore, retry: Retry) -> SweepFolder:
    """The folder of the sweep of ``plan``, ready to run: failed cells that ``retry`` names count as missing again.

    Files of dead processes are deleted. The count of starts without progress begins again, because the user may have
    killed those workers.
    """
    folder = sweep_folder(store.root, plan.id)
    folder.write_plan(plan, code_facts())
    folder.clear_stop()
    folder.clear_failures(_RETRIED[retry])
    folder.clear_starts()
    store.remove_left_overs()
    return folder


def remaining(folder: SweepFolder, status: Status, live: Collection[str]) -> dict[Wave, list[int]]:
    """Numbers of the groups with work that no job of the sweep will do, by wave."""
    plan = folder.plan
    ended = {each.cell.number for each in status.cells if each.state in ENDED or each.state is State.RUNNING}
    covered = _groups_of(folder, live)
    waves: dict[Wave, list[int]] = {wave: [] for wave in Wave}
    for group in plan.groups_with_work(ended):
        if group.number not in covered:
            waves[group.wave].append(group.number)
    return waves if waves[Wave.CELLS] else {wave: [] for wave in Wave}


def _groups_of(folder: SweepFolder, live: Collection[str]) -> set[int]:
    """Numbers of the groups that live jobs will do."""
    pairs = (zip(each["ids"], each.get("groups", ()), strict=False) for each in folder.jobs())
    return {group for jobs in pairs for job, group in jobs if job in live}
