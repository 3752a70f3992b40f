"""The victim's decisions on adversarial images, pair by pair, at its own thresholds.

A random victim decides several times, on draws that neither the attack nor the calibration used. Its score is the
median over an odd number of draws, so that "above the threshold" means "in most draws" at any threshold.

The method: docs/methods/evaluation.md.
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
from frbench.harness.evaluation.execution import Execution
from frbench.harness.images.postprocessing import Postprocessing
from frbench.harness.metrics.perturbation import sizes
from frbench.harness.threat_model.budgets import L2, norm

_CHANGED = 1e-6  # least change of a value that counts


class References(NamedTuple):
    """References enrolled by the victim, one template per draw."""

    draws: list[Draw]
    templates: list[Template]

    def select(self, rows: Tensor) -> References:
        """The references of the pairs ``rows``."""
        return References(self.draws, [template[rows] for template in self.templates])


@dataclass(frozen=True)
class Judge:
    """Scores images with the victim and compares the scores with its thresholds.

    Attributes:
        bounded: whether the attack keeps within ``budget``.
        thresholds, clean_scores: float (N,) over all pairs. Thresholds come from the clean scores of the other folds.
        num_draws: decisions of a random victim, an odd number; others decide once.
        postprocessing: transforms after which the images are judged again, by name.
    """

    victim: Verifier
    pairs: PairSet
    goal: Goal
    budget: Budget
    bounded: bool
    thresholds: np.ndarray
    clean_scores: np.ndarray
    num_draws: int
    postprocessing: Mapping[str, Postprocessing]
    execution: Execution

    def table(self, block: Block) -> pd.DataFrame:
        """One row per pair of ``block``. ``correct``: the defended victim decides the clean pair correctly."""
        parts = [self._rows(block, part) for part in self.execution.batches(len(block.index))]
        return pd.concat(parts, ignore_index=True)

    @torch.no_grad()
    def _rows(self, block: Block, part: slice) -> pd.DataFrame:
        index, device = block.index[part], self.execution.device
        batch, images = self.pairs.batch(index, device), block.images[part].to(device)
        references, thresholds = self.enroll(batch), torch.from_numpy(self.thresholds[index])
        draws = self.scores(images, batch, references)
        clean = self.clean(batch, references)
        noise = self.scores(self._noise(images, batch), batch, references)
        fits = self.budget.fits(images, batch.probe).cpu()
        wins = self.goal.achieved(draws.double(), thresholds[:, None]) & fits[:, None]
        columns = {
            "index": index,
            "fold": self.pairs.fold[index],
            "same": self.pairs.same[index],
            "clean_score": median_over_draws(clean).numpy(),
            "adversarial_score": median_over_draws(draws).numpy(),
            "noise_score": median_over_draws(noise).numpy(),
            "threshold": self.thresholds[index],
            "correct": ~self.achieved(clean, batch).numpy(),
            "success": (self.achieved(draws, batch) & fits).numpy(),
            "fits": fits.numpy(),
            "draws": draws.shape[1],
            "wins": wins.sum(dim=1).numpy(),
            "verdicts": (wins.long() << torch.arange(draws.shape[1])).sum(dim=1).numpy(),
            "clean_flips": self.goal.achieved(clean.double(), thresholds[:, None]).sum(dim=1).numpy(),
            **{name: values.cpu().numpy() for name, values in sizes(batch.probe, images).items()},
            **{name: values.cpu().numpy() for name, values in _changed_shares(images, batch.probe).items()},
            **{name: values[part] for name, values in block.facts.items()},
            **self._postprocessed(images, fits, batch, references),
        }
        return pd.DataFrame(columns)

    def enroll(self, batch: PairBatch) -> References:
        count = self.num_draws if self.victim.random else 1
        draws = [Draw(self.execution.seed, Stream.JUDGING, k=k) for k in range(count)]
        return References(draws, [self.victim.enroll(batch.reference, batch.index, draw) for draw in draws])

    def scores(self, images: Images, batch: PairBatch, references: References) -> Tensor:
        """Scores (n, draws) on the CPU."""
        with torch.no_grad():
            each = [self.victim.score(images, template, draw) for draw, template in zip(*references, strict=True)]
        return torch.stack(each, dim=1).cpu()

    def clean(self, batch: PairBatch, references: References) -> Tensor:
        """Scores (n, draws) of the clean probes. A random victim scores them again, on the draws of its decisions."""
        if self.victim.random:
            return self.scores(batch.probe, batch, references)
        return torch.from_numpy(self.clean_scores[batch.index.cpu().numpy()])[:, None]

    def achieved(self, scores: Tensor, batch: PairBatch) -> Tensor:
        """Whether the goal is achieved (n,) by the majority of the scores (n, draws)."""
        thresholds = torch.from_numpy(self.thresholds[batch.index.cpu().numpy()])
        return self.goal.achieved(median_over_draws(scores).double(), thresholds)

    def _noise(self, images: Images, batch: PairBatch) -> Images:
        """Random noise of the size of the budget, or of the attack's change where the attack is not bounded."""
        budget = self.budget if self.bounded else L2(norm(images - batch.probe).flatten())
        direction = normal(batch.index, Draw(self.execution.seed, Stream.CONTROL_NOISE), tuple(images.shape[1:]))
        return budget.around(batch.probe).step(batch.probe, direction.contiguous(memory_format=torch.channels_last), 1)

    def _postprocessed(
        self, images: Images, fits: Tensor, batch: PairBatch, references: References
    ) -> dict[str, np.ndarray]:
        columns = {}
        for name, transform in self.postprocessing.items():
            achieved, found = self._decide_after(transform, images, batch, references)
            columns[f"success_{name}"] = (achieved & found & fits).numpy()
            columns[f"found_{name}"] = found.numpy()
            columns[f"clean_flips_{name}"] = self._clean_flips(transform, batch, references)
        return columns

    def _decide_after(
        self, transform: Postprocessing, images: Images, batch: PairBatch, references: References
    ) -> tuple[Tensor, Tensor]:
        """Whether the goal is achieved after ``transform`` (n,), and whether a face was found (n,)."""
        received = transform(images)
        return self.achieved(self.scores(received.images, batch, references), batch), received.found.cpu()

    def _clean_flips(self, transform: Postprocessing, batch: PairBatch, references: References) -> np.ndarray:
        """Clean probes (n,) for which ``transform`` alone achieves the goal; cached."""

        def make() -> dict[str, np.ndarray]:
            achieved, found = self._decide_after(transform, batch.probe, batch, references)
            return {"flipped": (achieved & found).numpy()}

        deciders = (self.victim, transform, self.goal, self.pairs.digest, batch.index, self.thresholds)
        key = fingerprint(*deciders, self.execution.seed, self.num_draws)
        return self.execution.get_or_make("postprocessing", key, make).arrays["flipped"]


