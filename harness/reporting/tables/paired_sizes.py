"""Tables of paired perturbation sizes: two boundary attacks on the same pairs, with an exact sign test. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frbench.harness.core.flags import Flag
from frbench.harness.metrics.security_curves import median_size
from frbench.harness.metrics.significance import LEVEL, exact_mcnemar
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.tables.layout import groups
from frbench.harness.reporting.tables.paired_tests import Layout, comparable, p_value
from frbench.harness.reporting.tables.perturbation_sizes import median_bounds, number
from frbench.harness.reporting.tables.rendering import Cell, Table
from frbench.harness.storage.records import Record, measured


@dataclass(frozen=True)
class SizeComparison:
    """Perturbation sizes in cell ``a`` divided by those in cell ``b``: ``ratios`` (N,), one per pair.

    Both cells have the same ``budget`` and ``fixed`` option.
    """

    budget: str
    fixed: str
    a: str
    b: str
    ratios: NDArray[np.float64]

    @property
    def larger(self) -> tuple[int, int]:
        """Number of pairs with a larger perturbation in ``a``, and in ``b``."""
        return int((self.ratios > 1).sum()), int((self.ratios < 1).sum())

    @property
    def p(self) -> float:
        """p-value of the exact sign test."""
        return exact_mcnemar(*self.larger)


def size_comparison_tables(records: Sequence[Record], outcomes: Outcomes) -> list[Table]:
    """All pairs of defenses for an attack and of attacks for a defense within each budget."""
    tables = []
    for group in groups([r for r in records if Flag.BOUNDARY_ATTACK in r["flags"] and measured(r, "attack")]):
        found = [
            *_comparisons(group, "attack", "defense", outcomes),
            *_comparisons(group, "defense", "attack", outcomes),
        ]
        if found:
            tables.append(_SIZES.table(group, found))
    return tables


def _comparisons(group: Sequence[Record], fixed: str, varied: str, outcomes: Outcomes) -> Iterator[SizeComparison]:
    for each in comparable(group, fixed, varied):
        found = outcomes.sizes(each.a, each.b)
        if found is not None:
            yield SizeComparison(each.budget, each.fixed, each.name_a, each.name_b, size_ratios(*found))


def size_ratios(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """``first / second`` of sizes (N,), at least 0; 1 for equal sizes, also if both are 0 or infinite."""
    with np.errstate(all="ignore"):
        return np.where(first == second, 1.0, first / second)


def _row(found: SizeComparison, p: float, corrected: float) -> tuple[Cell, ...]:
    larger_a, larger_b = found.larger
    result = "=" if corrected > LEVEL else f"{'A' if larger_a > larger_b else 'B'} larger"
    texts = (found.budget, found.fixed, found.a, found.b, str(len(found.ratios)), str(larger_a), str(larger_b))
    ratio = Cell(number(median_size(found.ratios), 2), median_bounds(found.ratios))
    return (*(Cell(text) for text in texts), ratio, Cell(p_value(p)), Cell(p_value(corrected)), Cell(result))


_SIZES = Layout(
    kind="paired-sizes",
    title="Paired comparisons of perturbation sizes",
    caption=(
        "L2 of the perturbations of two cells whose attacks stop at the decision boundary, on the same pairs: those "
        "attacked in both, 'pairs'. A failed attack is infinite; an attack within a budget uses most of it. 'larger "
        "A', 'larger B': pairs with the larger perturbation in that cell. A / B: median over pairs of the ratio, 1 "
        "if both failed [exact 95 % interval]. p: exact two-sided sign test; 'p Holm': corrected for all {count} "
        f"comparisons of this table. Result: the cell with larger perturbations if p Holm is at most {LEVEL}, else '='."
    ),
    header=("budget", "fixed", "A", "B", "pairs", "larger A", "larger B", "A / B", "p", "p Holm", "result"),
    row=_row,
)
