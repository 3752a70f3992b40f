"""The victim's verdict on adversarial images, pair by pair, at its own thresholds and on its own draws.

A random victim is asked on several fresh draws that neither the attack nor the calibration has seen. Its score is the
median of the draws, so that with an odd number of them "above the threshold" means "in most draws" at any threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from frbench.harness.core.contracts import Budget, Draw, Goal, Images, Template, Verifier
from frbench.harness.core.counter_rng import Stream, normal
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.evaluation.crafting import Block
from frbench.harness.images.postprocessing import Survival
from frbench.harness.metrics.perturbation import sizes
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import L2, norm

_MOVED = 1e-6


class Enrolled(NamedTuple):
    """References as the victim keeps them, once for each draw of its verdict."""

    draws: list[Draw]
    templates: list[Template]


@dataclass(frozen=True)
class Judge:
    """thresholds, clean_scores: float (N,) over all pairs, from clean scores of the victim on the other folds.

    draws: verdicts on a random victim, odd; any other is asked once. survival: ways that an image takes to the
    victim, each judged beside the plain one. bounded: whether the attack kept to ``budget``.
    """

    victim: Verifier
    pairs: PairSet
    goal: Goal
    budget: Budget
    bounded: bool
    thresholds: np.ndarray
    clean_scores: np.ndarray
    draws: int
    survival: Mapping[str, Survival]
    store: ResultStore
    seed: int
    batch_size: int
    device: torch.device

    def table(self, block: Block) -> pd.DataFrame:
        """One row per pair of ``block``; a pair counts as ``correct`` by its clean score, behind the defense."""
        parts = [self._rows(block, first) for first in range(0, len(block.index), self.batch_size)]
        return pd.concat(parts, ignore_index=True)

    @torch.no_grad()
    def _rows(self, block: Block, first: int) -> pd.DataFrame:
        part = slice(first, first + self.batch_size)
        index = block.index[part]
        batch, images = self.pairs.batch(index, self.device), block.images[part].to(self.device)
        enrolled, thresholds = self.enroll(batch), torch.from_numpy(self.thresholds[index])
        draws = self.scores(images, batch, enrolled)
        clean = self._clean(batch, enrolled)
        achieved = self.goal.achieved(draws.double(), thresholds[:, None])
        fits = self.budget.fits(images, batch.probe).cpu()
        success = self.goal.achieved(_middle(draws).double(), thresholds) & fits
        noise = self.scores(self._noise(images, batch), batch, enrolled)
        columns = {
            "index": index,
            "fold": self.pairs.fold[index],
            "same": self.pairs.same[index],
            "clean_score": _middle(clean).numpy(),
            "adversarial_score": _middle(draws).numpy(),
            "noise_score": _middle(noise).numpy(),
            "threshold": self.thresholds[index],
            "correct": ~self.goal.achieved(_middle(clean).double(), thresholds).numpy(),
            "success": success.numpy(),
            "fits": fits.numpy(),
            "draws": draws.shape[1],
            "wins": (achieved & fits[:, None]).sum(dim=1).numpy(),
            "verdicts": ((achieved & fits[:, None]).long() << torch.arange(draws.shape[1])).sum(dim=1).numpy(),
            "clean_flips": self.goal.achieved(clean.double(), thresholds[:, None]).sum(dim=1).numpy(),
            **{name: values.cpu().numpy() for name, values in sizes(batch.probe, images).items()},
            **{name: values.cpu().numpy() for name, values in _movement(images, batch.probe).items()},
            **{name: values[part] for name, values in block.facts.items()},
            **self._survivals(images, fits, batch, enrolled),
        }
        return pd.DataFrame(columns)

    def enroll(self, batch: PairBatch) -> Enrolled:
        draws = [Draw(self.seed, Stream.JUDGING, k=k) for k in range(self.draws if self.victim.random else 1)]
        return Enrolled(draws, [self.victim.enroll(batch.reference, batch.index, draw) for draw in draws])

    def scores(self, images: Images, batch: PairBatch, enrolled: Enrolled) -> Tensor:
        """Scores (n, draws) on the CPU."""
        with torch.no_grad():
            each = [self.victim.score(images, kept, draw) for draw, kept in zip(*enrolled, strict=True)]
        return torch.stack(each, dim=1).cpu()

    def _clean(self, batch: PairBatch, enrolled: Enrolled) -> Tensor:
        """Calibration's draws do not judge: a random victim is asked again."""
        if self.victim.random:
            return self.scores(batch.probe, batch, enrolled)
        return torch.from_numpy(self.clean_scores[batch.index.cpu().numpy()])[:, None]

    def _noise(self, images: Images, batch: PairBatch) -> Images:
        """Random noise as large as the attack was allowed to be, or as it was where it had no limit."""
        budget = self.budget if self.bounded else L2(norm(images - batch.probe).flatten())
        direction = normal(batch.index, Draw(self.seed, Stream.CONTROL_NOISE), tuple(images.shape[1:]))
        return budget.around(batch.probe).step(batch.probe, direction.contiguous(memory_format=torch.channels_last), 1)

    def _survivals(self, images: Images, fits: Tensor, batch: PairBatch, enrolled: Enrolled) -> dict[str, np.ndarray]:
        columns = {}
        for name, way in self.survival.items():
            achieved, found = self._arriving(way, images, batch, enrolled)
            columns[f"survives_{name}"] = (achieved & found & fits).numpy()
            columns[f"found_{name}"] = found.numpy()
            columns[f"clean_flips_{name}"] = self._clean_arriving(way, batch, enrolled)
        return columns

    def _arriving(self, way: Survival, images: Images, batch: PairBatch, enrolled: Enrolled) -> tuple[Tensor, Tensor]:
        """Whether the goal is achieved (n,) after ``way``, and whether a face was found at all (n,)."""
        arrived = way(images)
        scores = _middle(self.scores(arrived.images, batch, enrolled)).double()
        thresholds = torch.from_numpy(self.thresholds[batch.index.cpu().numpy()])
        return self.goal.achieved(scores, thresholds), arrived.found.cpu()

    def _clean_arriving(self, way: Survival, batch: PairBatch, enrolled: Enrolled) -> np.ndarray:
        """Clean probes that ``way`` alone turns against the victim (n,): a control, worked out once and kept."""
        facts = (self.victim, way, self.goal, self.pairs.digest, batch.index, self.thresholds, self.seed, self.draws)
        key = fingerprint(*facts)
        kept = self.store.cached("survival", key)
        if kept is None:
            achieved, found = self._arriving(way, batch.probe, batch, enrolled)
            kept = {"flipped": (achieved & found).numpy()}
            self.store.cache("survival", key, kept)
        return kept["flipped"]


