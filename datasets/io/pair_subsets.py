"""Balanced subsets of pairs for calibration and for attacks, spread over the folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from frbench.harness.core.contracts import Draw
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import CalibrationPairs, EvenCount, Seed
from frbench.harness.core.errors import ConfigError, warn_once

_LEAST = {"limit": 2, "calibrate": 4}  # with four pairs two folds have both kinds, which thresholds need


@dataclass(frozen=True, kw_only=True)
class Subset:
    """The pairs of a data set that are used; a base of all data sets of pairs.

    Args:
        limit: number of pairs to attack, half genuine and half impostor; None for all.
        calibrate: number of clean pairs for thresholds and accuracy, including those to attack; None for all.
        seed: draws the pairs and the decoys.
    """

    limit: EvenCount | None = None
    calibrate: CalibrationPairs | None = None
    seed: Seed = 0

    def check_combination(self, where: str) -> None:
        self.check(getattr(self, "name", where))

    def check(self, name: str) -> None:
        """Raises ConfigError, before any image is decoded: the numbers cannot be balanced."""
        for field, least in _LEAST.items():
            value = getattr(self, field)
            if value is not None and (value < least or value % 2):
                raise ConfigError(
                    f"dataset {name}: {field}={value}, expected an even number of at least {least} "
                    "(half genuine, half impostor pairs) or null for all"
                )
        if self.calibrate is not None and self.limit is not None and self.limit > self.calibrate:
            raise ConfigError(
                f"dataset {name}: limit={self.limit} attacks more pairs than the calibrate={self.calibrate} that "
                "thresholds are set on; raise dataset.calibrate or lower dataset.limit"
            )

    def calibrated(self, name: str, same: np.ndarray, fold: np.ndarray) -> np.ndarray:
        """Sorted numbers (N,) of the pairs that thresholds are set on."""
        return balanced(name, same, fold, self.calibrate, self.seed, "calibrate")

    def attacked(self, name: str, same: np.ndarray, fold: np.ndarray) -> np.ndarray:
        """Sorted numbers (A,) of the pairs to attack, among those of ``calibrated``."""
        limit = self.calibrate if self.limit is None else self.limit
        return balanced(name, same, fold, limit, self.seed, "limit")


def balanced(
    name: str, same: np.ndarray, fold: np.ndarray, number: int | None, seed: int, field: str = "limit"
) -> np.ndarray:
    """Sorted pair numbers: half genuine and half impostor, spread over the folds; all if ``number`` is None.

    Of each kind every fold gives one random pair per round, the folds in a random order of that round: so folds
    differ by at most one, and a larger number contains a smaller one.
    """
    everything = np.arange(len(same))
    if number is None or number >= len(same):
        return everything
    each = min(number // 2, int(same.sum()), int((~same).sum()))
    if each == 0:
        raise ConfigError(f"dataset {name}: pairs of one kind only cannot be balanced; set dataset.{field}=null")
    if each < number // 2:
        warn_once(f"dataset {name}: {field}={number} lowered to {2 * each} to stay balanced")
    taken = [_in_rounds(np.flatnonzero(kind), fold, seed)[:each] for kind in (same, ~same)]
    return np.sort(np.concatenate(taken))


def _in_rounds(pairs: np.ndarray, fold: np.ndarray, seed: int) -> np.ndarray:
    """The pair numbers ``pairs``, reordered: in round r the r-th random pair of each fold."""
    shuffled = pairs[np.lexsort((pairs, chance(pairs, seed, Stream.PAIRS_OF_A_FOLD), fold[pairs]))]
    folds = fold[shuffled]
    turn = np.arange(len(folds)) - np.searchsorted(folds, folds)  # rank of the pair within its fold
    folds_chance = chance(turn * (int(fold.max()) + 1) + folds, seed, Stream.ORDER_OF_FOLDS)
    return shuffled[np.lexsort((folds, folds_chance, turn))]


def chance(index: np.ndarray, seed: int, stream: Stream, k: int = 0) -> np.ndarray:
    """Uniform numbers in [0, 1), float64 (n,), each a function of (seed, stream, k, index) alone."""
    return uniform(torch.from_numpy(index), Draw(seed, stream, k=k), (1,))[:, 0].numpy().astype(np.float64)
