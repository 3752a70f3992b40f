"""The result store: run records, per-pair scores, sample images, caches and fitted artifacts in one folder.

    runs/<fingerprint>.json             the record of a cell
    scores/<fingerprint>.parquet        its scores, one row per pair
    sample_images/<fingerprint>.safetensors.zst   its sample images; equal stacks share one file below images/
    cache/<kind>/<key>.safetensors.zst  arrays that can be computed again
    artifacts/<key>.safetensors         fitted defenses

Every write is atomic. Arrays are compressed without loss (zstd).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from filelock import FileLock
from safetensors.numpy import load, save

from frbench.harness.core.atomic import write_atomically
from frbench.harness.core.errors import CorruptFile, DataMissing, FrbenchError

Record = dict[str, Any]
Arrays = Mapping[str, np.ndarray]
SCHEMA = 2
FINISHED = ("done", "refused")
_SUFFIX = ".safetensors.zst"
_IMAGES = "images/"  # prefix of a stack of images that is stored under its digest


class Cached(NamedTuple):
    """Arrays of the cache. made: whether this call computed them."""

    arrays: dict[str, np.ndarray]
    made: bool


@dataclass(frozen=True)
class ResultStore:
    """The files of one results folder."""

    root: Path

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock ``name``, shared by all processes. The lock of a killed process is released."""
        folder = self.root / "cache" / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            yield

    def record(self, fingerprint: str) -> Record | None:
        """The record of a cell, or None."""
        path = self._run(fingerprint)
        return _read_record(path) if path.exists() else None

    def finished(self, fingerprint: str) -> Record | None:
        """The record of a cell, or None where the cell did not run or crashed."""
        record = self.record(fingerprint)
        return record if record and record["status"] in FINISHED else None

    def records(self) -> list[Record]:
        """All records, by fingerprint."""
        return [_read_record(path) for path in sorted((self.root / "runs").glob("*.json"))]

    def write_record(self, record: Record) -> None:
        text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
        write_atomically(self._run(record["fingerprint"]), lambda path: path.write_text(text, encoding="utf-8"))

    def scores(self, fingerprint: str) -> pd.DataFrame | None:
        """Scores of a cell, one row per pair, or None."""
        path = self.root / "scores" / f"{fingerprint}.parquet"
        return pd.read_parquet(path) if path.exists() else None

    def write_scores(self, fingerprint: str, table: pd.DataFrame) -> None:
        target = self.root / "scores" / f"{fingerprint}.parquet"
        write_atomically(target, lambda path: table.to_parquet(path, index=False))

    def sample_images(self, fingerprint: str) -> dict[str, np.ndarray] | None:
        """Sample images of a cell and their scores, or None."""
        kept = self._load(self._sample_file(fingerprint))
        if kept is None:
            return None
        stacks = {name: kept.pop(name).tobytes().hex() for name in list(kept) if name.startswith(_IMAGES)}
        return kept | {name.removeprefix(_IMAGES): self._stack(digest) for name, digest in stacks.items()}

    def write_sample_images(self, fingerprint: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store sample images. Arrays (n, H, W, 3) are images; cells with equal ones share a file."""
        kept = {}
        for name, array in arrays.items():
            if array.ndim == 4:
                kept[_IMAGES + name] = np.frombuffer(self._write_stack(array), np.uint8)
            else:
                kept[name] = array
        self._save(self._sample_file(fingerprint), kept)

    def get_or_make(
        self, kind: str, key: str, make: Callable[[], Arrays], usable: Callable[[Arrays], bool] | None = None
    ) -> Cached:
        """The arrays cached as cache/<kind>/<key>, computed where there are none.

        Args:
            make: computes the arrays, under a lock, so that one of several processes does it.
            usable: rejects cached arrays that must be computed again.
        """
        path = self.root / "cache" / kind / f"{key}{_SUFFIX}"
        with self.lock(f"{kind}-{key.replace('/', '-')}"):
            arrays = self._load(path)
            if arrays is not None and (usable is None or usable(arrays)):
                return Cached(arrays, made=False)
            arrays = dict(make())
            self._save(path, arrays)
            return Cached(arrays, made=True)

    def artifact(self, key: str) -> Path:
        """The path of the artifact ``key``, whether it exists or not."""
        return self.root / "artifacts" / f"{key}.safetensors"

    def _run(self, fingerprint: str) -> Path:
        return self.root / "runs" / f"{fingerprint}.json"

    def _sample_file(self, name: str) -> Path:
        return self.root / "sample_images" / f"{name}{_SUFFIX}"

    def _write_stack(self, images: np.ndarray) -> bytes:
        """Store ``images`` once. Returns their digest."""
        facts = f"{images.dtype.str} {images.shape}".encode()
        digest = sha256(facts + np.ascontiguousarray(images).tobytes()).digest()
        target = self._sample_file(f"images/{digest.hex()}")
        if not target.exists():
            self._save(target, {"images": images})
        return digest

    def _stack(self, digest: str) -> np.ndarray:
        target = self._sample_file(f"images/{digest}")
        kept = self._load(target)
        if kept is None:
            raise DataMissing(f"{target} is missing; delete the records that refer to it and run their cells again")
        return kept["images"]

    def _load(self, path: Path) -> dict[str, np.ndarray] | None:
        if not path.exists():
            return None
        try:
            with pa.input_stream(str(path), compression="zstd") as file:
                return dict(load(file.read()))
        except Exception as error:
            raise CorruptFile(f"{path} is damaged ({error}); delete it and run again to restore it") from error

    def _save(self, path: Path, arrays: Mapping[str, np.ndarray]) -> None:
        plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        packed = pa.compress(save(plain), codec="zstd", asbytes=True)
        write_atomically(path, lambda temporary: temporary.write_bytes(packed))


def _read_record(path: Path) -> Record:
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptFile(f"{path} is not a run record ({error}); delete it and run its cell again") from error
    if record.get("schema") != SCHEMA:
        raise FrbenchError(
            f"{path} has schema {record.get('schema')} and this frbench reads schema {SCHEMA}: run the cells again "
            "with paths.results=NEW_FOLDER, or use the frbench version that wrote them (its commit: card.git)"
        )
    return record
