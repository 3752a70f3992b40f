"""The result store: run records, per-pair scores, pictures, and the caches. Every write is atomic.

    runs/<fingerprint>.json             one record a cell   scores/<fingerprint>.parquet   its pairs
    pictures/<fingerprint>.safetensors.zst   images to look at, each stack stored once under pictures/images/<digest>
    cache/<kind>/<key>.safetensors.zst  what can be made again
    artifacts/<key>.safetensors         fitted defenses

A file is written beside its place and renamed, so that a process killed at any moment leaves the old file or the new.
Arrays are compressed without loss (zstd).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from filelock import FileLock
from safetensors.numpy import load, save

from frbench.harness.core.atomic import write_atomically
from frbench.harness.core.errors import CorruptFile, DataMissing, FrbenchError

Record = dict[str, Any]
SCHEMA = 2
FINISHED = ("done", "refused")
_ENDING = ".safetensors.zst"
_IMAGES = "images/"  # before the name of a stack of images that is stored under its digest


@dataclass(frozen=True)
class ResultStore:
    """Everything under one results folder."""

    root: Path

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """One process at a time for ``name``; a killed process lets go by itself."""
        folder = self.root / "cache" / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            yield

    def record(self, fingerprint: str) -> Record | None:
        """The record of a cell, or None."""
        path = self._run(fingerprint)
        return _read_record(path) if path.exists() else None

    def finished(self, fingerprint: str) -> Record | None:
        """The record of a cell that needs no further run; a crashed one does."""
        record = self.record(fingerprint)
        return record if record and record["status"] in FINISHED else None

    def records(self) -> list[Record]:
        """All records, by fingerprint."""
        return [_read_record(path) for path in sorted((self.root / "runs").glob("*.json"))]

    def write_record(self, record: Record) -> None:
        text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
        write_atomically(self._run(record["fingerprint"]), lambda path: path.write_text(text, encoding="utf-8"))

    def scores(self, fingerprint: str) -> pd.DataFrame | None:
        """Per-pair scores of a cell, or None."""
        path = self.root / "scores" / f"{fingerprint}.parquet"
        return pd.read_parquet(path) if path.exists() else None

    def write_scores(self, fingerprint: str, table: pd.DataFrame) -> None:
        target = self.root / "scores" / f"{fingerprint}.parquet"
        write_atomically(target, lambda path: table.to_parquet(path, index=False))

    def pictures(self, fingerprint: str) -> dict[str, np.ndarray] | None:
        """A few pairs of a cell as arrays, or None."""
        kept = self._load(self._pictures(fingerprint))
        if kept is None:
            return None
        stacks = {name: kept.pop(name).tobytes().hex() for name in list(kept) if name.startswith(_IMAGES)}
        return kept | {name.removeprefix(_IMAGES): self._stack(digest) for name, digest in stacks.items()}

    def write_pictures(self, fingerprint: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Arrays (n, H, W, 3) are images; cells that show the same ones share a file."""
        kept = {}
        for name, array in arrays.items():
            if array.ndim == 4:
                kept[_IMAGES + name] = np.frombuffer(self._write_stack(array), np.uint8)
            else:
                kept[name] = array
        self._save(self._pictures(fingerprint), kept)

    def cached(self, kind: str, key: str) -> dict[str, np.ndarray] | None:
        """Cached arrays under cache/<kind>/<key>, or None."""
        return self._load(self.root / "cache" / kind / f"{key}{_ENDING}")

    def cache(self, kind: str, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        self._save(self.root / "cache" / kind / f"{key}{_ENDING}", arrays)

    def artifact(self, key: str) -> Path:
        """Where the artifact ``key`` is, or will be."""
        return self.root / "artifacts" / f"{key}.safetensors"

    def _run(self, fingerprint: str) -> Path:
        return self.root / "runs" / f"{fingerprint}.json"

    def _pictures(self, name: str) -> Path:
        return self.root / "pictures" / f"{name}{_ENDING}"

    def _write_stack(self, images: np.ndarray) -> bytes:
        """The digest under which ``images`` are stored now."""
        facts = f"{images.dtype.str} {images.shape}".encode()
        digest = sha256(facts + np.ascontiguousarray(images).tobytes()).digest()
        target = self._pictures(f"images/{digest.hex()}")
        if not target.exists():
            self._save(target, {"images": images})
        return digest

    def _stack(self, digest: str) -> np.ndarray:
        target = self._pictures(f"images/{digest}")
        kept = self._load(target)
        if kept is None:
            raise DataMissing(f"{target} is missing; delete the records of its cells and run them again")
        return kept["images"]

    def _load(self, path: Path) -> dict[str, np.ndarray] | None:
        if not path.exists():
            return None
        try:
            with pa.input_stream(str(path), compression="zstd") as file:
                return dict(load(file.read()))
        except Exception as error:
            raise CorruptFile(f"{path} is damaged ({error}); delete it and run again, it will be made anew") from error

    def _save(self, path: Path, arrays: Mapping[str, np.ndarray]) -> None:
        plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        packed = pa.compress(save(plain), codec="zstd", asbytes=True)
        write_atomically(path, lambda temporary: temporary.write_bytes(packed))


def _read_record(path: Path) -> Record:
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptFile(f"{path} is not a run record ({error}); delete it and run that cell again") from error
    if record.get("schema") != SCHEMA:
        raise FrbenchError(
            f"{path} has schema {record.get('schema')} and this frbench reads schema {SCHEMA}: run those cells again "
            "with paths.results=NEW_FOLDER, or read them with the frbench that wrote them (card.git names its commit)"
        )
    return record
