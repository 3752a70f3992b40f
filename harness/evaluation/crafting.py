"""Generates the adversarial images of an attacker, within the budget, and caches them in blocks of pairs.

Each block is an atomic file, so a killed run resumes at its last block, memory does not grow with the number of pairs,
and cells with the same attacker share their images. The key of a block describes what the attacker sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Attack, AttackResult, Budget, Draw, Goal, Images, Verifier, View
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.errors import ConfigError, Refused
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.part_contracts import check_result
from frbench.harness.core.verifiers import Averaged
from frbench.harness.evaluation.execution import Execution
from frbench.harness.evaluation.instrumentation import InstrumentedVerifier
from frbench.harness.evaluation.shards import Filled, Shard
from frbench.harness.images.delta_coding import decode, encode, is_based_on
from frbench.harness.metrics.perturbation import changed_shares, sizes
from frbench.harness.runtime.progress import over
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Unbounded

BLOCK_SIZE = 64  # pairs of a cache file: 10 MB as float32, less after delta coding and compression

_CACHE = "adversarial"  # kind of the images in the cache of a store
_ROUNDING = 1e-6  # tolerance of the range [0, 1] for float32
_VICTIM_DRAWS = 10  # draws of a random victim that compare the images of several views

# Per pair, beside the images: facts about the image that is kept, and the effort of all views together.
_SIZES = ("linf", "l2", "rms", "ssim", "saturated", "saturated_moved", "inner_moved")
_IMAGE_FACTS = ("achieved", "broken", "exceeded", "late_gain")
_EFFORT_FACTS = ("iterations", "queries", "gradients", "zero_gradients", "nonfinite_gradients")


class AttackedData(Protocol):
    """Pairs, or users' photos, that an attack changes. digest: of the images and the pairs."""

    @property
    def digest(self) -> str: ...

    def __len__(self) -> int: ...

    def batch(self, index: np.ndarray, device: torch.device | str = "cpu") -> PairBatch: ...


@dataclass(frozen=True)
class Block:
    """Adversarial images of some pairs.

    Attributes:
        index: global pair numbers (n,).
        images: float32 (n, 3, H, W).
        facts: arrays (n,). bool: achieved, broken (not finite), exceeded (outside the budget before projection).
            int64: iterations, queries and counts of gradients. float32: late_gain, see ``InstrumentedVerifier``, and
            sizes where ``Crafting`` measures them.
        generated: whether this run made the images.
    """

    index: np.ndarray
    images: Images
    facts: Mapping[str, np.ndarray]
    generated: bool


