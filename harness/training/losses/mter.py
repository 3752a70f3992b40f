"""Adversarial faces close to a target in feature space, and the triplet loss on them (MTER: Zhong and Deng, ICCV 2019).

Faces are (T, 3, H, W) in [0, 1]; ``embed`` returns unit embeddings (T, d).

The method: docs/methods/ensembles.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from frbench.harness.core.domains import CosineGap, GrayLevels, PositiveInt
from frbench.harness.core.face_data import Images


@dataclass(frozen=True)
class Search:
    """Sign-gradient steps of a source face toward the features of a target face.

    Args:
        rounds: Largest number of steps.
        step: Step size in gray levels; nothing else bounds the change.
        close: Distance 1 - cosine; the search ends, after at least one step, when all faces of the batch are closer.
    """

    identity = "loss.mter_search"
    version = 1

    rounds: PositiveInt = 10
    step: GrayLevels = 1.0
    close: CosineGap = 0.1

    def __call__(self, embed: Callable[[Images], Tensor], source: Images, target: Images) -> Images:
        """``source``, changed until it resembles ``target``; the weights get no gradient.

        The network must be in evaluation mode. T may be 0.
        """
        if not len(source):
            return source
        with torch.no_grad():
            aim = embed(target)
        changed = source.detach()
        for step in range(self.rounds):
            with torch.enable_grad():
                changed.requires_grad_(True)
                distance = 1 - (embed(changed) * aim).sum(dim=1)
                if step > 0 and float(distance.detach().amax()) <= self.close:
                    break
                (gradient,) = torch.autograd.grad(distance.sum(), changed)
            changed = (changed.detach() - gradient.sign() * (self.step / 255)).clamp(0, 1)
        return changed.detach()


def triplet(changed: Tensor, source: Tensor, target: Tensor, alpha: float) -> Tensor:
    """Mean of relu(|changed - source| - |changed - target| + alpha) over unit embeddings (T, d); 0 where T is 0."""
    near, far = ((changed - each).square().sum(dim=1).add(1e-12).sqrt() for each in (source, target))
    return (near - far + alpha).relu().sum() / max(1, len(changed))
