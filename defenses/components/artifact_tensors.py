"""Tensors of a fitted artifact: grouped under prefixes, and loaded into networks."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from frbench.harness.core.contracts import Artifact


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename each tensor ``name`` to ``prefix/name``."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the tensors named ``prefix/name`` and rename each to ``name``."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}/")}


def trained_artifact(network: nn.Module, history: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Pack the weights of ``network`` under ``network/`` and the logged values of each epoch under ``history/``."""
    return with_prefix("network", network.state_dict()) | with_prefix("history", history)


def load_network(network: nn.Module, artifact: Artifact) -> nn.Module:
    """Load the weights under ``network/`` and return ``network`` frozen, in evaluation mode, on their device."""
    weights = without_prefix(artifact, "network")
    network.load_state_dict(weights)
    return network.requires_grad_(False).to(next(iter(weights.values())).device).eval()
