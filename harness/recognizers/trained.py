"""Recognizers from files that ``frbench fit training=NAME`` wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

from torch import nn

from frbench.harness.core.domains import NonNegativeInt, Positive
from frbench.harness.core.errors import ConfigError
from frbench.harness.recognizers.architecture_metadata import read_architecture
from frbench.harness.recognizers.file_recognizer import FileRecognizer
from frbench.harness.recognizers.inference import Prepared
from frbench.harness.recognizers.initialization import Architecture, member_names
from frbench.harness.recognizers.preprocessing import Deviation, Mean, Preprocessing, Size
from frbench.harness.recognizers.state_dicts import load_strictly
from frbench.harness.recognizers.weight_files import read_state


@dataclass(frozen=True)
class Trained(FileRecognizer, Prepared):
    """One network of a trained file, whose metadata name its architecture; prepared for attack on first use.

    Args:
        weights: Path of the file, or ``pkg:NAME``.
        member: The network to take, counted from 0.
        name: The recognizer's name in messages.
        mean, std, scale, size, bgr: Replace the preprocessing of the training where not None; see ``Preprocessing``.
        trust: Packages besides frbench whose network classes the file may name.

    The other fields: see ``FileRecognizer``.
    """

    identity = "recognizer.trained"
    version = 1

    weights: str
    member: NonNegativeInt = 0
    name: str = "trained"
    mean: Mean | None = None
    std: Deviation | None = None
    scale: Positive | None = None
    size: Size | None = None
    bgr: bool | None = None
    download_hint: str = field(
        default="write it with frbench fit training=NAME out=FILE, or correct the path", kw_only=True
    )
    trust: Sequence[str] = field(default=(), compare=False)

    elsewhere: ClassVar[Mapping[str, str]] = {"prefix": "recognizer.member says which network of the file is taken"}

    @property
    def location(self) -> str:
        return self.weights

    @cached_property
    def architecture(self) -> Architecture:
        """The network and preprocessing of the training. Raises FrbenchError: see ``read_architecture``."""
        return read_architecture(self.file, self.trust)

    @property
    def maker(self) -> Callable[[], nn.Module]:
        return self.architecture.make

    @property
    def preprocessing(self) -> Preprocessing:
        names = ("mean", "std", "scale", "size", "bgr")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return replace(self.architecture.preprocessing, **given)

    def as_shipped(self) -> nn.Module:
        """Raises FrbenchError: the file is of no training, or of another architecture, or has no such member."""
        state = read_state(self.file)
        prefixes = member_names(state)
        if not 0 <= self.member < len(prefixes):
            raise ConfigError(
                f"{self.file} holds {len(prefixes)} trained networks and none of number {self.member}; "
                "take recognizer.member from 0, or a file that frbench fit training=NAME wrote"
            )
        network, prefix = self.architecture.module(0).network, prefixes[self.member]
        own = {name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)}
        load_strictly(network, own, self.file, "write it anew with frbench fit training=NAME out=FILE")
        return network.eval()

    def fingerprint(self) -> dict[str, Any]:
        """What decides the embeddings, whatever the path and device."""
        fed = {"preprocessing": self.preprocessing.facts()}
        return {**self.architecture.fingerprint(), **fed, "weights": self.digest, "member": self.member}
