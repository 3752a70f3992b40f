"""Tables of scores as Parquet, with a SHA-256 of each column and of the file in the metadata of its footer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from frbench.harness.core.errors import shortened
from frbench.harness.core.quarantine import Damaged
from frbench.harness.storage.sealed_files import UNSIGNED, check_signed, sign

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS, _FILE = "frbench.columns", "frbench.file"


def written(table: pd.DataFrame) -> bytes:
    """``table`` as the bytes of a Parquet file."""
    return packed(pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata())


def packed(table: pa.Table) -> bytes:
    """As ``written``, of an Arrow table."""
    sink = BytesIO()
    with pq.ParquetWriter(sink, table.schema) as writer:
        writer.write_table(table)
        digests = {name: _digest(table.column(name)) for name in table.column_names}
        writer.add_key_value_metadata({_COLUMNS: json.dumps(digests), _FILE: UNSIGNED})
    return sign(sink.getvalue())


def read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in ``path``, or some of its columns.

    Without ``columns`` the whole file is verified, else these columns, the names of all, and the number of rows.

    Raises:
        FileNotFoundError: there is no such file.
        KeyError: the table has no such column.
        Damaged: the file is not what was written.
    """
    if columns is None:
        data = path.read_bytes()
        check_signed(data)
        return _verified(data, None)
    return _verified(path, columns)


def schema(path: Path) -> pa.Schema:
    """Names and types of the columns, without verification. Raises FileNotFoundError, or Damaged: it is no table."""
    try:
        return pq.read_schema(path).remove_metadata()
    except FileNotFoundError:
        raise
    except Exception as error:  # its class depends on where the file is damaged
        raise Damaged(shortened(error)) from error


def check(path: Path) -> None:
    """Verify the whole file without decoding it. Raises as ``read``."""
    check_signed(path.read_bytes())


def _verified(source: Path | bytes, columns: Sequence[str] | None) -> pa.Table:
    try:
        with pq.ParquetFile(BytesIO(source) if isinstance(source, bytes) else source) as file:
            digests = json.loads((file.metadata.metadata or {})[_COLUMNS.encode()])
            if list(digests) != file.schema_arrow.names:
                raise Damaged("its columns differ")
            wanted = [name for name in digests if columns is None or name in columns]
            table = file.read(columns=wanted, use_threads=False)
        for name in wanted if columns is not None else ():
            if _digest(table.column(name)) != digests[name]:
                raise Damaged(f"the checksum of its column {name} differs")
    except (FileNotFoundError, Damaged):
        raise
    except Exception as error:  # its class depends on where the file is damaged
        raise Damaged(shortened(error)) from error
    unknown = [name for name in columns or () if name not in digests]
    if unknown:
        raise KeyError(f"{unknown[0]}; the columns are {', '.join(digests)}")
    return table.select(columns or wanted).replace_schema_metadata()


def _digest(column: pa.ChunkedArray) -> str:
    """SHA-256 of type, length, nulls and values, alike for every layout in memory."""
    whole = hashlib.sha256(f"{column.type} {len(column)} {column.null_count}".encode())
    if column.null_count:
        whole.update(np.packbits(column.is_null().to_numpy()).tobytes())
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        filled = pc.fill_null(column, pa.scalar(0, kind)) if column.null_count else column
        whole.update(np.ascontiguousarray(filled.to_numpy()).tobytes())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = (
            pc.fill_null(column, "").cast(pa.large_binary()) if column.null_count else column.cast(pa.large_binary())
        )
        whole.update(np.ascontiguousarray(pc.binary_length(texts).to_numpy()).tobytes())
        whole.update(b"".join(texts.to_pylist()))
    else:
        whole.update(json.dumps(column.to_pylist(), default=str).encode())
    return whole.hexdigest()
