"""Adapter for torchattacks 3.5.1: the verification decision as a classifier with two classes.

Attacks that forward the whole batch in order get all pairs at once; the others get one pair at a time. The table of
``torchattacks_table`` says which is which.

The method: docs/methods/attacks_within_a_budget.md.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from frbench.attacks.torchattacks_table import ATTACKS, VERSION, LibraryAttack, Params
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Draw, Goal, Images, Scores, Template, View
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.errors import ConfigError, FrbenchError, Refused
from frbench.harness.core.face_data import PairBatch
from frbench.harness.threat_model.budgets import L2, Linf

_SCALE, _KAPPA, _OFFSET = 4.0, 0.5, 3.0  # small enough not to saturate; the offset keeps logits positive
_NO_ANSWER = 2.0  # margin in place of NaN: beyond that of any two unit vectors, on the side of the true class
_TOLERANCE = 1e-6  # of the class boundary beyond the aim, so that ties and float noise are no success
_MATCH, _OTHER = 0, 1


class PairVerifier(nn.Module):
    """Verification as a classifier with the classes 0, match, and 1, non-match.

    ``forward(x (B, 3, H, W)) -> (B, 4)`` compares row i with row i of the template, or every row with a template of
    one row. Two more logits, always the lowest, are for losses that use a third and a fourth class.

    Args:
        label: the class that the attack has to leave. A NaN score, as beyond a query limit, counts as this class. The
            view's last query is reserved for the final score.
    """

    def __init__(self, view: View, template: Template, threshold: Scores, label: int = _MATCH) -> None:
        super().__init__()
        self.view, self.template, self.threshold = view, template, threshold
        self.side = 1.0 if label == _MATCH else -1.0
        self.calls, self.asked = 0, 0
        self.anchor = nn.Parameter(
            torch.zeros((), device=threshold.device), requires_grad=False
        )  # gives the module a device
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        margin = self._margin(images)
        size = margin.abs()
        return _SCALE * (_OFFSET + torch.stack([margin, -margin, -size - _KAPPA, -size - 2 * _KAPPA], dim=1))

    def _margin(self, images: Images) -> Scores:
        template, threshold = self._beside(len(images))
        self.calls += 1
        self.asked += len(images) // len(self.template)
        if self.view.queries is not None and self.asked >= self.view.queries:
            margin = torch.full_like(threshold, torch.nan)
        else:
            margin = self.view.score(_laid_out(images), template, self.calls - 1) - threshold
        if images.requires_grad and not margin.requires_grad and self.view.verifier.differentiable:
            margin = margin + torch.zeros_like(images).mul(images).flatten(1).sum(
                dim=1
            )  # a zero gradient in place of none
        return torch.where(margin.isnan(), self.side * _NO_ANSWER, margin + self.side * _TOLERANCE)

    def _beside(self, count: int) -> tuple[Template, Scores]:
        """References and thresholds for ``count`` images."""
        if count == len(self.template):
            return self.template, self.threshold
        if len(self.template) > 1:
            raise FrbenchError(
                f"torchattacks forwarded {count} images for {len(self.template)} pairs, so rows are in a wrong order; "
                "use batch_size=1, and report this attack as one that needs single pairs"
            )
        rows = torch.zeros(count, dtype=torch.int64, device=self.threshold.device)
        return self.template[rows], self.threshold[rows]


def _laid_out(images: Images) -> Images:
    """The same images with a contiguous gradient whatever the network's layout, since some attacks call ``view``."""
    if not images.requires_grad:
        return images
    images = images.view_as(images)
    images.register_hook(lambda gradient: gradient.contiguous())
    return images


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds the global generators of torch and NumPy, and restores them afterwards."""
    before = np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_available() else []):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(before)


@dataclass(frozen=True)
class TorchAttack(Attack):
    """An attack of torchattacks; epsilon and norm come from the budget.

    Attributes:
        name: class name in torchattacks.
        params: constructor arguments; null for the library's defaults.

    Success is judged on the returned image; an image with NaN or infinity is replaced by the clean one. The global
    generators are seeded from the view's seed and the first pair of each call of the library, so attacks that get one
    pair at a time do not depend on the batch. Of the others, ``batch_dependent`` makes the batch part of their key.

    Raises:
        Refused: the attack cannot work on pairs.
        FrbenchError: a wrong name, parameter or budget.
    """

    identity = "attack.torchattacks"
    version = 1

    name: str = "PGD"
    params: Params | None = None

    def check_combination(self, where: str) -> None:
        """Check the names of the attack and of its parameters; without parameters, the library is not imported."""
        kind = self._kind
        if self.params and not kind.refused:
            self._check_params(_class(self.name), where)

    @property
    def needs_gradient(self) -> bool:
        return self._kind.needs_gradient

    @property
    def bounded(self) -> bool:
        return self._kind.bounded

    @property
    def stops_early(self) -> bool:
        return self._kind.stops_early

    @property
    def batch_dependent(self) -> bool:
        return self._kind.mixes or bool((self.params or {}).get("random_start", self._kind.random_start))

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        self._check_support(pairs)
        template, aim = view.enroll(pairs), view.aim(goal, pairs.index)
        every = torch.arange(len(pairs), device=pairs.index.device)
        groups = every.split(1 if self._kind.alone else len(pairs))
        parts = [self._attacked(view, pairs[rows], goal, budget, template[rows], aim[rows]) for rows in groups]
        images = torch.cat([part.images for part in parts]).contiguous(memory_format=torch.channels_last)
        achieved, counts = (torch.cat([getattr(part, name) for part in parts]) for name in ("achieved", "iterations"))
        return AttackResult(images, achieved, counts)

    def _attacked(
        self, view: View, pairs: PairBatch, goal: Goal, budget: Budget, template: Template, aim: Scores
    ) -> AttackResult:
        """Attack ``pairs`` in one call of the library."""
        clean = pairs.probe.contiguous()
        label = _left(goal, aim)
        model = PairVerifier(view, template, aim, label)
        seed = view.seed * 1_000_003 + int(pairs.index[0])
        attack = self._library(model, budget, seed)
        with seeded(seed), _parameter_errors(self.name):
            images = attack(clean, torch.full_like(pairs.index, label)).detach().clamp(0, 1)
        whole = torch.isfinite(images).flatten(1).all(dim=1)
        images = torch.where(whole[:, None, None, None], images, clean)
        with torch.no_grad():
            scores = view.verifier.score(images, template, Draw(view.seed, Stream.QUERY, model.calls))
        return AttackResult(images, goal.achieved(scores, aim), torch.full_like(pairs.index, model.calls))

    @property
    def _kind(self) -> LibraryAttack:
        if self.name not in ATTACKS:
            capital = {name.upper(): name for name in ATTACKS}
            near = [capital[name] for name in get_close_matches(self.name.upper(), capital)]
            raise ConfigError(
                f"attack.name={self.name} does not exist in torchattacks {VERSION}; use {' or '.join(near or ATTACKS)}"
            )
        return ATTACKS[self.name]

    def _check_support(self, pairs: PairBatch) -> None:
        if self._kind.refused:
            raise Refused(f"torchattacks' {self.name} cannot attack pairs: {self._kind.refused}")
        height, width = pairs.probe.shape[-2:]
        if self._kind.square and height != width:
            raise Refused(f"torchattacks' {self.name} needs square images, got {height}x{width}; use another attack")

    def _library(self, model: PairVerifier, budget: Budget, seed: int) -> Any:
        kind = _class(self.name)
        self._check_params(kind, "attack")
        of_budget, params = self._budget_params(budget), self.params or {}
        defaults = {"seed": seed} if "seed" in inspect.signature(kind).parameters else {}
        if self._kind.queries and model.view.queries is not None:
            defaults[self._kind.queries] = max(model.view.queries - self._kind.spare - 1, 1)
        with _parameter_errors(self.name):
            return kind(model, **{**defaults, **params, **self._kind.fixed, **of_budget})

    def _check_params(self, kind: Any, where: str) -> None:
        known, of_budget = list(inspect.signature(kind).parameters)[1:], self._kind.of_budget
        for name, value in (self.params or {}).items():
            if name not in known:
                raise ConfigError(f"{where}.params: {self.name} has no parameter {name}; use {', '.join(known)}")
            if name in of_budget:
                raise ConfigError(f"{where}.params: {self.name} takes its {name} from the budget; set budget= instead")
            if self._kind.fixed.get(name, value) != value:
                raise ConfigError(
                    f"{where}.params: got {name}={value}, but {self.name} supports pairs with "
                    f"{name}={self._kind.fixed[name]} only; leave it out"
                )

    def _budget_params(self, budget: Budget) -> dict[str, Any]:
        """Constructor arguments that ``budget`` sets; none where the attack is unbounded."""
        if not self._kind.bounded:
            return {}
        norm = self._kind.norms.get(type(budget))
        if norm is None or not isinstance(budget, Linf | L2) or isinstance(budget.radius, Tensor):
            wanted = " or ".join(kind.__name__ for kind in self._kind.norms)
            raise ConfigError(
                f"torchattacks' {self.name} needs a budget with one {wanted} radius, got {budget}; "
                "use budget=linf_* or l2_*"
            )
        return {self._kind.radius: budget.radius, **norm}


def _left(goal: Goal, aim: Scores) -> int:
    """The class that an untargeted attack has to leave: match, if the attacker wants a low score."""
    low, high = goal.loss(torch.stack([aim[0], aim[0] + 1]))
    return _MATCH if bool(low < high) else _OTHER


@contextmanager
def _parameter_errors(name: str) -> Iterator[None]:
    """Turns the library's errors about parameter values, in a constructor or in its loop, into one line."""
    try:
        yield
    except (ValueError, TypeError, AssertionError) as error:
        *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
        if not innermost.f_globals["__name__"].startswith("torchattacks"):
            raise  # such as an error of the recognizer
        said = " ".join(str(error).split()) or "an assertion failed"
        raise ConfigError(f"attack.params: torchattacks' {name} rejects these values: {said}") from error


def _class(name: str) -> Any:
    try:
        import torchattacks
    except ImportError as error:
        raise FrbenchError('attack=torchattacks needs the extra: pip install "frbench[torchattacks]"') from error
    if torchattacks.__version__ != VERSION:
        raise FrbenchError(
            f"attack=torchattacks knows release {VERSION}, got {torchattacks.__version__}; "
            f"pip install torchattacks=={VERSION}"
        )
    return getattr(torchattacks, name)
