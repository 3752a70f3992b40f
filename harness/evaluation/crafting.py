"""View -> attack -> enforced budget; the one place that reads and writes the adversarial cache.

Images are kept in blocks of pairs, each an atomic file, so that a killed run goes on where it stopped, memory does not
grow with the number of pairs, and what one cell made every other cell finds. The key is what the attacker saw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Attack, AttackResult, Budget, Draw, Goal, Images, Verifier, View
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.errors import Refused
from frbench.harness.core.face_data import PairBatch, TestSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.part_contracts import check_result
from frbench.harness.core.verifiers import Averaged
from frbench.harness.evaluation.instrumentation import Watched
from frbench.harness.images.delta_coding import packed, unpacked
from frbench.harness.runtime.progress import over
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Unbounded

BLOCK = 256  # pairs in a file of the cache: 38 MB of float32, stored as changes of the clean images, compressed

_NOISE = 1e-6  # of float32, beyond which an image is outside [0, 1]
_COMPARED = 10  # draws of a random judge by which the images of several views are compared


# What is known of each pair beside its images: of the image that was kept, and of the work that all views took.
_OF_THE_IMAGE = ("achieved", "broken", "exceeded", "late_gain")
_OF_THE_WORK = ("iterations", "queries", "gradients", "zero_gradients", "nonfinite_gradients")


@dataclass(frozen=True)
class Block:
    """Adversarial images of some pairs. ``generated``: made by this run, not found.

    facts: arrays (n,). achieved, broken (not finite) and exceeded (over the budget before it was enforced) are bool;
    iterations, queries and counts of gradients are int64; late_gain as ``Watched`` has it.
    """

    index: np.ndarray
    images: Images
    facts: Mapping[str, np.ndarray]
    generated: bool


@dataclass(frozen=True)
class Crafting:
    """One attacker at work. Of several views each pair keeps the worst, as ``judge`` scores the attacker's loss."""

    data: TestSet
    views: Mapping[str, View]
    judge: Verifier
    attack: Attack
    goal: Goal
    budget: Budget
    store: ResultStore
    batch_size: int
    device: torch.device

    def keys(self) -> dict[str, View]:
        """The views that differ, each under its key: data, view with its thresholds, attack, goal, budget, seed."""
        batch = self.batch_size if self.attack.batch_dependent else None
        found = {}
        for view in self.views.values():
            look = view if self.attack.stops_early else replace(view, margin=0.0)  # a margin only where one stops
            facts = (self.data.digest, [look], None, self.attack, self.goal, self._own_budget(), batch)
            found[fingerprint(*facts)] = look
        return found

    def blocks(self, index: np.ndarray) -> Iterator[Block]:
        """Adversarial images of the pairs ``index``, block by block, found or made."""
        self._refuse_the_impossible()
        keys = self.keys()
        for first in over(range(0, len(index), BLOCK), "attack", "pairs", BLOCK):
            part = index[first : first + BLOCK]
            each = [self._block(key, view, part) for key, view in keys.items()]
            yield each[0] if len(each) == 1 else self._worst(each)

    def _own_budget(self) -> Budget:
        return self.budget if self.attack.bounded else Unbounded()

    def _refuse_the_impossible(self) -> None:
        blind = [name for name, view in self.views.items() if not view.verifier.differentiable]
        if self.attack.needs_gradient and blind:
            raise Refused(
                f"{type(self.attack).__name__} needs gradients and the view '{blind[0]}' gives none; "
                "take a differentiable recognizer or relaxation, a transfer threat, or a black-box attack"
            )

    def _block(self, key: str, view: View, index: np.ndarray) -> Block:
        name, clean = f"{key}/{fingerprint(index)[:16]}", self.data.batch(index).probe.numpy()
        with self.store.lock(f"block-{key[:32]}-{index[0]}"):
            kept = self.store.cached("adversarial", name)
            images = None if kept is None else unpacked(kept, clean)
            generated = kept is None or images is None
            if kept is None or images is None:
                kept = self._made(view, index)
                images = kept.pop("images")
                self.store.cache("adversarial", name, kept | packed(images, clean))
        facts = {name: kept[name] for name in (*_OF_THE_IMAGE, *_OF_THE_WORK)}
        return Block(index, torch.from_numpy(images), facts, generated)

    def _made(self, view: View, index: np.ndarray) -> dict[str, np.ndarray]:
        parts = []
        for first in range(0, len(index), self.batch_size):
            batch = self.data.batch(index[first : first + self.batch_size], self.device)
            parts.append(self._attacked(view, batch))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _attacked(self, view: View, batch: PairBatch) -> dict[str, np.ndarray]:
        budget = self._own_budget()
        watched = Watched(view.verifier, batch.index, self.goal, view.queries)
        result = self.attack(replace(view, verifier=watched), batch, self.goal, budget)
        images, broken, exceeded = enforced(self.attack, result, batch.probe, budget)
        arrays = {
            "images": images.contiguous(),
            "achieved": result.achieved & ~broken,
            "broken": broken,
            "exceeded": exceeded,
            "iterations": result.iterations,
        }
        return {name: tensor.cpu().numpy() for name, tensor in arrays.items()} | watched.facts()

    def _worst(self, blocks: list[Block]) -> Block:
        """Per pair the images with the lowest loss before the judge; the work of all is counted."""
        index = blocks[0].index
        choice = torch.stack([self._losses(block) for block in blocks]).argmin(dim=0)
        rows = torch.arange(len(index))
        facts = {
            name: np.stack([block.facts[name] for block in blocks])[choice.numpy(), rows.numpy()]
            for name in _OF_THE_IMAGE
        }
        facts |= {name: np.sum([block.facts[name] for block in blocks], axis=0) for name in _OF_THE_WORK}
        images = torch.stack([block.images for block in blocks])[choice, rows]
        return Block(index, images, facts, generated=any(block.generated for block in blocks))

    @torch.no_grad()
    def _losses(self, block: Block) -> Tensor:
        """The attacker's loss (n,) before the judge, in the mean of crafting's draws and never of the verdict's."""
        draw = Draw(next(iter(self.views.values())).seed, Stream.QUERY)
        judge = Averaged(self.judge, _COMPARED) if self.judge.random else self.judge
        parts = []
        for first in range(0, len(block.index), self.batch_size):
            part = slice(first, first + self.batch_size)
            batch = self.data.batch(block.index[part], self.device)
            template = judge.enroll(batch.reference, batch.index, draw)
            scores = judge.score(block.images[part].to(self.device), template, draw)
            parts.append(self.goal.loss(scores).cpu())
        return torch.cat(parts)


class Enforced(NamedTuple):
    """Images (N, 3, H, W) within the budget; of which rows (N,) the attack returned NaN or infinity, or too much."""

    images: Images
    broken: Tensor
    exceeded: Tensor


def enforced(attack: Attack, result: AttackResult, clean: Images, budget: Budget) -> Enforced:
    """The images of ``result`` within ``budget`` and [0, 1], whatever ``attack`` returned.

    A row with NaN or infinity is a failed attack: the clean image takes its place. Raises FrbenchError: the attack
    returned something else than images.
    """
    check_result(attack, result, clean)
    images = result.images.detach()
    broken = ~torch.isfinite(images).flatten(1).all(dim=1)
    whole = torch.where(broken[:, None, None, None], clean, images)
    outside = ((whole < -_NOISE) | (whole > 1 + _NOISE)).flatten(1).any(dim=1)
    return Enforced(budget.project(whole, clean), broken, (outside | ~budget.fits(whole, clean)) & ~broken)
