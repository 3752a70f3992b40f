"""Supported image formats, by the name and the content of a file."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib import import_module
from io import BytesIO
from pathlib import Path

from PIL import Image

from frbench.harness.core.file_kinds import kind_of

HEIF = "HEIF"  # Pillow's name of HEIC, registered by pillow-heif
_READ = ("JPEG", "PNG", "WEBP", "BMP", HEIF)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_HEIF_SUFFIXES = (".heic", ".heics", ".heif", ".heifs", ".hif")
_RAW_SUFFIXES = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2")
_OTHER_SUFFIXES = (*_HEIF_SUFFIXES, *_RAW_SUFFIXES, ".avif", ".gif", ".jp2", ".jxl", ".tif", ".tiff")
_INSTALL_HEIF = 'install pillow-heif (pip install "frbench[heic]"), or save it as JPEG'


@cache
def readable() -> tuple[str, ...]:
    """Pillow's names of the supported formats; HEIF is one if pillow-heif is installed."""
    with suppress(ImportError):
        import_module("pillow_heif").register_heif_opener()
    Image.init()
    return tuple(name for name in _READ if name in Image.OPEN)


def suffixes() -> tuple[str, ...]:
    """Suffixes of supported files, such as ``.jpg`` and ``.jfif``."""
    formats = (*readable(), "MPO")  # JPEG files for Pillow
    return tuple(sorted(suffix for suffix, name in Image.registered_extensions().items() if name in formats))


def is_image_name(path: Path) -> bool:
    """Whether ``path`` has the suffix of an image, also of an unsupported format."""
    return path.suffix.lower() in (*suffixes(), *_OTHER_SUFFIXES)


def unsupported(data: bytes, path: Path | None) -> str:
    """Why Pillow cannot read ``data``, the content of the file ``path``, and what to do."""
    suffix = path.suffix.lower() if path else ""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        name = "HEIC" if suffix in ("", *_HEIF_SUFFIXES) else f"HEIC inside {suffix}"
        return f"{name}, damaged or truncated" if HEIF in readable() else f"{name}: {_INSTALL_HEIF}"
    form = _pillow_format(data)
    if form is not None:
        own = suffix if suffix in _RAW_SUFFIXES else form  # Pillow opens raw photos as TIFF
        known = Image.registered_extensions().get(suffix)
        return f"{own if known in (None, form) else f'{form} inside {suffix}'} is not supported; save it as JPEG or PNG"
    if suffix in _OTHER_SUFFIXES:
        return f"{suffix} is not supported; save it as JPEG or PNG"
    found = kind_of(path) if path else None
    return f"not an image but {found.name}" if found else "not an image, despite its name"


def _pillow_format(data: bytes) -> str | None:
    try:
        with Image.open(BytesIO(data)) as image:
            return image.format
    except Exception:  # decoders fail on damaged files in many ways
        return None
