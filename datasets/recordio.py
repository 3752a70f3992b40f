"""InsightFace's training sets (``train.rec`` and ``train.idx``), read without MXNet and without unpickling.

A file is a row of records, each in parts: magic number, kind and length in one word, bytes, zeros up to a multiple of
four (dmlc-core, ``recordio.h``). Where the bytes hold the magic number they are cut there, and it is put back between
the parts. A record begins with a header (MXNet, ``image_recordio.h``): flag, label, two numbers; a flag above 0 says
how many labels follow instead of the one. The index has a line ``key<TAB>byte`` a record. Record 0 without an image
says that images have the keys below its first label; beyond them are the ranges of each person, which are not needed.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from frbench.datasets.io.file_states import file_state
from frbench.datasets.io.image_store import combined_digest, decoded
from frbench.harness.core.atomic import write_atomically
from frbench.harness.core.domains import PositiveInt
from frbench.harness.core.errors import ConfigError, CorruptFile, DataMissing
from frbench.harness.core.face_data import FaceSet, person_key
from frbench.harness.core.leases import lease
from frbench.harness.images.aligned_images import SIDE
from frbench.harness.runtime.progress import count_bar

_LAYOUT = "frbench records, layout 2"
_MAGIC = struct.pack("<I", 0xCED7230A)
_PART, _HEADER = struct.Struct("<4sI"), struct.Struct("<IfQQ")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)  # kinds of parts
_LENGTH = 29  # bits of the length, below the kind
_TOLD = 1024  # records between two reports


class Record(NamedTuple):
    """labels: float32; image: encoded, empty where the record has none."""

    labels: np.ndarray
    image: bytes


@dataclass(frozen=True, kw_only=True)
class RecordFaces:
    """``path``: the ``.rec`` file, with the ``.idx`` file in the same folder; aligned 112x112 faces, people by number.

    limit_people: number of people, the first ones by number; None for all.
    """

    identity = "identities.recordio"
    version = 1

    name: str
    path: str | Path
    limit_people: PositiveInt | None = None

    def open(self, cache: Path) -> FaceSet:
        """Images in the order of their keys, decoded on access.

        The first time the whole file is scanned for damage. The digest is of the encoded
        images. Raises FrbenchError: no such files, or they are damaged or do not belong together.
        """
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise DataMissing(
                f"{path}: not found, so identities {self.name} cannot be opened; put a training set of InsightFace "
                "there, or say where its train.rec is: identities.path=FILE"
            )
        if self.limit_people is not None and self.limit_people < 1:
            raise ConfigError(f"{self.name}: limit_people={self.limit_people}, expected at least 1 or null for all")
        table = _table(self.name, path, Path(cache).expanduser())
        people, identity = np.unique(table["person"], return_inverse=True)
        chosen = np.flatnonzero(identity < (self.limit_people or len(people)))
        identity = identity[chosen].astype(np.int64)
        return FaceSet(
            name=self.name,
            images=RecordStack(path, table["key"][chosen], table["place"][chosen]),
            identity=identity,
            people=tuple(person_key(self.name, str(number)) for number in people[: self.limit_people]),
            digest=combined_digest(table["digest"].tobytes().hex(), identity=identity, key=table["key"][chosen]),
        )


@dataclass(frozen=True, eq=False)
class RecordStack:
    """Images uint8 (M, 112, 112, 3), RGB, in a file of records; rows are decoded on access, in threads."""

    path: Path
    key: np.ndarray
    place: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.key), SIDE, SIDE, 3)

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.key)

    def __getitem__(self, rows: np.ndarray | slice, /) -> np.ndarray:
        """Raises FrbenchError, which names the record: it is no such image."""
        keys, places = self.key[rows], self.place[rows]
        pixels = np.empty((len(keys), SIDE, SIDE, 3), np.uint8)

        def fill(part: np.ndarray) -> None:
            with self.path.open("rb") as file:
                for row in part:
                    record = _read(file, self.path, int(keys[row]), int(places[row]))
                    pixels[row] = decoded(_named(self.path, int(keys[row]), int(places[row])), record.image)

        workers = min(16, os.cpu_count() or 1, max(1, len(keys)))
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(fill, np.array_split(np.argsort(places), workers)))
        return pixels


def _table(name: str, path: Path, cache: Path) -> dict[str, np.ndarray]:
    """key, place, person (M,) int64 of the images of ``path``, and the digest of them all; kept in ``cache``."""
    index = path.with_suffix(".idx")
    if not index.is_file():
        raise DataMissing(f"{index} is not there, which says where in {path.name} each record is; put it there")
    states = [file_state(each) for each in (path, index)]
    known = hashlib.sha256("\n".join([_LAYOUT, *states]).encode()).hexdigest()[:16]
    kept = cache / f"{name}-{known}.npz"
    try:
        with lease(Path(f"{kept}.lease")):
            if not kept.exists():
                _write(kept, _scanned(path, index))
    except OSError as error:
        raise ConfigError(
            f"{kept}: the index cannot be kept there ({error.strerror or error}); set paths.cache (or FRBENCH_CACHE) "
            "to a writable folder"
        ) from error
    try:
        with np.load(kept, allow_pickle=False) as archive:
            return {each: archive[each] for each in ("key", "place", "person", "digest")}
    except (OSError, ValueError, KeyError) as error:
        raise CorruptFile(f"{kept} is damaged ({error}); delete it and run again") from error


def _write(path: Path, table: dict[str, np.ndarray]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **table)  # type: ignore[arg-type]

    write_atomically(path, write)


def _scanned(path: Path, index: Path) -> dict[str, np.ndarray]:
    keys, places = _index(index, path)
    keys, places = _of_images(path, keys, places)
    person, whole = np.empty(len(keys), np.int64), hashlib.sha256()
    with path.open("rb") as file, count_bar(f"{path.name}, scan", "images") as report:
        for row in range(len(keys)):
            key, place = int(keys[row]), int(places[row])
            record = _read(file, path, key, place)
            person[row] = _person(record, _named(path, key, place))
            whole.update(len(record.image).to_bytes(8, "little") + record.image)
            if row % _TOLD == _TOLD - 1 or row == len(keys) - 1:
                report(row + 1, len(keys))
    return {"key": keys, "place": places, "person": person, "digest": np.frombuffer(whole.digest(), np.uint8)}


def _index(index: Path, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Keys and places (M,), by key."""
    try:
        if not index.stat().st_size:
            raise ValueError("it is empty")
        lines = np.loadtxt(index, dtype=np.int64, ndmin=2)
        if lines.shape[1] != 2:
            raise ValueError(f"{lines.shape[1]} numbers in a line")
    except ValueError as error:
        reason = str(error).partition(";")[0]
        raise CorruptFile(f"{index}: expected a key and a byte in each line ({reason}); take a whole copy") from error
    keys, places = lines[np.argsort(lines[:, 0], kind="stable")].T
    if len(again := keys[1:][np.diff(keys) == 0]):
        raise CorruptFile(f"{index} names record {again[0]} twice; take a whole copy")
    size = path.stat().st_size
    if len(beyond := np.flatnonzero((places < 0) | (places > size - _PART.size))):
        raise CorruptFile(
            f"{index} has record {keys[beyond[0]]} at byte {places[beyond[0]]}, and {path.name} ends at {size}: one of "
            "them is incomplete, or they do not belong together; take both from one copy"
        )
    return keys.copy(), places.copy()


