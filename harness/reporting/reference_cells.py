"""Cells of a study of reference results: CSV text, and records that replace cells measured before. Pure."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from frbench.harness.core.errors import ConfigError, DataMissing
from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.reference_page import MEASURED
from frbench.harness.reporting.tidy_table import cells_csv, tidy
from frbench.harness.storage.records import NOUNS, Record

# What two rows with the same question have in common. ``against``: the other cell of a paired comparison.
KEY = (*NOUNS, "settings", "against")
_SOURCE = ("source", "commit")
_TEXT = (*KEY, *_SOURCE, "status", "flags", "fingerprint")
_SHORT = 7  # digits of a commit


def read_cells(text: str) -> pd.DataFrame:
    """The cells of a CSV text; empty fields are missing."""
    head = pd.read_csv(io.StringIO(text), nrows=0).columns
    return pd.read_csv(io.StringIO(text), dtype={name: str for name in _TEXT if name in head})


def write_cells(cells: pd.DataFrame) -> str:
    """The CSV text of cells, without columns that are empty throughout."""
    kept = cells.replace("", None).dropna(axis="columns", how="all").convert_dtypes()
    return cells_csv(kept.astype(object).where(kept.notna(), None))


def measured_cells(records: Sequence[Record], findings: Findings) -> pd.DataFrame:
    """Rows of the tidy table of finished records, with ``source`` and ``commit``.

    Raises:
        DataMissing: no record is done.
    """
    done = [record for record in records if record["status"] == "done"]
    if not done:
        raise DataMissing("no finished record to collect; run `frbench run` first")
    frame = tidy(done, findings).replace("", None).drop(columns="status").filter(regex="^(?!.*reason$)")
    commits = [commit_of(record) for record in done]
    return frame.assign(source=MEASURED, commit=[short(commit) for commit in commits])


def commit_of(record: Record) -> str:
    """The commit that made the record; ``unknown`` outside a clone."""
    return str((record["card"] or {}).get("git") or "unknown")


def short(commit: str) -> str:
    """The first digits of a commit, with the mark of a changed source tree."""
    head, *dirty = commit.split("-")
    return "-".join([head[:_SHORT], *dirty])


def merge(cells: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Cells with ``measured`` rows in place of the rows with the same labels; new rows follow at the end.

    Raises:
        ConfigError: several measured rows have the same labels.
    """
    keys = _keys(measured)
    new: dict[tuple[str, ...], Mapping[Any, Any]] = dict(zip(keys, measured.to_dict("records"), strict=True))
    if len(new) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ConfigError(f"several records have the labels {', '.join(filter(None, twice))}; delete the older one")
    rows: list[Mapping[Any, Any]] = []
    for key, row in zip(_keys(cells), cells.to_dict("records"), strict=True):
        if key in new or key not in keys:
            rows.append(new.pop(key, row))
    columns = dict.fromkeys([*measured.columns, *cells.columns])
    ordered = [*(name for name in columns if name not in _SOURCE), *_SOURCE]
    return pd.DataFrame([*rows, *new.values()], columns=ordered)


def _keys(cells: pd.DataFrame) -> list[tuple[str, ...]]:
    labels = cells.reindex(columns=list(KEY)).astype(object)
    return [tuple(row) for row in labels.where(labels.notna(), "").itertuples(index=False)]


def facts(records: Sequence[Record]) -> dict[str, Any]:
    """The entries of a manifest that the cards of finished records give."""
    done = [record for record in records if record["status"] == "done"]
    cards = [record["card"] for record in done]
    digests: dict[str, str] = {}
    for record in done:
        found = record["card"].get("digests") or {}
        named = {"data": "dataset", "recognizer": "recognizer", "surrogate": "surrogate", "artifact": "defense"}
        digests |= {record["names"][noun]: found[kind] for kind, noun in named.items() if found.get(kind)}
    machines = {f"{card.get('device')}, threads: {card.get('threads')}" for card in cards}
    versions = {name: version for card in cards for name, version in (card.get("versions") or {}).items()}
    return {
        "commit": ", ".join(sorted({commit_of(record) for record in done})),
        "date": max(card["started"] for card in cards)[:10],
        "hours": round(sum(card["seconds"] for card in cards) / 3600, 2),
        "machine": "; ".join(sorted(machines)),
        "versions": versions,
        "seeds": sorted({record["seed"] for record in done}),
        "digests": dict(sorted(digests.items())),
    }
