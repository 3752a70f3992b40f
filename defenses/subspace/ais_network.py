"""The selector network of AIS: encoder and head with batch normalisation and a memory between them.

After the authors' code (RenMin1991/SIDE at 95831a1).

The method: docs/methods/subspace_projections.md.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from frbench.defenses.subspace.networks import Encoder, Initial

_MOMENTUM = 0.999


class Memory(nn.Module):
    """Memory from features (B, F) to the mean of the items (items, F), weighted by the softmax of their cosines.

    In training mode each batch first updates the items by a moving average. Gradients reach the features through the
    weights alone.

    Args:
        items: number of items.
        size: dimension F of features and items.
        update: ``reference``, as in the authors' code, blends the mean of the nearest features into every item, a zero
            where there are none, so that unused items decay; ``hit_only`` leaves unused items unchanged.
    """

    def __init__(self, items: int, size: int, update: Literal["reference", "hit_only"]) -> None:
        super().__init__()
        self.items = nn.Buffer(torch.randn(items, size))
        self.update = update

    def forward(self, features: Tensor) -> Tensor:
        if self.training:
            self._update(features.detach())
        return torch.softmax(self._similarity(features), dim=1) @ self.items

    def _similarity(self, features: Tensor) -> Tensor:
        return cosine_similarity(features[:, None], self.items[None], dim=2)

    @torch.no_grad()
    def _update(self, features: Tensor) -> None:
        nearest = self._similarity(features).argmax(dim=1)
        hits = torch.nn.functional.one_hot(nearest, len(self.items)).to(features.dtype)  # (B, items)
        count = hits.sum(dim=0)[:, None]
        mean = hits.T @ features / (count + 1e-6)
        blended = _MOMENTUM * self.items + (1 - _MOMENTUM) * mean
        updated = torch.ones_like(count, dtype=torch.bool) if self.update == "reference" else count > 0
        self.items.copy_(torch.where(updated, blended, self.items))

    def live(self) -> Tensor:
        """Number of items whose norm is above a hundredth of its expected initial value."""
        return (self.items.norm(dim=1) > 0.01 * self.items.shape[1] ** 0.5).sum()


class AisNetwork(nn.Module):
    """Selector from gray faces (N, 1, H, W) in [-1, 1] to keep logits (N, components).

    Args:
        width: channels of the encoder's first stage.
        hidden: dimension of the features.
        components: number of eigenfaces.
        items: items of the memory; 0 removes it (ablation).
        update: update of the memory, see ``Memory``.
        side: side of a face in pixels.
        initial: initial weights of the encoder, ``he`` (He et al., 2015) or ``torch`` (PyTorch's own).
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        components: int,
        items: int,
        update: Literal["reference", "hit_only"],
        side: int = 112,
        initial: Initial = "he",
    ) -> None:
        super().__init__()
        self.encoder = Encoder(width, normalised=True, initial=initial)
        self.analyzer = nn.Sequential(
            nn.Flatten(),
            nn.Linear(8 * width * (side // 16) ** 2, hidden),
            nn.BatchNorm1d(hidden),
            nn.PReLU(hidden),
        )
        self.memory = Memory(items, hidden, update) if items else None
        self.generator = nn.Sequential(nn.Linear(hidden, components), nn.BatchNorm1d(components))

    def forward(self, faces: Tensor) -> Tensor:
        features = self.analyzer(self.encoder(faces))
        return cast(Tensor, self.generator(features if self.memory is None else self.memory(features)))
