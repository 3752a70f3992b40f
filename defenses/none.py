"""No defense: the verifier as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from frbench.harness.contracts import Verifier


@dataclass(frozen=True)
class NoDefense:
    """The control of every table."""

    def protect(self, verifier: Verifier) -> Verifier:
        return verifier

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": verifier}
