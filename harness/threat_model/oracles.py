"""Black-box access to a verifier: scores or labels, without gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from frbench.harness.core.contracts import Draw, Images, Scores, Template, Verifier


@dataclass(frozen=True)
class ScoresOnly:
    """Score-based access: the scores of ``verifier`` without gradients."""

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
    """Label-based access: 1 for accepted and -1 for rejected pairs, so that 0 separates them.

    Attributes:
        thresholds: the verifier's own, unknown to the attacker; float32 over all pairs, indexed by global pair number.
    """

    identity = "verifier.decision_oracle"
    version = 1

    thresholds: Tensor

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        scores = super().score(probe, template, draw)
        accepted = scores > self.thresholds.to(template.index.device)[template.index]
        verdicts = torch.where(accepted, 1.0, -1.0).to(scores)
        return torch.where(scores.isnan(), scores, verdicts)  # NaN means no answer
