"""Exports of a result store for other tools: a SQLite database, or Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from frbench.harness.core.atomic import create_atomically, write_atomically
from frbench.harness.core.errors import ConfigError, DataMissing
from frbench.harness.reporting.crosscheck import compare
from frbench.harness.reporting.export.pair_rows import PairTable, ScoreFiles, pair_table
from frbench.harness.reporting.export.parquet_files import write_parquet
from frbench.harness.reporting.export.record_rows import RecordTable, record_table
from frbench.harness.reporting.export.sqlite_file import write_database
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.storage.pair_index import Decisions
from frbench.harness.storage.records import select


class Store(ScoreFiles, Protocol):
    """A result store: records in any order, their scores, and which pairs were attacked with success."""

    def records(self) -> list[dict[str, Any]]: ...

    def scores(self, fingerprint: str) -> Any: ...

    def decisions(self, fingerprint: str) -> Decisions | None: ...


class Exported(NamedTuple):
    """What an export wrote: number of records, number of rows of pairs, and the files."""

    records: int
    pairs: int
    files: list[Path]


def export_sqlite(store: Store, where: Mapping[str, Any] | None, out: Path, overwrite: bool) -> Exported:
    """Write the selected records and their pairs as the SQLite database ``out``.

    Raises:
        ConfigError: ``out`` exists and ``overwrite`` is false, or ``where`` matches no record.
        DataMissing: there are no records.
        DiskFull: there is no room.
    """
    check_absent(out, overwrite)
    records, pairs = _tables(store, where)
    rows = _write(out, partial(write_database, records=records, pairs=pairs), overwrite)
    return Exported(len(records.records), rows, [out])


def export_parquet(store: Store, where: Mapping[str, Any] | None, out: Path, overwrite: bool) -> Exported:
    """Write ``records.parquet`` and ``pairs.parquet`` to the folder ``out``; errors as in ``export_sqlite``."""
    files = [out / "records.parquet", out / "pairs.parquet"]
    for path in files:
        check_absent(path, overwrite)
    records, pairs = _tables(store, where)
    _write(files[0], partial(write_parquet, schema=records.schema, parts=records.batches()), overwrite)
    rows = _write(files[1], partial(write_parquet, schema=pairs.schema, parts=pairs.tables()), overwrite)
    return Exported(len(records.records), rows, files)


def check_absent(path: Path, overwrite: bool) -> None:
    """Raises ConfigError: ``path`` exists and ``overwrite`` is false, or it is a folder."""
    if path.is_dir():
        raise ConfigError(f"{path} is a folder and a file is written there; set out to another path")
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists; add overwrite=true to replace it, or set out to another path")


def _tables(store: Store, where: Mapping[str, Any] | None) -> tuple[RecordTable, PairTable]:
    records = select(store.records(), where)
    if not records:
        raise DataMissing(
            "there are no records to export; run `frbench run` first, or give their folder: paths.results=FOLDER"
        )
    findings = compare(records, Outcomes(store.scores, store.decisions))
    return record_table(records, findings.all_flags), pair_table(store, records)


def _write(path: Path, write: Callable[[Path], int], overwrite: bool) -> int:
    """The number of rows that ``write`` returns, when the file stands under its name."""
    counts: list[int] = []

    def counted(temporary: Path) -> None:
        counts.append(write(temporary))

    if overwrite:
        write_atomically(path, counted)
        return counts[0]
    try:
        create_atomically(path, counted)
    except FileExistsError as error:  # another process was faster
        raise ConfigError(f"{path} exists; add overwrite=true to replace it, or set out to another path") from error
    return counts[0]
