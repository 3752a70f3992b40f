"""Architectures: networks with initial weights, and loading the weights of a trained artifact into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from frbench.harness.core.domains import Positive
from frbench.harness.core.errors import ConfigError, shortened
from frbench.harness.recognizers.preprocessing import Deviation, Mean, Preprocessing, Size
from frbench.harness.recognizers.torch_recognizer import architecture_facts
from frbench.harness.recognizers.trainable import NetworkWithPreprocessing


@dataclass(frozen=True)
class Architecture:
    """A network and the preprocessing of its input.

    Args:
        make: Makes the network (N, 3, H, W) -> (N, D), without arguments.
        mean, std, scale, size, bgr: See ``Preprocessing``.
    """

    identity = "recognizer.initialized"
    version = 1

    make: Callable[[], nn.Module]
    mean: Mean = 0.5
    std: Deviation = 0.5
    scale: Positive = 1.0
    size: Size = 112
    bgr: bool = False

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(self.mean, self.std, self.scale, self.size, self.bgr)

    def module(self, seed: int) -> NetworkWithPreprocessing:
        """The network from images in [0, 1] to raw embeddings, on the CPU, with weights determined by ``seed``."""
        with drawing(seed):
            return NetworkWithPreprocessing(self.preprocessing, self.make())

    def fingerprint(self) -> dict[str, Any]:
        """All that determines the embeddings except the weights."""
        return {"architecture": architecture_facts(self.make), "preprocessing": self.preprocessing.facts()}


@runtime_checkable
class HasArchitecture(Protocol):
    """A recognizer whose network can be made anew: ``maker`` makes it without its weights, or is None."""

    @property
    def maker(self) -> Callable[[], nn.Module] | None: ...

    @property
    def preprocessing(self) -> Preprocessing: ...


def architecture_of(recognizer: object) -> Architecture | None:
    """The architecture of ``recognizer``, or None where its network cannot be made without its file, as of ONNX."""
    if not isinstance(recognizer, HasArchitecture) or recognizer.maker is None:
        return None
    fed = recognizer.preprocessing
    return Architecture(recognizer.maker, fed.mean, fed.std, fed.scale, fed.size, fed.bgr)


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Seed PyTorch's CPU generator, and restore its state afterwards."""
    before = torch.random.get_rng_state()
    torch.random.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.random.set_rng_state(before)


def seed_of(*numbers: int) -> int:
    """One seed of 63 bits from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def bare(module: nn.Module) -> nn.Module:
    """The network without its preprocessing, as in weight files."""
    return module.network if isinstance(module, NetworkWithPreprocessing) else module


def reinitialize_last_layer(module: nn.Module, seed: int) -> None:
    """Reinitialize the last linear layer or convolution, and the normalization after it, from ``seed``.

    Raises ConfigError: the network has no such layer.
    """
    layers = list(module.modules())
    ends = [place for place, layer in enumerate(layers) if isinstance(layer, nn.Linear | nn.Conv2d)]
    if not ends:
        raise ConfigError(f"{type(bare(module)).__name__} has no linear layer or convolution to begin anew with")
    with drawing(seed):
        for layer in layers[ends[-1] :]:
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.BatchNorm1d | nn.BatchNorm2d):
                layer.reset_parameters()


def member_names(tensors: Mapping[str, Tensor]) -> list[str]:
    """The prefixes of the networks in an artifact of training: ``members.0.`` and so on."""
    count = len({name.split(".")[1] for name in tensors if name.startswith("members.")})
    return [f"members.{member}." for member in range(count)]


def load_member(module: nn.Module, tensors: Mapping[str, Tensor], member: int = 0) -> nn.Module:
    """``module`` with the weights of network number ``member`` of an artifact of training.

    Raises FrbenchError: no such member, or one of another architecture.
    """
    prefix = f"members.{member}."
    state = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
    if not state:
        raise ConfigError(f"the artifact has {len(member_names(tensors))} members, and none of number {member}")
    try:
        bare(module).load_state_dict(state)
    except RuntimeError as error:
        raise ConfigError(
            f"the artifact does not fit the network that it is loaded into: {shortened(error)}"
        ) from error
    return module
