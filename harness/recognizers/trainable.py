"""Recognizers that expose a trainable network."""

from __future__ import annotations

from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from frbench.harness.core.contracts import Images, Recognizer
from frbench.harness.core.errors import Refused
from frbench.harness.recognizers.metering import Metered
from frbench.harness.recognizers.preprocessing import Preprocessing


@runtime_checkable
class Trainable(Protocol):
    """A recognizer with a trainable network; ``module`` copies it, from images in [0, 1] to raw embeddings."""

    def module(self) -> nn.Module: ...


@runtime_checkable
class ReplacesRecognizer(Protocol):
    """A defense that only replaces the recognizer by another one, derived from it."""

    def replace_recognizer(self, recognizer: Recognizer) -> Recognizer: ...


class NetworkWithPreprocessing(nn.Module):
    """Images (N, 3, H, W), RGB in [0, 1] -> raw embeddings (N, ...)."""

    def __init__(self, preprocessing: Preprocessing, network: nn.Module) -> None:
        super().__init__()
        self.preprocessing, self.network = preprocessing, network

    def forward(self, images: Images) -> Tensor:
        return cast(Tensor, self.network(self.preprocessing(images)))


def network_of(recognizer: Recognizer) -> nn.Module:
    """A copy of the recognizer's network. Raises Refused: it exposes none."""
    inner = recognizer.recognizer if isinstance(recognizer, Metered) else recognizer
    if not isinstance(inner, Trainable):
        raise Refused(
            f"{inner.name} shows no network that could be trained further; take a recognizer from a PyTorch or a "
            "differentiable ONNX file"
        )
    with torch.random.fork_rng(devices=[]):  # initial weights are random, then overwritten
        return inner.module()


def counting_as(recognizer: Recognizer, other: Recognizer) -> Recognizer:
    """``other``, with its images counted in the meter of ``recognizer``."""
    return Metered(other, recognizer.meter) if isinstance(recognizer, Metered) else other
