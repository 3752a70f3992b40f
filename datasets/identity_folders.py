"""Identity sets from folders of aligned faces, one folder per person, such as CelebA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from frbench.datasets.io.image_store import combined_digest, open_files
from frbench.harness.core.domains import PositiveInt
from frbench.harness.core.errors import ConfigError, DataMissing, warn_once
from frbench.harness.core.face_data import FaceSet, person_key
from frbench.harness.images.image_files import SUFFIXES, image_files, is_hidden


@dataclass(frozen=True, kw_only=True)
class IdentityFolders:
    """Files: ``root/<person>/**/<any name>.jpg`` (or PNG, WebP, BMP), aligned 112x112; a folder is a person.

    Hidden files and folders are skipped.

    limit_people: number of people, the first ones by name; None for all.
    source: download information for ``frbench data``; unused here.
    """

    identity = "identities.identity_folders"
    version = 1

    name: str
    root: str | Path
    limit_people: PositiveInt | None = None
    source: Mapping[str, Any] | None = field(default=None, compare=False)

    def open(self, cache: Path) -> FaceSet:
        """Images in the order of their relative names; ``people`` are the folder names.

        Raises FrbenchError: no such folder, no images in it, a damaged image.
        """
        root = Path(self.root)
        if not root.is_dir():
            raise DataMissing(
                f"{root}: not found, so the faces {self.name} cannot be opened; run: frbench data prepare {self.name}, "
                "or take rendered faces: identities=synthetic, for users dataset=synthetic_users"
            )
        if self.limit_people is not None and self.limit_people < 1:
            raise ConfigError(f"{self.name}: limit_people={self.limit_people}, expected at least 1 or null for all")
        files, remarks = self._files(root)
        stack = open_files(self.name, root, dict.fromkeys(files, str(root)), cache)
        read = files if stack.kept is None else [files[i] for i in stack.kept]
        known, identity = np.unique([_person(file) for file in read], return_inverse=True)
        return FaceSet(
            name=self.name,
            images=stack.images,
            identity=identity.astype(np.int64),
            people=tuple(person_key(self.name, str(person)) for person in known),
            digest=combined_digest(stack.digest, identity=identity),
            remarks={**remarks, **stack.remarks},
        )

    def _files(self, root: Path) -> tuple[list[str], dict[str, int]]:
        """Relative names, sorted, of the images of the first ``limit_people`` people; and the remarks."""
        found = image_files(root)
        files = [name for name in found.names if "/" in name]
        people = sorted({_person(name) for name in files})
        if not people:
            raise DataMissing(
                f"{root}: holds no folder with images ({', '.join(SUFFIXES)}), expected one folder per person"
            )
        folders = {each.name for each in root.iterdir() if each.is_dir() and not is_hidden(each.name)}
        remarks = {
            **found.left_out,
            "images_outside_people": len(found.names) - len(files),
            "people_without_images": len(folders - set(people)),
        }
        _warn(root, remarks)
        chosen = set(people[: self.limit_people])
        return [name for name in files if _person(name) in chosen], remarks


def _person(name: str) -> str:
    return name.partition("/")[0]


def _warn(root: Path, remarks: dict[str, int]) -> None:
    words_of = {
        "images_outside_people": "images in no person's folder",
        "images_of_other_formats": "images of formats that are not read, such as HEIC or GIF",
        "people_without_images": "folders without an image that can be read",
    }
    parts = [f"{count} {words}" for name, words in words_of.items() if (count := remarks.get(name, 0))]
    if parts:
        warn_once(f"{root}: {', '.join(parts)} are left out")
