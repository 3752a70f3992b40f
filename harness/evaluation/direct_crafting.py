"""Adversarial images for a caller's pairs, with the attack loop and the budget check of a cell and without a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import (
    Attack,
    Budget,
    Defense,
    Draw,
    Goal,
    Images,
    Mask,
    Recognizer,
    Scores,
    ThreatModel,
    Verifier,
    Victim,
)
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.core.verifiers import Comparer, lifted
from frbench.harness.evaluation.calibration import Calibration
from frbench.harness.evaluation.crafting import Crafting
from frbench.harness.evaluation.execution import Execution
from frbench.harness.evaluation.judge import median_over_draws
from frbench.harness.images.given_images import given_images
from frbench.harness.metrics.perturbation import l2, linf
from frbench.harness.metrics.thresholds import fold_thresholds
from frbench.harness.threat_model.oracles import DecisionsOnly

_NUM_DRAWS = 5  # decisions of a random victim; the majority counts, as in protocol=verification

Calibrate = Callable[[Verifier], Tensor]


@dataclass(frozen=True)
class GivenPairs:
    """Pairs of a caller's images: probe, reference and decoy float32 (N, 3, H, W), same bool (N,)."""

    probe: Images
    reference: Images
    decoy: Images
    same: Mask
    digest: str = "given"

    def __len__(self) -> int:
        return len(self.probe)

    def batch(self, index: np.ndarray, device: torch.device | str = "cpu") -> PairBatch:
        """The pairs numbered ``index``."""
        rows = torch.as_tensor(index)
        reference = self.reference[rows].to(device)
        return PairBatch(
            probe=self.probe[rows].to(device),
            reference=reference,
            decoy=reference if self.decoy is self.reference else self.decoy[rows].to(device),
            same=self.same[rows].to(device),
            fold=torch.zeros(len(rows), dtype=torch.int64, device=device),
            index=rows.to(device),
        )


@dataclass(frozen=True)
class Crafted:
    """Adversarial images and what they achieve.

    Attributes:
        images: float32 (N, 3, H, W), RGB in [0, 1], on the CPU.
        achieved: bool (N,), whether the goal is achieved on the defended recognizer with an image within the budget; a
            random defense decides five times and the majority counts. None without thresholds.
        scores: float32 (N,), similarity of image and reference on the defended recognizer; of a random one the median.
        sizes: ``linf`` (largest change, of 255) and ``l2`` (Euclidean norm, images in [0, 1]), each float32 (N,).
        index: int64 (N,), numbers of the pairs in their data set, or 0 to N - 1.
    """

    images: Images
    achieved: Mask | None
    scores: Scores
    sizes: Mapping[str, Tensor]
    index: np.ndarray


class Parts(NamedTuple):
    """An attacker and the system under attack."""

    attack: Attack | None
    recognizer: Recognizer | Comparer
    goal: Goal
    budget: Budget
    threat: ThreatModel
    defense: Defense


def given_pairs(probe: object, reference: object, decoy: object, goal: Goal) -> GivenPairs:
    """Checked pairs of a caller's images, all eligible for ``goal``. decoy: None for the references.

    Raises ConfigError: images of another type, shape or range, or unequal numbers of images.
    """
    probes, references = given_images(probe, "probe").cpu(), given_images(reference, "reference").cpu()
    decoys = references if decoy is None else given_images(decoy, "decoy").cpu()
    for name, images in (("reference", references), ("decoy", decoys)):
        if len(images) != len(probes):
            raise ConfigError(f"probe has {len(probes)} images and {name} {len(images)}, expected one for each probe")
    genuine = torch.ones(len(probes), dtype=torch.bool)
    return GivenPairs(probes, references, decoys, genuine if goal.eligible(genuine).all() else ~genuine)


