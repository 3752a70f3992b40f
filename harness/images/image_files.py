"""Lists the image files below a folder, and counts the files that are left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from frbench.harness.core.errors import CorruptFile, DataMissing

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp")
# Suffixes of images that are not supported; they are counted apart, because users may expect them to be read.
_OTHER_IMAGES = (".heic", ".heif", ".avif", ".gif", ".tif", ".tiff", ".jp2", ".ppm", ".pgm")


@dataclass(frozen=True)
class ImageFiles:
    """names: relative paths with forward slashes, sorted; left_out: numbers of other files by kind."""

    names: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, such as ``._face.jpg``, ``.DS_Store`` and ``__MACOSX`` of macOS."""
    return name.startswith(".") or name == "__MACOSX"


def image_files(folder: Path) -> ImageFiles:
    """The images in ``folder`` at any depth; none where it is not there. Raises FrbenchError: it is a file."""
    found = ImageFiles()
    for name in _files(folder, "", frozenset()):
        suffix = PurePosixPath(name).suffix.lower()
        if any(is_hidden(part) for part in name.split("/")):
            found.left_out["files_hidden"] += 1
        elif suffix in SUFFIXES:
            found.names.append(name)
        else:
            found.left_out["images_of_other_formats" if suffix in _OTHER_IMAGES else "files_of_other_kinds"] += 1
    found.names.sort()
    return found


def _files(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Relative names of all files. Symbolic links to folders are followed, unless they lead back to one ``above``."""
    try:
        status = os.stat(folder)
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise DataMissing(f"{folder} is a file, expected a folder of images: move it away") from None
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in entries:
        if entry.is_dir():
            yield from _files(folder / entry.name, f"{prefix}{entry.name}/", above | {here})
        else:
            yield prefix + entry.name


def find_images(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The file below ``folder`` for each listed image; names without a file are left out.

    Where the exact file does not exist, the one image of the same name with another suffix (``.png``, ``.JPG``) takes
    its place. Blanks in the list match underscores.

    Raises:
        FrbenchError: several files have the name with different suffixes.
    """
    folders: dict[str, dict[str, list[str]]] = {}
    found = {}
    for name in names:
        for spelled in dict.fromkeys((name, name.replace(" ", "_"))):
            parent, _, file = spelled.rpartition("/")
            if parent not in folders:
                folders[parent] = _by_stem(folder / parent)
            there = folders[parent].get(PurePosixPath(file).stem, [])
            if len(there) > 1 and file not in there:
                raise CorruptFile(
                    f"{folder / parent}: holds {' and '.join(sorted(there))}, and a list names one image; remove one"
                )
            if there:
                chosen = file if file in there else there[0]
                found[name] = f"{parent}/{chosen}" if parent else chosen
                break
    return found


def _by_stem(folder: Path) -> dict[str, list[str]]:
    images: dict[str, list[str]] = {}
    try:
        entries = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return images
    for entry in entries:
        path = PurePosixPath(entry)
        if path.suffix.lower() in SUFFIXES and not is_hidden(entry):
            images.setdefault(path.stem, []).append(entry)
    return images
