"""What a service says of a pair when it is asked: a score, or a yes or no. No gradient passes in either case."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from frbench.harness.core.contracts import Draw, Images, Scores, Template, Verifier


@dataclass(frozen=True)
class ScoresOnly:
    """``verifier`` as a black box that tells its scores."""

    identity = "verifier.score_oracle"
    version = 1

    verifier: Verifier

    differentiable = False

    @property
    def random(self) -> bool:
        return self.verifier.random

    @torch.no_grad()
    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template:
        return self.verifier.enroll(reference, index, draw)

    @torch.no_grad()
    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        return self.verifier.score(probe, template, draw)


@dataclass(frozen=True)
class DecisionsOnly(ScoresOnly):
    """One that tells only its verdict: 1 for accepted and -1 for refused, so that 0 parts them.

    thresholds: float32 over all pairs of the set, indexed by global pair number; the service's own, never told.
    """

    identity = "verifier.decision_oracle"
    version = 1

    thresholds: Tensor

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        scores = super().score(probe, template, draw)
        accepted = scores > self.thresholds.to(template.index.device)[template.index]
        verdicts = torch.where(accepted, 1.0, -1.0).to(scores)
        return torch.where(scores.isnan(), scores, verdicts)  # no answer is neither yes nor no
