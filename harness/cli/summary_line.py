"""The last line that ``frbench run`` prints: a summary of its cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from frbench.harness.config.overrides import typed
from frbench.harness.core.flags import Flag
from frbench.harness.storage.records import Record

_DEFAULT = Path("results")  # the default of paths.results


def summary(records: Sequence[Record], failed: int, folders: Collection[Path]) -> str:
    """The last line of a run: counts by status, flags, where the records are, and the next command.

    failed: the number of cells without a record. folders: the results folders of the records.
    """
    if len(records) == 1 and not failed:
        (folder,) = folders
        parts = [f"record: {folder / 'runs' / records[0]['fingerprint']}.json"]
    else:
        ended = Counter(str(record["status"]) for record in records) + Counter({"failed": failed})
        parts = [
            f"{counted(ended.total(), 'cell')}: {', '.join(f'{count} {status}' for status, count in ended.items())}"
        ]
        raised = Counter(str(flag) for record in records for flag in record["flags"])
        parts.append(f"flags: {', '.join(f'{flag} in {raised[flag]}' for flag in Flag if raised[flag]) or 'none'}")
        parts += [f"records: {folder / 'runs'}" for folder in sorted(folders)]
    for folder in sorted(folders):
        parts.append("next: frbench report" + ("" if folder == _DEFAULT else f" {typed('paths.results', str(folder))}"))
    return "; ".join(parts)


def counted(count: int, what: str) -> str:
    """Such as "1 cell" and "2 cells"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def duration(hours: float) -> str:
    """Such as "12 s", "35 min" or "2.5 h"."""
    seconds = hours * 3600
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if hours < 2 else f"{hours:.1f} h"
