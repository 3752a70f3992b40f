"""``frbench gc``: prints what can be deleted from a results folder, and deletes it where asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.filesize import decimal

from frbench.harness.config import folders, resolution
from frbench.harness.config.compose import compose, printed
from frbench.harness.core.errors import CorruptFile, DataMissing, shortened
from frbench.harness.core.units import seconds, size_in_bytes
from frbench.harness.storage.garbage import Kind, Limits, StoredFile, deletable, delete, garbage, is_running
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.sweeps.finished import finished_records
from frbench.harness.sweeps.ledger import Status, status_of
from frbench.harness.sweeps.schedulers import live_jobs
from frbench.harness.sweeps.sweep_folder import sweep_folders


def gc(words: list[str]) -> int:
    """Exit code: 0, or 1 where a file could not be deleted."""
    if printed("gc", words):
        return 0
    config = resolution.plain(compose("gc", words).config)
    store, now, most = folders.store(config), time.time(), config["cache_at_most"]
    _check_is_store(store.root)
    sweeps = _sweeps(store, now)
    limits = Limits(
        now=now,
        older_than=seconds(config["older_than"], "older_than"),
        cache_at_most=None if most is None else size_in_bytes(most, "cache_at_most"),
        running=is_running(store, now) or any(status.active for status in sweeps.values()),
    )
    finished = [folder for folder, status in sweeps.items() if status.exit_code == 0 and not status.active]
    files = garbage(deletable(store, finished), limits)
    print(_summary(files, store.root, config["delete"], limits.running))
    errors = delete(files, store.root) if config["delete"] else []
    for error in errors[:1]:
        print(f"frbench: {len(errors)} files stay, such as {shortened(error)}", file=sys.stderr)
    return 1 if errors else 0


def _sweeps(store: ResultStore, now: float) -> dict[Path, Status]:
    """The state of each sweep of ``store``, by its folder; a sweep whose plan is damaged is named and left alone."""
    records, found = finished_records(store), {}
    for folder in sweep_folders(store.root):
        try:
            found[folder.root] = status_of(folder, records, live_jobs(folder), now)
        except CorruptFile as error:
            print(f"frbench: {shortened(error)}", file=sys.stderr)
    return found


def _check_is_store(root: Path) -> None:
    """Raises DataMissing: ``root`` is not the results folder of frbench."""
    if not (root / "store.json").exists() and not (root / "runs").is_dir():
        raise DataMissing(f"{root} has no results of frbench; give their folder: frbench gc paths.results=FOLDER")


def _summary(files: Sequence[StoredFile], root: Path, deleting: bool, running: bool) -> str:
    """Number and size of the files of each kind."""
    lines = []
    for kind in Kind:
        sizes = [file.size for file in files if file.kind == kind]
        if sizes:
            lines.append(f"  {kind:<30} {len(sizes):>8,} files {decimal(sum(sizes)):>10}")
    total = decimal(sum(file.size for file in files))
    if running:
        lines.append("  cached arrays, unfinished fits and sample images stay, because a process works in this folder")
    done = "deleted" if deleting else "to delete"
    hint = "" if deleting or not files else "; frbench gc delete=true deletes them"
    return "\n".join([*lines, f"{root}: {len(files):,} files {done}, {total}{hint}"])
