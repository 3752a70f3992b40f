"""Significance tests: exact McNemar test and Holm's correction for multiple comparisons. Pure.

The method: docs/methods/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar

LEVEL = 0.05


@lru_cache(50_000)
def exact_mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact McNemar test of two paired proportions (McNemar, Psychometrika 12, 1947, in binomial form).

    With counts of positive and of negative differences it is the exact sign test.

    Args:
        only_a: number of pairs where only the first is a success.
        only_b: number of pairs where only the second is a success.

    Returns:
        p-value in [0, 1]; 1 if both counts are 0.

    >>> print(f"{exact_mcnemar(4, 0):.3f}")
    0.125
    """
    return float(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p-values (Holm, Scandinavian Journal of Statistics 6, 1979).

    Rejecting the corrected p-values up to a level bounds the family-wise error rate by that level.

    Args:
        p: p-values in [0, 1].

    Returns:
        Corrected p-values in the same order.

    >>> [round(each, 3) for each in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    ranked, order = np.sort(np.asarray(p, float)), np.argsort(p)
    corrected = np.empty(len(ranked))
    corrected[order] = np.minimum(np.maximum.accumulate(ranked * np.arange(len(ranked), 0, -1)), 1)
    return [float(each) for each in corrected]  # statsmodels collects garbage at each call: seconds for many records
