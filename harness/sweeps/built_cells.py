"""From a planned cell to its objects."""

from __future__ import annotations

from frbench.harness.config.cells import prepare, resolve
from frbench.harness.core.errors import ConfigError
from frbench.harness.evaluation.cell import Cell
from frbench.harness.sweeps.plan import Plan, PlannedCell


def built(plan: Plan, cell: PlannedCell) -> Cell:
    """The cell with its objects built and its data opened.

    Raises:
        FrbenchError: an option is wrong, or data are missing.
    """
    if not cell.parts:
        raise ConfigError(cell.unknown or "an option is wrong")
    return prepare(resolve(plan.config(cell), cell.choices, cell.settings), cell.words)
