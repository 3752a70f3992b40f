"""No defense: the unprotected verifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from frbench.harness.core.contracts import Draw, Images, Verifier
from frbench.harness.core.purifiers import Purifier


@dataclass(frozen=True)
class Identity:
    """The identity purifier."""

    identity = "purifier.identity"
    version = 1

    differentiable = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return images


@dataclass(frozen=True)
class NoDefense:
    """The unprotected verifier, the baseline of every table."""

    identity = "defense.none"
    version = 1

    def protect(self, verifier: Verifier) -> Verifier:
        return verifier

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": verifier}

    def purifier(self) -> Purifier:
        return Identity()
