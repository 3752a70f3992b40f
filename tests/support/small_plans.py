"""Plans of sweeps made by hand, and their folders."""

from __future__ import annotations

from pathlib import Path

from frbench.harness.sweeps.plan import Group, Plan, PlannedCell, Wave
from frbench.harness.sweeps.sweep_folder import SweepFolder, sweep_folder


def small_cell(number: int, **changes: object) -> PlannedCell:
    """A cell of ``small_plan``; its key is its number, 64 digits long."""
    facts = {
        "number": number,
        "digest": f"d{number}",
        "words": ("dataset=synthetic", f"attack.steps={number}"),
        "parts": {"attack": f"part{number}"},
        "choices": {"attack": "pgd"},
        "settings": {"attack.steps": number},
        "key": f"{number:064d}",
    }
    return PlannedCell(**{**facts, **changes})  # type: ignore[arg-type]


def small_plan(count: int = 4) -> Plan:
    """A plan of ``count`` cells in groups of two; all share one fit."""
    cells = tuple(small_cell(number, fit="fit", images=f"images{number // 2}") for number in range(count))
    groups = [Group(0, Wave.FIT, (0,)), Group(1, Wave.CLEAN, (0,))]
    for first in range(0, count, 2):
        groups.append(Group(len(groups), Wave.CELLS, tuple(range(first, min(first + 2, count)))))
    parts = {f"part{number}": {"steps": number} for number in range(count)}
    return Plan("sweep-0123abcd", ("-m", "attack.steps=range(0,4)"), cells, tuple(groups), parts)


def small_folder(results: Path, plan: Plan | None = None) -> SweepFolder:
    """The folder of a plan, written."""
    plan = plan or small_plan()
    folder = sweep_folder(results, plan.id)
    folder.write_plan(plan, {"frbench": "0"})
    return folder
