"""Which picture formats are read, by the name and by the content of a file."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib import import_module
from io import BytesIO
from pathlib import Path

from PIL import Image

from frbench.harness.core.file_kinds import kind_of

HEIF = "HEIF"  # what Pillow calls HEIC once pillow-heif has registered it
_READ = ("JPEG", "PNG", "WEBP", "BMP", HEIF)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_HEIF_SUFFIXES = (".heic", ".heics", ".heif", ".heifs", ".hif")
_RAW_SUFFIXES = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2")
_OTHER_SUFFIXES = (*_HEIF_SUFFIXES, *_RAW_SUFFIXES, ".avif", ".gif", ".jp2", ".jxl", ".tif", ".tiff")
_INSTALL_HEIF = 'install pillow-heif (pip install "frbench[heic]"), or save it as JPEG'


@cache
def readable() -> tuple[str, ...]:
    """Pillow's names of the formats that are read; HEIF is among them where pillow-heif is installed."""
    with suppress(ImportError):
        import_module("pillow_heif").register_heif_opener()
    Image.init()
    return tuple(name for name in _READ if name in Image.OPEN)


def suffixes() -> tuple[str, ...]:
    """Endings of the names of files that are read, such as ``.jpg`` and ``.jfif``."""
    formats = (*readable(), "MPO")  # which Pillow opens as a JPEG
    return tuple(sorted(suffix for suffix, name in Image.registered_extensions().items() if name in formats))


def is_picture(path: Path) -> bool:
    """Whether the file's name is that of a picture, also of a format that is not read."""
    return path.suffix.lower() in (*suffixes(), *_OTHER_SUFFIXES)


def unreadable(data: bytes, path: Path | None) -> str:
    """What ``data``, the content of the file ``path``, is in place of a picture that can be read, and what to do."""
    suffix = path.suffix.lower() if path else ""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        name = "HEIC" if suffix in ("", *_HEIF_SUFFIXES) else f"HEIC inside {suffix}"
        return f"{name}, damaged or cut off" if HEIF in readable() else f"{name}: {_INSTALL_HEIF}"
    form = _pillow_format(data)
    if form is not None:
        own = suffix if suffix in _RAW_SUFFIXES else form  # to Pillow a raw photo is a TIFF
        known = Image.registered_extensions().get(suffix)
        return f"{own if known in (None, form) else f'{form} inside {suffix}'} is not read; save it as JPEG or PNG"
    if suffix in _OTHER_SUFFIXES:
        return f"{suffix} is not read; save it as JPEG or PNG"
    found = kind_of(path) if path else None
    return f"not a picture but {found.name}" if found else "not a picture, whatever its name says"


def _pillow_format(data: bytes) -> str | None:
    try:
        with Image.open(BytesIO(data)) as image:
            return image.format
    except Exception:  # decoders fail on damaged files in many ways
        return None
