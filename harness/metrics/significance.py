"""Whether a difference between two cells can be chance: exact McNemar test, Holm's correction over a table. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

LEVEL = 0.05


def exact_mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p of as uneven a split of the pairs that only one of two attacks won, were both equally likely.

    (McNemar, Psychometrika 12, 1947, in its exact binomial form.) 1 where no pair tells them apart.
    """
    return float(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """p-values so corrected that rejecting those up to a level errs anywhere in the family at most that often.

    (Holm, Scandinavian Journal of Statistics 6, 1979.)
    """
    return [float(each) for each in multipletests(list(p), alpha=LEVEL, method="holm")[1]] if p else []