def craft(parts: Parts, pairs: GivenPairs | PairSet, threshold: float | Tensor | None, execution: Execution) -> Crafted:
    """Adversarial images of the attacked pairs that are eligible for the goal.

    Args:
        threshold: cosine above which a pair is accepted, one number or (N,); None for the threshold of best accuracy on
            the clean pairs of the other folds, which given pairs do not have.

    Raises:
        ConfigError: no attack, a threshold that is needed or wrong, or a goal that is not for pairs.
        Refused: the attack cannot attack this system.
    """
    if parts.attack is None:
        raise ConfigError("attack=none makes no images; take another attack, such as attack=pgd")
    if parts.goal.achieved_on is not PairSet:
        raise ConfigError(f"{type(parts.goal).__name__} is no goal for pairs; take goal=dodging or goal=impersonation")
    calibrate = _calibration(pairs, threshold, parts.goal, execution)
    bare = lifted(parts.recognizer)
    victim = parts.defense.protect(bare)
    views = parts.threat.views(Victim(bare, parts.defense, lifted, calibrate, execution.seed))
    decisions = any(isinstance(view.verifier, DecisionsOnly) for view in views.values())
    if threshold is None and isinstance(pairs, GivenPairs) and (parts.attack.stops_early or decisions):
        raise ConfigError(
            f"{type(parts.attack).__name__} needs to know when a pair is accepted; give threshold=NUMBER, such as 0.3, "
            "or pairs=DATASET, whose clean pairs give thresholds"
        )
    index = _attacked(pairs, parts.goal)
    block = Crafting(pairs, views, victim, parts.attack, parts.goal, parts.budget, execution).fresh(index)
    judged = threshold is not None or isinstance(pairs, PairSet)
    return _judged(parts, pairs, block.images, victim, calibrate(victim)[index] if judged else None, execution, index)


def _attacked(pairs: GivenPairs | PairSet, goal: Goal) -> np.ndarray:
    if isinstance(pairs, GivenPairs):
        return np.arange(len(pairs))
    eligible: np.ndarray = pairs.attacked[goal.eligible(torch.from_numpy(pairs.same[pairs.attacked])).numpy()]
    return eligible


def _calibration(
    pairs: GivenPairs | PairSet, threshold: float | Tensor | None, goal: Goal, execution: Execution
) -> Calibrate:
    """What gives the thresholds (N,) of a verifier."""
    if threshold is not None:
        given = torch.as_tensor(threshold, dtype=torch.float32).detach().cpu()
        if given.shape not in ((), (len(pairs),)) or not bool((given.abs() <= 1).all()):
            raise ConfigError(f"threshold={threshold}, expected a cosine from -1 to 1, or one for each pair")
        return lambda verifier: given.expand(len(pairs))
    if isinstance(pairs, GivenPairs):  # a threshold that no score passes, so that an attack never stops
        never = next(each for each in (2.0, -2.0) if not goal.achieved(torch.zeros(1), torch.tensor([each])).any())
        return lambda verifier: torch.full((len(pairs),), never)
    calibration = Calibration(pairs, execution)
    known: list[tuple[Verifier, Tensor]] = []

    def thresholds(verifier: Verifier) -> Tensor:
        for each, found in known:
            if each is verifier:
                return found
        found = torch.from_numpy(fold_thresholds(calibration.fresh(verifier), pairs.same, pairs.fold)).float()
        known.append((verifier, found))
        return found

    return thresholds


@torch.no_grad()
def _judged(
    parts: Parts,
    pairs: GivenPairs | PairSet,
    images: Images,
    victim: Verifier,
    thresholds: Tensor | None,
    execution: Execution,
    index: np.ndarray,
) -> Crafted:
    draws = [Draw(execution.seed, Stream.JUDGING, k=k) for k in range(_NUM_DRAWS if victim.random else 1)]
    scores, fits, sizes = [], [], []
    for rows in execution.batches(len(index)):
        batch, changed = pairs.batch(index[rows], execution.device), images[rows].to(execution.device)
        each = [victim.score(changed, victim.enroll(batch.reference, batch.index, draw), draw) for draw in draws]
        scores.append(median_over_draws(torch.stack(each, dim=1)).cpu())
        fits.append(parts.budget.fits(changed, batch.probe).cpu())
        sizes.append(torch.stack([linf(batch.probe, changed), l2(batch.probe, changed)]).cpu())
    found, (largest, length) = torch.cat(scores), torch.cat(sizes, dim=1)
    achieved = None if thresholds is None else parts.goal.achieved(found, thresholds) & torch.cat(fits)
    return Crafted(images, achieved, found, {"linf": largest, "l2": length}, index)
