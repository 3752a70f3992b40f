"""Base of defenses that are fitted before use: access to the artifact, with an error that names the command to run."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, Self

from frbench.harness.core.contracts import Fitted
from frbench.harness.core.errors import FrbenchError


class HoldsArtifact(Protocol):
    """A frozen dataclass that holds its artifact.

    Attributes:
        option: name of the defense in ``conf/defense``.
        artifact: the fitted artifact, None before the fit.
    """

    @property
    def option(self) -> str: ...

    @property
    def artifact(self) -> Fitted | None: ...


class FittedDefense:
    """Mixin of defenses that are fitted, see ``HoldsArtifact``."""

    def fitted(self, artifact: Fitted) -> Self:
        return replace(self, artifact=artifact)  # type: ignore[type-var]

    @property
    def ready(self: HoldsArtifact) -> Fitted:
        """The artifact.

        Raises:
            FrbenchError: the defense is not fitted.
        """
        if self.artifact is None:
            raise FrbenchError(f"defense={self.option} is not fitted; run: frbench fit defense={self.option}")
        return self.artifact
