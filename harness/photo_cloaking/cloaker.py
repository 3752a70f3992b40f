"""Cloaks of aligned faces in batches: an attack on pairs that consist of a face and itself."""

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
from frbench.harness.photo_cloaking.alignment_jitter import AlignmentJitter
from frbench.harness.threat_model.budgets import Unbounded
from frbench.harness.threat_model.goals import Cloak

_INDICES = 1 << 31  # upper limit of the pair index of a face


def gray(images: Tensor) -> Tensor:
    """Images or perturbations (N, 3, H, W), with each channel replaced by the mean of the three."""
    return images.mean(dim=1, keepdim=True).expand_as(images)


@dataclass(frozen=True)
class GrayProbes(Wrapping):
    """``verifier`` on gray versions of the probes, so that the gradient is gray too."""

    verifier: Verifier

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        return self.verifier.score(gray(probe), template, draw)


@dataclass(frozen=True)
class Cloaker:
    """An attack on aligned faces, where each face is probe and reference of its own pair.

    The cloak of a face depends on its pixels and the seed, not on the place of the photo.

    Attributes:
        verifier: the recognizer that the cloak is made on.
        attack: makes the cloak.
        goal: of the attack.
        budget: limits the cloak, unless the attack is unbounded.
        alignment_jitter: standard deviation of the alignment jitter at each step of the attack, see
            ``AlignmentJitter``. Detectors locate a cloaked face differently from the original, and a cloak for a single
            alignment loses half of its effect.
        seed: of the attack.
        batch_size: faces per batch.
        device: where the attack runs.
    """

    verifier: Verifier
    attack: Attack
    goal: Cloak
    budget: Budget
    alignment_jitter: float
    seed: int
    batch_size: int
    device: torch.device

    def check(self) -> None:
        """Raises FrbenchError if the attack does not work with the recognizer or the goal, or weights are missing."""
        if self.attack.needs_gradient and not self.verifier.differentiable:
            raise ConfigError(
                f"{type(self.attack).__name__} needs gradients, but this recognizer is a black box; choose a white-box "
                "recognizer such as foamliu_mobilefacenet"
            )
        self.goal.check(self.attack)
        blank = np.full((1, 112, 112, 3), 127, np.uint8)
        self.similarities(blank, blank)

    def perturbations(self, crops: np.ndarray) -> Tensor:
        """Cloaks of faces; a gray face (equal channels) gets a gray cloak.

        Args:
            crops: uint8 (N, 112, 112, 3), RGB.

        Returns:
            float32 (N, 3, 112, 112), to add to the faces on [0, 1].
        """
        found = torch.zeros(crops.transpose(0, 3, 1, 2).shape)
        gray_faces = (crops == crops[..., :1]).all(axis=(1, 2, 3))
        for is_gray in (False, True):
            rows = np.flatnonzero(gray_faces == is_gray)
            for part in self._batches(rows):
                found[rows[part]] = self._perturbations(crops[rows[part]], is_gray)
        return found

    def _perturbations(self, crops: np.ndarray, is_gray: bool) -> Tensor:
        pairs = self._pairs(crops)
        verifier = GrayProbes(self.verifier) if is_gray else self.verifier
        thresholds = torch.full((1,), -1.0, device=self.device).expand(_INDICES)  # by pair index
        view = View(AlignmentJitter(verifier, self.alignment_jitter), thresholds, self.seed)
        budget = self.budget if self.attack.bounded else Unbounded()
        result = self.attack(view, pairs, self.goal, budget)
        if is_gray:
            check_result(self.attack, result, pairs.probe)
            result = replace(result, images=pairs.probe + gray(result.images - pairs.probe))
        return (enforce_budget(self.attack, result, pairs.probe, budget).images - pairs.probe).cpu()

    @torch.no_grad()
    def similarities(self, crops: np.ndarray, others: np.ndarray) -> list[float]:
        """Scores of the recognizer between ``crops`` and ``others``, uint8 (N, 112, 112, 3) each, one per face."""
        view = View(self.verifier, torch.zeros(0), self.seed)
        found: list[float] = []
        for part in self._batches(crops):
            probes = load_images(crops[part], np.arange(len(crops[part])), self.device)
            found += view.score(probes, view.enroll(self._pairs(others[part]))).tolist()
        return found

    def _batches(self, rows: np.ndarray) -> list[slice]:
        return [slice(first, first + self.batch_size) for first in range(0, len(rows), self.batch_size)]

    def _pairs(self, crops: np.ndarray) -> PairBatch:
        faces = load_images(crops, np.arange(len(crops)), self.device)
        indices = [int.from_bytes(hashlib.sha256(crop.tobytes()).digest()[:4], "big") % _INDICES for crop in crops]
        index = torch.tensor(indices, dtype=torch.int64, device=self.device)
        return PairBatch(faces, faces, faces, torch.ones_like(index, dtype=torch.bool), torch.zeros_like(index), index)
