"""An ensemble of recognizers as one, whose cosine is the mean of theirs, for transfer attacks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch

from frbench.harness.core.contracts import Embeddings, Images, Recognizer
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.fingerprints import describe
from frbench.harness.core.training_identities import training_identities
from frbench.harness.recognizers.preprocessing import FEEDING


@dataclass(frozen=True)
class EnsembleRecognizer:
    """Concatenation of the members' unit embeddings, scaled to unit length; its cosine is the mean of theirs.

    Attributes:
        members: two or more recognizers; their names and order change nothing. The same network twice is refused, an
            error of LowKey's published code, which loads the last weights several times.
    """

    identity = "recognizer.ensemble"
    version = 1

    members: Mapping[str, Recognizer]

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(FEEDING, "each member has its own, set below members.NAME")

    @property
    def name(self) -> str:
        return f"ensemble({'+'.join(sorted(member.name for member in self._several))})"

    @property
    def differentiable(self) -> bool:
        return all(member.differentiable for member in self._several)

    @property
    def digest(self) -> str:
        """SHA-256 of the members' digests."""
        digests = sorted(member.digest for member in self.distinct)
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    @property
    def trained_on(self) -> np.ndarray:
        """Training identities of all members; see ``training_identities``."""
        return np.concatenate([training_identities(member) for member in self._several])

    def embed(self, images: Images) -> Embeddings:
        """Images float32 (N, 3, H, W), RGB in [0, 1] -> unit-length embeddings float32 (N, sum of the members' D)."""
        members = self.distinct
        return torch.cat([member.embed(images) for member in members], dim=1) / len(members) ** 0.5

    def fingerprint(self) -> dict[str, Any]:
        """What decides the embeddings: the members, whatever they are called and in whatever order."""
        return {"weights": self.digest, "members": sorted((describe(member) for member in self.distinct), key=str)}

    @cached_property
    def _several(self) -> list[Recognizer]:
        """The members, checked once."""
        if len(self.members) < 2:
            raise ConfigError(
                f"an ensemble has {len(self.members)} members and needs two or more; add to the command line, for a "
                "surrogate, '+recognizer@threat.surrogate.members.a=NAME' and so on; recognizer@recognizer.members.a "
                "for recognizer=ensemble, recognizer@defense.members.a for defense=zoo_ensemble"
            )
        mute = [member.name for member in self.members.values() if not hasattr(type(member), "embed")]
        if mute:
            raise ConfigError(
                f"an ensemble is made of vectors, and its member {mute[0]} gives no embeddings; take others"
            )
        return list(self.members.values())

    @cached_property
    def distinct(self) -> list[Recognizer]:
        """The members, once it is known that their weights are not the same."""
        members = self._several
        known = [describe(member) for member in members]
        for (name, member), facts in zip(self.members.items(), known, strict=True):
            if known.count(facts) > 1:
                raise ConfigError(f"in an ensemble {name} ({member.name}) is a member twice; take another network")
        return members
