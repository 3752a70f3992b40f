"""A user's own photos as files: which of a folder's files they are, their pixels, and the same format again."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from frbench.harness.core.atomic import create_atomically
from frbench.harness.core.errors import ConfigError, DataMissing
from frbench.harness.photo_cloaking.photo_formats import HEIF, readable, unreadable

_LONGEST = 32_000  # pixels a side that OpenCV warps
_PNG_DEPTH = 24  # where a PNG has its bits a channel: signature, length and name of the first chunk, width, height


class BadPhoto(Exception):
    """A photo that cannot be done, with the reason."""


@dataclass(frozen=True)
class Photo:
    """An upright photo. pixels: uint8 (H, W, 3), RGB; alpha: uint8 (H, W), or None; kind: Pillow's name of the format.

    gray: whether the file has a single channel beside alpha, which ``pixels`` repeat. profile: its ICC colour profile,
    or None. lossless: whether a WebP keeps every bit.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    kind: str
    gray: bool
    profile: bytes | None
    lossless: bool

    def encoded(self, pixels: np.ndarray, quality: int) -> bytes:
        """A file like this one that shows ``pixels``; ``quality`` 1 to 100, of JPEG and WebP.

        Of what else the file held nothing is kept: EXIF has the place where it was taken, and a thumbnail of the face.
        """
        image = Image.fromarray(pixels[:, :, 0] if self.gray else pixels)
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        options = {
            "JPEG": {"quality": quality, "subsampling": 0},
            "WEBP": {"quality": quality, "lossless": self.lossless, "exact": True},
            HEIF: {"quality": quality, "chroma": 444},
        }
        file = BytesIO()
        image.save(file, self.kind, icc_profile=self.profile, **options.get(self.kind, {}))
        return file.getvalue()


