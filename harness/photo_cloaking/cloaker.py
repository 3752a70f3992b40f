"""Faces of a user's own, cloaked in batches: an attack whose pairs are each a face and itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Attack, Budget, Draw, Images, Scores, Template, Verifier, View
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import PairBatch, load_images
from frbench.harness.core.part_contracts import check_result
from frbench.harness.core.verifiers import Wrapping
from frbench.harness.evaluation.crafting import enforce_budget
from frbench.harness.photo_cloaking.alignment_jitter import Realigned
from frbench.harness.threat_model.budgets import Unbounded
from frbench.harness.threat_model.goals import Cloak

_NUMBERS = 1 << 31  # a face's pair number is below it


def gray_of(images: Tensor) -> Tensor:
    """Images, or changes of images, (N, 3, H, W) with each channel replaced by the mean of all three."""
    return images.mean(dim=1, keepdim=True).expand_as(images)


@dataclass(frozen=True)
class GrayProbes(Wrapping):
    """``verifier`` on gray versions of the probes, so that the attacker's gradient is gray too."""

    verifier: Verifier

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        return self.verifier.score(gray_of(probe), template, draw)


@dataclass(frozen=True)
class Cloaker:
    """An attack on aligned faces, each of them probe and reference of its own pair.

    What a face's cloak is depends on its pixels and the seed, not on where in which folder the photo lies.
    spread: how differently the attack sees each face aligned from step to step, as ``Realigned`` has it. Detectors see
    a cloaked face elsewhere than the natural one, and a cloak made for a single alignment loses half of its effect.
    """

    verifier: Verifier
    attack: Attack
    goal: Cloak
    budget: Budget
    spread: float
    seed: int
    batch_size: int
    device: torch.device

    def ready(self) -> None:
        """Raises FrbenchError where the attack cannot be made on this recognizer, or its weights cannot be had."""
        if self.attack.needs_gradient and not self.verifier.differentiable:
            raise ConfigError(
                f"{type(self.attack).__name__} needs gradients and this recognizer is a black box that gives none; "
                "take a recognizer that does, such as foamliu_mobilefacenet"
            )
        self.goal.check(self.attack)
        gray = np.full((1, 112, 112, 3), 127, np.uint8)
        self.similarities(gray, gray)

    def changes(self, crops: np.ndarray) -> Tensor:
        """What to add to the faces uint8 (N, 112, 112, 3): float32 (N, 3, 112, 112), in parts of 255.

        A gray face (equal channels) gets a gray cloak.
        """
        found = torch.zeros(crops.transpose(0, 3, 1, 2).shape)
        gray = (crops == crops[..., :1]).all(axis=(1, 2, 3))
        for is_gray in (False, True):
            rows = np.flatnonzero(gray == is_gray)
            for part in self._parts(rows):
                found[rows[part]] = self._changes(crops[rows[part]], is_gray)
        return found

    def _changes(self, crops: np.ndarray, gray: bool) -> Tensor:
        pairs = self._pairs(crops)
        verifier = GrayProbes(self.verifier) if gray else self.verifier
        nobody = torch.full((1,), -1.0, device=self.device).expand(_NUMBERS)  # the threshold of every number
        view = View(Realigned(verifier, self.spread), nobody, self.seed)
        budget = self.budget if self.attack.bounded else Unbounded()
        result = self.attack(view, pairs, self.goal, budget)
        if gray:
            check_result(self.attack, result, pairs.probe)
            result = replace(result, images=pairs.probe + gray_of(result.images - pairs.probe))
        return (enforce_budget(self.attack, result, pairs.probe, budget).images - pairs.probe).cpu()

    @torch.no_grad()
    def similarities(self, crops: np.ndarray, others: np.ndarray) -> list[float]:
        """The recognizer's scores between the faces uint8 (N, 112, 112, 3) and the ``others``, one to one."""
        view = View(self.verifier, torch.zeros(0), self.seed)
        found: list[float] = []
        for part in self._parts(crops):
            probes = load_images(crops[part], np.arange(len(crops[part])), self.device)
            found += view.score(probes, view.enroll(self._pairs(others[part]))).tolist()
        return found

    def _parts(self, rows: np.ndarray) -> list[slice]:
        return [slice(first, first + self.batch_size) for first in range(0, len(rows), self.batch_size)]

    def _pairs(self, crops: np.ndarray) -> PairBatch:
        faces = load_images(crops, np.arange(len(crops)), self.device)
        numbers = [int.from_bytes(hashlib.sha256(crop.tobytes()).digest()[:4], "big") % _NUMBERS for crop in crops]
        index = torch.tensor(numbers, dtype=torch.int64, device=self.device)
        return PairBatch(faces, faces, faces, torch.ones_like(index, dtype=torch.bool), torch.zeros_like(index), index)
