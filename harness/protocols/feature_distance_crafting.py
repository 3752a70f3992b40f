"""The first image of each pair at each feature distance of what the attacker sees: made once, and kept.

Kept in small blocks of pairs, each an atomic file, so that a killed run goes on where it stopped, memory does not grow
with the number of pairs, and every defended model judges the same images. The key is what the attacker saw, and
neither a threshold nor a budget nor the defense is part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from frbench.harness.core.contracts import Attack, AttackResult, Goal, Images, Scores, View
from frbench.harness.core.errors import Refused
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.evaluation.crafting import enforced
from frbench.harness.images.delta_coding import packed, unpacked
from frbench.harness.runtime.progress import over
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Unbounded

_KEPT = 2  # version of what a file of the cache holds
BLOCK = 64  # pairs in a file: 10 MB of float32 for each distance before compression, less where a step passes several


class Nested(Protocol):
    """What an attack offers as ``nested``: of one run, what runs to each of the scores ``aims`` (Q,) return."""

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, aims: Scores) -> list[AttackResult]: ...


def nested_of(attack: Attack) -> Nested | None:
    """That of ``attack``, if it has one."""
    found: Nested | None = getattr(attack, "nested", None)
    return found


def aims(distances: Sequence[float]) -> Scores:
    """Scores (Q,) beyond which two unit vectors are at most so far apart: ``|z - r|^2 = 2 - 2 c``.

    The next float32 below, since an aim is passed by what is greater and a distance is reached by what is equal.
    """
    exact = 1 - torch.tensor(distances, dtype=torch.float64).square() / 2
    return torch.nextafter(exact.float(), torch.tensor(-torch.inf))


@dataclass(frozen=True)
class Reached:
    """Images of some pairs. ``generated``: made by this run, not found.

    index: (n,) the pairs. images: (R, 3, H, W), different ones only. place: int64 (n, Q), which of them first reached
    each distance, -1 for none. iterations: int64 (n, Q). broken, exceeded: bool (n,), whether the attack returned NaN,
    or values outside [0, 1], at any distance.
    """

    index: np.ndarray
    images: Images
    place: np.ndarray
    iterations: np.ndarray
    broken: np.ndarray
    exceeded: np.ndarray
    generated: bool

    @property
    def owner(self) -> np.ndarray:
        """Row of ``index`` of each image, (R,)."""
        return owners(self.place)


def owners(place: np.ndarray) -> np.ndarray:
    """The pair (R,) of each image that ``place`` (n, Q) names."""
    rows = np.zeros(place.max(initial=-1) + 1, np.int64)
    pair, distance = np.nonzero(place >= 0)
    rows[place[pair, distance]] = pair
    return rows


@dataclass(frozen=True)
class Reaching:
    """One attacker at work on its one view, down to each of ``distances``, far to near."""

    pairs: PairSet
    view: View
    attack: Attack
    goal: Goal
    distances: Sequence[float]
    store: ResultStore
    batch_size: int
    device: torch.device

    def blocks(self, index: np.ndarray) -> Iterator[Reached]:
        """Images of the pairs ``index``, block by block, found or made."""
        nested = nested_of(self.attack)
        if nested is None or not self.view.verifier.differentiable:
            raise Refused(f"{type(self.attack).__name__} has no way to walk through this view; take attack=lots")
        look = replace(self.view, thresholds=torch.zeros_like(self.view.thresholds), margin=0.0)
        batch = self.batch_size if self.attack.batch_dependent else None
        key = fingerprint(_KEPT, self.pairs.digest, look, self.attack, self.goal, aims(self.distances), batch)
        for first in over(range(0, len(index), BLOCK), "attack", "pairs", BLOCK):
            yield self._block(key, nested, look, index[first : first + BLOCK])

    def _block(self, key: str, nested: Nested, look: View, index: np.ndarray) -> Reached:
        name = f"{key}/{fingerprint(index)[:16]}"
        with self.store.lock(f"block-{key[:32]}-{index[0]}"):
            kept = self.store.cached("reached", name)
            images = None if kept is None else unpacked(kept, self._clean(index, kept["place"]))
            generated = kept is None or images is None
            if kept is None or images is None:
                kept = self._made(nested, look, index)
                images = kept.pop("images")
                self.store.cache("reached", name, kept | packed(images, self._clean(index, kept["place"])))
        facts = {name: kept[name] for name in ("place", "iterations", "broken", "exceeded")}
        return Reached(index, torch.from_numpy(images), generated=generated, **facts)

    def _clean(self, index: np.ndarray, place: np.ndarray) -> np.ndarray:
        """The clean image (R, 3, H, W) of each image of ``place``."""
        clean: np.ndarray = self.pairs.batch(index).probe.numpy()[owners(place)]
        return clean

    def _made(self, nested: Nested, look: View, index: np.ndarray) -> dict[str, np.ndarray]:
        parts, made = [], 0
        goals = aims(self.distances).to(self.device)
        for first in range(0, len(index), self.batch_size):
            batch = self.pairs.batch(index[first : first + self.batch_size], self.device)
            part = _packed(self.attack, nested(look, batch, self.goal, goals), batch)
            part["place"][part["place"] >= 0] += made
            made += len(part["images"])
            parts.append(part)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _packed(attack: Attack, results: Sequence[AttackResult], batch: PairBatch) -> dict[str, np.ndarray]:
    """Fields of ``Reached``. Images are held to [0, 1] whatever the attack returned; one with NaN reached nothing."""
    whole = [enforced(attack, each, batch.probe, Unbounded()) for each in results]
    images, broken, exceeded = (torch.stack(parts, dim=1) for parts in zip(*whole, strict=True))
    reached = torch.stack([each.achieved for each in results], dim=1) & ~broken
    fresh = reached.clone()
    fresh[:, 1:] &= ~(reached[:, :-1] & (images[:, 1:] == images[:, :-1]).flatten(2).all(dim=2))
    number = fresh.flatten().cumsum(0).view_as(reached) - 1  # a pair's distances stand side by side, far to near
    arrays = {
        "images": images[fresh],
        "place": torch.where(reached, number, -1),
        "iterations": torch.stack([each.iterations for each in results], dim=1),
        "broken": broken.any(dim=1),
        "exceeded": exceeded.any(dim=1),
    }
    return {name: tensor.cpu().numpy() for name, tensor in arrays.items()}
