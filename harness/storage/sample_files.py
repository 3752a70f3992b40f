"""Sample images of cells: a small file for each cell, and stacks of 8-bit images that cells share by their digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from frbench.harness.storage import array_files, image_coding
from frbench.harness.storage.store_files import StoreFiles

_IMAGES = "images/"  # prefix of a stack of images that is stored under its digest
_BASE = "base/"  # prefix of the name of the images that a stack is a change of


@dataclass(frozen=True)
class SampleFiles:
    """Sample images below ``sample_images/`` of a store."""

    files: StoreFiles

    def write(self, fingerprint: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store sample images. Arrays (n, H, W, 3) are images in [0, 1]; cells with equal ones share a file."""
        kept = {name: array for name, array in arrays.items() if array.ndim != 4}
        images = {name: np.asarray(array, np.float32) for name, array in arrays.items() if array.ndim == 4}
        levels = {name: image_coding.in_gray_levels(each) for name, each in images.items()}
        exact = {name: each for name, each in images.items() if levels[name] is not None}
        for name, each in images.items():
            base = None if name in exact else image_coding.nearest(each, exact)
            if base is not None:
                stack = image_coding.change(each, exact[base])
                kept[_BASE + name] = np.frombuffer(base.encode(), np.uint8)
            else:
                found = levels[name]
                stack = {"images": each if found is None else found}
            kept[_IMAGES + name] = np.frombuffer(self._write_stack(stack), np.uint8)
        self.files.write(self._path(fingerprint), array_files.written(kept))

    def read(self, fingerprint: str) -> dict[str, np.ndarray] | None:
        """Sample images of a cell and their scores; None where a file is missing or damaged."""
        kept = self.files.read(self._path(fingerprint), array_files.read)
        if kept is None:
            return None
        stacks = {}
        for name in (name.removeprefix(_IMAGES) for name in kept if name.startswith(_IMAGES)):
            stack = self.files.read(self._stack(kept[_IMAGES + name]), array_files.read)
            if stack is None:
                return None
            stacks[name] = stack
        found = {name: array for name, array in kept.items() if not name.startswith((_IMAGES, _BASE))}
        found |= {name: _whole(stack["images"]) for name, stack in stacks.items() if "images" in stack}
        for name, stack in stacks.items():
            if "change" in stack:
                found[name] = image_coding.changed(found[kept[_BASE + name].tobytes().decode()], stack)
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

    def _write_stack(self, stack: Mapping[str, np.ndarray]) -> bytes:
        """Store ``stack`` once. Returns its digest."""
        whole = sha256()
        for name, array in sorted(stack.items()):
            whole.update(f"{name} {array.dtype.str} {array.shape}".encode())
            whole.update(np.ascontiguousarray(array).tobytes())
        target = self._path(f"images/{whole.hexdigest()}")
        if not self.files.read(target, _is_whole):
            self.files.write(target, array_files.written(stack))
        return whole.digest()


def _whole(images: np.ndarray) -> np.ndarray:
    return image_coding.from_gray_levels(images) if images.dtype == np.uint8 else images


def _is_whole(path: Path) -> bool:
    array_files.check(path)
    return True
