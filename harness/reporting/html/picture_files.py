"""Pictures as data URIs, up to a number of bytes for a page."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

import numpy as np

from frbench.harness.reporting.html.blocks import Pictures


class PictureBudget:
    """Turns pictures into data URIs until their size is reached.

    Args:
        size: bytes of all data URIs of a page.
    """

    def __init__(self, size: int) -> None:
        self._left = size

    def uris(self, pictures: Pictures) -> list[str] | None:
        """The data URIs of ``pictures``; None if they do not fit any more."""
        uris = [data_uri(picture.image) for picture in pictures.pictures] if self._left else []
        size = sum(map(len, uris))
        if not uris or size > self._left:
            self._left = 0
            return None
        self._left -= size
        return uris


def data_uri(image: np.ndarray) -> str:
    """An image (H, W, 3) in [0, 1] as the URI of a lossless WebP file."""
    from PIL import Image

    data = BytesIO()
    levels = np.rint(255 * np.clip(np.nan_to_num(image), 0, 1)).astype(np.uint8)
    Image.fromarray(levels).save(data, "webp", lossless=True, quality=50, method=4)
    return f"data:image/webp;base64,{b64encode(data.getvalue()).decode()}"
