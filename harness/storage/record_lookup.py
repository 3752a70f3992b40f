"""Records that the command line names: by the beginning of a fingerprint, or by a record file.

The text that the user types is compared with the names of existing records. It never becomes part of a path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frbench.harness.core.errors import ConfigError, CorruptFile, DataMissing, shortened
from frbench.harness.core.quarantine import Damaged
from frbench.harness.storage import record_files
from frbench.harness.storage.record_files import SCHEMA, OtherSchema, Record, TooLarge
from frbench.harness.storage.result_store import ResultStore

SHORTEST = 8  # digits of a fingerprint that a user must give
_TYPED = re.compile(r"[0-9a-f]+")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_LISTED = 5  # candidates in an error
_RUNS, _ENDING = "runs", ".json"
_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("kind", "status"), str),
    **dict.fromkeys(("names", "settings", "hyperparameters"), dict),
    "card": (dict, type(None)),
    "measurements": (dict, type(None)),
    "reason": (str, type(None)),
    "flags": list,
}


@dataclass(frozen=True)
class FoundRecord:
    """A whole record, with its config and card.

    Attributes:
        record: the record; its fingerprint has 64 hexadecimal digits.
        store: the results folder with its scores and sample images; None for a record file outside such a folder.
    """

    record: Record
    store: ResultStore | None


def find_record(store: ResultStore, name: str) -> FoundRecord:
    """Find the record that ``name`` identifies.

    Args:
        store: where fingerprints are looked up.
        name: the beginning of a fingerprint, at least 8 digits, or the path of a record file.

    Returns:
        The record and its store; that of a file ``FOLDER/runs/FINGERPRINT.json`` is ``FOLDER``.

    Raises:
        ConfigError: ``name`` is neither, or too short.
        DataMissing: no record, or more than one, has a fingerprint that begins with ``name``.
        CorruptFile: the record is damaged, too large, or of another version of frbench.
    """
    if not _TYPED.fullmatch(name):
        return _from_file(Path(name).expanduser(), name)
    if len(name) < SHORTEST:
        raise ConfigError(f"{name} is too short; give at least {SHORTEST} digits of a fingerprint, or a record file")
    files = _record_files(store)
    found = [each for each in files if each.startswith(name)]
    if len(found) == 1:
        return FoundRecord(_read(files[found[0]]), store)
    what = "more than one record" if found else "no record"
    candidates = _candidates(files, sorted(found) or _latest(files))
    raise DataMissing(f"{store.root} has {what} whose fingerprint begins with {name}; {candidates}")


def _from_file(path: Path, name: str) -> FoundRecord:
    if not path.is_file():
        raise ConfigError(
            f"there is no record {shortened(name)}; give the beginning of a fingerprint ({SHORTEST} digits from 0 to 9 "
            "and a to f, see frbench report format=json), or the path of a record file"
        )
    in_store = path.resolve().parent.name == _RUNS and path.suffix == _ENDING
    return FoundRecord(_read(path), ResultStore(path.resolve().parent.parent) if in_store else None)


def _record_files(store: ResultStore) -> dict[str, Path]:
    """The record files of ``store`` by fingerprint."""
    folder = store.root / _RUNS
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        files = {each.name.removesuffix(_ENDING): Path(each.path) for each in entries if each.name.endswith(_ENDING)}
        found = {name: path for name, path in files.items() if _FINGERPRINT.fullmatch(name)}
        if found:
            return found
    raise DataMissing(f"{store.root} has no records; give their folder: paths.results=FOLDER")


def _read(path: Path) -> Record:
    """The record in a file; nothing is moved to quarantine, because the file may be in no store."""
    try:
        record = record_files.read(path)
    except TooLarge as large:
        raise CorruptFile(f"{path} has {large}") from large
    except OtherSchema as other:
        raise CorruptFile(
            f"{path} has schema {shortened(other.schema)}, and this frbench reads schema {SCHEMA}: use the frbench "
            "version that wrote it"
        ) from other
    except Damaged as error:
        raise CorruptFile(f"{path} is no record of frbench: {shortened(error)}") from error
    _check_fields(record, path)
    return record


def _check_fields(record: Mapping[str, Any], path: Path) -> None:
    """Raises CorruptFile: a field has the wrong type, or the fingerprint is not that of the file name."""
    for name, kind in _FIELDS.items():
        if not isinstance(record.get(name), kind):
            raise CorruptFile(f"{path} is no record of frbench: {name} is missing or has the wrong type")
    key = record.get("fingerprint")
    if not isinstance(key, str) or not _FINGERPRINT.fullmatch(key):
        raise CorruptFile(f"{path} is no record of frbench: its fingerprint has not 64 hexadecimal digits")
    if _FINGERPRINT.fullmatch(path.stem) and path.stem != key:
        raise CorruptFile(f"{path} has the record of {key}; rename the file to {key}{_ENDING}")


def _latest(files: Mapping[str, Path]) -> list[str]:
    """All fingerprints, the latest record first."""

    def changed(name: str) -> tuple[int, str]:
        with suppress(FileNotFoundError):
            return -files[name].stat().st_mtime_ns, name
        return 0, name

    return sorted(files, key=changed)


def _candidates(files: Mapping[str, Path], names: Sequence[str]) -> str:
    """The first ``names``, with as many digits as distinguish them, and what each record is."""
    listed = names[:_LISTED]
    digits = next(n for n in range(SHORTEST, 65) if len({name[:n] for name in listed}) == len(listed))
    shown = ", ".join(f"{name[:digits]} ({_described(files[name])})" for name in listed)
    more = len(names) - _LISTED
    return f"records: {shown}{f', and {more} more' if more > 0 else ''}"


def _described(path: Path) -> str:
    """Attack, defense, goal, budget and threat model of a record, in a few words."""
    try:
        names = _read(path)["names"]
    except (CorruptFile, OSError):
        return "damaged"
    return shortened(" ".join(str(names.get(noun, "")) for noun in ("attack", "defense", "goal", "budget", "threat")))
