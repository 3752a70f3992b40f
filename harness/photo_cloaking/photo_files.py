"""Photo files of a user: finding, decoding, encoding in the same format, and writing copies."""

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
from frbench.harness.photo_cloaking.photo_formats import HEIF, readable, unsupported

_LONGEST = 32_000  # pixels per side that OpenCV can warp
_PNG_DEPTH = 24  # offset of the bit depth in a PNG file


class BadPhoto(Exception):
    """A photo that cannot be cloaked, with the reason."""


@dataclass(frozen=True)
class Photo:
    """An upright photo.

    Attributes:
        pixels: uint8 (H, W, 3), RGB.
        alpha: uint8 (H, W), or None.
        kind: Pillow's name of the format.
        gray: whether the file has a single channel besides alpha; ``pixels`` repeats it.
        profile: ICC colour profile, or None.
        lossless: whether a WebP file is lossless.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    kind: str
    gray: bool
    profile: bytes | None
    lossless: bool

    def encode(self, pixels: np.ndarray, quality: int) -> bytes:
        """A file of the same format with other ``pixels``; ``quality`` is 1 to 100, of JPEG, WebP and HEIC.

        Metadata is dropped: EXIF can contain the location and a thumbnail of the original face.
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


def decode(data: bytes, path: Path | None = None) -> Photo:
    """The upright photo in ``data``, the content of the file ``path``. Raises BadPhoto."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on large images and odd metadata
            with Image.open(BytesIO(data), formats=readable()) as image:
                _check(image, data)
                return _upright(image, data)
    except BadPhoto:
        raise
    except UnidentifiedImageError as error:
        raise BadPhoto(unsupported(data, path)) from error
    except Image.DecompressionBombError as error:
        raise BadPhoto("too many pixels; save it smaller") from error
    except Exception as error:  # decoders fail on damaged files in many ways
        raise BadPhoto("damaged or truncated") from error


def _check(image: Image.Image, data: bytes) -> None:
    """Raises BadPhoto for an image that this module cannot write back unchanged."""
    if getattr(image, "n_frames", 1) > 1 and image.format not in ("MPO", HEIF):  # these open at the main image
        raise BadPhoto(f"an animation of {getattr(image, 'n_frames', 1)} frames, not a photo")
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise BadPhoto(f"colour mode {image.mode} is not supported; save it as RGB with 8 bits per channel")
    depth = data[_PNG_DEPTH] if image.format == "PNG" else image.info.get("bit_depth", 8)  # Pillow would read 8 of them
    if depth > 8:
        raise BadPhoto(f"{depth} bits per channel are not supported; save it as RGB with 8 bits per channel")
    if max(image.size) > _LONGEST:
        raise BadPhoto(f"{image.width}x{image.height} exceeds {_LONGEST} pixels per side; save it smaller")


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
    """The cloaked copies of the photos in a folder.

    Attributes:
        folder: of the photos.
        out: folder of the copies, with the subfolders of ``folder``; None to put each copy beside its photo.
        suffix: added to the name of a photo, before its extension. A file with this suffix counts as a copy.
    """

    folder: Path
    out: Path | None
    suffix: str

    def check(self) -> None:
        """Raises ConfigError if a copy would have the path of its photo, or ``out`` is not a folder."""
        if "/" in self.suffix or "\\" in self.suffix:
            raise ConfigError(f"suffix={self.suffix} contains a slash; choose one without")
        if not self.suffix and (self.out is None or self.out.resolve() == self.folder.resolve()):
            raise ConfigError("without a suffix, copies would have the names of their photos; set suffix= or out=")
        if self.out is not None and os.path.exists(self.out) and not os.path.isdir(self.out):
            raise ConfigError(f"out={self.out} is a file; set it to a folder")

    def path_of(self, photo: Path) -> Path:
        """Path of the copy of ``photo``."""
        where = photo.parent if self.out is None else self.out / photo.parent.relative_to(self.folder)
        return where / f"{photo.stem}{self.suffix}{photo.suffix}"

    def is_copy(self, file: Path) -> bool:
        """Whether ``file`` is a copy."""
        here, out = self.folder.resolve(), (self.out or self.folder).resolve()
        below = out != here and out.is_relative_to(here) and file.resolve().is_relative_to(out)
        return below or (bool(self.suffix) and file.stem.endswith(self.suffix))

    def exist(self, photo: Path) -> bool:
        """Whether the path of the copy of ``photo`` exists."""
        return os.path.lexists(self.path_of(photo))

    def write(self, photo: Path, data: bytes) -> Path:
        """Write the copy of ``photo`` atomically, never over another file; its path. Raises BadPhoto."""
        target = self.path_of(photo)
        try:
            create_atomically(target, lambda path: path.write_bytes(data))
        except FileExistsError as error:
            raise BadPhoto(f"{target.name} was created in the meantime and is not overwritten") from error
        except OSError as error:
            raise BadPhoto(f"cannot write {target} ({error.strerror})") from error
        return target


def split_arguments(words: list[str]) -> tuple[Path, list[str]]:
    """The folder or photo among the arguments of ``frbench cloak``, and the overrides.

    Raises:
        ConfigError: not exactly one folder or photo, or a sweep.
    """
    paths = [w for w in words if os.path.exists(os.path.expanduser(w)) or ("=" not in w and w[:1] not in "-+~")]
    if len(paths) != 1:
        found = " and ".join(paths) or "none"
        raise ConfigError(f"expected one folder or photo, got {found}; usage: frbench cloak FOLDER [overrides]")
    if {"-m", "--multirun"} & set(words):
        raise ConfigError("frbench cloak does not support sweeps (-m); run it again with another suffix= or out=")
    return Path(os.path.expanduser(paths[0])), [word for word in words if word not in paths]


def read_photo(path: Path) -> Photo:
    """The photo in a file. Raises BadPhoto."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadPhoto(f"cannot be read ({error.strerror})") from error
    return decode(data, path)


def list_files(folder: Path, recursive: bool) -> list[Path]:
    """The files in a folder by name, without hidden ones; with ``recursive`` also those in subfolders.

    Raises:
        DataMissing: the folder does not exist or cannot be read.
    """
    try:
        return list(_files(folder, recursive))
    except OSError as error:
        raise DataMissing(f"cannot read {folder} ({error.strerror}); give a folder of photos") from error


def _files(folder: Path, recursive: bool) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_file():
            yield path
        elif recursive and path.is_dir() and not path.is_symlink():
            yield from _files(path, recursive)
