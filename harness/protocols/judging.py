"""The victim's verdict on adversarial images, pair by pair, at its own thresholds and on its own draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from frbench.harness.calibration import JUDGING
from frbench.harness.contracts import Budget, Draw, Goal, PairSet, Verifier
from frbench.harness.crafting import Block
from frbench.harness.sizes import sizes


@dataclass(frozen=True)
class Judge:
    """thresholds, clean_scores: float (N,) over all pairs, from clean scores of the victim on the other folds."""

    victim: Verifier
    pairs: PairSet
    goal: Goal
    budget: Budget
    thresholds: np.ndarray
    clean_scores: np.ndarray
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
        batch = self.pairs.batch(index, self.device)
        images = block.images[part].to(self.device)
        draw = Draw(self.seed, JUDGING)
        template = self.victim.enroll(batch.reference, batch.index, draw)
        adversarial = self.victim.score(images, template, draw)
        clean = torch.from_numpy(self.clean_scores[index])
        if self.victim.random:  # calibration's draws do not judge
            clean = self.victim.score(batch.probe, template, draw).cpu()
        thresholds = torch.from_numpy(self.thresholds[index])
        achieved = self.goal.achieved(adversarial.cpu().double(), thresholds)
        fits = self.budget.fits(images, batch.probe).cpu()
        columns = {
            "index": index,
            "fold": self.pairs.fold[index],
            "same": self.pairs.same[index],
            "clean_score": clean.numpy(),
            "adversarial_score": adversarial.cpu().numpy(),
            "threshold": self.thresholds[index],
            "correct": ~self.goal.achieved(clean.double(), thresholds).numpy(),
            "success": (achieved & fits).numpy(),
            "fits": fits.numpy(),
            **{name: values.cpu().numpy() for name, values in sizes(batch.probe, images).items()},
            **{name: getattr(block, name)[part] for name in ("iterations", "queries", "achieved", "broken")},
        }
        return pd.DataFrame(columns)


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
