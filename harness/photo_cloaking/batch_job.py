"""``frbench cloak``: the faces in a user's own photos cloaked, whole batches at once, and pasted back into copies."""

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
from frbench.harness.photo_cloaking.photo_files import BadPhoto, Copies, Photo, decoded, files, read
from frbench.harness.photo_cloaking.photo_formats import is_picture, suffixes
from frbench.harness.runtime.progress import count_bar

Find = Callable[[np.ndarray], Aligned]

_HELD = 300_000_000  # bytes of photos in memory at once, beside those of the last


class Opened(NamedTuple):
    """A photo with its faces, waiting for its batch."""

    path: Path
    photo: Photo
    faces: Aligned


class Outcome(NamedTuple):
    """What became of a photo. smallest: the side in pixels of the smallest face that was searched for in it."""

    word: Literal["cloaked", "kept", "failed", "other"]
    path: Path
    told: str
    smallest: float = 0.0


@dataclass(frozen=True)
class Protecting:
    """Where copies go and what they are like.

    out: a folder, or null for beside each photo. suffix: what the name of a copy has more. quality: 1 to 100, of JPEG,
    WebP and HEIC. recursive: photos in folders inside too. small: a face of fewer pixels a side is reported, since its
    cloak is weak.
    """

    out: str | None = None
    suffix: str = "_cloaked"
    quality: JpegQuality = 95
    recursive: bool = False
    small: NonNegativeInt = 64

    def run(self, source: Path, cloaker: Cloaker, load: Callable[[], Find]) -> int:
        """Do all photos of ``source``, a folder or one photo, a line for each. Exit code 0, or 1 where some failed.

        Raises FrbenchError: there are none, or nothing can be done for any.
        """
        out = None if sys.stdout.isatty() else sys.stdout  # not to the terminal with the bar
        copies, found = self._found(source)
        cloaker.ready()
        find, began = load(), time.monotonic()
        tally: Counter[str] = Counter()
        smallest = 0.0
        with count_bar("cloak", "photos") as report:
            for outcome in self._outcomes(found, copies, cloaker, find):
                tally[outcome.word] += 1
                smallest = max(smallest, outcome.smallest)
                print(_printable(f"{outcome.path.relative_to(copies.folder)}: {outcome.told}"), file=out, flush=True)
                report(tally.total(), len(found))
        print(_summary(tally, time.monotonic() - began, smallest), file=out, flush=True)
        return 1 if tally["failed"] else 0

    def _found(self, source: Path) -> tuple[Copies, list[Path]]:
        """The files to look at, without copies, and where copies are."""
        if not os.path.exists(source):
            raise DataMissing(f"{source} is not there; give a folder of photos: frbench cloak FOLDER [overrides]")
        folder = source if source.is_dir() else source.parent
        copies = Copies(folder, None if self.out is None else Path(os.path.expanduser(self.out)), self.suffix)
        copies.check()
        listed = files(source, self.recursive) if source.is_dir() else [source]
        found = [path for path in listed if not copies.holds(path)]
        if not any(is_picture(path) for path in found):
            kinds = ", ".join(suffixes())
            raise DataMissing(
                f"{source} holds no photos ({kinds}) beside copies; recursive=true looks into its folders"
            )
        return copies, found

    def _outcomes(self, found: list[Path], copies: Copies, cloaker: Cloaker, find: Find) -> Iterator[Outcome]:
        """Photos are opened until their faces fill a batch or their pixels the memory, then done and forgotten."""
        waiting: list[Opened] = []
        for path in found:
            opened = self._opened(path, copies, find)
            if isinstance(opened, Outcome):
                yield opened
                continue
            waiting.append(opened)
            faces = sum(len(each.faces.crops) for each in waiting)
            if faces >= cloaker.batch_size or sum(each.photo.pixels.size for each in waiting) > _HELD:
                yield from self._done(waiting, copies, cloaker, find)
                waiting = []
        if waiting:
            yield from self._done(waiting, copies, cloaker, find)

    def _opened(self, path: Path, copies: Copies, find: Find) -> Opened | Outcome:
        if not is_picture(path):
            return Outcome("other", path, "not a photo")
        if copies.there(path):
            return Outcome("kept", path, f"left alone, for {copies.of(path).name} is there already")
        try:
            photo = read(path)
            faces = find(photo.pixels)
        except BadPhoto as error:
            return Outcome("failed", path, f"failed, {error}")
        if not len(faces.crops):
            return Outcome("failed", path, "failed, no face found", faces.smallest)
        return Opened(path, photo, faces)

    def _done(self, waiting: list[Opened], copies: Copies, cloaker: Cloaker, find: Find) -> Iterator[Outcome]:
        counts = [len(each.faces.crops) for each in waiting]
        changes = cloaker.changes(np.concatenate([each.faces.crops for each in waiting]))
        for each, own in zip(waiting, changes.split(counts), strict=True):
            smallest = each.faces.smallest
            try:
                yield Outcome("cloaked", each.path, self._copied(each, own, copies, cloaker, find), smallest)
            except BadPhoto as error:
                yield Outcome("failed", each.path, f"failed, {error}", smallest)

    def _copied(self, opened: Opened, changes: Tensor, copies: Copies, cloaker: Cloaker, find: Find) -> str:
        """Write the copy; what there is to tell of it, as seen in the very bytes that are written."""
        same = int((changes.abs().amax(dim=(1, 2, 3)) == 0).sum())
        if same:
            raise BadPhoto(f"the attack changed nothing in {_counted(same, 'face')}; take another attack or budget")
        data = opened.photo.encoded(paste(opened.photo.pixels, changes, opened.faces.matrices), self.quality)
        seen = _again(opened.faces, find(decoded(data).pixels))
        rows = np.array([row for row, crop in enumerate(seen) if crop is not None], int)
        crops = [crop for crop in seen if crop is not None]
        scores = cloaker.similarities(np.stack(crops), opened.faces.crops[rows]) if crops else []
        target = copies.write(opened.path, data)
        told = [f"{_counted(len(seen), 'face')} cloaked in {target.name}"]
        if scores:
            span = " to ".join(dict.fromkeys(f"{score:.2f}" for score in (min(scores), max(scores))))
            told.append(f"similarity to the natural {span}")
        if len(seen) > len(crops):
            told.append(f"{len(seen) - len(crops)} not found any more")
        weak = int((opened.faces.sides < self.small).sum())
        if weak:
            told.append(f"{_counted(weak, 'face')} under {self.small} pixels, weakly cloaked")
        return ", ".join(told)


def _again(before: Aligned, after: Aligned) -> list[np.ndarray | None]:
    """For each face the crop of the nearest one in the photo's copy, or None where that is not the same face."""
    found: list[np.ndarray | None] = []
    for centre, side in zip(before.centres, before.sides, strict=True):
        away = np.hypot(*(after.centres - centre).T) if len(after.crops) else np.array([np.inf])
        nearest = int(away.argmin())
        found.append(after.crops[nearest] if away[nearest] < side / 4 else None)
    return found


def _printable(text: str) -> str:
    """``text`` as the output can show it: names of files need not be text."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _summary(tally: Counter[str], seconds: float, smallest: float) -> str:
    """What became of all files, and what was not searched for, in one line."""
    done = tally["cloaked"]
    rate = f", {seconds / done:.1f} s each" if done else ""
    rest = f"{tally['kept']} had a copy, {tally['failed']} failed, {_counted(tally['other'], 'other file')}"
    missed = f"; faces under {math.ceil(smallest)} pixels a side were not searched for" if smallest else ""
    return f"{_counted(done, 'photo')} cloaked{rate}; {rest}{missed}"
