"""Scores of genuine and impostor pairs, like those of a recognizer and with ties."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st


def verification_scores(
    pairs: int = 6000, folds: int = 10, spread: float = 0.15, seed: int = 0
) -> tuple[np.ndarray, ...]:
    """Scores like those of a recognizer, half genuine, in the order of the official folds."""
    rng = np.random.default_rng(seed)
    same = np.tile(np.repeat([True, False], pairs // folds // 2), folds)
    scores = np.where(same, rng.normal(0.6, spread, pairs), rng.normal(0.0, 0.1, pairs))
    return scores, same, np.arange(pairs) * folds // pairs


@st.composite
def pairs_with_ties(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Few distinct scores, so that ties are common, of at least one pair of each kind."""
    values = draw(st.lists(st.integers(-5, 5), min_size=2, max_size=25))
    same = draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    same[0], same[-1] = True, False
    return np.array(values) / 5, np.array(same)


def accuracy_at(threshold: float, scores: np.ndarray, same: np.ndarray) -> float:
    """Accuracy of a decision at ``threshold``."""
    return float(((scores > threshold) == same).mean())
