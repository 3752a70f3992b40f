"""Folders of faces by person (CelebA crops and the like), for fitting defenses and training recognizers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from frbench.datasets.imagestore import combined_digest, open_files
from frbench.datasets.pairs import missing
from frbench.harness.errors import FrbenchError
from frbench.harness.faces import FaceSet, person_key

_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, kw_only=True)
class IdentityFolders:
    """Files: ``root/<person>/**/<any name>.jpg`` (or .jpeg, .png), aligned 112x112; a folder is a person.

    limit_people: only the first so many people, by name; None for all.
    source: where ``frbench data`` gets the files; not read here.
    """

    name: str
    root: str | Path
    limit_people: int | None = None
    source: Mapping[str, Any] | None = field(default=None, compare=False)

    def open(self, cache: Path) -> FaceSet:
        """Images in the order of their relative names; ``people`` are the folder names.

        Raises FrbenchError: no such folder, no images in it, a damaged image.
        """
        root = Path(self.root)
        if not root.is_dir():
            raise missing(self.name, root)
        if self.limit_people is not None and self.limit_people < 1:
            raise FrbenchError(f"{self.name}: limit_people={self.limit_people}, expected at least 1 or null for all")
        images = {person: _images(root, person) for person in _people(root)}
        people = sorted(person for person, files in images.items() if files)[: self.limit_people]
        if not people:
            raise FrbenchError(f"{root}: holds no folder with .jpg or .png images, expected one folder per person")
        files = sorted(file for person in people for file in images[person])
        stack = open_files(self.name, root, dict.fromkeys(files, str(root)), cache)
        number = {person: i for i, person in enumerate(people)}
        identity = np.array([number[file.partition("/")[0]] for file in files], np.int64)
        return FaceSet(
            name=self.name,
            images=stack.images,
            identity=identity,
            people=tuple(person_key(self.name, person) for person in people),
            digest=combined_digest(stack.digest, identity=identity),
        )


def _people(root: Path) -> list[str]:
    return [entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")]


def _images(root: Path, person: str) -> list[str]:
    """Relative names, with forward slashes, of the images of one person, at any depth."""
    return [
        Path(folder, file).relative_to(root).as_posix()
        for folder, _, files in os.walk(root / person)
        for file in files
        if file.lower().endswith(_SUFFIXES) and not file.startswith(".")
    ]
