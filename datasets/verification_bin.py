"""InsightFace's verification packs: ``lfw.bin``, ``cfp_fp.bin``, ``agedb_30.bin``.

A pack is a pickle of (list of encoded images, list of booleans), 2n images for n pairs; an image is a byte string or an
array of bytes. It is read without
unpickling, see ``plain_pickle``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from frbench.datasets.io.file_states import known_content
from frbench.datasets.io.image_store import Contents, Encoded, open_stack
from frbench.datasets.io.pair_lists import PairList, assemble, missing
from frbench.datasets.io.pair_subsets import Subset
from frbench.datasets.io.safe_pickle import Array, NotPlain, plain_value
from frbench.harness.core.errors import CorruptFile, DataMissing
from frbench.harness.core.face_data import PairSet

FOLDS = 10
LEAST = 4  # pairs: two folds with both kinds, which thresholds need


@dataclass(frozen=True, kw_only=True)
class VerificationBin(Subset):
    """A pack of n pairs in 10 folds, as equal as can be; even images are probes, odd ones references.

    Identities are unknown.

    sha256: of the file, checked when it is first decoded; None for no check.
    limit, calibrate, seed: see ``Subset``.
    source: download information for ``frbench data``; unused here.
    """

    identity = "dataset.verification_bin"
    version = 1

    name: str
    path: str | Path
    sha256: str | None = None
    source: Mapping[str, Any] | None = field(default=None, compare=False)

    def open(self, cache: Path) -> PairSet:
        """Raises FrbenchError: no such file, not a pack, a hostile pickle, too many damaged images."""
        self.check(self.name)
        path = Path(self.path)
        if not path.is_file():
            raise missing(self.name, path)
        signature = [known_content(self.name, path.parent, [path.name], cache), self.sha256 or ""]
        stack = open_stack(self.name, signature, partial(_contents, path, self.sha256), cache)
        rows, same = stack.tables["rows"], stack.tables["same"]
        pairs = PairList(probe=rows[0::2], reference=rows[1::2], same=same, fold=_folds(len(same)))
        unknown = np.full(len(stack.images), -1, np.int64)
        return assemble(self.name, stack, pairs, unknown, self)


def _folds(pairs: int) -> np.ndarray:
    """Consecutive folds as equal as can be, the first ones larger: scikit-learn's KFold, which InsightFace uses."""
    parts = np.array_split(np.arange(pairs), min(FOLDS, pairs))
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def read_pack(path: Path, sha256: str | None = None) -> tuple[list[bytes], list[bool]]:
    """2n encoded images and n labels (True: genuine).

    Raises:
        FrbenchError: the digest differs, or the file is anything but such a pack. Nothing in it is ever run.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataMissing(f"{path}: cannot be read ({error.strerror}); check the file") from error
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256.lower():
        raise CorruptFile(f"{path}: has SHA-256 {found}, expected {sha256}; take the right file or correct sha256=")
    try:
        images, labels = _items(plain_value(data), 2)
        images, labels = _items(images), _items(labels)
        images = [_encoded(image) for image in images]
        if not all(isinstance(label, int) and label in (0, 1) for label in labels):
            raise NotPlain("it holds something else than booleans among the labels")
        if len(images) != 2 * len(labels) or len(labels) < LEAST:
            raise NotPlain(
                f"it holds {len(images)} images for {len(labels)} pairs, expected 2n images for n pairs, and {LEAST} "
                "pairs or more"
            )
    except NotPlain as error:
        raise CorruptFile(
            f"{path}: refused, {error}; nothing in it was run; save it anew as a pickle of (list of encoded images, "
            "list of booleans)"
        ) from error
    return images, [bool(label) for label in labels]


def _encoded(image: Any) -> bytes:
    """The file of an image, which some writers keep as an array of bytes."""
    if isinstance(image, Array) and image.values.dtype == np.uint8:
        return image.values.tobytes()
    if not isinstance(image, bytes):
        raise NotPlain("it holds something else than byte strings among the images")
    return image


def _items(value: Any, length: int | None = None) -> list[Any]:
    items = value.values.tolist() if isinstance(value, Array) else value
    if not isinstance(items, list | tuple) or length not in (None, len(items)):
        raise NotPlain("it is not a pickle of (list of encoded images, list of booleans)")
    return list(items)


def _contents(path: Path, sha256: str | None) -> Contents:
    """The different images in the order of their first use, and the row of each of the 2n images."""
    images, same = read_pack(path, sha256)
    first: dict[bytes, int] = {}
    rows = [first.setdefault(data, len(first)) for data in images]
    position = dict(zip(reversed(rows), reversed(range(len(rows))), strict=True))  # row -> its first use
    encoded = [
        Encoded(f"{path}: image {position[row]} (pair {position[row] // 2})", partial(bytes, data))
        for data, row in first.items()
    ]
    return Contents(encoded, {"rows": np.array(rows, np.int64), "same": np.array(same, bool)})
