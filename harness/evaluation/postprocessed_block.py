"""A block of images after post-processing. Landmarks, which take a face detector, are found once and cached.

They do not depend on the victim, so that every defense reads those of the first. The rest is fast and is made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from frbench.harness.core.contracts import Images
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.evaluation.execution import Execution
from frbench.harness.images.eight_bit import to_bytes
from frbench.harness.images.postprocessing import AlignsFaces, Postprocessed, Postprocessing

_WORKING: set[str] = set()  # fingerprints of transforms that this process has tried


def available(
    transforms: Mapping[str, Postprocessing], image: Images
) -> tuple[dict[str, Postprocessing], dict[str, str]]:
    """The transforms that work here, tried on ``image`` (1, 3, H, W), and the reason why not for the others."""
    working, missing = {}, {}
    for name, transform in transforms.items():
        key = fingerprint(transform)
        try:
            if key not in _WORKING:
                transform(image)
            _WORKING.add(key)
            working[name] = transform
        except FrbenchError as error:
            missing[name] = str(error)
    return working, missing


@dataclass(frozen=True)
class PostprocessedBlock:
    """A block of images (n, 3, H, W) after each of several transforms.

    landmarks: float64 (n, 5, 2), by the name of the transform.
    """

    images: Images
    transforms: Mapping[str, Postprocessing]
    landmarks: Mapping[str, np.ndarray]

    def rows(self, name: str, rows: slice, device: torch.device) -> Postprocessed:
        """The images ``rows`` after the transform ``name``."""
        transform, images = self.transforms[name], self.images[rows].to(device)
        if isinstance(transform, AlignsFaces):
            return transform.align(images, self.landmarks[name][rows])
        return transform(images)


def postprocessed(images: Images, transforms: Mapping[str, Postprocessing], execution: Execution) -> PostprocessedBlock:
    """``images`` after ``transforms``, with cached landmarks where they are those of the same images."""
    found = {
        name: _landmarks(images, transform, execution)
        for name, transform in transforms.items()
        if isinstance(transform, AlignsFaces)
    }
    return PostprocessedBlock(images, transforms, found)


def _landmarks(images: Images, transform: AlignsFaces, execution: Execution) -> np.ndarray:
    def make() -> dict[str, np.ndarray]:
        return {"landmarks": transform.locate(images)}

    key = fingerprint(transform, to_bytes(images))
    return execution.get_or_make("landmarks", key, make).arrays["landmarks"]