def _of_images(path: Path, keys: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of records with an image: all, unless record 0 says which."""
    if keys[0] == 0:
        with path.open("rb") as file:
            about = _read(file, path, 0, int(places[0]))
        if not about.image:
            chosen = (keys >= 1) & (keys < int(about.labels[0]))
            if (found := int(chosen.sum())) != int(about.labels[0]) - 1:
                raise CorruptFile(
                    f"{path.with_suffix('.idx')}: has {found} of the {int(about.labels[0]) - 1} images that record 0 "
                    f"of {path.name} announces; take the index that came with it"
                )
            keys, places = keys[chosen], places[chosen]
    if not len(keys):
        raise CorruptFile(f"{path} holds no image; expected a training set of InsightFace")
    return keys, places


def _person(record: Record, named: str) -> int:
    if not record.image.startswith((b"\xff\xd8\xff", b"\x89PNG")):
        raise CorruptFile(f"{named}: is neither a JPEG nor a PNG image; take a whole copy of the file")
    number = float(record.labels[0])
    if not (number >= 0 and number == int(number)):
        raise CorruptFile(f"{named}: has the label {number:g}, expected the number of a person")
    return int(number)


def _read(file: BinaryIO, path: Path, key: int, place: int) -> Record:
    """The record at byte ``place``."""
    data = _MAGIC.join(_parts(file, path, key, place))
    if len(data) < _HEADER.size:
        raise CorruptFile(f"{_named(path, key, place)}: has {len(data)} bytes, too few for a header; take a whole copy")
    flag, label, _, _ = _HEADER.unpack_from(data)
    end = _HEADER.size + 4 * flag
    if len(data) < end:
        raise CorruptFile(f"{_named(path, key, place)}: announces {flag} labels and ends before; take a whole copy")
    labels = np.frombuffer(data, "<f4", flag, _HEADER.size) if flag else np.array([label], np.float32)
    return Record(labels, data[end:])


def _parts(file: BinaryIO, path: Path, key: int, place: int) -> Iterator[bytes]:
    expected, short = (_WHOLE, _FIRST), f"{_named(path, key, place)}: the file ends within it; take a whole copy"
    file.seek(place)
    while True:
        head = file.read(_PART.size)
        if len(head) < _PART.size:
            raise CorruptFile(short)
        magic, word = _PART.unpack(head)
        kind, length = word >> _LENGTH, word & ((1 << _LENGTH) - 1)
        if magic != _MAGIC or kind not in expected:
            raise CorruptFile(
                f"{_named(path, key, place)}: no record begins there; the index is of another file or this one is "
                "damaged: take both from one copy"
            )
        body = file.read(length + -length % 4)
        if len(body) < length:
            raise CorruptFile(short)
        yield body[:length]
        if kind in (_WHOLE, _LAST):
            return
        expected = (_MIDDLE, _LAST)


def _named(path: Path, key: int, place: int) -> str:
    return f"{path}: record {key} (byte {place})"
