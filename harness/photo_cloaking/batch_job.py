"""``frbench cloak``: cloaks the faces in a user's photos in batches and writes cloaked copies."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from frbench.harness.core.domains import JpegQuality, NonNegativeInt
from frbench.harness.core.errors import DataMissing
from frbench.harness.images.pasting import Aligned, paste
from frbench.harness.photo_cloaking.cloaker import Cloaker
from frbench.harness.photo_cloaking.photo_files import BadPhoto, Copies, Photo, decode, list_files, read_photo
from frbench.harness.photo_cloaking.photo_formats import is_image_name, suffixes
from frbench.harness.runtime.progress import count_bar

FaceDetector = Callable[[np.ndarray], Aligned]

_MEMORY = 300_000_000  # bytes of waiting photos above which a batch starts, whatever its size


class Waiting(NamedTuple):
    """A photo with its faces that waits for its batch."""

    path: Path
    photo: Photo
    faces: Aligned


class Outcome(NamedTuple):
    """The result for one file.

    Attributes:
        status: ``skipped`` has a copy already; ``other`` is not a photo.
        path: of the file.
        message: what is printed.
        smallest: side in pixels of the smallest face that the detector searched for.
    """

    status: Literal["cloaked", "skipped", "failed", "other"]
    path: Path
    message: str
    smallest: float = 0.0


@dataclass(frozen=True)
class CloakingJob:
    """Options of the copies.

    Attributes:
        out: folder of the copies; None to put each copy beside its photo.
        suffix: added to the name of a photo.
        quality: 1 to 100, of JPEG, WebP and HEIC.
        recursive: whether photos in subfolders are cloaked too.
        warn_face_size: faces of fewer pixels per side are cloaked and reported, since their cloaks are weak.
    """

    out: str | None = None
    suffix: str = "_cloaked"
    quality: JpegQuality = 95
    recursive: bool = False
    warn_face_size: NonNegativeInt = 64

    def run(self, source: Path, cloaker: Cloaker, load: Callable[[], FaceDetector]) -> int:
        """Cloak a folder or one photo and print a line per file.

        Args:
            source: a folder or a photo.
            cloaker: makes the cloaks.
            load: loads the face detector.

        Returns:
            Exit code: 0, or 1 if a photo failed.

        Raises:
            FrbenchError: there are no photos, or an option, the detector or the recognizer does not work.
        """
        stream = None if sys.stdout.isatty() else sys.stdout  # a terminal shares its line with the progress bar
        copies, files = self._files(source)
        cloaker.check()
        detect, start = load(), time.monotonic()
        counts: Counter[str] = Counter()
        smallest = 0.0
        with count_bar("cloak", "photos") as progress:
            for outcome in self._outcomes(files, copies, cloaker, detect):
                counts[outcome.status] += 1
                smallest = max(smallest, outcome.smallest)
                line = f"{outcome.path.relative_to(copies.folder)}: {outcome.message}"
                print(_printable(line), file=stream, flush=True)
                progress(counts.total(), len(files))
        print(_summary(counts, time.monotonic() - start, smallest), file=stream, flush=True)
        return 1 if counts["failed"] else 0

    def _files(self, source: Path) -> tuple[Copies, list[Path]]:
        """The copies, and the files that are not copies."""
        if not os.path.exists(source):
            raise DataMissing(f"{source} does not exist; give a folder of photos: frbench cloak FOLDER [overrides]")
        folder = source if source.is_dir() else source.parent
        copies = Copies(folder, None if self.out is None else Path(os.path.expanduser(self.out)), self.suffix)
        copies.check()
        listed = list_files(source, self.recursive) if source.is_dir() else [source]
        files = [path for path in listed if not copies.is_copy(path)]
        if not any(is_image_name(path) for path in files):
            formats = ", ".join(suffixes())
            raise DataMissing(f"{source} contains no photos ({formats}) to cloak; recursive=true includes subfolders")
        return copies, files

    def _outcomes(self, files: list[Path], copies: Copies, cloaker: Cloaker, detect: FaceDetector) -> Iterator[Outcome]:
        """Opens photos until their faces fill a batch or their pixels fill the memory, then cloaks them."""
        waiting: list[Waiting] = []
        for path in files:
            opened = self._open(path, copies, detect)
            if isinstance(opened, Outcome):
                yield opened
                continue
            waiting.append(opened)
            faces = sum(len(each.faces.crops) for each in waiting)
            if faces >= cloaker.batch_size or sum(each.photo.pixels.size for each in waiting) > _MEMORY:
                yield from self._cloak(waiting, copies, cloaker, detect)
                waiting = []
        if waiting:
            yield from self._cloak(waiting, copies, cloaker, detect)

    def _open(self, path: Path, copies: Copies, detect: FaceDetector) -> Waiting | Outcome:
        if not is_image_name(path):
            return Outcome("other", path, "not a photo")
        if copies.exist(path):
            return Outcome("skipped", path, f"skipped, {copies.path_of(path).name} exists")
        try:
            photo = read_photo(path)
            faces = detect(photo.pixels)
        except BadPhoto as error:
            return Outcome("failed", path, f"failed, {error}")
        if not len(faces.crops):
            return Outcome("failed", path, "failed, no face found", faces.smallest)
        return Waiting(path, photo, faces)

    def _cloak(
        self, waiting: list[Waiting], copies: Copies, cloaker: Cloaker, detect: FaceDetector
    ) -> Iterator[Outcome]:
        counts = [len(each.faces.crops) for each in waiting]
        perturbations = cloaker.perturbations(np.concatenate([each.faces.crops for each in waiting]))
        for each, own in zip(waiting, perturbations.split(counts), strict=True):
            smallest = each.faces.smallest
            try:
                yield Outcome("cloaked", each.path, self._write(each, own, copies, cloaker, detect), smallest)
            except BadPhoto as error:
                yield Outcome("failed", each.path, f"failed, {error}", smallest)

    def _write(
        self, opened: Waiting, perturbations: Tensor, copies: Copies, cloaker: Cloaker, detect: FaceDetector
    ) -> str:
        """Write the copy of a photo; a message with the similarity measured on the bytes of the copy."""
        unchanged = int((perturbations.abs().amax(dim=(1, 2, 3)) == 0).sum())
        if unchanged:
            raise BadPhoto(f"the attack did not change {_count(unchanged, 'face')}; choose another attack or budget")
        pixels = paste(opened.photo.pixels, perturbations, opened.faces.matrices)
        data = opened.photo.encode(pixels, self.quality)
        crops = _matching_crops(opened.faces, detect(decode(data).pixels))
        rows = np.array([row for row, crop in enumerate(crops) if crop is not None], int)
        detected = [crop for crop in crops if crop is not None]
        scores = cloaker.similarities(np.stack(detected), opened.faces.crops[rows]) if detected else []
        target = copies.write(opened.path, data)
        parts = [f"{_count(len(crops), 'face')} cloaked in {target.name}"]
        if scores:
            span = " to ".join(dict.fromkeys(f"{score:.2f}" for score in (min(scores), max(scores))))
            parts.append(f"similarity to the original {span}")
        if len(crops) > len(detected):
            parts.append(f"{len(crops) - len(detected)} not detected in the copy")
        weak = int((opened.faces.sides < self.warn_face_size).sum())
        if weak:
            parts.append(f"weak cloak of {_count(weak, 'face')} under {self.warn_face_size} pixels")
        return ", ".join(parts)


def _matching_crops(before: Aligned, after: Aligned) -> list[np.ndarray | None]:
    """For each face of a photo the crop of the nearest face in its copy, or None if that is another face."""
    found: list[np.ndarray | None] = []
    for centre, side in zip(before.centres, before.sides, strict=True):
        distance = np.hypot(*(after.centres - centre).T) if len(after.crops) else np.array([np.inf])
        nearest = int(distance.argmin())
        found.append(after.crops[nearest] if distance[nearest] < side / 4 else None)
    return found


def _printable(text: str) -> str:
    """``text`` with characters escaped that stdout cannot encode, as in some file names."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _summary(counts: Counter[str], seconds: float, smallest: float) -> str:
    """Counts, time per photo, and the size below which faces were not searched for, in one line."""
    cloaked = counts["cloaked"]
    rate = f", {seconds / cloaked:.1f} s each" if cloaked else ""
    rest = f"{counts['skipped']} skipped, {counts['failed']} failed, {_count(counts['other'], 'other file')}"
    missed = f"; faces under {math.ceil(smallest)} pixels per side were not searched for" if smallest else ""
    return f"{_count(cloaked, 'photo')} cloaked{rate}; {rest}{missed}"
