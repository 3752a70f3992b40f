"""The files of one sweep below ``sweeps/<id>/`` of a results folder.

plan.jsonl                  the cells, see ``plan``
code.json                   versions and digest of the code that planned the sweep
jobs.jsonl                  a line for each submission: launcher, job ids, resources
keys.jsonl                  cell -> key of its record, where the plan does not know it
workers/<name>.json         heartbeat of a worker
starts/<digest>.json        starts of a cell that made no progress
failed/<digest>.json        why a cell failed
failed/fit-<key>.json       why the fit of the artifact of that key failed
logs/                       output of jobs
stop                        present: workers stop at the next block; its text is the reason
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from frbench.harness.core.atomic import write_atomically
from frbench.harness.core.errors import DataMissing
from frbench.harness.sweeps.failures import Failure, FailureKind, failure_from
from frbench.harness.sweeps.plan import Plan, PlannedCell, from_lines, to_lines

_FOLDER = "sweeps"
_FIT = "fit-"  # before the key of an artifact, in place of the digest of a cell


@dataclass(frozen=True)
class SweepFolder:
    """The folder of a sweep."""

    root: Path

    @property
    def id(self) -> str:
        return self.root.name

    @property
    def results(self) -> Path:
        """The results folder."""
        return self.root.parent.parent

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @cached_property
    def plan(self) -> Plan:
        """Raises CorruptFile: the plan is damaged."""
        path = self.root / "plan.jsonl"
        return from_lines(path.read_text(encoding="utf-8"), path)

    def write_plan(self, plan: Plan, code: Mapping[str, Any]) -> None:
        """Write the plan, and facts about the code that made it, where they differ from what is there."""
        text = to_lines(plan)
        path = self.root / "plan.jsonl"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        if self.code != code:
            self._write("code.json", code)

    @property
    def code(self) -> dict[str, Any]:
        return _read(self.root / "code.json") or {}

    def keys(self) -> dict[str, str]:
        """Digest of a cell -> key of its record, as the last worker computed it."""
        return {line["cell"]: line["key"] for line in self._lines("keys.jsonl")}

    def add_key(self, cell: PlannedCell, key: str) -> None:
        self._append("keys.jsonl", {"cell": cell.digest, "key": key})

    def jobs(self) -> list[dict[str, Any]]:
        """The submissions, in their order."""
        return list(self._lines("jobs.jsonl"))

    def add_jobs(self, submission: Mapping[str, Any]) -> None:
        self._append("jobs.jsonl", submission)

    def failures(self) -> dict[str, Failure]:
        """Digest of a cell -> why it failed."""
        return {name: failure_from(entry) for name, entry in self._entries("failed")}

    def failure(self, cell: PlannedCell) -> Failure | None:
        return self._failure(cell.digest)

    def write_failure(self, cell: PlannedCell, failure: Failure) -> None:
        self._write(f"failed/{cell.digest}.json", failure.to_json())

    def fit_failure(self, cell: PlannedCell) -> Failure | None:
        """Why the fit of the defense of ``cell`` failed, or None."""
        return None if cell.fit is None else self._failure(f"{_FIT}{cell.fit}")

    def write_fit_failure(self, cell: PlannedCell, failure: Failure) -> None:
        self._write(f"failed/{_FIT}{cell.fit}.json", failure.to_json())

    def clear_failures(self, kinds: Collection[FailureKind]) -> None:
        """Forget the failures of these kinds, so that workers try the cells again."""
        for name, failure in self.failures().items():
            if failure.kind in kinds:
                for folder in ("failed", "starts"):
                    (self.root / folder / f"{name}.json").unlink(missing_ok=True)

    def _failure(self, name: str) -> Failure | None:
        entry = _read(self.root / "failed" / f"{name}.json")
        return None if entry is None else failure_from(entry)

    def starts(self, cell: PlannedCell) -> int:
        """How often ``cell`` was started since its last progress."""
        return int((_read(self.root / "starts" / f"{cell.digest}.json") or {}).get("starts", 0))

    def write_starts(self, cell: PlannedCell, starts: int) -> None:
        """0: the cell made progress."""
        if starts:
            self._write(f"starts/{cell.digest}.json", {"starts": starts})
        else:
            (self.root / "starts" / f"{cell.digest}.json").unlink(missing_ok=True)

    def workers(self) -> dict[str, dict[str, Any]]:
        """Name of a worker -> its last heartbeat."""
        return dict(self._entries("workers"))

    def write_heartbeat(self, worker: str, beat: Mapping[str, Any]) -> None:
        self._write(f"workers/{worker}.json", beat)

    def remove_heartbeat(self, worker: str) -> None:
        (self.root / "workers" / f"{worker}.json").unlink(missing_ok=True)

    @property
    def stop(self) -> str | None:
        """Why workers must stop, or None."""
        try:
            return (self.root / "stop").read_text(encoding="utf-8").strip() or "stopped"
        except FileNotFoundError:
            return None

    def write_stop(self, reason: str) -> None:
        write_atomically(self.root / "stop", lambda path: path.write_text(f"{reason}\n", encoding="utf-8"))

    def clear_stop(self) -> None:
        (self.root / "stop").unlink(missing_ok=True)

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        text = json.dumps(value, indent=1, sort_keys=True) + "\n"
        write_atomically(self.root / name, lambda path: path.write_text(text, encoding="utf-8"))

    def _append(self, name: str, value: Mapping[str, Any]) -> None:
        """One line in one write, which processes that append at once do not mix up."""
        self.root.mkdir(parents=True, exist_ok=True)
        line = (json.dumps(value, sort_keys=True) + "\n").encode()
        file = os.open(self.root / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(file, line)
        finally:
            os.close(file)

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        """The whole lines of a file; a line that is not whole was cut when its writer was killed."""
        try:
            text = (self.root / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue

    def _entries(self, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in sorted((self.root / folder).glob("*.json")):
            entry = _read(path)
            if entry is not None:
                yield path.stem, entry


def _read(path: Path) -> dict[str, Any] | None:
    """The content of a small JSON file; None where it is missing, or damaged, which loses a hint and no result."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return None


def sweep_folder(results: Path, sweep: str) -> SweepFolder:
    return SweepFolder(results / _FOLDER / sweep)


def sweep_folders(results: Path) -> list[SweepFolder]:
    """All sweeps of a results folder, the latest last."""
    plans = (results / _FOLDER).glob("*/plan.jsonl")
    return [SweepFolder(path.parent) for path in sorted(plans, key=lambda path: path.stat().st_mtime)]


def find_sweep(results: Path, name: str | None) -> SweepFolder:
    """The sweep whose id begins with ``name``; the latest for None. Raises DataMissing: none, or more than one."""
    folders = sweep_folders(results)
    if not folders:
        raise DataMissing(f"{results} has no sweeps; run one with frbench run -m …, or set paths.results")
    if name is None:
        return folders[-1]
    found = [each for each in folders if each.id == name] or [each for each in folders if each.id.startswith(name)]
    if len(found) != 1:
        what = "no sweep" if not found else "more than one sweep"
        known = ", ".join(each.id for each in (found or folders)[-8:])
        raise DataMissing(f"{results} has {what} whose id begins with {name}; sweeps: {known}")
    return found[0]
