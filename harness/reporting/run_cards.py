"""Run cards to attach to a paper: a JSON file that ``frbench reproduce`` reads, and the same as a page in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from frbench.harness.core.atomic import write_atomically
from frbench.harness.core.errors import ConfigError, DataMissing
from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.views.card_page import card_page, command
from frbench.harness.storage import sealed_json
from frbench.harness.storage.portable_record import portable
from frbench.harness.storage.records import Record

_MOST = 100  # cards at a time


class WholeRecords(Protocol):
    """A store that has records with their config."""

    def record(self, fingerprint: str) -> dict[str, Any] | None: ...


def write_cards(store: WholeRecords, records: Sequence[Record], findings: Findings, out: Path) -> list[Path]:
    """Write the run card of each of ``records`` to ``out/cards``. Returns the files.

    Raises:
        ConfigError: there are too many records, so that somebody forgot to select some.
        DataMissing: there are no records, or one is gone.
    """
    if not records:
        raise DataMissing("no records to make a run card of; run `frbench run` first")
    if len(records) > _MOST:
        raise ConfigError(
            f"format=card writes a run card for each record, and {len(records)} are selected; select one with "
            "fingerprint=DIGITS, or fewer with where.NAME=VALUE"
        )
    written: list[Path] = []
    for each in records:
        record = store.record(each["fingerprint"])
        if record is None:
            raise DataMissing(f"the record {each['fingerprint'][:12]} is gone; run its cell again")
        written += _write(record, findings.all_flags(each), out / "cards")
    return written


def _write(record: Record, flags: Sequence[str], folder: Path) -> list[Path]:
    card = portable(record)
    file, page = (folder / f"run_card_{record['fingerprint'][:12]}{ending}" for ending in (".json", ".md"))
    facts = {"flags": list(flags), "command": command(card), "reproduce": f"frbench reproduce {file.name}"}
    data, text = sealed_json.written(card | {"run_card": facts}), card_page(card, flags, file.name)
    write_atomically(file, lambda path: path.write_bytes(data))
    write_atomically(page, lambda path: path.write_text(text, encoding="utf-8", newline="\n"))
    return [file, page]