def median_over_draws(scores: Tensor) -> Tensor:
    """Median (n,) of scores (n, draws), where the number of draws is odd."""
    return scores.median(dim=1).values


def _changed_shares(images: Images, clean: Images) -> dict[str, Tensor]:
    """Per image (n,): the share of values at 0 or 1, and the shares of these and of the other values that changed."""
    changed = ((images - clean).abs() > _CHANGED).flatten(1).float()
    saturated = ((clean == 0) | (clean == 1)).flatten(1).float()
    inner = 1 - saturated
    return {
        "saturated": saturated.mean(dim=1),
        "saturated_moved": (changed * saturated).sum(dim=1) / saturated.sum(dim=1).clamp_min(1),
        "inner_moved": (changed * inner).sum(dim=1) / inner.sum(dim=1).clamp_min(1),
    }


def sample_images(pairs: PairSet, block: Block, table: pd.DataFrame, count: int) -> dict[str, np.ndarray]:
    """The first ``count`` pairs of ``block``: probe, adversarial and reference images with their scores.

    Images are float32 (n, H, W, 3) in [0, 1].
    """
    rows = slice(0, count)
    index = block.index[rows]
    batch = pairs.batch(index)
    images = {"probe": batch.probe, "adversarial": block.images[rows], "reference": batch.reference}
    columns = ("index", "clean_score", "adversarial_score", "threshold", "success")
    return {
        **{name: each.permute(0, 2, 3, 1).numpy() for name, each in images.items()},
        **{name: table[name].to_numpy()[rows] for name in columns},
    }
