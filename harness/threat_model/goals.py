"""Goals of the attacker: dodging, impersonation and cloaking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from frbench.harness.core.contracts import Attack, Images, Mask, Scores
from frbench.harness.core.errors import Refused
from frbench.harness.core.face_data import PairBatch, PairSet, UserSet


@dataclass(frozen=True)
class Dodging:
    """Genuine pairs whose score should fall to the threshold or below it; the target to resemble is the decoy."""

    identity = "goal.dodging"
    version = 1
    achieved_on: ClassVar[type[PairSet] | type[UserSet]] = PairSet

    def eligible(self, same: Mask) -> Mask:
        return same

    def loss(self, scores: Scores) -> Scores:
        return scores

    def target(self, pairs: PairBatch) -> Images:
        return pairs.decoy

    def achieved(self, scores: Scores, threshold: Scores) -> Mask:
        return scores <= threshold

    def beyond(self, threshold: Scores, margin: float) -> Scores:
        return threshold - margin


@dataclass(frozen=True)
class Impersonation:
    """Impostor pairs whose score should exceed the threshold; the target to resemble is the reference."""

    identity = "goal.impersonation"
    version = 1
    achieved_on: ClassVar[type[PairSet] | type[UserSet]] = PairSet

    def eligible(self, same: Mask) -> Mask:
        return ~same

    def loss(self, scores: Scores) -> Scores:
        return -scores

    def target(self, pairs: PairBatch) -> Images:
        return pairs.reference

    def achieved(self, scores: Scores, threshold: Scores) -> Mask:
        return scores > threshold

    def beyond(self, threshold: Scores, margin: float) -> Scores:
        return threshold + margin


@dataclass(frozen=True)
class Cloak(Dodging):
    """A photo of one's own, probe and reference both, moved away from itself before somebody trains on it.

    Never achieved before a verifier: whether a cloak protects, only a tracker that learned from it can tell.
    """

    identity = "goal.cloak"
    version = 1
    achieved_on = UserSet

    def target(self, pairs: PairBatch) -> Images:
        """Raises Refused: the decoy is the photo itself, since nobody else is there."""
        if pairs.decoy is pairs.reference:
            raise Refused(
                "this attack makes a photo resemble another person's, and there is none here; take one that moves it "
                "away from itself, such as fawkes or lowkey_proxy_lpips"
            )
        return pairs.decoy

    def check(self, attack: Attack) -> None:
        """Raises Refused: ``attack`` would go on until a verifier is fooled, which never comes."""
        if attack.stops_early and not attack.bounded:
            raise Refused(
                f"{type(attack).__name__} goes on until a verifier is fooled, and a cloak meets none; take fawkes, "
                "lowkey_proxy_lpips, or an attack that keeps within a budget, such as pgd"
            )

    def achieved(self, scores: Scores, threshold: Scores) -> Mask:
        return torch.zeros_like(scores, dtype=torch.bool)
