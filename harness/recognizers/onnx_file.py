"""The base of both ONNX recognizers: the file, its fields, and the preprocessing of its input."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from frbench.harness.core.domains import NonNegativeInt, Positive
from frbench.harness.core.errors import ConfigError
from frbench.harness.recognizers.file_recognizer import FileRecognizer
from frbench.harness.recognizers.onnx_canonical import in_one_form
from frbench.harness.recognizers.onnx_graph import Interface, read_interface, read_onnx
from frbench.harness.recognizers.onnx_normalisation import (
    GRAY_LEVELS,
    SYMMETRIC,
    GraphNormalisation,
    graph_normalisation,
)
from frbench.harness.recognizers.preprocessing import Deviation, Mean, Preprocessing, Size, unit_length

AutoMean = Mean | Literal["auto"]
AutoDeviation = Deviation | Literal["auto"]
PROBES = 3


@dataclass(frozen=True)
class OnnxFile(FileRecognizer):
    """An ONNX network that takes images (N, 3, H, W) or (N, H, W, 3).

    Args:
        name: The recognizer's name in tables and messages.
        path: The file.
        mean, std: In units of ``scale``; ``auto`` follows the normalization in the graph, see ``feeding``.
        scale: The value of white before mean and std are applied; ONNX files usually take gray levels.
        size: Side, or [height, width]; None: as the file declares, or 112.
        bgr: Whether the network takes blue first.
        output: Name or number of the output that is the embedding; None: the only one of that shape.

    The other fields: see ``FileRecognizer``.
    """

    name: str
    path: str
    mean: AutoMean = "auto"
    std: AutoDeviation = "auto"
    scale: Positive = 255.0
    size: Size | None = None
    bgr: bool = False
    output: str | NonNegativeInt | None = None

    elsewhere: ClassVar[Mapping[str, str]] = {"prefix": "an ONNX file holds its network, so no names are matched"}

    @property
    def location(self) -> str:
        return self.path

    @property
    def interface(self) -> Interface:
        """What the graph takes and gives."""
        return self._read[0]

    @property
    def feeding(self) -> tuple[float, float]:
        """The values of black and white that the graph expects.

        By its input's type and the normalisation at its head; a graph without any is taken to expect -1 and 1, as
        InsightFace does.
        """
        interface, inside = self._read
        return GRAY_LEVELS if interface.dtype.kind in "iu" else (inside and inside.range) or SYMMETRIC

    @cached_property
    def _read(self) -> tuple[Interface, GraphNormalisation | None]:
        """What the file says, which is read once for it."""
        model, repaired = read_onnx(self.file)
        interface = read_interface(model, self.file, self.output, repaired)
        height, width = (side or 112 for side in interface.sides)
        return interface, graph_normalisation(in_one_form(model, interface), (height, width))

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """With ``auto`` and the size settled by the file."""
        black, white = self.feeding if "auto" in (self.mean, self.std) else SYMMETRIC
        std = self.scale / (white - black)
        sides = self._sides()
        return Preprocessing(
            0.0 - black * std if self.mean == "auto" else self.mean,
            std if self.std == "auto" else self.std,
            self.scale,
            sides[0] if sides[0] == sides[1] else sides,
            self.bgr,
        )

    def _sides(self) -> tuple[int, int]:
        """(height, width) that the graph takes."""
        asked = None if self.size is None else Preprocessing(size=self.size).height_width
        wanted = asked or (112, 112)
        height, width = (declared or side for declared, side in zip(self.interface.sides, wanted, strict=True))
        if asked not in (None, (height, width)):
            raise ConfigError(
                f"{self.file} takes images of height {height} and width {width} alone, not "
                f"recognizer.size={self.size}: leave the option away"
            )
        return height, width

    def probes(self) -> Tensor:
        """A few random images, preprocessed, on which ways to run the file are compared."""
        images = torch.rand(PROBES, 3, *self._sides(), generator=torch.Generator().manual_seed(0))
        probes = self.preprocessing(images)
        return probes.round() if self.interface.dtype.kind in "iu" else probes

    def fingerprint(self) -> dict[str, Any]:
        """What decides the embeddings, whatever the path and device."""
        facts = {"architecture": "onnx", "weights": self.digest, "preprocessing": self.preprocessing.facts()}
        return facts | ({"output": self.interface.output} if len(self.interface.outputs) > 1 else {})


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


def first_that_agrees(
    ways: Sequence[Callable[[], Callable[[Tensor], Tensor]]],
    probes: Tensor,
    wanted: Tensor,
    tolerance: float,
    file: Path,
) -> Callable[[Tensor], Tensor]:
    """The first of several ways to run ``file`` that gives ``wanted`` on ``probes``.

    Raises:
        FrbenchError: none does. The last way, which runs the file at its own batch size, says why.
    """
    reason = ""
    for make in ways:
        network = make()
        reason = _disagreement(network, probes, wanted, tolerance)
        if not reason:
            return network
    raise ConfigError(
        f"{file} cannot be run faithfully: at its own batch size {reason}; "
        "use it as a black box (recognizer._target_=frbench.harness.recognizers.onnx_runtime.OnnxRuntimeRecognizer)"
    )


def _disagreement(network: Callable[[Tensor], Tensor], probes: Tensor, wanted: Tensor, tolerance: float) -> str:
    """How the embeddings differ from ``wanted``; empty where they do not."""
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # onnx2torch slices in a deprecated way; what comes out is compared below
            found = network(probes)
    except Exception as error:  # a batch size that is baked in surfaces as any error of any runtime
        return f"it fails ({' '.join(str(error).split())[:120]})"
    if len(found) != len(wanted) or found.numel() != wanted.numel():
        return f"it gives embeddings of shape {tuple(found.shape)} instead of {tuple(wanted.shape)}"
    difference = float((unit_length(found.cpu()) - unit_length(wanted)).abs().max())
    return "" if difference <= tolerance else f"its embeddings differ from onnxruntime's by {difference:.1e}"