def decoded(data: bytes, path: Path | None = None) -> Photo:
    """The photo that a file's bytes hold, turned upright. ``path``: of the file, to say what it is. Raises BadPhoto."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures and odd metadata
            with Image.open(BytesIO(data), formats=readable()) as image:
                _check(image, data)
                return _upright(image, data)
    except BadPhoto:
        raise
    except UnidentifiedImageError as error:
        raise BadPhoto(unreadable(data, path)) from error
    except Image.DecompressionBombError as error:
        raise BadPhoto("has more pixels than can be read safely; save it smaller") from error
    except Exception as error:  # decoders fail on damaged files in many ways
        raise BadPhoto("damaged or cut off") from error


def _check(image: Image.Image, data: bytes) -> None:
    """Refuse what would come out as something else than it was."""
    if getattr(image, "n_frames", 1) > 1 and image.format not in ("MPO", HEIF):  # theirs open at the main picture
        raise BadPhoto(f"an animation of {getattr(image, 'n_frames', 1)} frames, not a photo")
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise BadPhoto(f"its colours are {image.mode}; save it as RGB with 8 bits a channel")
    depth = data[_PNG_DEPTH] if image.format == "PNG" else image.info.get("bit_depth", 8)  # Pillow would read 8 of them
    if depth > 8:
        raise BadPhoto(f"its colours have {depth} bits a channel; save it as RGB with 8 bits a channel")
    if max(image.size) > _LONGEST:
        raise BadPhoto(f"{image.width}x{image.height} is more than {_LONGEST} pixels a side; save it smaller")


def _upright(image: Image.Image, data: bytes) -> Photo:
    clear = image.mode.endswith("A") or "transparency" in image.info
    upright = ImageOps.exif_transpose(image).convert("RGBA" if clear else "RGB")
    channels = np.asarray(upright)
    lossless = re.search(rb"VP8[L ]", data[: 1 << 16]) if image.format == "WEBP" else None
    return Photo(
        pixels=np.ascontiguousarray(channels[:, :, :3]),
        alpha=np.ascontiguousarray(channels[:, :, 3]) if clear else None,
        kind="JPEG" if image.format == "MPO" else str(image.format),
        gray=image.mode in ("1", "L", "LA"),
        profile=image.info.get("icc_profile"),
        lossless=lossless is not None and lossless[0] == b"VP8L",
    )


@dataclass(frozen=True)
class Copies:
    """Where the copies of a folder's photos are: beside each photo, or under ``out`` as they lie in the folder.

    suffix: what a copy's name has more than its photo's. A photo so named is taken for a copy.
    """

    folder: Path
    out: Path | None
    suffix: str

    def check(self) -> None:
        """Raises FrbenchError where a copy would have the name of a photo, or ``out`` is not a folder."""
        if "/" in self.suffix or "\\" in self.suffix:
            raise ConfigError(f"suffix={self.suffix} is no part of a file's name; take one without slashes")
        if not self.suffix and (self.out is None or self.out.resolve() == self.folder.resolve()):
            raise ConfigError("without a suffix copies would have the names of their photos; give suffix= or out=")
        if self.out is not None and os.path.exists(self.out) and not os.path.isdir(self.out):
            raise ConfigError(f"out={self.out} is a file; give a folder")

    def of(self, photo: Path) -> Path:
        """Where the copy of ``photo`` goes."""
        where = photo.parent if self.out is None else self.out / photo.parent.relative_to(self.folder)
        return where / f"{photo.stem}{self.suffix}{photo.suffix}"

    def holds(self, file: Path) -> bool:
        """Whether ``file`` is such a copy itself."""
        here, out = self.folder.resolve(), (self.out or self.folder).resolve()
        below = out != here and out.is_relative_to(here) and file.resolve().is_relative_to(out)
        return below or (bool(self.suffix) and file.stem.endswith(self.suffix))

    def there(self, photo: Path) -> bool:
        """Whether the copy of ``photo``, or anything else of that name, is there already."""
        return os.path.lexists(self.of(photo))

    def write(self, photo: Path, data: bytes) -> Path:
        """The copy of ``photo``, whole or not at all, and never over another file. Raises BadPhoto."""
        target = self.of(photo)
        try:
            create_atomically(target, lambda path: path.write_bytes(data))
        except FileExistsError as error:
            raise BadPhoto(f"{target.name} has appeared meanwhile; it stays as it is") from error
        except OSError as error:
            raise BadPhoto(f"cannot write {target} ({error.strerror})") from error
        return target


def named(words: list[str]) -> tuple[Path, list[str]]:
    """The one folder or photo among the words of a command, and the others, which are overrides."""
    places = [w for w in words if os.path.exists(os.path.expanduser(w)) or ("=" not in w and w[:1] not in "-+~")]
    if len(places) != 1:
        told = f"takes one folder or photo, not {' and '.join(places)}" if places else "needs a folder of photos"
        raise ConfigError(f"frbench cloak {told}: frbench cloak FOLDER [overrides]")
    if {"-m", "--multirun"} & set(words):
        raise ConfigError("frbench cloak takes no sweep; call it again with another suffix= or out=")
    return Path(os.path.expanduser(places[0])), [word for word in words if word not in places]


def read(path: Path) -> Photo:
    """The photo in a file. Raises BadPhoto."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadPhoto(f"cannot be read ({error.strerror})") from error
    return decoded(data, path)


def files(folder: Path, recursive: bool) -> list[Path]:
    """The files of a folder by name, without hidden ones; ``recursive``: and of the folders in it.

    Raises FrbenchError: the folder is not there or cannot be looked into.
    """
    try:
        return list(_files(folder, recursive))
    except OSError as error:
        raise DataMissing(f"{folder} cannot be looked into ({error.strerror}); give a folder of photos") from error


def _files(folder: Path, recursive: bool) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_file():
            yield path
        elif recursive and path.is_dir() and not path.is_symlink():
            yield from _files(path, recursive)
