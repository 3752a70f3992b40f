"""The packages whose classes may be built from a name in a config or a weight file."""

from __future__ import annotations

from collections.abc import Sequence

from frbench.harness.core.errors import ConfigError

OWN = "frbench"


def check_target(target: object, trusted: Sequence[str]) -> None:
    """Raises ConfigError: ``target`` is not a dotted name in frbench or in a package of ``trusted``."""
    package = str(target).split(".")[0]
    if not isinstance(target, str) or package not in (OWN, *trusted):
        raise ConfigError(f"_target_ {target} is outside frbench; if you trust that package, add trust=[{package}]")
