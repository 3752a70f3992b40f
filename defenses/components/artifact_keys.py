"""Names of the tensors in an artifact: what belongs together stands under a prefix."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` under ``prefix/``."""
    return {f"{prefix}/{name}": each for name, each in tensors.items()}


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin with ``prefix/``, under the rest of their names."""
    return {name[len(prefix) + 1 :]: each for name, each in tensors.items() if name.startswith(f"{prefix}/")}