@dataclass(frozen=True)
class Crafting:
    """One attacker against one victim.

    An attacker with several views keeps, per pair, the images with the lowest loss on the ``victim``.

    with_sizes: whether the facts have what ``sizes`` and ``changed_shares`` return.
    """

    data: AttackedData
    views: Mapping[str, View]
    victim: Verifier
    attack: Attack
    goal: Goal
    budget: Budget
    execution: Execution
    with_sizes: bool = False

    @property
    def _image_facts(self) -> tuple[str, ...]:
        return (*_SIZES, *_IMAGE_FACTS) if self.with_sizes else _IMAGE_FACTS

    def keyed_views(self) -> dict[str, View]:
        """The distinct views, by cache key: data, view with its thresholds, attack, goal, budget, seed."""
        batch_size = self.execution.batch_size if self.attack.batch_dependent else None
        found = {}
        for view in self.views.values():
            if not self.attack.stops_early:  # then the margin changes nothing
                view = replace(view, margin=0.0)
            found[fingerprint(self.data.digest, view, self.attack, self.goal, self._budget(), batch_size)] = view
        return found

    def blocks(self, index: np.ndarray) -> Iterator[Block]:
        """Adversarial images of the pairs ``index``, from the cache or generated.

        Raises Refused: the attack needs gradients and a view has none.
        """
        self._check()
        views = self.keyed_views()
        for first in over(range(0, len(index), BLOCK_SIZE), "attack", "pairs", BLOCK_SIZE):
            part = index[first : first + BLOCK_SIZE]
            blocks = [self._block(key, view, part) for key, view in views.items()]
            yield blocks[0] if len(blocks) == 1 else self._strongest(blocks)

    def fill(self, index: np.ndarray, shard: Shard) -> Filled:
        """Put the blocks of ``shard`` of the pairs ``index`` into the cache, for every view.

        Raises Refused: the attack needs gradients and a view has none.
        """
        self._check()
        views, filled = self.keyed_views(), Filled()
        for first in over(shard.starts(len(index), BLOCK_SIZE), "attack", "pairs", BLOCK_SIZE):
            for key, view in views.items():
                made = self._block(key, view, index[first : first + BLOCK_SIZE]).generated
                filled += Filled(made, not made)
        return filled

    def images(self, attacked: np.ndarray, index: np.ndarray) -> Images:
        """Adversarial images (n, 3, H, W) of the pairs ``index``, in their order, from the blocks that hold them.

        attacked: the pairs of ``blocks``. Raises ConfigError: a pair is not among them.
        """
        others = np.setdiff1d(index, attacked)
        if len(others):
            raise ConfigError(
                f"pair {others[0]} is not attacked; take numbers from the column index of the pairs, such as "
                f"{', '.join(map(str, attacked[:3]))}"
            )
        parts = [attacked[first : first + BLOCK_SIZE] for first in range(0, len(attacked), BLOCK_SIZE)]
        wanted = [part for part in parts if np.isin(part, index).any()]
        found = {
            int(pair): image
            for part in wanted
            for block in self.blocks(part)
            for pair, image in zip(block.index, block.images, strict=True)
        }
        return torch.stack([found[int(pair)] for pair in index])

    def fresh(self, index: np.ndarray) -> Block:
        """Adversarial images of the pairs ``index``, neither from the cache nor written to it.

        Raises Refused: the attack needs gradients and a view has none.
        """
        self._check()
        blocks = [self._fresh(view, index) for view in self.views.values()]
        return blocks[0] if len(blocks) == 1 else self._strongest(blocks)

    def _fresh(self, view: View, index: np.ndarray) -> Block:
        arrays = self._generate(view, index, self.execution.batches_with_progress(len(index), "attack", "pairs"))
        facts = {name: arrays[name] for name in (*self._image_facts, *_EFFORT_FACTS)}
        return Block(index, torch.from_numpy(arrays["images"]), facts, generated=True)

    def _budget(self) -> Budget:
        return self.budget if self.attack.bounded else Unbounded()

    def _check(self) -> None:
        without = [name for name, view in self.views.items() if not view.verifier.differentiable]
        if self.attack.needs_gradient and without:
            raise Refused(
                f"{type(self.attack).__name__} needs gradients and the view '{without[0]}' has none; "
                "take a differentiable recognizer or relaxation, a transfer threat, or a black-box attack"
            )

    def _block(self, key: str, view: View, index: np.ndarray) -> Block:
        clean = self.data.batch(index).probe.numpy()

        def make() -> dict[str, np.ndarray]:
            arrays = self._generate(view, index, self.execution.batches(len(index)))
            images = arrays.pop("images")
            return arrays | encode(images, clean)

        name = _block_name(key, index)

        def usable(arrays: Mapping[str, np.ndarray]) -> bool:
            return is_based_on(arrays, clean) and arrays.keys() >= {*self._image_facts}

        arrays, made = self.execution.get_or_make(_CACHE, name, make, usable)
        facts = {name: arrays[name] for name in (*self._image_facts, *_EFFORT_FACTS)}
        return Block(index, torch.from_numpy(decode(arrays, clean)), facts, made)

    def _generate(self, view: View, index: np.ndarray, batches: Iterator[slice]) -> dict[str, np.ndarray]:
        device = self.execution.device
        parts = [self._attacked(view, self.data.batch(index[part], device)) for part in batches]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _attacked(self, view: View, batch: PairBatch) -> dict[str, np.ndarray]:
        budget = self._budget()
        instrumented = InstrumentedVerifier(view.verifier, batch.index, self.goal, view.queries)
        result = self.attack(replace(view, verifier=instrumented), batch, self.goal, budget)
        images, broken, exceeded = enforce_budget(self.attack, result, batch.probe, budget)
        images = images.contiguous()
        arrays = {
            "images": images,
            **(_sizes(batch.probe, images) if self.with_sizes else {}),
            "achieved": result.achieved & ~broken,
            "broken": broken,
            "exceeded": exceeded,
            "iterations": result.iterations,
        }
        return {name: tensor.cpu().numpy() for name, tensor in arrays.items()} | instrumented.facts()

    def _strongest(self, blocks: list[Block]) -> Block:
        """Per pair the images with the lowest loss on the victim, with the effort of all views."""
        index = blocks[0].index
        choice = torch.stack([self._victim_loss(block) for block in blocks]).argmin(dim=0)
        rows = torch.arange(len(index))
        facts = {
            name: np.stack([block.facts[name] for block in blocks])[choice.numpy(), rows.numpy()]
            for name in self._image_facts
        }
        facts |= {name: np.sum([block.facts[name] for block in blocks], axis=0) for name in _EFFORT_FACTS}
        images = torch.stack([block.images for block in blocks])[choice, rows]
        return Block(index, images, facts, generated=any(block.generated for block in blocks))

    @torch.no_grad()
    def _victim_loss(self, block: Block) -> Tensor:
        """The attacker's loss (n,) on the victim, averaged over draws that the judge does not use."""
        run, parts = self.execution, []
        draw = Draw(next(iter(self.views.values())).seed, Stream.QUERY)
        victim = Averaged(self.victim, _VICTIM_DRAWS) if self.victim.random else self.victim
        for part in run.batches(len(block.index)):
            batch = self.data.batch(block.index[part], run.device)
            template = victim.enroll(batch.reference, batch.index, draw)
            scores = victim.score(block.images[part].to(run.device), template, draw)
            parts.append(self.goal.loss(scores).cpu())
        return torch.cat(parts)


