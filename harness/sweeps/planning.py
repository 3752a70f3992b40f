"""From the words of a command to the plan of its sweep."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from frbench.harness.config import build
from frbench.harness.config.running import CellConfig, WrongCell
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.fingerprints import own_source_digest
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.sweeps.grouping import grouped
from frbench.harness.sweeps.launchers.base import Launcher
from frbench.harness.sweeps.plan import Plan, PlannedCell

_ID_DIGITS = 8
_MACHINE = ("paths", "device", "batch_size", "fetch")  # of a config: they decide where a cell runs, not what it is


@dataclass(frozen=True)
class PlannedSweep:
    """A sweep that is ready to run.

    Attributes:
        plan: its cells and groups.
        store: of the results.
        launcher: how its jobs start.
        controls: how it runs, see ``CellConfig``.
    """

    plan: Plan
    store: ResultStore
    launcher: Launcher
    controls: Mapping[str, Any]

    def ended(self) -> set[int]:
        """Numbers of the cells that need not run: done or refused."""
        finished = self.store.finished_keys()
        return {cell.number for cell in self.plan.cells if cell.key in finished}


def plan_sweep(command: Sequence[str], cells: Sequence[CellConfig | WrongCell]) -> PlannedSweep:
    """The sweep of ``cells``, which ``frbench run`` with the words ``command`` has.

    Raises:
        ConfigError: all cells are wrong, or they have different results folders.
    """
    configs = [each for each in cells if isinstance(each, CellConfig)]
    if not configs:
        raise next(each.error for each in cells if isinstance(each, WrongCell))
    store, controls = configs[0].store, configs[0].controls
    if any(each.store != store for each in configs):
        raise ConfigError("paths.results takes one value for a whole sweep; start a sweep for each of its values")
    launcher = make_launcher(controls)

    def is_fitted(key: str) -> bool:
        return store.artifact(key).exists()

    plan = grouped(planned(command, cells), is_fitted, launcher.cells_per_job)
    return PlannedSweep(plan, store, launcher, controls)


def make_launcher(controls: Mapping[str, Any]) -> Launcher:
    """The launcher that the words of a run choose. Raises ConfigError: it is none, or has a wrong value."""
    launcher = build.instantiate(controls["launcher"], "launcher")
    if not isinstance(launcher, Launcher):
        raise ConfigError(f"launcher: {type(launcher).__qualname__} is not a launcher; see frbench options launcher")
    return launcher


def code_facts() -> dict[str, Any]:
    """Versions and the digest of the source of frbench, to see later whether they changed."""
    versions = {name: metadata.version(name) for name in ("frbench", "torch", "numpy")}
    return {"python": platform.python_version(), **versions, "source": own_source_digest()}


def changed_code(before: Mapping[str, Any]) -> str | None:
    """What of ``code_facts`` differs from ``before``, in words; None if nothing."""
    now = code_facts()
    names = [name for name in now if name != "source" and before.get(name) != now[name]]
    changed = [f"{name} {before.get(name)} -> {now[name]}" for name in names]
    if before.get("source") != now["source"]:
        changed.append("the source of frbench")
    return ", ".join(changed) or None


def planned(command: Sequence[str], configs: Iterable[CellConfig | WrongCell]) -> Plan:
    """The plan of ``configs`` without groups and keys; of cells with equal configs the first remains."""
    parts: dict[str, Any] = {}
    cells: dict[str, PlannedCell] = {}
    for each in configs:
        if isinstance(each, WrongCell):
            digest = _digest(each.words)
            cell = PlannedCell(len(cells), digest, each.words, {}, {}, {}, unknown=str(each.error))
        else:
            named = {name: _digest(part) for name, part in each.config.items()}
            parts |= {named[name]: part for name, part in each.config.items()}
            digest = _digest({name: part for name, part in named.items() if name not in _MACHINE})
            cell = PlannedCell(len(cells), digest, each.words, named, dict(each.choices), dict(each.settings))
        cells.setdefault(digest, cell)
    name = _experiment(command)
    sweep = f"{name}-{_digest(sorted(cells))[:_ID_DIGITS]}"
    return Plan(sweep, tuple(command), tuple(cells.values()), (), parts)


def _experiment(command: Sequence[str]) -> str:
    """The name of the experiment in ``command``, the first part of the sweep's id."""
    named = [word.removeprefix("experiment=") for word in command if word.startswith("experiment=")]
    return named[-1].replace("/", "-") if named else "sweep"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
