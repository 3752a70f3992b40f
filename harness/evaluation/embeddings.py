"""Embeddings of a caller's images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Embeddings, Recognizer
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.part_contracts import check_embeddings, check_part
from frbench.harness.core.verifiers import Comparer, compares
from frbench.harness.images.given_images import given_images


def embeddings(
    recognizer: Recognizer | Comparer, images: Tensor | np.ndarray, batch_size: int, device: torch.device
) -> Embeddings:
    """Embeddings float32 (N, D), of unit length, on the CPU.

    Args:
        recognizer: with embeddings.
        images: a float tensor (N, 3, H, W), RGB in [0, 1], or an array uint8 (N, H, W, 3).
        batch_size: images on the device at a time.
        device: where the images go.

    Raises:
        ConfigError: the recognizer returns only similarities, or ``images`` are others.
        FrbenchError: the recognizer breaks its contract.
    """
    if compares(recognizer):
        raise ConfigError(f"recognizer {recognizer.name} returns only similarities; take a recognizer with embeddings")
    check_part(recognizer, (Recognizer,), "recognizer")
    parts = []
    with torch.no_grad():
        for part in given_images(images, "images").split(batch_size):
            found = recognizer.embed(part.to(device))
            check_embeddings(recognizer, found, part, lengths=True)
            parts.append(found.float().cpu())
    return torch.cat(parts)
