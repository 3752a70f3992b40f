"""Selection of the embedding among several outputs of a network, such as (feature, norm)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from frbench.harness.core.errors import ConfigError, shortened, warn_once

_IMAGES = 2  # in the batch that inspects the outputs


class OneOutput(nn.Module):
    """``network``, cut down to one of the tensors that it gives. key: its number, or its name in a mapping."""

    def __init__(self, network: nn.Module, key: int | str) -> None:
        super().__init__()
        self.network, self.key = network, key

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.network(x)[self.key])


def embedding_of(network: nn.Module, size: tuple[int, int], output: int | str | None, name: str) -> nn.Module:
    """``network`` itself where it gives one tensor, else cut down to the output that is the embedding.

    size: height and width of its images. output: which to take; None takes the only one of shape (N, D) with D above
    1, and says so. name: the recognizer's, for messages.

    Raises FrbenchError: the network cannot take such images, or several outputs, or none, may be the embedding.
    """
    images = torch.rand(_IMAGES, 3, *size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            given = network(images)
    except Exception as error:  # whatever an own network raises
        raise ConfigError(
            f"{name} cannot take images of {size[0]}x{size[1]} ({type(error).__name__}: {shortened(error)}): "
            "give the height and width that it was trained on with recognizer.size"
        ) from error
    if isinstance(given, Tensor):
        return _alone(network, given, output, name)
    outputs = _outputs(given, name)
    chosen = output if output is not None else _only_embedding(outputs, name)
    key = int(chosen) if isinstance(chosen, str) and chosen.isdigit() and chosen not in outputs else chosen
    if key not in outputs:
        raise ConfigError(f"recognizer.output={output} is none of the outputs of {name}: {_told(outputs)}")
    if output is None:
        warn_once(f"{name} gives {_told(outputs)}: output {key} is taken for the embedding")
    return OneOutput(network, key)


def _alone(network: nn.Module, given: Tensor, output: int | str | None, name: str) -> nn.Module:
    if output not in (None, 0, "0"):
        raise ConfigError(f"recognizer.output={output}: {name} gives one output alone; leave recognizer.output out")
    if given.ndim < 2 or len(given) != _IMAGES:
        raise ConfigError(
            f"{name} gives {tuple(given.shape)} for {_IMAGES} images, expected ({_IMAGES}, D): "
            "export it again with a free batch dimension"
        )
    return network


def _outputs(given: Any, name: str) -> dict[int | str, Tensor]:
    """The tensors that a network gives, by number or name."""
    named = (
        dict(given) if isinstance(given, Mapping) else dict(enumerate(given)) if isinstance(given, tuple | list) else {}
    )
    outputs = {key: each for key, each in named.items() if isinstance(each, Tensor)}
    if not outputs:
        raise ConfigError(f"{name} gives {type(given).__name__}, expected a tensor (N, D), or several of them")
    return outputs


def _only_embedding(outputs: Mapping[int | str, Tensor], name: str) -> int | str:
    likely = [
        key
        for key, each in outputs.items()
        if each.ndim >= 2 and len(each) == _IMAGES and each.shape[1] > 1 and each[0].numel() == each.shape[1]
    ]
    if len(likely) != 1:
        raise ConfigError(
            f"{name} gives {_told(outputs)}, of which {len(likely)} may be the embedding: choose with recognizer.output"
        )
    return likely[0]


def _told(outputs: Mapping[int | str, Tensor]) -> str:
    return ", ".join(f"{key} {tuple(each.shape)}" for key, each in outputs.items())