def _middle(draws: Tensor) -> Tensor:
    """Median (n,) of an odd number of draws (n, K)."""
    return draws.median(dim=1).values


def _movement(images: Images, clean: Images) -> dict[str, Tensor]:
    """Of each image (n,): the share of values at 0 or 1, and of those and of the others the share that moved."""
    moved = ((images - clean).abs() > _MOVED).flatten(1).float()
    saturated = ((clean == 0) | (clean == 1)).flatten(1).float()
    inner = 1 - saturated
    return {
        "saturated": saturated.mean(dim=1),
        "saturated_moved": (moved * saturated).sum(dim=1) / saturated.sum(dim=1).clamp_min(1),
        "inner_moved": (moved * inner).sum(dim=1) / inner.sum(dim=1).clamp_min(1),
    }


def pictures_of(pairs: PairSet, block: Block, table: pd.DataFrame, count: int) -> dict[str, np.ndarray]:
    """The first ``count`` pairs as float32 (n, H, W, 3) in [0, 1], clean, adversarial and reference, with scores."""
    rows = slice(0, count)
    index = block.index[rows]
    batch = pairs.batch(index)
    images = {"probe": batch.probe, "adversarial": block.images[rows], "reference": batch.reference}
    columns = ("index", "clean_score", "adversarial_score", "threshold", "success")
    return {
        **{name: each.permute(0, 2, 3, 1).numpy() for name, each in images.items()},
        **{name: table[name].to_numpy()[rows] for name in columns},
    }
