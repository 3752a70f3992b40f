"""Perceptual distances per image: LPIPS, and a proxy that needs no separate weights.

Both are squared distances between embeddings of images, made of the normalized features of several network stages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, fx, nn

from frbench.harness.core.contracts import Images
from frbench.harness.core.errors import ConfigError, CorruptFile
from frbench.harness.recognizers.batchnorm_folding import simplify
from frbench.harness.recognizers.inference import CPU_BATCH, CPU_LEAST, SmallBatches
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.recognizers.weight_files import find_weights, read_state

_TINY = 1e-10
_MIN_SIDE = 31  # pixels, for AlexNet
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of RGB in [-1, 1], those of LPIPS
# (index in torchvision's ``features``, channels, kernel, stride, padding)
_CONVOLUTIONS = ((0, 64, 11, 4, 2), (3, 192, 5, 1, 2), (6, 384, 3, 1, 1), (8, 256, 3, 1, 1), (10, 256, 3, 1, 1))
_POOLED = (3, 6)  # convolutions that follow a max pooling

DistanceToClean = Callable[[Images], Tensor]


class PerceptualDistance(Protocol):
    """A differentiable distance per image."""

    def to(self, clean: Images) -> DistanceToClean:
        """The distance (N,) of images to ``clean``, as a function; 0 for ``clean`` itself."""
        ...


def concatenated(stages: Sequence[Tensor]) -> Tensor:
    """Features (N, C, H, W) of several stages -> (N, K), whose squared distances are sums of means over positions."""
    counts = [stage.shape[2] * stage.shape[3] for stage in stages]
    return torch.cat([(each / count**0.5).flatten(1) for each, count in zip(stages, counts, strict=True)], dim=1)


def directions(features: Tensor) -> Tensor:
    """Features (N, C, H, W) of unit length at each position; zero features stay zero."""
    return features / ((features.square().sum(dim=1, keepdim=True) + _TINY**2).sqrt() + _TINY)


def distance_to(clean: Images, network: nn.Module) -> DistanceToClean:
    """Squared distance to ``clean`` of the outputs (N, K) of ``network``, independent of the batch."""
    network = network.to(clean.device)
    embed = SmallBatches(network, CPU_BATCH, CPU_LEAST) if clean.device.type == "cpu" else network
    with torch.no_grad():
        fixed = embed(clean)
    return lambda images: (embed(images) - fixed).square().sum(dim=1)


@dataclass(frozen=True)
class Lpips:
    """LPIPS 0.1 with AlexNet (Zhang et al., CVPR 2018), from the two files that the authors' package loads.

    Attributes:
        trunk: state dict of torchvision's ImageNet AlexNet.
        lins: ``lpips/weights/v0.1/alex.pth`` of github richzhang/PerceptualSimilarity.
    """

    identity = "perceptual_distance.lpips"
    version = 1

    trunk: str
    lins: str

    def to(self, clean: Images) -> DistanceToClean:
        """Raises FrbenchError: a weight file is missing or not the expected one, or the images are too small."""
        if min(clean.shape[2:]) < _MIN_SIDE:
            height, width = clean.shape[2:]
            raise ConfigError(f"LPIPS got images of {height}x{width} pixels, expected sides of at least {_MIN_SIDE}")
        return distance_to(clean, self._network)

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of the weights, independent of their paths."""
        return {name: _digest(getattr(self, name)) for name in ("trunk", "lins")}

    @cached_property
    def _network(self) -> nn.Module:
        trunk, lins = (read_state(_found(path)) for path in (self.trunk, self.lins))
        with torch.random.fork_rng(devices=[]):
            network = _Alex()
        with torch.no_grad():
            for number, ((place, *_), convolution) in enumerate(zip(_CONVOLUTIONS, network.convolutions, strict=True)):
                for name, parameter in convolution.named_parameters():
                    parameter.copy_(_entry(trunk, f"features.{place}.{name}", parameter.shape, self.trunk))
                lin = network.lins[number]
                lin.copy_(_entry(lins, f"lin{number}.model.1.weight", lin.shape, self.lins).clamp_min(0).sqrt())
        return network.requires_grad_(False).eval()


