"""What the verbs of sweeps print: a line for each cell, and the plan of a sweep."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from rich.filesize import decimal

from frbench.harness.cli.summary_line import counted, duration, summary
from frbench.harness.storage.cell_line import cell_line
from frbench.harness.storage.records import Record
from frbench.harness.sweeps.estimate import Estimate
from frbench.harness.sweeps.failures import Failure
from frbench.harness.sweeps.plan import Plan, PlannedCell, Wave

_LISTED = 5  # reasons that are listed


@dataclass
class PrintedCells:
    """Prints each cell of a sweep in one line when it ends, and a summary at the end."""

    plan: Plan
    results: Path
    records: list[Record] = field(default_factory=list)
    failures: int = 0

    def cell(self, planned: PlannedCell, record: Record, found: bool) -> None:
        """Print a cell with a record."""
        self.records.append(record)
        print(cell_line(record, found, self.plan.differing(planned)), flush=True)

    def failure(self, planned: PlannedCell, failure: Failure) -> None:
        """Print why a cell failed without a record."""
        self.failures += 1
        what = " ".join(self.plan.differing(planned))
        print(f"frbench: {what}{': ' if what else ''}{failure.reason}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Print the summary."""
        if self.records or self.failures:
            print(summary(self.records, self.failures, {self.results}), flush=True)


def plan_text(plan: Plan, ended: Collection[int], cost: Estimate | None) -> str:
    """What a sweep would do, and what that costs. ended: numbers of cells with a record. cost: None without timing."""
    left = [cell for cell in plan.cells if cell.number not in ended]
    done = {cell.images for cell in plan.cells if cell.number in ended}
    images = {cell.images for cell in left if cell.images is not None} - done
    fits = {cell.fit for cell in left if cell.fit is not None}
    shared = sum(cell.images in images for cell in left)
    groups = Counter(group.wave for group in plan.groups)
    to_fit = f"; {counted(len(fits), 'defense')} to fit" if fits else ""
    lines = [
        f"{plan.id}: {counted(len(plan.cells), 'cell')}, {len(plan.cells) - len(left)} done, {len(left)} to run",
        f"jobs: {', '.join(f'{groups[wave]} {wave}' for wave in Wave if groups[wave])}{to_fit}",
        f"adversarial images: {counted(len(images), 'set')} to make, for {counted(shared, 'cell')}",
    ]
    lines += _reasons("whose data cannot be opened", [each.unknown for each in left if each.unknown])
    if cost is not None:
        lines += _cost_lines(cost)
    return "\n".join(lines)


def _cost_lines(cost: Estimate) -> list[str]:
    total = cost.cost
    time, size = duration(total.seconds / 3600), decimal(round(total.bytes))
    lines = [
        f"estimate for one process on this machine: {total.images:,.0f} images to make, {total.forwards:,.0f} forward "
        f"and {total.backwards:,.0f} backward passes, {time}, {size} of images"
    ]
    return lines + _reasons("without an estimate", list(cost.untimed.values()))


def _reasons(what: str, reasons: list[str]) -> list[str]:
    return [f"{counted(count, 'cell')} {what}: {reason}" for reason, count in Counter(reasons).most_common(_LISTED)]
