"""The guard against cells that start again and again and never finish a block."""

from __future__ import annotations

from dataclasses import dataclass, field

from frbench.harness.runtime import activity
from frbench.harness.sweeps.plan import PlannedCell
from frbench.harness.sweeps.sweep_folder import SweepFolder

_MOST_STARTS = 2  # without progress


@dataclass
class ProgressGuard:
    """Counts the starts of each cell since something of it was last stored: a block, a checkpoint, or its record."""

    folder: SweepFolder
    _cell: PlannedCell | None = field(default=None)

    def may_start(self, cell: PlannedCell) -> bool:
        """Whether ``cell`` may start; counts the start. False: it started twice and nothing was stored."""
        starts = self.folder.starts(cell)
        if starts >= _MOST_STARTS:
            return False
        self.folder.write_starts(cell, starts + 1)
        self._cell = cell
        activity.on_kept(self._progressed)
        return True

    def ends(self, cell: PlannedCell) -> None:
        """``cell`` ended, whether it was done or failed."""
        activity.on_kept(None)
        self._cell = None
        self.folder.write_starts(cell, 0)

    def _progressed(self) -> None:
        if self._cell is not None:
            self.folder.write_starts(self._cell, 0)
            self._cell = None


def advice(minutes: int | None) -> str:
    """What to do about a cell that made no progress. minutes: the time limit of the job, None if unknown."""
    found = "the cell started twice and stored nothing"
    if minutes is None:
        return f"{found}: one block takes longer than its worker lived; let the worker run longer"
    more = f"launcher.timeout_min={2 * minutes} or more"
    return f"{found}: one block takes longer than the {minutes} min of the job; ask for {more}"
