"""Confidence intervals: Wilson score, bootstrap over people, order statistics of a median, paired difference. Pure.

The method: docs/methods/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, bootstrap, quantile_test

from frbench.harness.core.errors import FrbenchError

Interval = tuple[float, float]
_UNKNOWN: Interval = (float("nan"), float("nan"))
_CACHED = 50_000  # intervals of counts in memory
_CHUNK = 4_000_000  # bootstrap weights in memory at once
_KEPT = 10_000_000  # bootstrap counts that are kept, in bytes, for each of a few numbers of people


@dataclass(frozen=True)
class PairedDifference:
    """Difference of two proportions over the same pairs, with its confidence interval and the 2x2 table.

    Attributes:
        difference: proportion of ``a`` minus proportion of ``b``, in [-1, 1].
        low: lower confidence limit of ``difference``.
        high: upper confidence limit of ``difference``.
        both: number of pairs where ``a`` and ``b`` are true.
        only_a: number of pairs where only ``a`` is true.
        only_b: number of pairs where only ``b`` is true.
        neither: number of pairs where neither is true.
    """

    difference: float
    low: float
    high: float
    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def total(self) -> int:
        """Number of pairs."""
        return self.both + self.only_a + self.only_b + self.neither


@lru_cache(_CACHED)
def wilson(successes: int, total: int, level: float = 0.95) -> Interval:
    """Wilson score interval of a proportion (Wilson, JASA 22, 1927).

    Args:
        successes: number of successes, from 0 to ``total``.
        total: number of trials.
        level: confidence level in (0, 1).

    Returns:
        Lower and upper limit in [0, 1]; (NaN, NaN) if ``total`` is 0.

    >>> low, high = wilson(25, 40)
    >>> print(f"{low:.4f} {high:.4f}")
    0.4703 0.7578
    """
    if total == 0:
        return _UNKNOWN
    interval = binomtest(int(successes), int(total)).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def clustered_bootstrap(
    success: ArrayLike, clusters: ArrayLike, resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of a success rate over pairs that share people.

    People are resampled, not pairs: each resample draws as many people as the data has, with replacement. A pair of
    two people has weight c_i * c_j, where c is how often a person was drawn; a pair of one person has weight c_i.
    Resamples of total weight 0 are dropped. For pairs of two people the interval is conservative: if no two pairs share
    a person, it is about sqrt(3) times as wide as the interval for independent pairs.

    Args:
        success: bool (N,).
        clusters: int (N,) or (N, 2), the person or the two people of each pair; negative if unknown.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.
        level: confidence level in (0, 1).

    Returns:
        Lower and upper limit in [0, 1]; (NaN, NaN) if there are no pairs or a person is unknown.

    Raises:
        FrbenchError: shapes do not match.

    >>> low, high = clustered_bootstrap([1, 1, 1, 0, 1, 0, 1, 1], [0, 0, 1, 1, 2, 2, 3, 3])
    >>> print(f"{low:.2f} {high:.2f}")
    0.50 1.00
    """
    outcome, people = np.asarray(success, bool), np.asarray(clusters)
    people = people[:, None] if people.ndim == 1 else people
    if outcome.ndim != 1 or people.ndim != 2 or len(outcome) != len(people) or people.shape[1] > 2:
        raise FrbenchError(f"success {outcome.shape} and clusters {people.shape} must be (N,) and (N,) or (N, 2)")
    if not len(outcome) or (people < 0).any():
        return _UNKNOWN
    names, number = np.unique(people, return_inverse=True)
    number = number.reshape(people.shape)
    two = number[:, 0] != number[:, -1]
    sides = np.stack([np.ones(len(outcome)), outcome])  # rows that sum the weights of all pairs, and of the successes
    shares = []
    for counts in _resampled(len(names), resamples, seed):
        total, wins = np.zeros((2, counts.shape[1]))
        step = max(1, _CHUNK // counts.shape[1])
        for rows in (slice(first, first + step) for first in range(0, len(outcome), step)):
            weight = counts[number[rows, 0]].astype(np.float64)  # whole numbers, whose sums are exact
            weight[two[rows]] *= counts[number[rows, -1][two[rows]]]
            found = sides[:, rows] @ weight
            total, wins = total + found[0], wins + found[1]
        shares.append(wins[total > 0] / total[total > 0])
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(shares), [tail, 1 - tail])
    return float(low), float(high)


def _resampled(people: int, resamples: int, seed: int) -> Iterable[np.ndarray]:
    """How often each person is drawn: unsigned (people, r), for all resamples together, r at a time."""
    kept = people * resamples <= _KEPT
    return _kept_counts(people, resamples, seed) if kept else _drawn_counts(people, resamples, seed)


@lru_cache(maxsize=16)  # cells with the same pairs, whatever the attack, have the same people
def _kept_counts(people: int, resamples: int, seed: int) -> list[np.ndarray]:
    return list(_drawn_counts(people, resamples, seed))


