"""The table ``cells.csv``: a row per record with all its measurements. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.tables.rendering import csv_text
from frbench.harness.storage.records import Record, tidy_row

_ROWS = 500  # rows of cells.csv that are written at a time


def tidy(records: Sequence[Record], findings: Findings) -> pd.DataFrame:
    """One row per record: labels, status, all measurements, flags."""
    columns: dict[str, list[Any]] = {}
    for number, record in enumerate(records):  # by column: rows of many records take much more memory
        for name, value in tidy_row(record, findings.all_flags(record)).items():
            column = columns.setdefault(name, [])
            column += [math.nan] * (number - len(column))
            column.append(value)
    for column in columns.values():
        column += [math.nan] * (len(records) - len(column))
    return pd.DataFrame(columns)


def cells_csv(frame: pd.DataFrame) -> str:
    """The tidy table as CSV text: empty for null, ten significant digits for floats."""
    return csv_text(list(frame.columns), _csv_rows(frame))


def _csv_rows(frame: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    for first in range(0, len(frame), _ROWS):  # in parts: the text of all cells at once takes much memory
        part = frame.iloc[first : first + _ROWS]
        columns = [map(_csv_value, part.iloc[:, number].tolist()) for number in range(part.shape[1])]
        yield from zip(*columns, strict=True)


def _csv_value(value: Any) -> str:
    """A value as text: empty for null, ten significant digits for floats."""
    if isinstance(value, float):
        return "" if value != value else f"{value:.10g}"
    if value is None:
        return ""
    return str(bool(value)).lower() if isinstance(value, bool | np.bool_) else str(value)
