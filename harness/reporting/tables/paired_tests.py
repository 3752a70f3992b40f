"""Tables of paired comparisons: two cells on the same pairs, with an exact test. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Protocol, TypeVar

from frbench.harness.metrics.confidence import PairedDifference
from frbench.harness.metrics.significance import LEVEL, exact_mcnemar, holm
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.tables.layout import facts, groups, percent, setting, signed, slug
from frbench.harness.reporting.tables.rendering import Cell, Table
from frbench.harness.storage.records import NULL, Record, label, measured, natural

_HEADER = (
    "budget",
    "same",
    "A",
    "B",
    "pairs",
    "ASR A %",
    "ASR B %",
    "only A",
    "only B",
    "A − B",
    "p",
    "p Holm",
    "verdict",
)
_CAPTION = (
    "Success of two cells on the same pairs: those counted in both, 'pairs'. 'only A' and 'only B': pairs that one won "
    "and the other did not. A − B in points [95 % interval of the paired difference, Newcombe]. p: exact McNemar test, "
    "two-sided; 'p Holm': corrected for all {count} comparisons of this table. A verdict names the higher success rate "
    f"where p Holm is at most {LEVEL}, and is '=' where the pairs do not tell the two apart."
)


@dataclass(frozen=True)
class Comparison:
    """Cells ``a`` and ``b``, named, which share a budget and ``same``, held against each other pair by pair."""

    budget: str
    same: str
    a: str
    b: str
    gap: PairedDifference

    @property
    def p(self) -> float:
        return exact_mcnemar(self.gap.only_a, self.gap.only_b)


def comparison_tables(records: Sequence[Record], outcomes: Outcomes) -> list[Table]:
    """Every pair of defenses under one attack, and of attacks on one defense, within each budget; a table for each
    dataset, recognizer, goal and threat model."""
    tables = []
    for group in groups([r for r in records if r["names"]["attack"] != NULL and measured(r, "attack")]):
        found = [
            *_comparisons(group, "attack", "defense", outcomes),
            *_comparisons(group, "defense", "attack", outcomes),
        ]
        if found:
            tables.append(tested(group, "paired", "Paired comparisons", _CAPTION, _HEADER, found, _row))
    return tables


class Tested(Protocol):
    """A comparison with the probability of as great a difference by chance."""

    @property
    def p(self) -> float: ...


_T = TypeVar("_T", bound=Tested)


def tested(
    group: Sequence[Record],
    name: str,
    title: str,
    caption: str,
    header: tuple[str, ...],
    found: Sequence[_T],
    row: Callable[[_T, float, float], tuple[Cell, ...]],
) -> Table:
    """A table of comparisons, each with its p and what Holm makes of it among them all, which ``caption`` counts."""
    p = [each.p for each in found]
    rows = tuple(row(*each) for each in zip(found, p, holm(p), strict=True))
    words = f"{title}: {label(group[0], 'goal')}, {setting(group[0])}"
    return Table(slug(name, group[0]), words, f"{caption.format(count=len(found))} {facts(group)}", header, rows, 4, 1)


def _comparisons(group: Sequence[Record], held: str, varied: str, outcomes: Outcomes) -> Iterator[Comparison]:
    for (budget, same), (a, one), (b, other) in meetings(group, held, varied):
        gap = outcomes.difference(one, other)
        if gap is not None:
            yield Comparison(budget, same, a, b, gap)


def meetings(
    group: Sequence[Record], held: str, varied: str
) -> Iterator[tuple[tuple[str, str], tuple[str, Record], tuple[str, Record]]]:
    """Pairs of cells that differ in ``varied`` alone: budget and what is the same, and each cell with its name."""

    def place(record: Record) -> tuple[str, str]:
        return label(record, "budget"), label(record, held)

    ranked = sorted(group, key=lambda r: [natural(name) for name in (*place(r), label(r, varied))])
    for (budget, same), here in groupby(ranked, key=place):
        for one, other in combinations(_named(list(here), varied), 2):
            if label(one[1], varied) != label(other[1], varied):
                yield (budget, f"{held} {same}"), one, other


def _named(records: Sequence[Record], noun: str) -> list[tuple[str, Record]]:
    """Records with their labels; results that share one are told apart by their fingerprints."""
    labels = [label(r, noun) for r in records]
    return [
        (f"{name} #{record['fingerprint'][:6]}" if labels.count(name) > 1 else name, record)
        for name, record in zip(labels, records, strict=True)
    ]


def _row(found: Comparison, p: float, corrected: float) -> tuple[Cell, ...]:
    gap = found.gap
    total = gap.both + gap.only_a + gap.only_b + gap.neither
    shares = (percent((gap.both + gap.only_a) / total), percent((gap.both + gap.only_b) / total))
    verdict = "=" if corrected > LEVEL else f"{'A' if gap.difference > 0 else 'B'} higher"
    texts = (found.budget, found.same, found.a, found.b, str(total), *shares, str(gap.only_a), str(gap.only_b))
    difference = Cell(signed(gap.difference), f"[{signed(gap.low)}, {signed(gap.high)}]")
    return (*(Cell(text) for text in texts), difference, Cell(chance(p)), Cell(chance(corrected)), Cell(verdict))


def chance(p: float) -> str:
    """A p-value in two significant digits, as a power of ten where it is very small."""
    return f"{p:.4f}" if p >= 0.001 else f"{p:.1e}"