class _Alex(nn.Module):
    """The convolutions of AlexNet on images in [0, 1]; channels are scaled by the square roots of LPIPS's weights."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *(channels for _, channels, *_ in _CONVOLUTIONS))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inside, outside, kernel, stride, padding)
            for inside, (_, outside, kernel, stride, padding) in zip(inputs, _CONVOLUTIONS, strict=False)
        )
        self.lins = nn.ParameterList(torch.zeros(1, channels, 1, 1) for _, channels, *_ in _CONVOLUTIONS)

    def forward(self, images: Images) -> Tensor:
        shift, scale = (images.new_tensor(each).view(1, 3, 1, 1) for each in (_SHIFT, _SCALE))
        at, stages = (2 * images - 1 - shift) / scale, []
        for (place, *_), convolution, lin in zip(_CONVOLUTIONS, self.convolutions, self.lins, strict=True):
            at = nn.functional.max_pool2d(at, 3, 2) if place in _POOLED else at
            at = convolution(at).relu()
            stages.append(directions(at) * lin)
        return concatenated(stages)


@dataclass(frozen=True)
class StageFeatureDistance:
    """Proxy for LPIPS: normalized early features of a face recognizer, with equal channel weights.

    Attributes:
        recognizer: a recognizer from a torch checkpoint.
        layers: module names of its network, such as those of its first two stages.
    """

    identity = "perceptual_distance.stage_features"
    version = 1

    recognizer: TorchRecognizer
    layers: Sequence[str]

    def to(self, clean: Images) -> DistanceToClean:
        """The distance at the images' own resolution."""
        preprocess = replace(self.recognizer.preprocessing, size=clean.shape[-1])
        distance = distance_to(preprocess(clean), self._network)
        return lambda images: distance(preprocess(images))

    @cached_property
    def _network(self) -> nn.Module:
        if not isinstance(self.recognizer, TorchRecognizer):
            raise ConfigError(
                "attack.perceptual_distance.recognizer has no layers; use one from a torch checkpoint, such as tiny"
            )
        with torch.random.fork_rng(devices=[]):  # initialization must not advance the global generator
            cut = simplify(first_layers(self.recognizer.as_shipped(), self.layers))
        return _Stages(cut).eval().requires_grad_(False)


class _Stages(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, inputs: Images) -> Tensor:
        stages = self.network(inputs.contiguous(memory_format=torch.channels_last))
        return concatenated([directions(each) for each in stages])


class _Tracer(fx.Tracer):
    """Traces into every module except ``layers``."""

    def __init__(self, layers: Sequence[str]) -> None:
        super().__init__()
        self.layers = set(layers)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self.layers or super().is_leaf_module(m, module_qualified_name)


def first_layers(network: nn.Module, layers: Sequence[str]) -> fx.GraphModule:
    """``network`` truncated after ``layers``, with their outputs as a tuple. Raises ConfigError: unknown layer."""
    graph = _Tracer(layers).trace(network)
    nodes = {str(node.target): node for node in graph.nodes if node.op == "call_module"}
    unknown = sorted(set(layers) - nodes.keys())
    if unknown:
        raise ConfigError(f"{type(network).__name__} has no layer {unknown[0]}; use {', '.join(list(nodes)[:8])}, …")
    (output,) = (node for node in graph.nodes if node.op == "output")
    output.args = (tuple(nodes[layer] for layer in layers),)
    cut = fx.GraphModule(network, graph)
    cut.graph.eliminate_dead_code()
    cut.recompile()
    return cut


def _found(path: str) -> Path:
    return find_weights(
        path, download_hint="conf/attack/lowkey.yaml says where to get it; or take attack=lowkey_proxy_lpips instead"
    )


def _digest(path: str) -> str:
    with _found(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entry(state: Mapping[str, Tensor], name: str, shape: torch.Size, path: str) -> Tensor:
    if name not in state or state[name].shape != shape:
        held = tuple(state[name].shape) if name in state else "nothing"
        raise CorruptFile(f"{path} holds {held} as {name}, expected {tuple(shape)}; see conf/attack/lowkey.yaml")
    return state[name]
