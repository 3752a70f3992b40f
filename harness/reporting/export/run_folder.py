"""The folder of one record in an export of images: PNG files and ``pairs.csv``."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from frbench.harness.core.atomic import disk_full_named, temporary_name
from frbench.harness.reporting.export.photo_names import ENDING, PairNames
from frbench.harness.reporting.tables.rendering import csv_text

LISTING = "pairs.csv"
_REFERENCE = "reference"
_NATURAL = {"probe": "probe", "natural": "probe", _REFERENCE: _REFERENCE}  # version of an image -> the photo that it is
_EXACT = 1e-3  # gray levels


@dataclass(frozen=True)
class ImagesOfPairs:
    """Images of some pairs of a record.

    Attributes:
        pairs: numbers (n,).
        images: float (n, H, W, 3) in [0, 1], by version: such as probe, adversarial and reference.
    """

    pairs: np.ndarray
    images: Mapping[str, np.ndarray]


@dataclass
class _Run:
    """One folder while it is written."""

    root: Path
    names: PairNames
    scores: Mapping[int, Mapping[str, Any]]
    rows: list[dict[str, Any]] = field(default_factory=list)
    written: set[PurePosixPath] = field(default_factory=set)
    rounded: set[int] = field(default_factory=set)

    def add(self, part: ImagesOfPairs) -> None:
        for number, pair in enumerate(map(int, part.pairs)):
            files = {version: self._file(version, pair, each[number]) for version, each in part.images.items()}
            self.rows.append({"pair": pair} | files | dict(self.scores.get(pair, {})))

    def _file(self, version: str, pair: int, image: np.ndarray) -> str:
        side = _NATURAL.get(version)
        name = self.names.changed(pair) if side is None else self.names.natural(pair, side)
        place = PurePosixPath(version) / name.with_name(name.name + ENDING)
        levels = np.clip(np.rint(np.asarray(image, np.float64) * 255), 0, 255)
        if np.abs(levels - np.asarray(image, np.float64) * 255).max(initial=0) > _EXACT:
            self.rounded.add(pair)
        if place not in self.written:
            self.written.add(place)
            path = self.root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(levels.astype(np.uint8)).save(path, "PNG")
        return place.as_posix()


@dataclass(frozen=True)
class WrittenRun:
    """pairs: number of pairs with images; rounded: of these, pairs with an image that was no 8-bit image."""

    pairs: int
    rounded: int


def write_run(
    folder: Path, names: PairNames, scores: Mapping[int, Mapping[str, Any]], parts: Iterable[ImagesOfPairs]
) -> WrittenRun:
    """Write ``folder`` as a whole: it replaces an earlier export of the record.

    Args:
        folder: of the record.
        names: of the images.
        scores: more columns of ``pairs.csv``, by pair.
        parts: the images, some at a time.

    Raises:
        DiskFull: there is no room; nothing is left.
    """
    aside = folder.parent / temporary_name()
    run = _Run(aside, names, scores)
    try:
        with disk_full_named(folder):
            aside.mkdir(parents=True)
            for part in parts:
                run.add(part)
            (aside / LISTING).write_text(_listing(run.rows), encoding="utf-8", newline="\n")
            if (folder / LISTING).is_file():
                shutil.rmtree(folder)
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return WrittenRun(len(run.rows), len(run.rounded))


def _listing(rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    header = list(dict.fromkeys(name for row in rows for name in row))
    return csv_text(header, [["" if row.get(name) is None else str(row[name]) for name in header] for row in rows])
