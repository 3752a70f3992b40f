"""Tables of paired sizes: which of two cells takes the larger change of an image, on the same pairs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frbench.harness.core.flags import Flag
from frbench.harness.metrics.confidence import median_interval
from frbench.harness.metrics.security_curves import median_size
from frbench.harness.metrics.significance import LEVEL, exact_mcnemar
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.tables.layout import groups
from frbench.harness.reporting.tables.paired_tests import chance, meetings, tested
from frbench.harness.reporting.tables.perturbation_sizes import spelled
from frbench.harness.reporting.tables.rendering import Cell, Table
from frbench.harness.storage.records import Record, measured

_HEADER = ("budget", "same", "A", "B", "pairs", "larger A", "larger B", "A / B", "p", "p Holm", "verdict")
_CAPTION = (
    "L2 of the change that success takes in two cells whose attacks stop at the decision boundary, on the same pairs: "
    "those counted in both, 'pairs'. A failure is infinite; an attack that keeps to a budget uses most of it. "
    "'larger A', 'larger B': pairs that take more in one than in the other. A / B: median over pairs of the ratio of "
    "both, 1 where both failed [exact 95 % interval]. p: exact sign test, two-sided; 'p Holm': corrected for all "
    "{count} comparisons of this table. A verdict names the cell that takes more where p Holm is at most "
    f"{LEVEL}, and is '=' where the pairs do not tell the two apart."
)


@dataclass(frozen=True)
class Ratios:
    """Sizes in cell ``a`` by those in ``b``, (N,), pair by pair; both share a budget and ``same``."""

    budget: str
    same: str
    a: str
    b: str
    of: NDArray[np.float64]

    @property
    def larger(self) -> tuple[int, int]:
        return int((self.of > 1).sum()), int((self.of < 1).sum())

    @property
    def p(self) -> float:
        """Of the sign test: of as uneven a split, were either cell as likely to take more."""
        return exact_mcnemar(*self.larger)


def size_comparison_tables(records: Sequence[Record], outcomes: Outcomes) -> list[Table]:
    """Every pair of defenses under one attack, and of attacks on one defense, within each budget."""
    tables = []
    for group in groups([r for r in records if Flag.BOUNDARY_ATTACK in r["flags"] and measured(r, "attack")]):
        found = [*_ratios(group, "attack", "defense", outcomes), *_ratios(group, "defense", "attack", outcomes)]
        if found:
            tables.append(tested(group, "paired-sizes", "Paired sizes", _CAPTION, _HEADER, found, _row))
    return tables


def _ratios(group: Sequence[Record], held: str, varied: str, outcomes: Outcomes) -> Iterator[Ratios]:
    for (budget, same), (a, one), (b, other) in meetings(group, held, varied):
        found = outcomes.sizes(one, other)
        if found is not None:
            yield Ratios(budget, same, a, b, ratios(*found))


def ratios(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """``first`` by ``second``, both (N,) and not negative; 1 where they are the same, infinite or 0 though they be."""
    with np.errstate(all="ignore"):
        return np.where(first == second, 1.0, first / second)


def _row(found: Ratios, p: float, corrected: float) -> tuple[Cell, ...]:
    more, less = found.larger
    verdict = "=" if corrected > LEVEL else f"{'A' if more > less else 'B'} larger"
    texts = (found.budget, found.same, found.a, found.b, str(len(found.of)), str(more), str(less))
    low, high = median_interval(found.of)
    bounds = "" if np.isnan(low) else f"[{spelled(low, 2)}, {spelled(high, 2)}]"
    ratio = Cell(spelled(median_size(found.of), 2), bounds)
    return (*(Cell(text) for text in texts), ratio, Cell(chance(p)), Cell(chance(corrected)), Cell(verdict))
