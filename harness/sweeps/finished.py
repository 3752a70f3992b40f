"""The records of a store as a sweep needs them: status, reason and time by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from frbench.harness.storage.records import reason
from frbench.harness.storage.result_store import ResultStore


class Finished(NamedTuple):
    """A cell with a record. time: of its file, Unix time in seconds."""

    status: str
    reason: str
    time: float


def finished_records(store: ResultStore) -> Mapping[str, Finished]:
    """All cells with a record, by their keys."""
    found = {}
    for record in store.records():
        path = store.root / "runs" / f"{record['fingerprint']}.json"
        found[str(record["fingerprint"])] = Finished(record["status"], reason(record), path.stat().st_mtime)
    return found
