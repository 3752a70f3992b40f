"""What the two kinds of ONNX recognizer share: the file, its fields, and how images become its input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from frbench.harness.errors import FrbenchError
from frbench.harness.fetching import file_sha256
from frbench.harness.recognizers.onnx_graph import input_shape, insightface_normalisation, read_onnx
from frbench.harness.recognizers.preprocessing import Preprocessing, Size, unit_length
from frbench.harness.recognizers.weight_files import find_weights

Statistic = float | Sequence[float] | Literal["auto"]
PROBES = 3


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX network (N, 3, S, S) -> (N, D); what it gives need not be of unit length.

    path: the file, or where it would be if it has to be fetched (``urls``, ``sha256``, ``cache``, ``obtain``: see
          ``TorchRecognizer``).
    mean, std: in units of ``scale``; ``auto`` follows InsightFace's rule, see ``insightface_normalisation``.
    scale: the value of white before mean and std are applied; ONNX files usually count gray levels.
    size:  side, or [height, width]; None takes what the file declares, or 112.
    floor: least clean accuracy in per cent, by dataset name; see ``preflight``.
    """

    name: str
    path: str
    mean: Statistic = "auto"
    std: Statistic = "auto"
    scale: float = 255.0
    size: Size | None = None
    bgr: bool = False
    urls: Sequence[str] = ()
    sha256: str | None = None
    cache: str | None = None
    obtain: str = ""
    floor: float | Mapping[str, float] | None = None
    device: str = "cpu"

    @cached_property
    def file(self) -> Path:
        """The ONNX file, fetched where necessary."""
        return find_weights(self.path, self.urls, self.sha256, self.cache, self.obtain)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return file_sha256(self.file)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """With ``auto`` and the size settled by the file."""
        model = read_onnx(self.file)
        mean, std = insightface_normalisation(model)
        return Preprocessing(
            mean if self.mean == "auto" else self.mean,
            std if self.std == "auto" else self.std,
            self.scale,
            self.size or declared_size(model) or 112,
            self.bgr,
        )

    def probes(self) -> Tensor:
        """A few random images, preprocessed, on which ways to run the file are compared."""
        size = self.preprocessing.height_width
        return self.preprocessing(torch.rand(PROBES, 3, *size, generator=torch.Generator().manual_seed(0)))

    def fingerprint(self) -> dict[str, Any]:
        """What decides the embeddings, whatever the path and device."""
        return {"architecture": "onnx", "weights": self.digest, "preprocessing": self.preprocessing.facts()}


def declared_size(model: Any) -> Size | None:
    """The side, or (height, width), that the file's input declares; None where it leaves one of them open."""
    height, width = input_shape(model)[2:]
    if not height or not width:
        return None
    return height if height == width else (height, width)


class FixedBatch(nn.Module):
    """Runs a network that takes exactly ``size`` images at a time on any number of them."""

    def __init__(self, network: Callable[[Tensor], Tensor], size: int) -> None:
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        short = -len(x) % self.size
        padded = torch.cat([x, x[-1:].expand(short, -1, -1, -1)]) if short else x
        parts = [self.network(part).reshape(self.size, -1) for part in padded.split(self.size)]
        return torch.cat(parts)[: len(x)]


def distance(network: Callable[[Tensor], Tensor], probes: Tensor, wanted: Tensor) -> float:
    """Largest difference of unit-length embeddings from ``wanted``; infinite where the batch cannot be taken."""
    try:
        with torch.no_grad():
            found = network(probes)
    except Exception:  # a batch size that is baked in surfaces as any error of any runtime
        return float("inf")
    if len(found) != len(wanted) or found.numel() != wanted.numel():
        return float("inf")
    difference = float((unit_length(found.cpu()) - unit_length(wanted)).abs().max())
    return float("inf") if np.isnan(difference) else difference


def first_that_agrees(
    ways: Sequence[Callable[[], Callable[[Tensor], Tensor]]],
    probes: Tensor,
    wanted: Tensor,
    tolerance: float,
    file: Path,
) -> Callable[[Tensor], Tensor]:
    """The first of several ways to run ``file`` that gives ``wanted`` on ``probes``."""
    for make in ways:
        network = make()
        found = distance(network, probes, wanted)
        if found <= tolerance:
            return network
    raise FrbenchError(
        f"{file} gives other embeddings (by {found:.1e}) on {len(probes)} images together than by onnxruntime alone: "
        "use it as a black box (OnnxRuntimeRecognizer), or export it again with a free batch dimension"
    )
