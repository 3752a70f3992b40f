"""ONNX recognizers that can be differentiated, through onnx2torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from frbench.harness.recognizers.inference import Prepared
from frbench.harness.recognizers.onnx_canonical import free_batch, in_one_form
from frbench.harness.recognizers.onnx_file import FixedBatch, OnnxFile, first_that_agrees
from frbench.harness.recognizers.onnx_graph import read_onnx
from frbench.harness.recognizers.onnx_runtime import CPU, Runner, open_file, tolerance
from frbench.harness.recognizers.onnx_to_torch import to_torch

TOLERANCE = 1e-4


@dataclass(frozen=True)
class OnnxRecognizer(OnnxFile, Prepared):
    """An ONNX file as a prepared, differentiable network. Checked against onnxruntime when it is loaded.

    A file with a batch size baked in is freed of it where that gives the right embeddings, and otherwise run at the
    batch size that it wants.
    """

    identity = "recognizer.onnx"
    version = 1

    def as_shipped(self) -> nn.Module:
        """The network as onnx2torch makes it, right at every batch size, unprepared, on the CPU."""
        ways: list[Callable[[], nn.Module]] = [
            lambda: self._converted(freed=True),
            lambda: FixedBatch(self._converted(), self.interface.batch or 1),
        ]
        probes = self.probes()
        allowed = tolerance(self.interface, TOLERANCE)
        found = first_that_agrees(ways, probes, self._reference(probes), allowed, self.file)
        assert isinstance(found, nn.Module)
        return found

    def _reference(self, probes: Tensor) -> Tensor:
        """What the untouched file gives at its own batch size: by onnxruntime, else by onnx2torch itself."""
        batch = self.interface.batch or 1
        if find_spec("onnxruntime") is not None:
            return FixedBatch(Runner(open_file(self.file, self.interface, [CPU]), self.interface), batch)(probes)
        with torch.no_grad():
            return FixedBatch(self._converted(), batch)(probes)

    def _converted(self, freed: bool = False) -> nn.Module:
        """The graph by onnx2torch, at its own batch size or ``freed`` of it."""
        model = in_one_form(read_onnx(self.file)[0], self.interface)
        if freed:
            free_batch(model)
        return to_torch(model, self.file)
