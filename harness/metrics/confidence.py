"""How sure a share is: Wilson's interval, an identity-clustered bootstrap, Newcombe's paired difference. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, bootstrap, quantile_test

from frbench.harness.core.errors import FrbenchError

Interval = tuple[float, float]
_UNKNOWN: Interval = (float("nan"), float("nan"))
_CHUNK = 4_000_000  # weights held in memory at once


@dataclass(frozen=True)
class PairedDifference:
    """Share of ``a`` minus share of ``b`` over the same pairs, with its interval and the four counts."""

    difference: float
    low: float
    high: float
    both: int
    only_a: int
    only_b: int
    neither: int


def wilson(successes: int, total: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of ``successes / total``; (NaN, NaN) where ``total`` is 0."""
    if total == 0:
        return _UNKNOWN
    interval = binomtest(int(successes), int(total)).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def clustered_bootstrap(
    success: ArrayLike, clusters: ArrayLike, resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Percentile interval of the share of successes when pairs share people: people are resampled, not pairs.

    success: bool (N,). clusters: int (N,) or (N, 2), the person, or both people, of each pair. Each resample draws as
    many people as there are, with replacement; a pair weighs c_i * c_j, the number of times its two people were
    drawn, and a pair of one person c_i. Resamples in which no pair is left are dropped. For pairs of two people
    the product is conservative: where no two pairs share anybody the interval is about sqrt(3) times
    as wide as that of independent pairs. (NaN, NaN) for no pairs or an unknown person (a negative number).
    """
    outcome, people = np.asarray(success, bool), np.asarray(clusters)
    people = people[:, None] if people.ndim == 1 else people
    if outcome.ndim != 1 or people.ndim != 2 or len(outcome) != len(people) or people.shape[1] > 2:
        raise FrbenchError(f"success {outcome.shape} and clusters {people.shape} must be (N,) and (N,) or (N, 2)")
    if not len(outcome) or (people < 0).any():
        return _UNKNOWN
    names, number = np.unique(people, return_inverse=True)
    number = number.reshape(people.shape)
    one = number[:, 0] == number[:, -1]
    draws, chance = np.random.default_rng(seed), np.full(len(names), 1 / len(names))
    step = max(1, _CHUNK // max(len(names), len(outcome)))
    shares = []
    for start in range(0, resamples, step):
        counts = draws.multinomial(len(names), chance, size=min(step, resamples - start))
        first = counts[:, number[:, 0]]
        weight = first * np.where(one, 1, counts[:, number[:, -1]])
        total = weight.sum(axis=1)
        shares.append(weight[total > 0][:, outcome].sum(axis=1) / total[total > 0])
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(shares), [tail, 1 - tail])
    return float(low), float(high)


def median_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Exact interval of the median of independent ``values`` (N,), infinite ones among them: two of their order
    statistics (SciPy's quantile test). Unknown where they are too few for ``level``."""
    found = np.asarray(values, np.float64)
    if not len(found):
        return _UNKNOWN
    limits = quantile_test(found, p=0.5).confidence_interval(level)
    return float(limits.low), float(limits.high)


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> PairedDifference:
    """Difference of two shares over the same pairs with Newcombe's hybrid score interval.

    (Statistics in Medicine 17, 1998, 2635-2650, method 10: Wilson limits of each share, joined by the corrected phi
    coefficient.) a, b: bool (N,). NaN for no pairs.
    """
    first, second = np.asarray(a, bool), np.asarray(b, bool)
    if first.shape != second.shape or first.ndim != 1:
        raise FrbenchError(f"a {first.shape} and b {second.shape} must both be (N,), pair by pair")
    total = len(first)
    both, only_a = int((first & second).sum()), int((first & ~second).sum())
    only_b = int((second & ~first).sum())
    neither = total - both - only_a - only_b
    if not total:
        return PairedDifference(float("nan"), *_UNKNOWN, 0, 0, 0, 0)
    share_a, share_b = (both + only_a) / total, (both + only_b) / total
    low_a, high_a = wilson(both + only_a, total, level)
    low_b, high_b = wilson(both + only_b, total, level)
    phi = _phi(both, only_a, only_b, neither)
    below, above = (share_a - low_a, high_b - share_b), (high_a - share_a, share_b - low_b)
    difference = share_a - share_b
    low, high = difference - _joined(*below, phi), difference + _joined(*above, phi)
    return PairedDifference(difference, low, high, both, only_a, only_b, neither)


def _phi(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Correlation of the two outcomes, drawn towards 0 by half a pair's product where it is positive."""
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    product = float(both * neither - only_a * only_b)
    if product > 0:
        product = max(product - (both + only_a + only_b + neither) / 2, 0)
    return product / sqrt(margins) if margins else 0.0


def _joined(x: float, y: float, phi: float) -> float:
    return sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))


def bootstrap_mean(values: ArrayLike, resamples: int = 2000, seed: int = 0, level: float = 0.95) -> Interval:
    """Percentile bootstrap interval (SciPy) of the mean of independent ``values`` (N,); unknown for fewer than two."""
    found = np.asarray(values, np.float64)
    if len(found) < 2:
        return _UNKNOWN
    generator = np.random.default_rng(seed)
    drawn = bootstrap(
        (found,), np.mean, n_resamples=resamples, confidence_level=level, method="percentile", random_state=generator
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)
