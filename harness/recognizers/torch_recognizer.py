"""Recognizers from PyTorch checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from frbench.harness.domains import Percent, Positive
from frbench.harness.fetching import file_sha256
from frbench.harness.fingerprints import source_digest
from frbench.harness.recognizers.preparation import Prepared
from frbench.harness.recognizers.preprocessing import Deviation, Mean, Preprocessing, Size
from frbench.harness.recognizers.weight_files import find_weights, load_strictly, people_in, read_state


@dataclass(frozen=True)
class TorchRecognizer(Prepared):
    """A checkpoint loaded strictly into ``architecture`` and prepared for attack, on first use.

    architecture: makes the network (N, 3, H, W) -> (N, D), without arguments.
    weights:  path of a state dict (.safetensors, .pt, .pth), or ``pkg:NAME`` for one shipped with frbench.
    mean, std, scale, size, bgr: see ``Preprocessing``.
    prefix:   what stands before the names of this network in the file, such as ``arcface.``.
    urls, sha256, cache: where to fetch ``weights`` from when the path does not exist, and where to keep it.
    obtain:   how to get the file where it has no URL; ends the error message.
    floor:    least clean accuracy in per cent, by dataset name; see ``preflight``.
    device:   ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    """

    name: str
    architecture: Callable[[], nn.Module]
    weights: str
    mean: Mean = 0.0
    std: Deviation = 1.0
    scale: Positive = 1.0
    size: Size = 112
    bgr: bool = False
    prefix: str = ""
    urls: Sequence[str] = ()
    sha256: str | None = None
    cache: str | None = None
    obtain: str = ""
    floor: Percent | Mapping[str, Percent] | None = None
    device: str = "cpu"

    @cached_property
    def file(self) -> Path:
        """The weight file, fetched where necessary."""
        return find_weights(self.weights, self.urls, self.sha256, self.cache, self.obtain)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weight file."""
        return file_sha256(self.file)

    @cached_property
    def trained_on(self) -> np.ndarray:
        """``people_digests`` of whom ``frbench fit`` trained the file on; none of a file from elsewhere."""
        return people_in(self.file).numpy()

    @cached_property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(self.mean, self.std, self.scale, self.size, self.bgr)

    def as_shipped(self) -> nn.Module:
        """The network as its authors left it: unfolded, in evaluation mode, on the CPU. Loaded anew each time."""
        network = self.architecture()
        load_strictly(network, read_state(self.file, self.prefix), self.file)
        return network.eval()

    def fingerprint(self) -> dict[str, Any]:
        """What decides the embeddings, whatever the class, path and device."""
        return {
            "architecture": architecture_facts(self.architecture),
            "weights": self.digest,
            "preprocessing": self.preprocessing.facts(),
        } | ({"prefix": self.prefix} if self.prefix else {})


def architecture_facts(architecture: Callable[[], nn.Module]) -> dict[str, Any]:
    """What a maker of networks is, for a fingerprint: its name, its arguments and the source of its module."""
    if isinstance(architecture, partial):
        return architecture_facts(architecture.func) | {"arguments": list(architecture.args), **architecture.keywords}
    module = architecture.__module__
    return {"network": f"{module}.{architecture.__qualname__}", "source": source_digest(module)}
