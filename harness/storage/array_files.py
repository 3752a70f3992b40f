"""Named arrays as safetensors, compressed without loss (zstd) and sealed with a checksum."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors.numpy import load, save

from frbench.harness.core.quarantine import Damaged
from frbench.harness.storage.sealed_files import seal, unseal

SUFFIX = ".safetensors.zst"


def written(arrays: Mapping[str, np.ndarray]) -> bytes:
    """``arrays`` as the bytes of a file."""
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return seal(pa.compress(save(plain), codec="zstd", asbytes=True))


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays in ``path``. Raises Damaged: they are not what was written."""
    data = unseal(path.read_bytes())
    try:
        with pa.input_stream(pa.py_buffer(data), compression="zstd") as file:
            return dict(load(file.read()))
    except Exception as error:  # only a file with a checksum that frbench did not write
        raise Damaged(str(error)) from error


def check(path: Path) -> None:
    """Raises Damaged: the file is not what was written."""
    unseal(path.read_bytes())
