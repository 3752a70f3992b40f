"""The result store: run records, per-pair scores, sample images, caches and fitted artifacts in one folder.

    store.json                          layout of the folder and duration of its leases
    runs/<fingerprint>.json             the record of a cell
    scores/<fingerprint>.parquet        its scores, one row per pair
    sample_images/<fingerprint>.safetensors.zst   its sample images; equal stacks share one file below images/
    cache/<kind>/<key>.safetensors.zst  arrays that can be computed again
    artifacts/<key>.safetensors         fitted defenses
    index/                              what reports read of records and scores; can be deleted
    leases/                             markers of work in progress, deleted at its end
    tmp/                                files that are being written
    quarantine/                         damaged files that were set aside

Every write is atomic, and every file has a checksum that is verified on reading. A damaged file is named on stderr,
moved to quarantine/ and counts as missing, so that its content is made again. Readers take no lease.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from frbench.harness.storage import array_files, record_files, record_index, score_tables, sealed_json
from frbench.harness.storage.pair_index import Decisions, PairIndex
from frbench.harness.storage.record_files import SCHEMA, Record, Unreadable
from frbench.harness.storage.record_index import RecordIndex
from frbench.harness.storage.sample_files import SampleFiles
from frbench.harness.storage.sealed_files import check_signed
from frbench.harness.storage.store_files import StoreFiles

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["FINISHED", "SCHEMA", "Arrays", "Cached", "Record", "ResultStore"]

Arrays = Mapping[str, np.ndarray]
FINISHED = ("done", "refused")
_SCORES = "scores"


class Cached(NamedTuple):
    """Arrays of the cache. made: whether this call computed them."""

    arrays: dict[str, np.ndarray]
    made: bool


@dataclass(frozen=True)
class ResultStore:
    """The files of one results folder."""

    root: Path

    @cached_property
    def files(self) -> StoreFiles:
        """Reads, writes and leases of single files."""
        return StoreFiles(self.root)

    def lease(self, name: str, wait: bool = True) -> AbstractContextManager[bool]:
        """Hold the lease ``name``, seen by all processes; it saves work and guards nothing.

        Yields whether this process may do the work: always with ``wait``, else only if no other process does it. A
        process that does not wait takes over from a dead owner of this host; to outlast one of another host, wait.
        """
        return self.files.lease(name, wait)

    def record(self, fingerprint: str) -> Record | None:
        """The record of a cell, or None."""
        try:
            return self.files.read(self._run(fingerprint), record_files.read_named)
        except Unreadable:
            return None

    def finished(self, fingerprint: str) -> Record | None:
        """The record of a cell, or None where the cell must run: no record, a crash, or a damaged or missing file.

        Sample images that the user deleted are not missed.
        """
        record = self.record(fingerprint)
        if record is None or record["status"] not in FINISHED:
            return None
        if _SCORES in record["files"] and self.files.read(self._scores(fingerprint), _checked) is None:
            return None
        return None if self._samples.are_damaged(fingerprint) else record

    def finished_keys(self) -> set[str]:
        """Keys of the cells that have run, from the index and the names of files; their content is not verified."""
        table = self.index.table(["name", "status", "files"])
        scored = {path.stem for path in (self.root / "scores").glob("*.parquet")}
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        return {key for key, status, files in rows if status in FINISHED and (_SCORES not in files or key in scored)}

    def records(self) -> list[Record]:
        """All records by fingerprint, with what a report needs: without the config and with part of the card.

        Records of another schema, and files too large for a record, are named on stderr and left out. Nothing in the
        records may be changed.
        """
        return record_index.records(self.index.table())

    def left_out(self) -> dict[str, str]:
        """Why ``records`` leaves a record out, by the name of its file without ending."""
        return self.index.left_out()

    def write_record(self, record: Record) -> Record:
        """Store ``record``. Returns it with its checksum and the list of its ``files``.

        Raises ValueError: it holds NaN or infinity.
        """
        fingerprint = record["fingerprint"]
        files = [_SCORES] if record["status"] == "done" and self._scores(fingerprint).exists() else []
        sealed = sealed_json.sealed({**record, "files": files})
        text = json.dumps(sealed, indent=1, sort_keys=True, allow_nan=False)
        self.files.write(self._run(fingerprint), text.encode(), durable=True)
        return sealed

    def scores(self, fingerprint: str, columns: Sequence[str] | None = None) -> pd.DataFrame | None:
        """Scores of a cell, one row per pair, or None. columns: only these; a KeyError names one that is not there."""
        found = self.score_table(fingerprint, columns)
        return None if found is None else found.to_pandas()

    def score_table(self, fingerprint: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """As ``scores``, as an Arrow table."""
        return self.files.read(self._scores(fingerprint), partial(score_tables.read, columns=columns))

    def score_schema(self, fingerprint: str) -> pa.Schema | None:
        """Names and types of the columns of ``scores``, not verified; None where there are no scores."""
        return self.files.read(self._scores(fingerprint), score_tables.schema)

    def decisions(self, fingerprint: str) -> Decisions | None:
        """The attacked pairs of a cell and their outcomes, from an index of all scores; None if it has none."""
        return self._pair_index.decisions(fingerprint)

    def write_scores(self, fingerprint: str, table: pd.DataFrame) -> None:
        """Store the scores of a cell."""
        self.files.write(self._scores(fingerprint), score_tables.written(table), durable=True)

    def sample_images(self, fingerprint: str) -> dict[str, np.ndarray] | None:
        """Sample images of a cell and their scores, or None."""
        return self._samples.read(fingerprint)

    def write_sample_images(self, fingerprint: str, arrays: Arrays) -> None:
        """Store sample images. Arrays (n, H, W, 3) are images; cells with equal ones share a file."""
        self._samples.write(fingerprint, arrays)

    def image_stacks(self, fingerprint: str) -> list[Path]:
        """The files with the sample images of a cell, which cells share; none where the cell keeps none."""
        return self._samples.stacks(fingerprint) or []

    def get_or_make(
        self, kind: str, key: str, make: Callable[[], Arrays], usable: Callable[[Arrays], bool] | None = None
    ) -> Cached:
        """The arrays cached as cache/<kind>/<key>, computed where there are none.

        Args:
            make: computes the arrays, with a lease, so that one of several processes does it.
            usable: rejects cached arrays that must be computed again.
        """
        path = self._cached(kind, key)

        def find() -> dict[str, np.ndarray] | None:
            arrays = self.files.read(path, array_files.read)
            return arrays if arrays is not None and (usable is None or usable(arrays)) else None

        found = find()
        if found is not None:
            return Cached(found, made=False)
        with self.lease(f"{kind}-{key.replace('/', '-')}"):
            found = find()  # another process may have made them meanwhile
            if found is not None:
                return Cached(found, made=False)
            arrays = dict(make())
            self.files.write(path, array_files.written(arrays))
            return Cached(arrays, made=True)

    def is_cached(self, kind: str, key: str) -> bool:
        """Whether the cache has the arrays of ``get_or_make``; they are not verified."""
        return self._cached(kind, key).exists()

    def artifact(self, key: str) -> Path:
        """The path of the artifact ``key``, whether it exists or not."""
        return self.root / "artifacts" / f"{key}.safetensors"

    def artifact_bytes(self, key: str) -> bytes | None:
        """The content of the artifact ``key``, or None."""
        return self.files.read(self.artifact(key), _signed)

    def write_artifact(self, key: str, data: bytes) -> None:
        """Store an artifact: safetensors, signed (see ``sealed_files.sign``)."""
        self.files.write(self.artifact(key), data, durable=True)

    def remove_left_overs(self) -> None:
        """Delete temporary files and leases of dead processes of this host, and temporary files older than an hour."""
        self.files.remove_stale_temporaries()
        self.files.remove_stale_leases()

    @cached_property
    def index(self) -> RecordIndex:
        """The index of the records."""
        return RecordIndex(self.files)

    @cached_property
    def _pair_index(self) -> PairIndex:
        return PairIndex(self.files)

    @cached_property
    def _samples(self) -> SampleFiles:
        return SampleFiles(self.files)

    def _cached(self, kind: str, key: str) -> Path:
        return self.root / "cache" / kind / f"{key}{array_files.SUFFIX}"

    def _run(self, fingerprint: str) -> Path:
        return self.root / "runs" / f"{fingerprint}.json"

    def _scores(self, fingerprint: str) -> Path:
        return self.root / "scores" / f"{fingerprint}.parquet"


def _signed(path: Path) -> bytes:
    data = path.read_bytes()
    check_signed(data)
    return data


def _checked(path: Path) -> bool:
    score_tables.check(path)
    return True
