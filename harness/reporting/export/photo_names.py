"""Names of exported images: those of the photos that they are made from. Pure.

A name comes from a data set or a record, so each part of it is reduced to plain characters: it can neither leave the
folder nor be hidden, absolute or special to an operating system.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import PurePosixPath

ENDING = ".png"
_IMAGE = re.compile(r"\.(jpe?g|jfif|png|webp|bmp)$", re.IGNORECASE)
_PLAIN = re.compile(r"[^\w. ()+-]")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # of Windows
_LONGEST = 100  # characters of one part of a name
_DEEPEST = 4  # parts of a name


def safe_name(photo: str) -> PurePosixPath:
    """A relative path without its ending from the name of a photo.

    Other characters become ``_``; a name that changes so gets digits of its SHA-256, so that two names stay two.
    """
    stem = _IMAGE.sub("", photo.replace("\\", "/"))
    parts = [_PLAIN.sub("_", part).strip(". ")[:_LONGEST] for part in stem.split("/")]
    kept = [f"_{part}" if _RESERVED.fullmatch(part) else part for part in parts if part][-_DEEPEST:]
    if "/".join(kept) == stem:
        return PurePosixPath(*kept)
    digits = sha256(photo.encode(errors="surrogatepass")).hexdigest()[:8]
    return PurePosixPath(*kept[:-1], f"{kept[-1] if kept else 'photo'}-{digits}")


@dataclass(frozen=True)
class PairNames:
    """File names of the images of pairs.

    Attributes:
        pairs: numbers of all attacked pairs of a record.
        photos: names of their ``probe`` and ``reference``; empty where the record has none.
        unit: what is numbered, for images without a name: ``pair`` or ``photo``.
    """

    pairs: Sequence[int]
    photos: Mapping[str, Sequence[str]]
    unit: str = "pair"

    def natural(self, pair: int, side: str) -> PurePosixPath:
        """The name of a natural photo of a pair, ``probe`` or ``reference``; the same photo has one name."""
        photo = self._photo(pair, side)
        return safe_name(photo) if photo is not None else PurePosixPath(f"{self.unit}_{pair:06d}")

    def changed(self, pair: int) -> PurePosixPath:
        """The name of the changed probe of a pair: that of the photo, with the pair if several have this probe."""
        name = self.natural(pair, "probe")
        photo = self._photo(pair, "probe")
        return name if photo is None or self._uses[photo] == 1 else name.with_name(f"{name.name}_pair_{pair}")

    def _photo(self, pair: int, side: str) -> str | None:
        names, row = self.photos.get(side), self._rows.get(pair)
        return None if names is None or row is None else names[row]

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {pair: row for row, pair in enumerate(self.pairs)}

    @cached_property
    def _uses(self) -> Counter[str]:
        return Counter(self.photos.get("probe", ()))
