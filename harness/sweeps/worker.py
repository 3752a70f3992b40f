"""A worker: does the work of a group of a sweep, then evaluates cells of other groups that no worker has started.

A worker leaves records, cached blocks and small files behind, each written atomically. It may be killed at any time,
started twice, or run beside others on one store.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from frbench.harness.core.atomic import disk_full_named
from frbench.harness.core.errors import DiskFull, FrbenchError, shortened, warn_once
from frbench.harness.evaluation.cell import CalibratesVictim, Cell, crash_record, evaluate
from frbench.harness.evaluation.smaller_batches import fitted, with_smaller_batches
from frbench.harness.runtime import interrupts
from frbench.harness.storage.records import Record, reason
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.sweeps.built_cells import built
from frbench.harness.sweeps.failures import Failure, FailureKind
from frbench.harness.sweeps.heartbeat import Heartbeat
from frbench.harness.sweeps.plan import Group, Plan, PlannedCell, Wave
from frbench.harness.sweeps.progress_guard import ProgressGuard, advice
from frbench.harness.sweeps.sweep_folder import SweepFolder
from frbench.harness.sweeps.unneeded_images import UnneededImages

_CRASHED = "crashed"  # status of a record


class Reports(Protocol):
    """Prints what a worker does."""

    def cell(self, planned: PlannedCell, record: Record, found: bool) -> None:
        """A cell has a record. found: it was in the store."""
        ...

    def failure(self, planned: PlannedCell, failure: Failure) -> None:
        """A cell failed without a record."""
        ...


@dataclass(frozen=True)
class Controls:
    """How a sweep runs, beside what its cells are.

    Attributes:
        fail_fast: the first failure stops all workers of the sweep.
        keep_images: False deletes adversarial images when all cells of the plan that need them have a record.
        timeout_min: time limit of the job in minutes, for advice; None if there is none.
    """

    fail_fast: bool = False
    keep_images: bool = True
    timeout_min: int | None = None


@dataclass
class Worker:
    """Evaluates cells of a sweep.

    Attributes:
        folder: of the sweep.
        store: the results.
        heartbeat: of this worker.
        reports: where each cell is printed.
        controls: how the sweep runs.
        code: exit code so far: 0, 1 if a cell crashed, 2 if one has bad input.
    """

    folder: SweepFolder
    store: ResultStore
    heartbeat: Heartbeat
    reports: Reports
    controls: Controls = field(default_factory=Controls)
    code: int = 0

    @property
    def plan(self) -> Plan:
        return self.folder.plan

    def run(self, group: int | None = None) -> int:
        """Do the work of ``group``, or all work for None. Returns the exit code.

        Raises:
            DiskFull: nothing can be stored.
            Interrupted: after a signal, or when the sweep is stopped for another reason than a failure here.
        """
        groups = self.plan.groups if group is None else (self.plan.groups[group],)
        try:
            with self.heartbeat.beating():
                self._do(groups)
        except interrupts.Interrupted:
            if not (self.controls.fail_fast and self.code):
                raise
        return self.code

    def _do(self, groups: Sequence[Group]) -> None:
        finished = self.store.finished_keys()
        ended = {cell.number for cell in self.plan.cells if cell.key in finished}
        mine = {each.number for each in groups}
        for each in self.plan.groups_with_work(ended):
            if each.wave is not Wave.CELLS and each.number in mine:
                self._prepare(each)
        own = [number for each in groups if each.wave is Wave.CELLS for number in each.cells]
        busy = [cell for cell in self._cells(own) if not self._evaluate(cell, wait=False)]
        for cell in busy:  # another worker evaluates it
            self._evaluate(cell, wait=True)
        for cell in self._others(own):
            self._evaluate(cell, wait=False)

    def _cells(self, numbers: Iterable[int]) -> list[PlannedCell]:
        return [self.plan.cells[number] for number in numbers]

    def _others(self, own: Sequence[int]) -> list[PlannedCell]:
        """Cells of other groups without a record, beginning after ``own``, so that workers do not all try the same."""
        if not own:
            return []
        finished, mine, count = self.store.finished_keys(), set(own), len(self.plan.cells)
        after = self._cells((own[-1] + 1 + step) % count for step in range(count))
        return [cell for cell in after if cell.number not in mine and cell.key not in finished]

    def _evaluate(self, planned: PlannedCell, wait: bool) -> bool:
        """Evaluate one cell, unless it is done or failed. False: another worker evaluates it."""
        interrupts.check()
        if self.folder.failure(planned) is not None:
            return True
        if planned.key is not None and (record := self.store.finished(planned.key)):
            self.reports.cell(planned, record, found=True)
            return True
        cell = self._built(planned)
        if cell is None:
            return True
        key = self._key(planned, cell)
        with self.store.lease(f"cell-{key}", wait=wait) as mine:
            if not mine:
                return False
            if record := self.store.finished(key):
                self.reports.cell(planned, record, found=True)
            else:
                self._run(planned, cell)
            return True

    def _check_stop(self) -> None:
        """Raises Interrupted: the sweep is stopped, or a signal came."""
        self.heartbeat.obey_stop()
        interrupts.check()

    def _built(self, planned: PlannedCell) -> Cell | None:
        """The cell with its objects; None for one that failed."""
        try:
            return built(self.plan, planned)
        except DiskFull:
            raise
        except FrbenchError as error:
            self._fail(planned, Failure(FailureKind.BAD_INPUT, str(error)))
        except Exception:
            self._fail(planned, Failure(FailureKind.CRASHED, traceback.format_exc()))
        return None

    def _key(self, planned: PlannedCell, cell: Cell) -> str:
        """The key of the record of ``cell``; noted where the plan has another."""
        key = cell.fingerprint()
        if key != planned.key:
            self.folder.add_key(planned, key)
            if planned.key is not None:
                warn_once(
                    f"code, data or weights changed since {self.folder.id} was planned: some cells have other keys; "
                    "run the same command again to update the plan"
                )
        return key

    def _run(self, planned: PlannedCell, cell: Cell) -> None:
        """Evaluate a cell that no other worker evaluates, and store its record."""
        self._check_stop()
        guard = ProgressGuard(self.folder)
        failure = self.folder.fit_failure(planned)
        if failure is None and not guard.may_start(planned):
            failure = Failure(FailureKind.NO_PROGRESS, advice(self.controls.timeout_min))
        if failure is not None and failure.kind is not FailureKind.CRASHED:
            self._fail(planned, failure)
            return
        self.heartbeat.starts(planned)
        try:
            record = evaluate(cell, self.store) if failure is None else crash_record(cell, self.store, failure.text)
        except DiskFull:
            raise
        except FrbenchError as error:
            guard.ends(planned)
            self._fail(planned, Failure(FailureKind.BAD_INPUT, str(error)))
            return
        guard.ends(planned)
        self.reports.cell(planned, record, found=False)
        if not self.controls.keep_images:
            UnneededImages(self.folder, self.store).drop(planned, record)
        if record["status"] == _CRASHED:
            self._fail(planned, Failure(FailureKind.CRASHED, reason(record), recorded=True))

    def _prepare(self, group: Group) -> None:
        """Fit the defense, or compute the clean scores, of the cell that stands for ``group``."""
        self._check_stop()
        planned = self.plan.cells[group.cells[0]]
        cell = None if self.folder.fit_failure(planned) else self._built(planned)
        if cell is None:
            return
        self.heartbeat.starts(planned)
        try:
            with disk_full_named(self.store.root):
                cell = fitted(cell)
        except DiskFull:
            raise
        except FrbenchError as error:
            self.folder.write_fit_failure(planned, Failure(FailureKind.BAD_INPUT, _fit_failed(error)))
            return
        except Exception:
            self.folder.write_fit_failure(planned, Failure(FailureKind.CRASHED, _fit_failed(traceback.format_exc())))
            return
        if group.wave is Wave.CLEAN:
            self._calibrate(planned, cell)

    def _calibrate(self, planned: PlannedCell, cell: Cell) -> None:
        try:
            protocol = cell.protocol
            if isinstance(protocol, CalibratesVictim):
                with_smaller_batches(cell, lambda each: protocol.calibrate(each, self.store))
        except DiskFull:
            raise
        except Exception as error:  # its cells fail in the same way, and their records say so
            warn_once(f"clean scores of {' '.join(self.plan.differing(planned))}: {shortened(error)}")

    def _fail(self, planned: PlannedCell, failure: Failure) -> None:
        """Note that a cell failed; stop the sweep with ``fail_fast``."""
        self.code = max(self.code, 2 if failure.kind is FailureKind.BAD_INPUT else 1)
        self.folder.write_failure(planned, self.heartbeat.located(failure))
        if not failure.recorded:
            self.reports.failure(planned, failure)
        if self.controls.fail_fast:
            self.folder.write_stop(f"fail_fast=true, and {' '.join(self.plan.differing(planned))} failed")
            self._check_stop()


def _fit_failed(text: object) -> str:
    return f"the fit of the defense failed: {text}"
