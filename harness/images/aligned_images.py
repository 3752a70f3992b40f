"""Decoding of aligned faces: 112x112 JPEG, PNG, WebP or BMP files as upright RGB pixels."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SIDE = 112
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
_PNG_DEPTH = 24  # position of the bits per channel in a PNG, after signature, chunk length and name, width and height
# Position and content of the first bytes of other files, with what they are.
_OTHERS = (
    (0, b"version https://git-lfs", "a Git LFS pointer instead of the image; run git lfs pull in its repository"),
    (0, b"<", "a web page or other text, perhaps from a failed download"),
    (0, b"GIF8", "a GIF; save it as PNG"),
    (0, b"II*\0", "a TIFF; save it as PNG"),
    (0, b"MM\0*", "a TIFF; save it as PNG"),
    (4, b"ftyp", "a HEIC or AVIF image; save it as PNG or JPEG"),
)


class BadImage(Exception):
    """Why an image cannot be read. The message continues a sentence that begins with its name."""


class NotAnImage(BadImage):
    """The file has none of the supported formats."""


class WrongSize(BadImage):
    """The image does not have the size of an aligned face."""


class Decoded(NamedTuple):
    """pixels: uint8 (112, 112, 3), RGB; turned: whether they were rotated or mirrored according to EXIF."""

    pixels: np.ndarray
    turned: bool


def decode(data: bytes) -> Decoded:
    """Decode an aligned face. The size is checked before any pixel is decoded.

    Raises:
        NotAnImage: the format is not supported.
        WrongSize: the image is not 112x112.
        BadImage: the image is damaged, animated, partly transparent, CMYK, or has more than 8 bits per channel.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unusual metadata
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                _check(image, data)
                turned = _orientation(image) != 1
                upright = ImageOps.exif_transpose(image) if turned else image
                return Decoded(np.array(_opaque(upright).convert("RGB")), turned)
    except BadImage:
        raise
    except UnidentifiedImageError as error:
        raise NotAnImage(what(data)) from error
    except Image.DecompressionBombError as error:
        raise WrongSize(f"has far more pixels than a face of {SIDE}x{SIDE}") from error
    except Exception as error:  # decoders raise many types on damaged files
        reason = " ".join(str(error).split())[:80]
        raise BadImage(f"is damaged or cut off and cannot be decoded ({reason})") from error


def what(data: bytes) -> str:
    """What a file is that has none of the supported formats, as the end of a sentence."""
    if not data:
        return "is empty"
    for start, mark, words in _OTHERS:
        if data[start:].startswith(mark):
            return f"is {words}"
    return f"is not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"


def _check(image: Image.Image, data: bytes) -> None:
    if image.size != (SIDE, SIDE):
        raise WrongSize(f"is {image.width}x{image.height}, expected a face aligned to the {SIDE}x{SIDE} template")
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise BadImage("is an animation, expected a single image")
    if image.format == "PNG" and data[_PNG_DEPTH] > 8:
        raise BadImage(f"has {data[_PNG_DEPTH]} bits per channel, expected 8; convert it")
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise BadImage(f"has mode {image.mode}, expected RGB or gray; convert it")


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # malformed metadata
        return 1
    return found if found in range(1, 9) else 1


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode.endswith("A") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise BadImage("is partly transparent, expected an opaque image; save it as RGB")
    return image
