"""Embeddings of a caller's images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Embeddings, Recognizer
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.part_contracts import check_embeddings, check_part
from frbench.harness.core.verifiers import Comparer, compares
from frbench.harness.evaluation.execution import Execution
from frbench.harness.images.given_images import given_images


def embeddings(recognizer: Recognizer | Comparer, images: Tensor | np.ndarray, execution: Execution) -> Embeddings:
    """Embeddings float32 (N, D), of unit length, on the CPU.

    Args:
        recognizer: with embeddings.
        images: a float tensor (N, 3, H, W), RGB in [0, 1], or an array uint8 (N, H, W, 3).
        execution: the batch size, and the device where the images go.

    Raises:
        ConfigError: the recognizer returns only similarities, or ``images`` are others.
        FrbenchError: the recognizer breaks its contract.
    """
    if compares(recognizer):
        raise ConfigError(f"recognizer {recognizer.name} returns only similarities; take a recognizer with embeddings")
    check_part(recognizer, (Recognizer,), "recognizer")
    given, parts = given_images(images, "images"), []
    with torch.no_grad():
        for rows in execution.batches_with_progress(len(given), "embeddings", "images"):
            found = recognizer.embed(given[rows].to(execution.device))
            check_embeddings(recognizer, found, given[rows], lengths=True)
            parts.append(found.float().cpu())
    return torch.cat(parts)
