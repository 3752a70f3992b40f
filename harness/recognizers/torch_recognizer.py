"""Recognizers from PyTorch checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from frbench.harness.core.domains import NonNegativeInt, Percent, Positive
from frbench.harness.core.errors import ConfigError, FrbenchError, shortened
from frbench.harness.core.file_kinds import is_torchscript
from frbench.harness.core.fingerprints import describe, fingerprint, implementation
from frbench.harness.recognizers.inference import Prepared
from frbench.harness.recognizers.output_selection import OneOutput, embedding_of
from frbench.harness.recognizers.preprocessing import Deviation, Mean, Preprocessing, Size
from frbench.harness.recognizers.state_dicts import load_found
from frbench.harness.recognizers.torchscript import read_torchscript
from frbench.harness.recognizers.weight_files import find_weights, people_in, read_weights
from frbench.harness.runtime.download import file_sha256


@dataclass(frozen=True)
class TorchRecognizer(Prepared):
    """A checkpoint loaded strictly into ``architecture`` and prepared for attack, on first use.

    architecture: makes the network (N, 3, H, W) -> (N, D), without arguments; None: the file is a TorchScript archive.
    weights:  path of a state dict (.safetensors, .pt, .pth), or ``pkg:NAME`` for one shipped with frbench; None where
              ``architecture`` makes the network with its weights, as ``from_pretrained`` does.
    mean, std, scale, size, bgr: see ``Preprocessing``.
    prefix:   what stands before the names of this network in the file, such as ``arcface.``; the empty one is found.
    output:   which output is the embedding, by number or name; None finds it, see ``embedding_of``.
    urls, sha256, cache: where to fetch ``weights`` from when the path does not exist, and where to keep it.
    download_hint: how to get the file where it has no URL; ends the error message.
    min_clean_accuracy: least clean accuracy in per cent, by dataset name; see ``accuracy_check``.
    device:   ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    """

    identity = "recognizer.torch"
    version = 1

    name: str
    architecture: Callable[[], nn.Module] | None
    weights: str | None
    mean: Mean = 0.0
    std: Deviation = 1.0
    scale: Positive = 1.0
    size: Size = 112
    bgr: bool = False
    prefix: str = ""
    output: str | NonNegativeInt | None = None
    urls: Sequence[str] = ()
    sha256: str | None = None
    cache: str | None = None
    download_hint: str = ""
    min_clean_accuracy: Percent | Mapping[str, Percent] | None = None
    device: str = "cpu"

    @cached_property
    def file(self) -> Path | None:
        """The weight file, fetched where necessary; None where there is none."""
        if self.weights is None:
            return None
        return find_weights(self.weights, self.urls, self.sha256, self.cache, self.download_hint)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weight file, or of the weights themselves where there is none."""
        return file_sha256(self.file) if self.file else _state_sha256(self.as_shipped())

    @cached_property
    def trained_on(self) -> np.ndarray:
        """``people_digests`` of whom ``frbench fit`` trained the file on; none of a file from elsewhere."""
        return people_in(self.file).numpy() if self.file else np.zeros(0, np.int64)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(self.mean, self.std, self.scale, self.size, self.bgr)

    def as_shipped(self) -> nn.Module:
        """The network as its authors left it: unfolded, in evaluation mode, on the CPU. Loaded anew each time."""
        network = self._network().eval()
        return embedding_of(network, self.preprocessing.height_width, self.output, self.name)

    @property
    def maker(self) -> Callable[[], nn.Module] | None:
        """What makes a network that takes the weights of ``module()``; None where nothing does."""
        return None if isinstance(self.as_shipped(), OneOutput) else self.architecture

    def _network(self) -> nn.Module:
        if self.architecture is None:
            if self.file is None or self.prefix:
                raise ConfigError(
                    f"{self.name} has no recognizer.architecture, so it needs a TorchScript archive in "
                    "recognizer.weights, and no recognizer.prefix"
                )
            return read_torchscript(self.file)
        network = made(self.architecture)
        if self.file is not None:
            scripted = is_torchscript(self.file)
            loaded = read_torchscript(self.file).network.state_dict() if scripted else read_weights(self.file)
            load_found(network, loaded, self.file, self.prefix)
        return network

    def fingerprint(self) -> dict[str, Any]:
        """What decides the embeddings, whatever the class, path and device."""
        return {
            "architecture": architecture_facts(self.architecture) if self.architecture else "torchscript",
            "weights": self.digest,
            "preprocessing": self.preprocessing.facts(),
            **{name: given for name in ("prefix", "output") if (given := getattr(self, name)) not in ("", None)},
        }


def made(architecture: Callable[[], nn.Module]) -> nn.Module:
    """The network that ``architecture`` makes. Raises FrbenchError: it makes none."""
    if isinstance(architecture, nn.Module):
        raise ConfigError(
            "recognizer.architecture is a network that is made already, expected what makes one: add "
            "+recognizer.architecture._partial_=true"
        )
    try:
        network = architecture()
    except FrbenchError:
        raise
    except Exception as error:  # whatever an own class raises
        raise ConfigError(
            f"{_called(architecture)} cannot be made ({type(error).__name__}: {shortened(error)}): give its arguments "
            "with +recognizer.architecture.NAME=VALUE"
        ) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{_called(architecture)} makes {type(network).__name__}, expected a torch.nn.Module")
    return network


def _called(architecture: Callable[[], nn.Module]) -> str:
    maker = architecture.func if isinstance(architecture, partial) else architecture
    return f"recognizer.architecture {maker.__module__}.{maker.__qualname__}"


def _state_sha256(network: nn.Module) -> str:
    """SHA-256 over the names and values of a network's weights."""
    return fingerprint(network.state_dict())


def architecture_facts(architecture: Callable[[], nn.Module]) -> dict[str, Any]:
    """What a maker of networks is, for a fingerprint: its implementation and its arguments."""
    if isinstance(architecture, partial):
        given = {name: _argument_facts(value) for name, value in architecture.keywords.items()}
        return architecture_facts(architecture.func) | {"arguments": list(architecture.args), **given}
    return {"network": implementation(architecture)}


def _argument_facts(value: Any) -> Any:
    """An argument for a fingerprint. An object that does not describe itself, such as Hugging Face's configs, is
    described by its attributes."""
    try:
        return describe(value)
    except TypeError:
        kind = type(value)
        attributes = {name: _argument_facts(each) for name, each in vars(value).items()}
        return {"class": f"{kind.__module__}.{kind.__qualname__}", "attributes": attributes}
