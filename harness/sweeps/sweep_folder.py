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

Each file but the logs and ``stop`` has a checksum, and so has each line of ``jobs.jsonl`` and ``keys.jsonl``. A damaged
file is named on stderr, set aside and counts as missing; a damaged line is named and left out.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from frbench.harness.core.atomic import disk_full_named
from frbench.harness.core.errors import CorruptFile, DataMissing, warn_once
from frbench.harness.core.quarantine import Damaged
from frbench.harness.storage import sealed_json
from frbench.harness.storage.store_files import StoreFiles
from frbench.harness.sweeps.failures import Failure, FailureKind, failure_from
from frbench.harness.sweeps.plan import Plan, PlannedCell, check_lines, from_lines, to_lines

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
        """Raises CorruptFile: the plan is damaged; it is set aside."""
        text = self._plan_text()
        if text is None:
            raise CorruptFile(f"{self.root} has no plan; run the same command again to write it")
        return from_lines(text)

    def write_plan(self, plan: Plan, code: Mapping[str, Any]) -> None:
        """Write the plan, and facts about the code that made it, where they differ from what is there."""
        text = to_lines(plan)
        if self._plan_text() != text:
            self._files.write(self._plan_file, text.encode())
        if self.code != code:
            self._write("code.json", code)

    def _plan_text(self) -> str | None:
        """The verified text of the plan; None where it is missing, or damaged and set aside."""
        return self._files.read(self._plan_file, _checked_text)

    @property
    def _plan_file(self) -> Path:
        return self.root / "plan.jsonl"

    @property
    def code(self) -> dict[str, Any]:
        return self._read("code.json") or {}

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
                (self.root / "failed" / f"{name}.json").unlink(missing_ok=True)

    def _failure(self, name: str) -> Failure | None:
        entry = self._read(f"failed/{name}.json")
        return None if entry is None else failure_from(entry)

    def starts(self, cell: PlannedCell) -> int:
        """How often ``cell`` was started since its last progress."""
        return int((self._read(f"starts/{cell.digest}.json") or {}).get("starts", 0))

    def write_starts(self, cell: PlannedCell, starts: int) -> None:
        """0: the cell made progress."""
        if starts:
            self._write(f"starts/{cell.digest}.json", {"starts": starts})
        else:
            (self.root / "starts" / f"{cell.digest}.json").unlink(missing_ok=True)

    def clear_starts(self) -> None:
        """Forget the starts of all cells."""
        for path in (self.root / "starts").glob("*.json"):
            path.unlink(missing_ok=True)

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
            return (self.root / "stop").read_text("utf-8", "replace").strip() or "stopped"
        except FileNotFoundError:
            return None

    def write_stop(self, reason: str) -> None:
        self._files.write(self.root / "stop", f"{reason}\n".encode())

    def clear_stop(self) -> None:
        (self.root / "stop").unlink(missing_ok=True)

    @cached_property
    def _files(self) -> StoreFiles:
        return StoreFiles(self.results)

    def _read(self, name: str) -> dict[str, Any] | None:
        """The content of a small file; None where it is missing, or damaged, which loses a hint and no result."""
        return self._files.read(self.root / name, sealed_json.read)

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        self._files.write(self.root / name, sealed_json.written(value))

    def _append(self, name: str, value: Mapping[str, Any]) -> None:
        """One line in one write, which keeps lines of several processes apart. Raises DiskFull: there is no room."""
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / name
        with disk_full_named(path):
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                size = os.fstat(file).st_size
                was_cut = size > 0 and os.pread(file, 1, size - 1) != b"\n"
                line = b"\n" * was_cut + sealed_json.line(value)
                written = os.write(file, line)
                if written < len(line):
                    os.write(file, line[written:])  # fails, and says why the rest was not written
            finally:
                os.close(file)

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        """The whole lines of a file. One that is not whole was damaged, or cut when its writer was killed."""
        try:
            data = (self.root / name).read_bytes()
        except FileNotFoundError:
            return
        for number, line in enumerate(data.split(b"\n"), start=1):
            try:
                if line:
                    yield sealed_json.parsed(line)
            except Damaged as error:
                warn_once(f"{self.root / name}, line {number}, is damaged ({error}) and left out")

    def _entries(self, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in sorted((self.root / folder).glob("*.json")):
            entry = self._read(f"{folder}/{path.name}")
            if entry is not None:
                yield path.stem, entry


def _checked_text(path: Path) -> str:
    text = path.read_text("utf-8", "replace")
    check_lines(text)
    return text


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
