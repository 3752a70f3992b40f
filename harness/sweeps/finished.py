"""The records of a store as a sweep needs them: status, reason and time by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from frbench.harness.storage.records import last_line
from frbench.harness.storage.result_store import FINISHED, ResultStore


class Finished(NamedTuple):
    """A cell with a record. time: of its file, Unix time in seconds."""

    status: str
    reason: str
    time: float


def finished_records(store: ResultStore) -> Mapping[str, Finished]:
    """All cells with a record, by their keys; not those whose scores are gone, which must run again."""
    table = store.index.table(["fingerprint", "status", "reason", "mtime_ns"])
    whole = store.finished_keys()
    return {
        row["fingerprint"]: Finished(row["status"], last_line(row["reason"]), row["mtime_ns"] / 1e9)
        for row in table.to_pylist()
        if row["status"] not in FINISHED or row["fingerprint"] in whole
    }
