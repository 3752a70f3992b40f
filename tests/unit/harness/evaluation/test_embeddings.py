"""Embeddings of a caller's images, in batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from frbench.harness.core.errors import ConfigError, FrbenchError
from frbench.harness.evaluation.embeddings import embeddings
from frbench.harness.evaluation.execution import Execution
from frbench.harness.storage.result_store import ResultStore


@pytest.fixture
def execution(tmp_path: Path) -> Execution:
    """In batches of three."""
    return Execution(ResultStore(tmp_path), seed=0, batch_size=3, device=torch.device("cpu"))


@dataclass(frozen=True)
class Unnormalised:
    name: str = "unnormalised"
    differentiable: bool = True
    digest: str = "0"

    def embed(self, images: Tensor) -> Tensor:
        return images.flatten(1)


@dataclass(frozen=True)
class Similarity:
    name: str = "similarity"
    differentiable: bool = False
    random: bool = False
    digest: str = "0"

    def compare(self, probe: Tensor, reference: Tensor) -> Tensor:
        return probe.flatten(1)[:, 0]


def test_that_batches_change_nothing(linear: Callable[..., Any], execution: Execution) -> None:
    images = torch.rand(7, 3, 8, 8)
    torch.testing.assert_close(embeddings(linear(), images, execution), linear().embed(images))


def test_that_embeddings_that_are_not_unit_vectors_are_refused(execution: Execution) -> None:
    with pytest.raises(FrbenchError, match="expected unit length"):
        embeddings(Unnormalised(), torch.rand(7, 3, 8, 8), execution)


def test_that_a_recognizer_without_embeddings_is_refused(execution: Execution) -> None:
    with pytest.raises(ConfigError, match="returns only similarities"):
        embeddings(Similarity(), torch.rand(7, 3, 8, 8), execution)
