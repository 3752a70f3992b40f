"""View -> attack -> enforced budget; the one place that reads and writes the adversarial cache.

Images are kept in blocks of pairs, each an atomic file, so that a killed run goes on where it stopped, memory does not
grow with the number of pairs, and what one cell made every other cell finds. The key is what the attacker saw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from frbench.harness.budgets import Unbounded
from frbench.harness.contracts import (
    Attack,
    AttackResult,
    Budget,
    Draw,
    Goal,
    Images,
    PairBatch,
    PairSet,
    Verifier,
    View,
)
from frbench.harness.errors import Refused
from frbench.harness.fingerprints import fingerprint
from frbench.harness.progress import over
from frbench.harness.store import ResultStore

BLOCK = 256  # pairs in a file of the cache: 38 MB of float32


@dataclass(frozen=True)
class Block:
    """Adversarial images of some pairs. ``generated``: made by this run, not found."""

    index: np.ndarray
    images: Images
    achieved: np.ndarray
    iterations: np.ndarray
    queries: np.ndarray
    broken: np.ndarray
    generated: bool


@dataclass(frozen=True)
class Crafting:
    """One attacker at work. ``judge`` chooses between several views, per pair, by the attacker's own loss."""

    pairs: PairSet
    views: Mapping[str, View]
    judge: Verifier
    attack: Attack
    goal: Goal
    budget: Budget
    store: ResultStore
    batch_size: int
    device: torch.device

    def key(self) -> str:
        """What the attacker saw: data, views with their thresholds, attack, goal, budget, seed."""
        several = self.judge if len(self.views) > 1 else None
        batch = self.batch_size if self.attack.batch_dependent else None
        looks = list(self._looks().values())  # by what they show, whatever their names
        return fingerprint(self.pairs.digest, looks, several, self.attack, self.goal, self._own_budget(), batch)

    def blocks(self, index: np.ndarray) -> Iterator[Block]:
        """Adversarial images of the pairs ``index``, block by block, found or made."""
        self._refuse_the_impossible()
        key = self.key()
        for first in over(range(0, len(index), BLOCK), "attack", "pairs", BLOCK):
            yield self._block(key, index[first : first + BLOCK])

    def _looks(self) -> dict[str, View]:
        """The views as they matter: a margin only to an attack that stops at success."""
        if self.attack.stops_early:
            return dict(self.views)
        return {name: replace(view, margin=0.0) for name, view in self.views.items()}

    def _own_budget(self) -> Budget:
        return self.budget if self.attack.bounded else Unbounded()

    def _refuse_the_impossible(self) -> None:
        blind = [name for name, view in self.views.items() if not view.verifier.differentiable]
        if self.attack.needs_gradient and blind:
            raise Refused(
                f"{type(self.attack).__name__} needs gradients and the view '{blind[0]}' gives none; "
                "take a differentiable recognizer or relaxation, a transfer threat, or a black-box attack"
            )

    def _block(self, key: str, index: np.ndarray) -> Block:
        name = f"{key}/{fingerprint(index)[:16]}"
        with self.store.lock(f"block-{key[:32]}-{index[0]}"):
            kept = self.store.cached("adversarial", name)
            generated = kept is None
            if kept is None:
                kept = self._made(index)
                self.store.cache("adversarial", name, kept)
        rest = {part: kept[part] for part in ("achieved", "iterations", "queries", "broken")}
        return Block(index, torch.from_numpy(kept["images"]), **rest, generated=generated)

    def _made(self, index: np.ndarray) -> dict[str, np.ndarray]:
        parts = []
        for first in range(0, len(index), self.batch_size):
            batch = self.pairs.batch(index[first : first + self.batch_size], self.device)
            parts.append(self._attacked(batch))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _attacked(self, batch: PairBatch) -> dict[str, np.ndarray]:
        budget = self._own_budget()
        results = [self.attack(view, batch, self.goal, budget) for view in self._looks().values()]
        result = results[0] if len(results) == 1 else self._worst(results, batch)
        images, broken = enforced(result.images, batch.probe, budget)
        arrays = {
            "images": images.contiguous(),
            "achieved": result.achieved & ~broken,
            "iterations": result.iterations,
            "queries": result.queries,
            "broken": broken,
        }
        return {name: tensor.cpu().numpy() for name, tensor in arrays.items()}

    @torch.no_grad()
    def _worst(self, results: list[AttackResult], batch: PairBatch) -> AttackResult:
        """Per pair the result with the lowest loss before the judge; all the work is counted."""
        draw = Draw(next(iter(self.views.values())).seed, 0)
        template = self.judge.enroll(batch.reference, batch.index, draw)
        losses = torch.stack([self.goal.loss(self.judge.score(r.images, template, draw)) for r in results])
        choice = losses.argmin(dim=0)
        rows = torch.arange(len(batch), device=choice.device)
        return AttackResult(
            torch.stack([r.images for r in results])[choice, rows],
            torch.stack([r.achieved for r in results])[choice, rows],
            torch.stack([r.iterations for r in results]).sum(dim=0),
            torch.stack([r.queries for r in results]).sum(dim=0),
        )


def enforced(images: Images, clean: Images, budget: Budget) -> tuple[Images, Tensor]:
    """``images`` within ``budget`` whatever the attack returned, and which rows were not finite (N,) bool.

    A row with NaN or infinity is a failed attack: the clean image takes its place.
    """
    broken = ~torch.isfinite(images).flatten(1).all(dim=1)
    whole = torch.where(broken[:, None, None, None], clean, images)
    return budget.project(whole, clean), broken