def cached_blocks(store: ResultStore, keys: Sequence[str], attacked: np.ndarray) -> list[np.ndarray]:
    """The pairs of each block whose images are in the cache, for all views.

    Args:
        keys: of ``Crafting.keyed_views``.
        attacked: the pairs of ``Crafting.blocks``.
    """
    parts = [attacked[first : first + BLOCK_SIZE] for first in range(0, len(attacked), BLOCK_SIZE)]
    return [part for part in parts if all(store.is_cached(_CACHE, _block_name(key, part)) for key in keys)]


def _block_name(key: str, index: np.ndarray) -> str:
    return f"{key}/{fingerprint(index)[:16]}"


class Enforced(NamedTuple):
    """Images within a budget.

    Attributes:
        images: float32 (N, 3, H, W).
        broken: bool (N,), where the attack returned NaN or infinity.
        exceeded: bool (N,), where the attack returned an image outside the budget or [0, 1].
    """

    images: Images
    broken: Tensor
    exceeded: Tensor


def _sizes(clean: Images, adversarial: Images) -> dict[str, Tensor]:
    return sizes(clean, adversarial) | changed_shares(clean, adversarial)


def enforce_budget(attack: Attack, result: AttackResult, clean: Images, budget: Budget) -> Enforced:
    """Project the images of ``result`` to ``budget`` and [0, 1].

    A row with NaN or infinity counts as a failed attack and becomes the clean image.

    Raises:
        FrbenchError: the attack did not return images of the right shape, dtype and device.
    """
    check_result(attack, result, clean)
    images = result.images.detach()
    broken = ~torch.isfinite(images).flatten(1).all(dim=1)
    whole = torch.where(broken[:, None, None, None], clean, images)
    outside = ((whole < -_ROUNDING) | (whole > 1 + _ROUNDING)).flatten(1).any(dim=1)
    return Enforced(budget.project(whole, clean), broken, (outside | ~budget.fits(whole, clean)) & ~broken)
