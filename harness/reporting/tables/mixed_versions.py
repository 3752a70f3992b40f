"""The sentence under a table whose records were made with different versions of the libraries that decide numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from frbench.harness.storage.records import Record

_LIBRARIES = {
    "frbench": "frbench",
    "python": "Python",
    "torch": "torch",
    "numpy": "numpy",
    "torchattacks": "torchattacks",
    "kornia": "kornia",
    "onnxruntime": "onnxruntime",
}


def with_mixed_versions(caption: str, records: Iterable[Record]) -> str:
    """The caption of a table of ``records``, with that sentence where it applies."""
    return " ".join(filter(None, (caption, mixed_versions(records))))


def mixed_versions(records: Iterable[Record]) -> str:
    """Names each library of which ``records`` used several versions; empty where there is none."""
    cards = [_versions(record) for record in records]
    mixed = []
    for library, name in _LIBRARIES.items():
        found = sorted({card[library] for card in cards if library in card}, key=_numbers)
        if len(found) > 1:
            mixed.append(f"{name} {_listed(found)}")
    return f"Cells of this table were made with {'; '.join(mixed)}." if mixed else ""


def _versions(record: Record) -> Mapping[str, str]:
    return (record["card"] or {}).get("versions") or {}


def _numbers(version: str) -> tuple[list[int], str]:
    """Sort key: 2.6.0 before 2.13.0."""
    return [int(number) for number in re.findall(r"\d+", version)], version


def _listed(versions: list[str]) -> str:
    return f"{', '.join(versions[:-1])} and {versions[-1]}"
