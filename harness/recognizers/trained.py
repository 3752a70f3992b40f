"""Recognizers from files that ``frbench fit training=NAME`` wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from frbench.harness.core.domains import NonNegativeInt, Percent, Positive
from frbench.harness.core.errors import ConfigError
from frbench.harness.recognizers.architecture_metadata import read_architecture
from frbench.harness.recognizers.inference import Prepared
from frbench.harness.recognizers.initialization import Untrained, member_names
from frbench.harness.recognizers.preprocessing import Deviation, Mean, Preprocessing, Size
from frbench.harness.recognizers.state_dicts import load_strictly
from frbench.harness.recognizers.weight_files import find_weights, people_in, read_state
from frbench.harness.runtime.download import file_sha256


@dataclass(frozen=True)
class Trained(Prepared):
    """One network of a trained file, whose metadata name its architecture; prepared for attack on first use.

    Args:
        weights: Path of the file, or ``pkg:NAME``.
        member: The network to take, counted from 0.
        name: The recognizer's name in messages.
        mean, std, scale, size, bgr: Replace the preprocessing of the training where not None; see ``Preprocessing``.
        min_clean_accuracy, device: See ``TorchRecognizer``.
        trust: Packages besides frbench whose network classes the file may name.
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
    min_clean_accuracy: Percent | Mapping[str, Percent] | None = None
    device: str = "cpu"
    trust: Sequence[str] = field(default=(), compare=False)

    elsewhere: ClassVar[Mapping[str, str]] = {"prefix": "recognizer.member says which network of the file is taken"}

    @cached_property
    def file(self) -> Path:
        """The file. Raises FrbenchError: it is not there."""
        return find_weights(
            self.weights, download_hint="make it with frbench fit training=NAME out=FILE, or correct the path"
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, which may hold other networks too."""
        return file_sha256(self.file)

    @cached_property
    def trained_on(self) -> np.ndarray:
        """``people_digests`` of those whose faces it was trained on; none where the file does not say."""
        return people_in(self.file).numpy()

    @cached_property
    def architecture(self) -> Untrained:
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
