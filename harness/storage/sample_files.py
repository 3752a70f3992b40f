"""Sample images of cells: a small file for each cell, and stacks of images that cells share by their digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from frbench.harness.storage import array_files
from frbench.harness.storage.store_files import StoreFiles

_IMAGES = "images/"  # prefix of a stack of images that is stored under its digest


@dataclass(frozen=True)
class SampleFiles:
    """Sample images below ``sample_images/`` of a store."""

    files: StoreFiles

    def write(self, fingerprint: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store sample images. Arrays (n, H, W, 3) are images; cells with equal ones share a file."""
        kept = {}
        for name, array in arrays.items():
            if array.ndim == 4:
                kept[_IMAGES + name] = np.frombuffer(self._write_stack(array), np.uint8)
            else:
                kept[name] = array
        self.files.write(self._path(fingerprint), array_files.written(kept))

    def read(self, fingerprint: str) -> dict[str, np.ndarray] | None:
        """Sample images of a cell and their scores; None where a file is missing or damaged."""
        kept = self.files.read(self._path(fingerprint), array_files.read)
        if kept is None:
            return None
        found = {}
        for name, array in kept.items():
            if name.startswith(_IMAGES):
                stack = self.files.read(self._stack(array), array_files.read)
                if stack is None:
                    return None
                found[name.removeprefix(_IMAGES)] = stack["images"]
            else:
                found[name] = array
        return found

    def are_damaged(self, fingerprint: str) -> bool:
        """Whether a file of the cell is damaged, or was set aside. A file that the user deleted is not."""
        stacks = self.stacks(fingerprint)
        if stacks is None:
            return self.files.was_set_aside(self._path(fingerprint))
        for stack in stacks:
            self.files.read(stack, array_files.check)
        return any(map(self.files.was_set_aside, stacks))

    def stacks(self, fingerprint: str) -> list[Path] | None:
        """The files with the images of a cell, as its sample file names them; None where that is missing or damaged."""
        kept = self.files.read(self._path(fingerprint), array_files.read)
        if kept is None:
            return None
        return [self._stack(array) for name, array in kept.items() if name.startswith(_IMAGES)]

    def _path(self, name: str) -> Path:
        return self.files.root / "sample_images" / f"{name}{array_files.SUFFIX}"

    def _stack(self, digest: np.ndarray) -> Path:
        return self._path(f"images/{digest.tobytes().hex()}")

    def _write_stack(self, images: np.ndarray) -> bytes:
        """Store ``images`` once. Returns their digest."""
        facts = f"{images.dtype.str} {images.shape}".encode()
        digest = sha256(facts + np.ascontiguousarray(images).tobytes()).digest()
        target = self._path(f"images/{digest.hex()}")
        if not target.exists():
            self.files.write(target, array_files.written({"images": images}))
        return digest
