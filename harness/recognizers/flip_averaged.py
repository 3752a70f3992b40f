"""A recognizer that sums the embeddings of each image and its mirror image, as InsightFace and LowKey do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Embeddings, Images, Recognizer
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.fingerprints import describe
from frbench.harness.core.training_identities import training_identities
from frbench.harness.recognizers.accuracy_check import stated_accuracy
from frbench.harness.recognizers.preprocessing import FEEDING, unit_length


class Raw(Recognizer, Protocol):
    """A recognizer that gives embeddings as its network does, before they are brought to unit length."""

    def raw(self, images: Images) -> Tensor: ...


@dataclass(frozen=True)
class FlipAveraged:
    """Unit-length sum of the raw embeddings of an image and its mirror image, as in the published code of LowKey.

    Attributes:
        recognizer: the wrapped recognizer. Each image costs two of its forward passes and counts as one.
    """

    identity = "recognizer.flip_averaged"
    version = 1

    recognizer: Recognizer | None = None

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        FEEDING, "the recognizer inside has its own, set below recognizer"
    )

    @property
    def name(self) -> str:
        return f"flip_averaged({self._inner.name})"

    @property
    def differentiable(self) -> bool:
        return self._inner.differentiable

    @property
    def digest(self) -> str:
        """SHA-256 of what this is and of the recognizer's digest."""
        return hashlib.sha256(f"flip_averaged {self._inner.digest}".encode()).hexdigest()

    @property
    def min_clean_accuracy(self) -> float | Mapping[str, float] | None:
        """That of the recognizer inside."""
        return stated_accuracy(self._inner)

    @property
    def trained_on(self) -> np.ndarray:
        """Training identities of the recognizer inside; see ``training_identities``."""
        return training_identities(self._inner)

    def embed(self, images: Images) -> Embeddings:
        """Images float32 (N, 3, H, W), RGB in [0, 1] -> unit-length embeddings float32 (N, D)."""
        straight, mirrored = self._inner.raw(torch.cat([images, images.flip(3)])).chunk(2)
        return unit_length(straight + mirrored)

    def fingerprint(self) -> dict[str, Any]:
        return {"weights": self.digest, "of": describe(self._inner)}

    @cached_property
    def _inner(self) -> Raw:
        if self.recognizer is None:
            raise ConfigError(
                "flip_averaged has no recognizer; add +recognizer@recognizer.recognizer=NAME, or for a surrogate "
                "+recognizer@threat.surrogate.recognizer=NAME"
            )
        if not hasattr(type(self.recognizer), "raw"):  # isinstance would look at every property, and for files
            raise ConfigError(
                f"flip_averaged adds embeddings of one network before they are brought to unit length, and "
                f"{self.recognizer.name} gives none such; take a recognizer from a PyTorch or an ONNX file"
            )
        return cast(Raw, self.recognizer)
