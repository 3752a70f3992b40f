"""The bridge to torchattacks 3.5.1: a verification decision shown to it as two classes (specs/ensemble_attacks 7).

Only attacks that forward the whole batch in order are let through, because each row has its own reference.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from frbench.harness.budgets import L2, Linf
from frbench.harness.contracts import AttackResult, Budget, Draw, Goal, PairBatch, Scores, Template, View
from frbench.harness.errors import FrbenchError

_SCALE, _KAPPA, _OFFSET = 4.0, 0.5, 3.0  # spec 7.3: small enough not to saturate, offset keeps logits positive

_NORMS = {"FGSM": Linf, "BIM": Linf, "PGD": Linf, "MIFGSM": Linf, "PGDL2": L2}


class PairVerifier(nn.Module):
    """Verification as two classes, 0 match and 1 non-match, both logits moving with the image.

    ``forward(x (B, 3, H, W)) -> (B, 4)``: row i is compared with template row i, so order must be kept. Two dummy
    columns, always lowest, serve losses that look at the third and fourth class (spec 7.3).
    """

    def __init__(self, view: View, template: Template, threshold: Scores) -> None:
        super().__init__()
        self.view, self.template, self.threshold, self.calls = view, template, threshold, 0
        self.anchor = nn.Parameter(torch.zeros((), device=threshold.device), requires_grad=False)  # tells the device
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        if len(images) != len(self.template):
            raise FrbenchError(
                f"torchattacks forwarded {len(images)} images for {len(self.template)} pairs; "
                "this attack does not keep the batch in order, take one that does: " + ", ".join(_NORMS)
            )
        margin = self.view.score(images, self.template, self.calls) - self.threshold
        self.calls += 1
        size = margin.abs()
        return _SCALE * (_OFFSET + torch.stack([margin, -margin, -size - _KAPPA, -size - 2 * _KAPPA], dim=1))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Global random state of torch set to ``seed`` inside, and put back after."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_available() else []):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class TorchAttack:
    """An attack of torchattacks by ``name``, with its own ``params``; epsilon comes from the budget.

    Success is judged by us. Global random state is seeded from the view's seed and the batch's first pair, so
    images depend on the batch, and the batch is part of their key in the store.
    """

    name: str = "PGD"
    params: Mapping[str, Any] = field(default_factory=dict)

    needs_gradient = True
    bounded = True
    stops_early = False
    batch_dependent = True

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        template, aim = view.enroll(pairs), view.aim(goal, pairs.index)
        model = PairVerifier(view, template, aim)
        attack = self._library(model, budget)
        labels = (~pairs.same).to(torch.int64)  # the true class: an untargeted attack leaves it
        with seeded(view.seed * 1_000_003 + int(pairs.index[0])):
            images = attack(pairs.probe, labels).detach()
        with torch.no_grad():
            scores = view.verifier.score(images, template, Draw(view.seed, model.calls))
        counts = torch.full_like(pairs.index, model.calls)
        return AttackResult(images, goal.achieved(scores, aim), counts)

    def _library(self, model: PairVerifier, budget: Budget) -> Any:
        if self.name not in _NORMS:
            raise FrbenchError(f"attack.name={self.name} is not bridged; take one of {', '.join(_NORMS)}")
        wanted = _NORMS[self.name]
        if not isinstance(budget, Linf | L2) or not isinstance(budget, wanted) or isinstance(budget.radius, Tensor):
            raise FrbenchError(f"torchattacks' {self.name} takes one {wanted.__name__} radius, got {budget}")
        try:
            import torchattacks
        except ImportError as error:
            raise FrbenchError('attack=torchattacks needs the extra: pip install "frbench[torchattacks]"') from error
        kind = getattr(torchattacks, self.name)
        unknown = set(self.params) - set(inspect.signature(kind).parameters)
        if unknown:
            raise FrbenchError(
                f"attack.params: {self.name} has no {', '.join(sorted(unknown))}; "
                f"it takes {', '.join(list(inspect.signature(kind).parameters)[1:])}"
            )
        return kind(model, **{"eps": budget.radius, **self.params})
