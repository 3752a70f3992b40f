"""No defense: the verifier as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from frbench.harness.core.contracts import Draw, Images, Verifier
from frbench.harness.core.verifiers import Purifier


@dataclass(frozen=True)
class Unchanged:
    """Images as they are."""

    identity = "purifier.identity"
    version = 1

    differentiable = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return images


@dataclass(frozen=True)
class NoDefense:
    """The control of every table."""

    identity = "defense.none"
    version = 1

    def protect(self, verifier: Verifier) -> Verifier:
        return verifier

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": verifier}

    def purifier(self) -> Purifier:
        return Unchanged()
