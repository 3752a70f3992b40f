"""Which pairs were attacked and which attacks succeeded, in bits, derived from the tables of scores.

``index/pairs.parquet`` spares reports of thousands of cells the reading of as many tables. As the index of records it
counts only while the files are unchanged, and can be deleted at any time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from frbench.harness.core.errors import DiskFull
from frbench.harness.storage import score_tables
from frbench.harness.storage.store_files import State, StoreFiles, states_of

_READ = ("index", "correct", "adversarial_score", "success")
_NOISE = ("same", "noise_score", "threshold")  # tables of bounded attacks have them
_ROWS = pa.schema(
    {"name": pa.string(), "inode": pa.uint64(), "size": pa.int64(), "mtime_ns": pa.int64(), "pairs": pa.string()}
    | dict.fromkeys(("attacked", "success", "noise"), pa.binary())
)
_PAIRS = pa.schema({"name": pa.string(), "index": pa.binary()})


@dataclass(frozen=True)
class Decisions:
    """The attacked pairs of a cell and their outcomes.

    Attributes:
        pairs: int64 (N,), the numbers of the pairs in the table; cells with equal pairs share the array.
        attacked: uint8 (N / 8,), a bit per pair: decided correctly without an attack, and attacked.
        success: uint8 (N / 8,), a bit per pair: attacked with success.
        noise: uint8 (N / 8,), a bit per pair: attacked, and random noise of the same size succeeds; None if unknown.
    """

    pairs: NDArray[np.int64]
    attacked: NDArray[np.uint8]
    success: NDArray[np.uint8]
    noise: NDArray[np.uint8] | None = None


def decisions_of(table: Mapping[str, Any]) -> Decisions:
    """The decisions of a table of scores (its columns by name)."""
    columns = {name: np.asarray(table[name]) for name in _READ}
    attacked = columns["correct"].astype(bool) & ~np.isnan(columns["adversarial_score"].astype(float))
    success = attacked & columns["success"].astype(bool)
    noise = np.packbits(attacked & _noise_success(table)) if all(name in table for name in _NOISE) else None
    return Decisions(columns["index"].astype(np.int64), np.packbits(attacked), np.packbits(success), noise)


def _noise_success(table: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Whether the score with noise is on the wrong side of the threshold, which is above it for impostor pairs."""
    same, noise, threshold = (np.asarray(table[name]) for name in _NOISE)
    above = noise.astype(float) > threshold.astype(float)
    found: NDArray[np.bool_] = (above != same.astype(bool)) & ~np.isnan(noise.astype(float))
    return found


@dataclass(frozen=True)
class PairIndex:
    """The decisions of all cells of a store."""

    files: StoreFiles
    _shared: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def decisions(self, fingerprint: str) -> Decisions | None:
        """The decisions of a cell, from its scores at the first call; None if it has no scores."""
        found = self._found.get(fingerprint)
        if found is None:
            return None
        pairs, attacked, success, noise = found
        return Decisions(
            self._shared[pairs],
            np.frombuffer(attacked, np.uint8),
            np.frombuffer(success, np.uint8),
            None if noise is None else np.frombuffer(noise, np.uint8),
        )

    @cached_property
    def _found(self) -> dict[str, tuple[str, bytes, bytes, bytes | None]]:
        states = states_of(self.files.root / "scores", ".parquet")
        stored, arrays = (self._stored(name, schema) for name, schema in (("pairs", _ROWS), ("pair_numbers", _PAIRS)))
        known = set() if arrays is None else set(arrays.column("name").to_pylist())
        if stored is None or arrays is None or not known.issuperset(stored.column("pairs").drop_null().to_pylist()):
            stored, arrays = _ROWS.empty_table(), _PAIRS.empty_table()  # missing, or of two processes at once
        self._shared.update({each["name"]: np.frombuffer(each["index"], np.int64) for each in arrays.to_pylist()})
        rows: list[dict[str, Any]] = [row for row in stored.to_pylist() if states.get(row["name"]) == _state(row)]
        changed = sorted(states.keys() - {row["name"] for row in rows})
        if changed or len(rows) < len(stored):
            rows += [row for name in changed if (row := self._row(name, states[name])) is not None]
            self._write(rows)
        values = ("pairs", "attacked", "success", "noise")
        return {row["name"]: tuple(row.get(value) for value in values) for row in rows if row.get("pairs")}  # type: ignore[misc]

    def _row(self, name: str, state: State) -> dict[str, Any] | None:
        """The row of a table; without bits for one of another kind, None for a damaged one."""
        file = dict(zip(_ROWS.names, (name, *state), strict=False))
        path = self.files.root / "scores" / f"{name}.parquet"
        try:
            table = self.files.read(path, _columns)
        except KeyError:
            return file
        if table is None:
            return None
        found = decisions_of({name: table.column(name).to_numpy() for name in table.column_names})
        digest = hashlib.sha256(found.pairs.tobytes()).hexdigest()
        self._shared.setdefault(digest, found.pairs)
        bits = {"attacked": found.attacked, "success": found.success, "noise": found.noise}
        return {**file, "pairs": digest, **{name: each.tobytes() for name, each in bits.items() if each is not None}}

    def _write(self, rows: list[dict[str, Any]]) -> None:
        used: set[str] = {row["pairs"] for row in rows if row.get("pairs")}
        arrays = [{"name": name, "index": self._shared[name].tobytes()} for name in sorted(used)]
        with suppress(OSError, DiskFull):  # read-only, or no room: it is made again next time
            self.files.write(self._path("pair_numbers"), score_tables.packed(pa.Table.from_pylist(arrays, _PAIRS)))
            self.files.write(self._path("pairs"), score_tables.packed(pa.Table.from_pylist(rows, _ROWS)))

    def _stored(self, name: str, schema: pa.Schema) -> pa.Table | None:
        found = self.files.read(self._path(name), score_tables.read)
        return found if found is not None and found.schema.equals(schema) else None

    def _path(self, name: str) -> Path:
        return self.files.root / "index" / f"{name}.parquet"


def _columns(path: Path) -> pa.Table:
    """The columns of a table of scores that decisions are made of."""
    try:
        return score_tables.read(path, (*_READ, *_NOISE))
    except KeyError:
        return score_tables.read(path, _READ)


def _state(row: Mapping[str, Any]) -> State:
    return row["inode"], row["size"], row["mtime_ns"]
