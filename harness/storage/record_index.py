"""The index of records: what reports and status read, in one file that is derived from the records.

``index/records.parquet`` has a row per file of ``runs/``. A row counts only while the file has the inode, size and time
of change that the row was made from, so the index is never trusted over a record. It can be deleted at any time;
processes that refresh it at once each write a whole file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from frbench.harness.core.errors import DiskFull, shortened, warn_once
from frbench.harness.storage import record_files, score_tables
from frbench.harness.storage.record_files import SCHEMA, Record, Unreadable
from frbench.harness.storage.records import NOUNS, LabelledRecord
from frbench.harness.storage.store_files import State, StoreFiles, states_of

_FILE = {"name": pa.string(), "inode": pa.uint64(), "size": pa.int64(), "mtime_ns": pa.int64(), "readable": pa.string()}
_STATE = {"status": pa.string(), "files": pa.string()}
_NAMES = {f"names.{noun}": pa.string() for noun in NOUNS}
_TEXTS = ("fingerprint", "kind", "reason")
_JSON = ("settings", "flags", "seed", "clean", "attack", "card", "versions")
_RATES = {key: pa.float64() for key in ("asr", "asr_low", "asr_high", "clean_accuracy")}
_DESCRIBED = ("attack", "goal", "budget", "threat", "defense", "protocol", "audit")
_COLUMNS = pa.schema(
    {
        **_FILE,
        **_STATE,
        **_NAMES,
        **dict.fromkeys((*_TEXTS, *_JSON), pa.string()),
        **_RATES,
        "asr_denominator": pa.int64(),
        **{f"hyperparameters.{noun}": pa.string() for noun in _DESCRIBED},
    }
)
_RUN = ("started", "seconds", "forwards", "backwards", "attack_generated", "ms_per_image")
_CARD = (*_RUN, "git", "device", "threads", "digests")
_OURS = f"schema {SCHEMA}"  # in the column readable; any other text says why a record is left out
_BATCH = 500  # records parsed at a time; keys are shared within a batch


@dataclass(frozen=True)
class RecordIndex:
    """The index of the records of a store."""

    files: StoreFiles

    @property
    def path(self) -> Path:
        """The file of the index."""
        return self.files.root / "index" / "records.parquet"

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of all records that can be read, by name, after a refresh; columns: only these."""
        found = self._current(columns)
        _warn_of_left_out(self.files.root / "runs", _left_out(found))
        found = found.filter(pc.equal(found.column("readable"), _OURS))
        return found if columns is None else found.select(list(columns))

    def left_out(self) -> dict[str, str]:
        """Why this version of frbench does not read a record, by the name of its file without ending."""
        return _left_out(self._current([]))

    def _current(self, columns: Sequence[str] | None) -> pa.Table:
        """The rows of all files, also of records that are left out, after a refresh."""
        states = states_of(self.files.root / "runs", ".json")
        wanted = None if columns is None else list(dict.fromkeys([*_FILE, *columns]))
        found = self._stored(wanted)
        return found if found is not None and _is_current(found, states) else self._refreshed(states)

    def _stored(self, columns: Sequence[str] | None) -> pa.Table | None:
        try:
            found = self.files.read(self.path, partial(score_tables.read, columns=columns))
        except KeyError:  # of another version
            return None
        return found if found is None or columns is not None or found.schema.equals(_COLUMNS) else None

    def _refreshed(self, states: Mapping[str, State]) -> pa.Table:
        """The whole index, with the rows of changed files made anew; written if that is possible."""
        stored = self._stored(None)
        unchanged = None if stored is None else pa.array(_unchanged(stored, states), pa.bool_())
        kept = _COLUMNS.empty_table() if stored is None else stored.filter(unchanged)
        known = set(kept.column("name").to_pylist())
        changed = [name for name in states if name not in known]
        fresh = [
            pa.Table.from_pylist(self._rows(changed[first : first + _BATCH], states), schema=_COLUMNS)
            for first in range(0, len(changed), _BATCH)
        ]
        if stored is None and not states:
            return kept
        table = pa.concat_tables([kept, *fresh]).sort_by("name").combine_chunks()
        with suppress(OSError, DiskFull):  # read-only, or no room: it is made again next time
            self.files.write(self.path, score_tables.packed(table))
        return table

    def _rows(self, names: Iterable[str], states: Mapping[str, State]) -> list[dict[str, Any]]:
        return [row for name in names if (row := self._row(name, states[name])) is not None]

    def _row(self, name: str, state: State) -> dict[str, Any] | None:
        """The row of a record; None where it is damaged."""
        file = dict(zip(_FILE, (name, *state), strict=False))
        try:
            record = self.files.read(self.files.root / "runs" / f"{name}.json", record_files.read_named)
        except Unreadable as why:
            return {**file, "readable": str(why)}
        return None if record is None else {**file, "readable": _OURS, **_row(record)}


