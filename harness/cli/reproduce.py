"""``frbench reproduce``: runs the cell of a record again and compares the numbers field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from frbench.harness.config import folders, resolution
from frbench.harness.config.compose import compose, printed
from frbench.harness.config.recorded_cell import recorded_cell, split_own_values
from frbench.harness.core.errors import ConfigError, CorruptFile, FrbenchError, shortened
from frbench.harness.core.flags import Flag
from frbench.harness.evaluation.cell import Cell, run_cell
from frbench.harness.reporting.tables.rendering import markdown
from frbench.harness.reporting.views.reproduction import (
    Reading,
    Reproduction,
    compared,
    differences_table,
    differing_digest,
)
from frbench.harness.reporting.views.run_differences import run_differences
from frbench.harness.storage.cell_line import cell_line
from frbench.harness.storage.output_folders import check_writable
from frbench.harness.storage.portable_record import portable
from frbench.harness.storage.record_lookup import FoundRecord, find_record
from frbench.harness.storage.records import Record, reason
from frbench.harness.storage.result_store import ResultStore

_FINISHED = "done", "refused"


def reproduce(words: Sequence[str]) -> int:
    """Exit code: 0 all numbers are equal or within tolerance, 1 some are apart; what cannot be compared raises."""
    if printed("reproduce", words[1:]):
        return 0
    name, config, given = _arguments(words)
    found = find_record(folders.store(config), name)
    out = _out(config, found)
    record = found.record
    if record["status"] not in _FINISHED:
        raise ConfigError(
            f"the record is {shortened(record['status'], 20)}: {shortened(reason(record))}; take a record that is done"
        )
    own = {**config, "paths": {**config["paths"], "results": str(out)}}
    cell = _as_tuned(recorded_cell(_portable(record), own, given).cell(), record)
    _check_digests(record, cell)
    store = ResultStore(out)
    earlier = store.finished(cell.fingerprint())
    made = earlier or run_cell(cell, store)
    if made["status"] not in _FINISHED:
        raise FrbenchError(f"the cell {made['status']}: {reason(made)}; the record in {out / 'runs'} has the traceback")
    result = compared(record, made, config["tolerance"])
    print(_text(record, made, result, bool(earlier), out))
    return 0 if result.reproduced else 1


def _arguments(words: Sequence[str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The name of the record, the config, and values of the user's own, by place."""
    if not words or "=" in words[0] or words[0].startswith("-"):
        raise ConfigError(
            "frbench reproduce takes a record first: the beginning of a fingerprint (8 digits), a record file, or a "
            "run card; see frbench reproduce --help"
        )
    others, given = split_own_values(words[1:])
    return words[0], resolution.plain(compose("reproduce", others).config), given


def _out(config: Mapping[str, Any], found: FoundRecord) -> Path:
    """The results folder of the new run, never that of the record, where its numbers would only be read again."""
    digits = found.record["fingerprint"][:12]
    root = folders.store(config).root
    out = Path(config["out"]).expanduser() if config["out"] else root / "reproduced" / digits
    taken = [store.root.resolve() for store in (found.store,) if store is not None]
    if out.resolve() in taken:
        raise ConfigError(f"out={out} has the record itself; set out to another folder")
    check_writable(out, "out")
    return out


def _portable(record: Record) -> dict[str, Any]:
    try:
        return portable(record)
    except (RecursionError, AttributeError, TypeError, ValueError) as error:
        raise CorruptFile(f"the record is not one of frbench: {error}; take another file") from error


def _as_tuned(cell: Cell, record: Record) -> Cell:
    """``cell`` with the flag of preprocessing that the first run chose: the config of the record has its result."""
    chosen = [flag for flag in (Flag.PREPROCESSING_TUNED,) if flag in record["flags"]]
    return replace(cell, flags=(*cell.flags, *chosen))


def _check_digests(record: Record, cell: Cell) -> None:
    """Raises FrbenchError: the data or weights here are others, so that no number can be compared."""
    recorded = (record["card"] or {}).get("digests")
    differing = differing_digest(recorded if isinstance(recorded, Mapping) else {}, cell.facts["digests"])
    if differing is not None:
        raise FrbenchError(f"cannot reproduce, {differing}; get the files of the record and run the command again")


def _text(record: Record, made: Record, result: Reproduction, found: bool, out: Path) -> str:
    lines = [f"record    {cell_line(record, False)}", f"this run  {cell_line(made, found)}"]
    same = made["fingerprint"] == record["fingerprint"]
    lines.append(
        f"key: {'the same' if same else 'another: a part of frbench has another version, or the card was changed'}"
    )
    differences = [each for each in run_differences(record, made) if each.part in ("code", "machine")]
    lines += [f"{each.part}: {each.name} {each.a} in the record, {each.b} here" for each in differences]
    table = differences_table(result)
    lines += ["", markdown(table)] if table is not None else []
    counts = ", ".join(f"{result.count(reading)} {reading.value}" for reading in Reading)
    new = f", {result.new} only in this run" if result.new else ""
    verdict = "reproduced" if result.reproduced else "not reproduced"
    text = "\n".join([*lines, f"{verdict}: of {len(result.fields)} fields {counts}{new} ({out})"])
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)  # no codes for the terminal
