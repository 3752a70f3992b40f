"""A verifier that sees each probe aligned a little otherwise every time, as detectors differ on where a face is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import affine_grid, grid_sample

from frbench.harness.core.contracts import Draw, Images, Scores, Template, Verifier
from frbench.harness.core.counter_rng import normal
from frbench.harness.core.verifiers import Wrapping


@dataclass(frozen=True)
class Realigned(Wrapping):
    """Probes turned, scaled and shifted by normal noise before ``verifier`` sees them; references as they are.

    spread: standard deviation of the shift in sides of the image, of the scale, and of the angle in radians; 0 for
    the verifier as it is.
    """

    identity = "verifier.alignment_jitter"
    version = 1

    verifier: Verifier
    spread: float

    @property
    def random(self) -> bool:
        return self.spread > 0 or self.verifier.random

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        seen = self._moved(probe, template, draw) if self.spread else probe
        return self.verifier.score(seen, template, draw)

    def _moved(self, probe: Images, template: Template, draw: Draw) -> Images:
        scale, turn, x, y = (self.spread * normal(template.index, draw, (4,))).to(probe.dtype).unbind(1)
        scale = scale + 1
        matrices = torch.stack([scale, -turn, 2 * x, turn, scale, 2 * y], dim=1).reshape(-1, 2, 3)
        grid = affine_grid(matrices, list(probe.shape), align_corners=False)
        return grid_sample(probe, grid, padding_mode="border", align_corners=False)
