"""Records and pairs as two Parquet files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_ROWS = 100_000  # of a row group


def write_parquet(path: Path, schema: pa.Schema, parts: Iterable[pa.RecordBatch | pa.Table]) -> int:
    """Write the rows of ``parts``, one row group in memory at a time. Returns their number."""
    count, waiting, held = 0, [], 0
    with pq.ParquetWriter(path, schema) as writer:
        for part in parts:
            waiting.append(part if isinstance(part, pa.Table) else pa.Table.from_batches([part]))
            held += len(part)
            if held >= _ROWS:
                writer.write_table(pa.concat_tables(waiting))
                count, waiting, held = count + held, [], 0
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    return count + held
