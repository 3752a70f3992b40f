"""A whole cell on random images, and the random victim that stands in some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.contracts import Draw, Images, Recognizer, Verifier
from frbench.harness.core.counter_rng import normal
from frbench.harness.core.face_data import TestSet
from frbench.harness.core.verifiers import purified
from frbench.harness.evaluation.audit import Audit
from frbench.harness.evaluation.cell import Cell
from frbench.harness.protocols.verification import Verification
from frbench.harness.recognizers.metering import Meter, Metered
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Dodging
from frbench.harness.threat_model.threats import Oblivious


@dataclass(frozen=True)
class Noise:
    """A random purifier: Gaussian noise of the pair and the draw. ``draws`` remembers what it was asked for."""

    sigma: float = 0.15
    draws: list[Draw] = field(default_factory=list, compare=False, hash=False)
    differentiable = True
    random = True
    unclamped = True  # noise may leave [0, 1]

    def __call__(self, images: Images, index: torch.Tensor, draw: Draw) -> Images:
        self.draws.append(draw)
        return images + self.sigma * normal(index, draw, tuple(images.shape[1:]))


@dataclass(frozen=True)
class NoiseDefense:
    """A randomised victim, known to its attacker."""

    noise: Noise = field(default_factory=Noise)

    def protect(self, verifier: Verifier) -> Verifier:
        return purified(verifier, self.noise, "probe")

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": self.protect(verifier)}


@dataclass(frozen=True)
class NoDefense:
    def protect(self, verifier: Verifier) -> Verifier:
        return verifier

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": verifier}


def toy_cell(data: TestSet, recognizer: Recognizer, **changes: Any) -> Cell:
    """PGD at 2/255, dodging, no defense, but for what ``changes`` say."""
    meter = Meter()
    nouns = ("dataset", "recognizer", "attack", "goal", "budget", "threat", "defense", "protocol")
    standard = Cell(
        names=dict.fromkeys(nouns, "toy"),
        settings={},
        data=data,
        recognizer=Metered(recognizer, meter),
        attack=ProjectedDescent(steps=5),
        goal=Dodging(),
        budget=Linf(2 / 255),
        threat=Oblivious(),
        defense=NoDefense(),
        protocol=Verification(bootstrap=100, num_samples=2),
        audit=Audit(),
        seed=0,
        batch_size=16,
        device=torch.device("cpu"),
        meter=meter,
        allow_low_accuracy=True,  # random weights recognise nobody
    )
    return replace(standard, **changes)
