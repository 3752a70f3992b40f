"""A verifier that jitters the alignment of probes at random, since detectors locate the same face differently."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import affine_grid, grid_sample

from frbench.harness.core.contracts import Draw, Images, Scores, Template, Verifier
from frbench.harness.core.counter_rng import normal
from frbench.harness.core.verifiers import Wrapping


@dataclass(frozen=True)
class AlignmentJitter(Wrapping):
    """Rotates, scales and shifts probes by normal noise before ``verifier`` scores them; references are unchanged.

    Attributes:
        verifier: scores the transformed probes.
        std: standard deviation of the shift in image sides, of the scale, and of the angle in radians; 0 for none.
    """

    identity = "verifier.alignment_jitter"
    version = 1

    verifier: Verifier
    std: float

    @property
    def random(self) -> bool:
        """Whether scores depend on the draw."""
        return self.std > 0 or self.verifier.random

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        """Scores (N,) of the transformed probes; each draw has its own transformation."""
        return self.verifier.score(self._jittered(probe, template, draw) if self.std else probe, template, draw)

    def _jittered(self, probe: Images, template: Template, draw: Draw) -> Images:
        scale, angle, x, y = (self.std * normal(template.index, draw, (4,))).to(probe.dtype).unbind(1)
        scale = scale + 1
        matrices = torch.stack([scale, -angle, 2 * x, angle, scale, 2 * y], dim=1).reshape(-1, 2, 3)
        grid = affine_grid(matrices, list(probe.shape), align_corners=False)
        return grid_sample(probe, grid, padding_mode="border", align_corners=False)
