"""Cells without a result, and files that are no record of this version of frbench, as tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from frbench.harness.reporting.tables.rendering import Cell, Table
from frbench.harness.storage.records import Record, label, reason

_NOUNS = ("dataset", "recognizer", "attack", "defense", "goal", "budget", "threat")


def unfinished_table(records: Sequence[Record]) -> Table | None:
    """Refused and crashed cells with their reasons; None if there are none."""
    rows = tuple(
        (*(Cell(label(r, noun)) for noun in _NOUNS), Cell(r["status"]), Cell(reason(r)))
        for r in records
        if not r["measurements"]
    )
    if not rows:
        return None
    caption = "refused: the combination is impossible. crashed: an error in the code; the next run tries again."
    return Table("unfinished", "Cells without a result", caption, (*_NOUNS, "status", "reason"), rows, len(_NOUNS))


def left_out_table(left_out: Mapping[str, str]) -> Table | None:
    """Files of ``runs/`` that are left out, from ``ResultStore.left_out``; None if there are none."""
    if not left_out:
        return None
    rows = tuple((Cell(f"{name}.json"), Cell(why)) for name, why in sorted(left_out.items()))
    caption = "Their content is not on this page. Newer schema: update frbench. Others: run their cells again."
    return Table("left_out", "Records that were left out", caption, ("file", "reason"), rows, 1)
