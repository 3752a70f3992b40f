"""Recognizers from PyTorch checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from torch import nn

from frbench.harness.core.domains import NonNegativeInt, Positive
from frbench.harness.core.errors import ConfigError, FrbenchError, shortened
from frbench.harness.core.file_kinds import is_torchscript
from frbench.harness.core.fingerprints import describe, fingerprint, implementation
from frbench.harness.recognizers.file_recognizer import FileRecognizer
from frbench.harness.recognizers.inference import Prepared
from frbench.harness.recognizers.output_selection import OneOutput, embedding_of
from frbench.harness.recognizers.preprocessing import Deviation, Mean, Preprocessing, Size
from frbench.harness.recognizers.state_dicts import load_found
from frbench.harness.recognizers.torchscript import read_torchscript
from frbench.harness.recognizers.weight_files import people_in, read_weights
from frbench.harness.runtime.download import file_sha256


@dataclass(frozen=True)
class TorchRecognizer(FileRecognizer, Prepared):
    """A checkpoint, loaded strictly into ``architecture`` and prepared for attacks on first use.

    Args:
        name: The recognizer's name in tables and messages.
        architecture: Makes the network (N, 3, H, W) -> (N, D), without arguments; None: the file is a TorchScript
            archive.
        weights: Path of a state dict (.safetensors, .pt, .pth), or ``pkg:NAME`` of one shipped with frbench; None
            where ``architecture`` makes the network with its weights, as ``from_pretrained`` does.
        mean, std, scale, size, bgr: See ``Preprocessing``.
        prefix: Prefix of this network's names in the file, such as ``arcface.``; an empty one is detected.
        output: The output that is the embedding, by number or name; None detects it, see ``embedding_of``.

    The other fields: see ``FileRecognizer``.
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

    @property
    def location(self) -> str:
        assert self.weights is not None
        return self.weights

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weight file, or of the weights themselves where there is none."""
        return _state_sha256(self.as_shipped()) if self.weights is None else file_sha256(self.file)

    @cached_property
    def trained_on(self) -> np.ndarray:
        """As of ``FileRecognizer``; empty where there is no file."""
        return np.zeros(0, np.int64) if self.weights is None else people_in(self.file).numpy()

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
            if self.weights is None or self.prefix:
                raise ConfigError(
                    f"{self.name} has no recognizer.architecture, so it needs a TorchScript archive in "
                    "recognizer.weights, and no recognizer.prefix"
                )
            return read_torchscript(self.file)
        network = made(self.architecture)
        if self.weights is not None:
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