def _drawn_counts(people: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    draws, chance = np.random.default_rng(seed), np.full(people, 1 / people)
    step = max(1, _CHUNK // people)
    for start in range(0, resamples, step):
        counts = draws.multinomial(people, chance, size=min(step, resamples - start))
        yield np.ascontiguousarray(counts.T.astype(np.min_scalar_type(counts.max())))


def median_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Exact confidence interval of a median, from order statistics (SciPy's ``quantile_test``).

    Args:
        values: float (N,), independent; may be infinite.
        level: confidence level in (0, 1).

    Returns:
        Lower and upper limit, two of ``values``; NaN if there are too few values for ``level``.

    >>> median_interval(range(20))
    (5.0, 14.0)
    """
    found = np.asarray(values, np.float64)
    if not len(found):
        return _UNKNOWN
    limits = quantile_test(found, p=0.5).confidence_interval(level)
    return float(limits.low), float(limits.high)


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> PairedDifference:
    """Difference of two paired proportions with Newcombe's hybrid score interval.

    Wilson limits of each proportion, combined with the corrected phi coefficient (Newcombe, Statistics in Medicine 17,
    1998, pages 2635 to 2650, method 10).

    Args:
        a: bool (N,), for example the success of one attack on each pair.
        b: bool (N,), the same pairs in the same order.
        level: confidence level in (0, 1).

    Returns:
        Proportion of ``a`` minus proportion of ``b``; NaN with zero counts if N is 0.

    Raises:
        FrbenchError: shapes do not match.

    >>> found = paired_difference([1, 1, 1, 0, 1, 0, 1, 1], [0, 0, 1, 0, 1, 0, 0, 0])
    >>> print(f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}], {found.only_a} against {found.only_b}")
    +0.500 [+0.018, +0.752], 4 against 0
    """
    first, second = np.asarray(a, bool), np.asarray(b, bool)
    if first.shape != second.shape or first.ndim != 1:
        raise FrbenchError(f"a {first.shape} and b {second.shape} must both be (N,), pair by pair")
    total = len(first)
    both, only_a = int((first & second).sum()), int((first & ~second).sum())
    only_b = int((second & ~first).sum())
    return difference_of_counts(both, only_a, only_b, total - both - only_a - only_b, level)


@lru_cache(_CACHED)
def difference_of_counts(both: int, only_a: int, only_b: int, neither: int, level: float = 0.95) -> PairedDifference:
    """``paired_difference`` of the counts of a 2x2 table.

    Args:
        both: pairs on which both succeed.
        only_a: pairs on which ``a`` alone succeeds.
        only_b: pairs on which ``b`` alone succeeds.
        neither: pairs on which none succeeds.
        level: confidence level in (0, 1).

    >>> found = difference_of_counts(both=2, only_a=4, only_b=0, neither=2)
    >>> print(f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]")
    +0.500 [+0.018, +0.752]
    """
    total = both + only_a + only_b + neither
    if not total:
        return PairedDifference(float("nan"), *_UNKNOWN, 0, 0, 0, 0)
    share_a, share_b = (both + only_a) / total, (both + only_b) / total
    low_a, high_a = wilson(both + only_a, total, level)
    low_b, high_b = wilson(both + only_b, total, level)
    phi = _phi(both, only_a, only_b, neither)
    below, above = (share_a - low_a, high_b - share_b), (high_a - share_a, share_b - low_b)
    difference = share_a - share_b
    low, high = difference - _combined(*below, phi), difference + _combined(*above, phi)
    return PairedDifference(difference, low, high, both, only_a, only_b, neither)


def _phi(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Phi coefficient of the 2x2 table; if positive, with Newcombe's continuity correction of N / 2."""
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    product = float(both * neither - only_a * only_b)
    if product > 0:
        product = max(product - (both + only_a + only_b + neither) / 2, 0)
    return product / sqrt(margins) if margins else 0.0


def _combined(x: float, y: float, phi: float) -> float:
    return sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))


def bootstrap_mean(values: ArrayLike, resamples: int = 2000, seed: int = 0, level: float = 0.95) -> Interval:
    """Percentile bootstrap interval of a mean (SciPy's ``bootstrap``).

    Args:
        values: float (N,), independent.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.
        level: confidence level in (0, 1).

    Returns:
        Lower and upper limit; (NaN, NaN) for fewer than two values.

    >>> bootstrap_mean([0.5, 0.5, 0.5])
    (0.5, 0.5)
    """
    found = np.asarray(values, np.float64)
    if len(found) < 2:
        return _UNKNOWN
    generator = np.random.default_rng(seed)
    drawn = bootstrap(
        (found,), np.mean, n_resamples=resamples, confidence_level=level, method="percentile", random_state=generator
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)
