"""Generates, per pair, the first image at each of several feature distances on the attacker's view, and caches it.

The blocks of the cache do not depend on thresholds, budget or defense, so every defended model judges the same images.
Each block is an atomic file, so a killed run resumes at its last block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from frbench.harness.core.contracts import Attack, AttackResult, Goal, Images, Scores, View
from frbench.harness.core.errors import Refused
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.multi_threshold import MultiThresholdRun, multi_threshold_run
from frbench.harness.evaluation.crafting import enforce_budget
from frbench.harness.evaluation.execution import Execution
from frbench.harness.evaluation.shards import WHOLE, Filled, Shard
from frbench.harness.images.delta_coding import decode, encode, is_based_on
from frbench.harness.runtime.progress import over
from frbench.harness.threat_model.budgets import Unbounded

_FORMAT = 2  # version of the cache files
BLOCK_SIZE = 64  # pairs of a cache file: 10 MB of float32 per distance before compression, less where images coincide


def score_thresholds(distances: Sequence[float]) -> Scores:
    """Cosines (Q,) above which two unit vectors are at most ``distances`` apart: ``|z - r|^2 = 2 - 2 c``.

    Each is rounded down to the next float32, because a threshold must be exceeded and a distance must not.
    """
    exact = 1 - torch.tensor(distances, dtype=torch.float64).square() / 2
    return torch.nextafter(exact.float(), torch.tensor(-torch.inf))


@dataclass(frozen=True)
class DistanceBlock:
    """Images of some pairs at Q feature distances.

    Attributes:
        index: global pair numbers (n,).
        images: the distinct images (R, 3, H, W) of all pairs.
        place: int64 (n, Q), the row of ``images`` that first reached each distance, -1 where none did.
        iterations: int64 (n, Q).
        broken, exceeded: bool (n,), whether any image had NaN or infinity, or values outside [0, 1].
        generated: whether this run made the images.
    """

    index: np.ndarray
    images: Images
    place: np.ndarray
    iterations: np.ndarray
    broken: np.ndarray
    exceeded: np.ndarray
    generated: bool

    @property
    def pair_rows(self) -> np.ndarray:
        """The row of ``index`` (R,) to which each image belongs."""
        return pair_rows(self.place)


def pair_rows(place: np.ndarray) -> np.ndarray:
    """The pair (R,) of each image in ``place`` (n, Q)."""
    rows = np.zeros(place.max(initial=-1) + 1, np.int64)
    pair, distance = np.nonzero(place >= 0)
    rows[place[pair, distance]] = pair
    return rows


@dataclass(frozen=True)
class DistanceCrafting:
    """One attacker with one view. distances: between unit vectors, in decreasing order."""

    pairs: PairSet
    view: View
    attack: Attack
    goal: Goal
    distances: Sequence[float]
    execution: Execution

    def key(self) -> str:
        """The key of the images in the cache: what the attacker sees, without thresholds and margin."""
        batch_size = self.execution.batch_size if self.attack.batch_dependent else None
        thresholds = score_thresholds(self.distances)
        return fingerprint(_FORMAT, self.pairs.digest, self._seen(), self.attack, self.goal, thresholds, batch_size)

    def fill(self, index: np.ndarray, shard: Shard) -> Filled:
        """Put the blocks of ``shard`` of the pairs ``index`` into the cache. Raises Refused: as ``blocks``."""
        made = [block.generated for block in self.blocks(index, shard)]
        return Filled(sum(made), len(made) - sum(made))

    def blocks(self, index: np.ndarray, shard: Shard = WHOLE) -> Iterator[DistanceBlock]:
        """Images of the pairs ``index``, from the cache or generated; those of one shard alone where it is given.

        Raises Refused: the attack supports no feature distances, or the view has no gradients.
        """
        run = multi_threshold_run(self.attack)
        if run is None or not self.view.verifier.differentiable:
            raise Refused(
                f"attack {type(self.attack).__name__} does not support protocol=feature_distance on this view; use "
                "attack=lots and a differentiable recognizer"
            )
        key, view = self.key(), self._seen()
        for first in over(shard.starts(len(index), BLOCK_SIZE), "attack", "pairs", BLOCK_SIZE):
            yield self._block(key, run, view, index[first : first + BLOCK_SIZE])

    def _seen(self) -> View:
        return replace(self.view, thresholds=torch.zeros_like(self.view.thresholds), margin=0.0)

    def _block(self, key: str, run: MultiThresholdRun, view: View, index: np.ndarray) -> DistanceBlock:
        probes = self.pairs.batch(index).probe.numpy()

        def make() -> dict[str, np.ndarray]:
            arrays = self._generate(run, view, index)
            images = arrays.pop("images")
            return arrays | encode(images, probes[pair_rows(arrays["place"])])

        name = f"{key}/{fingerprint(index)[:16]}"
        arrays, made = self.execution.get_or_make(
            "distance", name, make, lambda arrays: is_based_on(arrays, probes[pair_rows(arrays["place"])])
        )
        images = decode(arrays, probes[pair_rows(arrays["place"])])
        facts = {name: arrays[name] for name in ("place", "iterations", "broken", "exceeded")}
        return DistanceBlock(index, torch.from_numpy(images), generated=made, **facts)

    def _generate(self, run: MultiThresholdRun, view: View, index: np.ndarray) -> dict[str, np.ndarray]:
        parts, images = [], 0
        thresholds = score_thresholds(self.distances).to(self.execution.device)
        for rows in self.execution.batches(len(index)):
            batch = self.pairs.batch(index[rows], self.execution.device)
            part = _merge(self.attack, run(view, batch, self.goal, thresholds), batch)
            part["place"][part["place"] >= 0] += images
            images += len(part["images"])
            parts.append(part)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _merge(attack: Attack, results: Sequence[AttackResult], batch: PairBatch) -> dict[str, np.ndarray]:
    """The arrays of a ``DistanceBlock``. Images are clamped to [0, 1]; one with NaN or infinity reaches no distance."""
    enforced = [enforce_budget(attack, each, batch.probe, Unbounded()) for each in results]
    images, broken, exceeded = (torch.stack(parts, dim=1) for parts in zip(*enforced, strict=True))
    reached = torch.stack([each.achieved for each in results], dim=1) & ~broken
    distinct = reached.clone()
    distinct[:, 1:] &= ~(reached[:, :-1] & (images[:, 1:] == images[:, :-1]).flatten(2).all(dim=2))
    number = distinct.flatten().cumsum(0).view_as(reached) - 1  # the distances of a pair are adjacent
    arrays = {
        "images": images[distinct],
        "place": torch.where(reached, number, -1),
        "iterations": torch.stack([each.iterations for each in results], dim=1),
        "broken": broken.any(dim=1),
        "exceeded": exceeded.any(dim=1),
    }
    return {name: tensor.cpu().numpy() for name, tensor in arrays.items()}
