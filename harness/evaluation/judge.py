"""The victim's decisions on adversarial images, pair by pair, at its own thresholds.

A random victim decides several times, on draws that neither the attack nor the calibration used. Its score is the
median over an odd number of draws, so that "above the threshold" means "in most draws" at any threshold.

The method: docs/methods/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from frbench.harness.core.contracts import Budget, Goal, Images, Verifier
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.evaluation.crafting import Block
from frbench.harness.evaluation.execution import Execution
from frbench.harness.evaluation.postprocessed_block import PostprocessedBlock, postprocessed
from frbench.harness.evaluation.victim_scores import CleanBlock, Received, References, VictimScores
from frbench.harness.images.postprocessing import Postprocessed, Postprocessing
from frbench.harness.recognizers.metering import Meter
from frbench.harness.threat_model.budgets import L2, norm


@dataclass(frozen=True)
class Judge:
    """Scores images with the victim and compares the scores with its thresholds.

    Attributes:
        bounded: whether the attack keeps within ``budget``.
        thresholds, clean_scores: float (N,) over all pairs. Thresholds come from the clean scores of the other folds.
        num_draws: decisions of a random victim, an odd number; others decide once.
        postprocessing: transforms after which the images are judged again, by name.
        meter: times the decisions on adversarial images.
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
    meter: Meter = field(compare=False, default_factory=Meter)

    @cached_property
    def victim_scores(self) -> VictimScores:
        work = (self.victim, self.pairs, self.clean_scores, self.num_draws, self.postprocessing)
        return VictimScores(*work, self.execution)

    @torch.no_grad()
    def table(self, block: Block) -> pd.DataFrame:
        """One row per pair of ``block``. ``correct``: the defended victim decides the clean pair correctly."""
        clean = self.victim_scores.clean_block(block.index)
        received = postprocessed(block.images, self.postprocessing, self.execution)
        noise = self.victim_scores.noise(block.index, clean.references, self.budget) if self.bounded else None
        parts = [self._rows(block, part, clean, received, noise) for part in self.execution.batches(len(block.index))]
        return pd.concat(parts, ignore_index=True)

    def _rows(
        self, block: Block, part: slice, clean: CleanBlock, received: PostprocessedBlock, noise: Tensor | None
    ) -> pd.DataFrame:
        index, device = block.index[part], self.execution.device
        batch, images = self.pairs.batch(index, device), block.images[part].to(device)
        references, thresholds = clean.references.select(part), torch.from_numpy(self.thresholds[index])
        with self.meter.deciding(len(images) * len(references.draws)):
            draws = self.scores(images, batch, references)
        clean_draws = clean.scores[part]
        noise_draws = self.scores(self._noise(images, batch), batch, references) if noise is None else noise[part]
        fits = self.budget.fits(images, batch.probe).cpu()
        wins = self.goal.achieved(draws.double(), thresholds[:, None]) & fits[:, None]
        columns = {
            "index": index,
            **self.pairs.photo_names(index),
            "fold": self.pairs.fold[index],
            "same": self.pairs.same[index],
            "clean_score": median_over_draws(clean_draws).numpy(),
            "adversarial_score": median_over_draws(draws).numpy(),
            "noise_score": median_over_draws(noise_draws).numpy(),
            "threshold": self.thresholds[index],
            "correct": ~self.achieved(clean_draws, batch).numpy(),
            "success": (self.achieved(draws, batch) & fits).numpy(),
            "fits": fits.numpy(),
            "draws": draws.shape[1],
            "wins": wins.sum(dim=1).numpy(),
            "verdicts": (wins.long() << torch.arange(draws.shape[1])).sum(dim=1).numpy(),
            "clean_flips": self.goal.achieved(clean_draws.double(), thresholds[:, None]).sum(dim=1).numpy(),
            **{name: values[part] for name, values in block.facts.items()},
        }
        for name in self.postprocessing:
            columns |= self._after(name, received.rows(name, part, device), fits, batch, references)
            columns[f"clean_flips_{name}"] = self._flips(clean.received[name], part, batch)
        return pd.DataFrame(columns)

    def enroll(self, batch: PairBatch) -> References:
        return self.victim_scores.enroll(batch)

    def scores(self, images: Images, batch: PairBatch, references: References) -> Tensor:
        """Scores (n, draws) on the CPU."""
        return self.victim_scores.scores(images, batch, references)

    def achieved(self, scores: Tensor, batch: PairBatch) -> Tensor:
        """Whether the goal is achieved (n,) by the majority of the scores (n, draws)."""
        thresholds = torch.from_numpy(self.thresholds[batch.index.cpu().numpy()])
        return self.goal.achieved(median_over_draws(scores).double(), thresholds)

    def _noise(self, images: Images, batch: PairBatch) -> Images:
        """Random noise of the size of the budget, or of the attack's change where the attack is not bounded."""
        budget = self.budget if self.bounded else L2(norm(images - batch.probe).flatten())
        return self.victim_scores.with_noise(batch, budget)

    def _after(
        self, name: str, received: Postprocessed, fits: Tensor, batch: PairBatch, references: References
    ) -> dict[str, np.ndarray]:
        """Whether the goal is achieved after the transform ``name``, and whether a face was found."""
        achieved, found = self.achieved(self.scores(received.images, batch, references), batch), received.found.cpu()
        return {f"success_{name}": (achieved & found & fits).numpy(), f"found_{name}": found.numpy()}

    def _flips(self, received: Received, part: slice, batch: PairBatch) -> np.ndarray:
        """Clean probes (n,) for which a transform alone achieves the goal."""
        return (self.achieved(received.scores[part], batch) & received.found[part]).numpy()


def median_over_draws(scores: Tensor) -> Tensor:
    """Median (n,) of scores (n, draws), where the number of draws is odd."""
    return scores.median(dim=1).values


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
