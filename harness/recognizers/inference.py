"""Preparation of a network for attacks: frozen, folded, channels-last, in small batches on a CPU."""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn

from frbench.harness.core.contracts import Embeddings, Images
from frbench.harness.core.errors import ConfigError
from frbench.harness.recognizers.batchnorm_folding import simplify
from frbench.harness.recognizers.preprocessing import Preprocessing, unit_length
from frbench.harness.recognizers.trainable import NetworkWithPreprocessing

TOLERANCE = 1e-4
# Activations of this many 112x112 images fit the allocator's reused blocks and mostly the caches of a CPU. Its
# convolutions take other kernels, and round otherwise, below 4 images and (with one thread) from 16 on.
CPU_BATCH, CPU_LEAST = 12, 4


def resolve_device(name: str | torch.device) -> torch.device:
    """The device ``name``, checked; ``auto`` is CUDA, else Apple's MPS, else the CPU."""
    if str(name) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(f"device={name} cannot be used ({reason}): use device=auto or device=cpu") from error
    return device


class SmallBatches(nn.Module):
    """Runs ``network`` on ``size`` images at a time, and never on fewer than ``least``.

    On a CPU that is far less memory traffic, and an image has the same embedding and gradient to the last bit in
    whatever batch it comes.
    """

    def __init__(self, network: nn.Module, size: int, least: int = 1) -> None:
        super().__init__()
        self.network, self.size, self.least = network, size, least

    def forward(self, x: Tensor) -> Tensor:
        parts = [self._whole(part) for part in x.split(self.size)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _whole(self, part: Tensor) -> Tensor:
        lacking = self.least - len(part)
        if lacking <= 0:
            return cast(Tensor, self.network(part))
        filled = torch.cat([part, part.new_zeros(lacking, *part.shape[1:])])
        return cast(Tensor, self.network(filled)[: len(part)])


def prepare(network: nn.Module, device: torch.device | str = "cpu", size: tuple[int, int] = (112, 112)) -> nn.Module:
    """``network`` (N, 3, *size) -> (N, D), frozen and simplified, on ``device``; itself left as it was.

    A network that cannot be traced, or whose simplified form differs by more than 1e-4, is used unsimplified.
    """
    network = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    prepared = _simplified(network, size)
    prepared = prepared.requires_grad_(False).to(device)
    prepared = prepared.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return SmallBatches(prepared, CPU_BATCH, CPU_LEAST).eval() if torch.device(device).type == "cpu" else prepared


def _simplified(network: nn.Module, size: tuple[int, int]) -> nn.Module:
    try:
        simplified = simplify(copy.deepcopy(network)).eval()
    except Exception as error:  # torch.fx fails in many ways; an unfolded network is only slower
        warnings.warn(f"{type(network).__name__} is used unfolded, which is slower: {error}", stacklevel=3)
        return network
    probe = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        change = (unit_length(simplified(probe)) - unit_length(network(probe))).abs().max()
    if not change <= TOLERANCE:
        warnings.warn(f"{type(network).__name__} is used unfolded: folding would move it by {change:.1e}", stacklevel=3)
        return network
    return simplified


class Prepared(ABC):
    """The base of recognizers with a PyTorch network, which is prepared for attacks on first use."""

    differentiable = True

    @property
    @abstractmethod
    def device(self) -> str: ...

    @property
    @abstractmethod
    def preprocessing(self) -> Preprocessing: ...

    @abstractmethod
    def as_shipped(self) -> nn.Module:
        """The unprepared network, loaded anew: preprocessed images to raw embeddings, in evaluation mode on the CPU."""

    def module(self) -> nn.Module:
        """A copy to train, unfolded, on the recognizer's device: images in [0, 1] to raw embeddings."""
        return NetworkWithPreprocessing(self.preprocessing, self.as_shipped()).to(resolve_device(self.device))

    @cached_property
    def network(self) -> nn.Module:
        """The prepared network: preprocessed images to raw embeddings."""
        with torch.inference_mode(False):  # kept: weights made in inference mode could never give a gradient
            return prepare(self.as_shipped(), resolve_device(self.device), self.preprocessing.height_width)

    def embed(self, images: Images) -> Embeddings:
        """Images float32 (N, 3, H, W), RGB in [0, 1] -> unit-length embeddings float32 (N, D)."""
        return unit_length(self.raw(images))

    def raw(self, images: Images) -> Tensor:
        """Embeddings float32 (N, D) before normalization to unit length."""
        inputs = self.preprocessing(images.to(resolve_device(self.device)))
        return cast(Tensor, self.network(inputs.contiguous(memory_format=torch.channels_last)))
