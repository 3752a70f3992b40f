"""The facts of a run by name, for a run card on a page. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from frbench.harness.reporting.rates import rate_of
from frbench.harness.reporting.tables.layout import clean_accuracy, flag_names
from frbench.harness.reporting.views.card_page import command
from frbench.harness.storage.records import NOUNS, Record, label, measured, rest

_CARD = {"git": "commit", "device": "device", "threads": "threads", "started": "started", "seconds": "seconds"}
_DIGITS = 16  # of a fingerprint in a command


def facts(record: Record, flags: Sequence[str]) -> dict[str, str]:
    """The facts of a run by name: results, options with all their fields, digests, versions.

    Args:
        record: portable, see ``portable_record``.
        flags: all flags of it.
    """
    card = record["card"] or {}
    found = {"status": f"{record['status']}: {record['reason']}" if record["reason"] else record["status"]}
    found |= _results(record)
    found |= {"flags": ", ".join(flag_names(flags)) or "none"}
    found |= {noun: _option(record, noun) for noun in NOUNS if record["names"].get(noun)}
    found |= {"other settings": rest(record), "seed": str(record["seed"])}
    found |= {name: str(card[key]) for key, name in _CARD.items() if card.get(key) is not None}
    for key in ("versions", "digests"):
        found[key] = "\n".join(f"{name} {value}" for name, value in sorted((card.get(key) or {}).items()) if value)
    found["fingerprint"] = record["fingerprint"]
    return {name: text for name, text in found.items() if text}


def repeat_command(record: Record) -> str:
    """The command line that repeats the run, quoted for a shell; with the results folder for an old record."""
    return command(record) or shlex.join(["frbench", "reproduce", record["fingerprint"][:_DIGITS]])


def _results(record: Record) -> dict[str, str]:
    clean, rate = measured(record, "clean"), rate_of(record)
    accuracy = clean_accuracy(clean)
    found = {} if accuracy is None else {"clean accuracy": f"{accuracy.value} % {accuracy.detail}"}
    return found if rate is None else found | {"ASR": str(rate)}


def _option(record: Record, noun: str) -> str:
    """The option of a noun with its changed settings, and on more lines all its fields."""
    fields = (record["hyperparameters"] or {}).get(noun)
    listed = [f"{key} = {_text(value)}" for key, value in sorted(fields.items())] if isinstance(fields, Mapping) else []
    return "\n".join([label(record, noun), *listed])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
