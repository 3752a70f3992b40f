"""The networks of AIS: encoder and head with batch normalisation, and a memory between them (specs/pin_ais 4.1)."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from frbench.defenses.subspace.networks import Encoder, Initial

_KEEP = 0.999


class Memory(nn.Module):
    """Features (B, F) in, a mean of the remembered items (items, F) out, weighted by the softmax of cosines.

    In training mode each batch changes the items first; in evaluation mode nothing does. update: ``reference`` blends
    the mean of an item's features into every item, zero where there are none, so that unused items fade away;
    ``hit_only`` leaves those alone. The gradient reaches the features through the weights alone.
    """

    def __init__(self, items: int, size: int, update: Literal["reference", "hit_only"]) -> None:
        super().__init__()
        self.items = nn.Buffer(torch.randn(items, size))
        self.update = update

    def forward(self, features: Tensor) -> Tensor:
        if self.training:
            self._learn(features.detach())
        return torch.softmax(self._likeness(features), dim=1) @ self.items

    def _likeness(self, features: Tensor) -> Tensor:
        return cosine_similarity(features[:, None], self.items[None], dim=2)

    @torch.no_grad()
    def _learn(self, features: Tensor) -> None:
        nearest = self._likeness(features).argmax(dim=1)
        hits = torch.nn.functional.one_hot(nearest, len(self.items)).to(features.dtype)  # (B, items)
        count = hits.sum(dim=0)[:, None]
        mean = hits.T @ features / (count + 1e-6)
        blended = _KEEP * self.items + (1 - _KEEP) * mean
        known = torch.ones_like(count, dtype=torch.bool) if self.update == "reference" else count > 0
        self.items.copy_(torch.where(known, blended, self.items))

    def live(self) -> Tensor:
        """How many items have not faded to a hundredth of the length that they were drawn with."""
        return (self.items.norm(dim=1) > 0.01 * self.items.shape[1] ** 0.5).sum()


class AisNetwork(nn.Module):
    """Gray faces (N, 1, H, W) in [-1, 1] to logits (N, components). ``items`` 0 leaves the memory out (an ablation).

    initial: weights that the encoder starts from; the others start from PyTorch's own.
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