def records(table: pa.Table) -> list[Record]:
    """The records of whole rows, with everything that a report needs: no config, and part of the card.

    Equal parts of records are the same objects, so nothing in them may be changed.
    """
    found: list[Record] = []
    for batch in table.to_batches(_BATCH):
        rows = batch.to_pylist()
        attacks = json.loads(f"[{','.join(row['attack'] for row in rows)}]")  # at once, so that keys are shared
        found += [LabelledRecord(_record(row, attack)) for row, attack in zip(rows, attacks, strict=True)]
    return found


def _record(row: Mapping[str, Any], attack: Any) -> Record:
    card, clean = json.loads(row["card"]), row["clean"]
    return {
        "schema": SCHEMA,
        **{key: row[key] for key in ("fingerprint", "kind", "status", "reason")},
        "names": {noun: name for noun in NOUNS if (name := row[f"names.{noun}"]) is not None},
        **{key: _shared(row[key]) for key in ("settings", "flags", "seed", "files")},
        "hyperparameters": {
            noun: _shared(text) for noun in _DESCRIBED if (text := row[f"hyperparameters.{noun}"]) is not None
        },
        "measurements": None if clean is None else {"clean": _shared(clean), "attack": attack},
        "card": card if card is None else card | _shared(row["versions"]),
    }


def _row(record: Record) -> dict[str, Any]:
    measurements, card = record.get("measurements"), record.get("card")
    clean, attack = ((measurements or {}).get(part) or {} for part in ("clean", "attack"))
    described = record.get("hyperparameters") or {}
    return {
        **{key: record.get(key) for key in ("status", *_TEXTS)},
        **{f"names.{noun}": (record.get("names") or {}).get(noun) for noun in NOUNS},
        **{key: _text(record.get(key)) for key in ("files", "settings", "flags", "seed")},
        "clean": None if measurements is None else _text(measurements.get("clean")),
        "attack": _text(attack or None),
        "card": _text(None if card is None else {key: card[key] for key in _CARD if key in card}),
        "versions": _text({key: card[key] for key in ("versions",) if key in card} if card else {}),
        **{key: attack.get(key) for key in ("asr", "asr_low", "asr_high", "asr_denominator")},
        "clean_accuracy": clean.get("accuracy"),
        **{f"hyperparameters.{noun}": _text(described[noun]) for noun in _DESCRIBED if noun in described},
    }


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


@lru_cache(maxsize=20_000)
def _shared(text: str) -> Any:
    return json.loads(text)


def _unchanged(table: pa.Table, states: Mapping[str, State]) -> list[bool]:
    columns = (table.column(name).to_pylist() for name in ("name", "inode", "size", "mtime_ns"))
    return [states.get(name) == tuple(state) for name, *state in zip(*columns, strict=True)]


def _is_current(table: pa.Table, states: Mapping[str, State]) -> bool:
    return len(table) == len(states) and all(_unchanged(table, states))


def _left_out(table: pa.Table) -> dict[str, str]:
    rows = zip(table.column("name").to_pylist(), table.column("readable").to_pylist(), strict=True)
    return {name: why for name, why in rows if why != _OURS}


def _warn_of_left_out(folder: Path, left_out: Mapping[str, str]) -> None:
    if left_out:
        first = {why: name for name, why in reversed(list(left_out.items()))}
        counts = sorted(Counter(left_out.values()).items())
        listed = ", ".join(f"{count} of {why} ({shortened(first[why])}.json)" for why, count in counts)
        warn_once(
            f"{folder}: left out records that this frbench, which reads schema {SCHEMA}, cannot read: {listed}; run "
            "their cells again, or use the frbench version that wrote them (its commit: card.git)"
        )
