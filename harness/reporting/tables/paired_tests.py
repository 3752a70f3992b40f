"""Tables of paired comparisons: the success rates of two cells on the same pairs, with an exact McNemar test. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, groupby
from typing import Generic, NamedTuple, Protocol, TypeVar

from frbench.harness.metrics.confidence import PairedDifference
from frbench.harness.metrics.significance import LEVEL, exact_mcnemar, holm
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.tables.layout import groups, percent, setting, settings_caption, signed, slug
from frbench.harness.reporting.tables.rendering import Cell, Table, plain
from frbench.harness.storage.records import NULL, Record, label, measured, natural


@dataclass(frozen=True)
class Comparison:
    """ASR of cells ``a`` and ``b`` on the same pairs; both cells have the same ``budget`` and ``fixed`` option."""

    budget: str
    fixed: str
    a: str
    b: str
    gap: PairedDifference

    @property
    def p(self) -> float:
        """p-value of the exact McNemar test."""
        return exact_mcnemar(self.gap.only_a, self.gap.only_b)


class HasPValue(Protocol):
    """A comparison of two cells."""

    @property
    def p(self) -> float: ...


_T = TypeVar("_T", bound=HasPValue)


@dataclass(frozen=True)
class Layout(Generic[_T]):
    """What a table of comparisons looks like.

    Attributes:
        kind: start of the file name.
        title: start of the title.
        caption: with ``{count}`` for the number of comparisons.
        header: names of the columns.
        row: cells of a comparison, its p-value, and its corrected p-value.
    """

    kind: str
    title: str
    caption: str
    header: tuple[str, ...]
    row: Callable[[_T, float, float], tuple[Cell, ...]]

    def table(self, group: Sequence[Record], found: Sequence[_T]) -> Table:
        """The table of the comparisons ``found`` among the records ``group``, p-values corrected by Holm over all."""
        p = [each.p for each in found]
        rows = tuple(self.row(*each) for each in zip(found, p, holm(p), strict=True))
        title = f"{self.title} of {label(group[0], 'goal')}: {setting(group[0])}"
        caption = f"{self.caption.format(count=len(found))} {settings_caption(group)}"
        return Table(slug(self.kind, group[0]), title, caption, self.header, rows, 4, 1)


def comparison_tables(records: Sequence[Record], outcomes: Outcomes) -> list[Table]:
    """All pairs of defenses for an attack and of attacks for a defense within each budget.

    A table per dataset, recognizer, goal and threat model.
    """
    tables = []
    for group in groups([r for r in records if r["names"]["attack"] != NULL and measured(r, "attack")]):
        found = [
            *_comparisons(group, "attack", "defense", outcomes),
            *_comparisons(group, "defense", "attack", outcomes),
        ]
        if found:
            tables.append(_SUCCESS.table(group, found))
    return tables


def _comparisons(group: Sequence[Record], fixed: str, varied: str, outcomes: Outcomes) -> Iterator[Comparison]:
    for each in comparable(group, fixed, varied):
        gap = outcomes.difference(each.a, each.b)
        if gap is not None:
            yield Comparison(each.budget, each.fixed, each.name_a, each.name_b, gap)


class Comparable(NamedTuple):
    """Two records that differ in one noun, with the budget and the option of another noun that both share."""

    budget: str
    fixed: str
    name_a: str
    a: Record
    name_b: str
    b: Record


def comparable(group: Sequence[Record], fixed: str, varied: str) -> Iterator[Comparable]:
    """All pairs of records with the same budget and ``fixed`` noun that differ in the ``varied`` noun."""

    def place(record: Record) -> tuple[str, str]:
        return label(record, "budget"), label(record, fixed)

    ranked = sorted(group, key=lambda r: [natural(name) for name in (*place(r), label(r, varied))])
    for (budget, option), found in groupby(ranked, key=place):
        for (name_a, a), (name_b, b) in combinations(_named(list(found), varied), 2):
            if label(a, varied) != label(b, varied):
                yield Comparable(budget, f"{fixed} {option}", name_a, a, name_b, b)


def _named(records: Sequence[Record], noun: str) -> list[tuple[str, Record]]:
    """Records with their labels; if several have the same label, with the start of their fingerprints."""
    labels = [label(r, noun) for r in records]
    return [
        (f"{name} #{record['fingerprint'][:6]}" if labels.count(name) > 1 else name, record)
        for name, record in zip(labels, records, strict=True)
    ]


def _row(found: Comparison, p: float, corrected: float) -> tuple[Cell, ...]:
    gap = found.gap
    shares = (percent((gap.both + gap.only_a) / gap.total), percent((gap.both + gap.only_b) / gap.total))
    result = "=" if corrected > LEVEL else f"{'A' if gap.difference > 0 else 'B'} higher"
    texts = (found.budget, found.fixed, found.a, found.b, str(gap.total), *shares, str(gap.only_a), str(gap.only_b))
    difference = _difference(gap)
    return (*map(plain, texts), difference, *map(plain, (p_value(p), p_value(corrected), result)))


@lru_cache(50_000)
def _difference(gap: PairedDifference) -> Cell:
    return Cell(signed(gap.difference), f"[{signed(gap.low)}, {signed(gap.high)}]")


@lru_cache(50_000)
def p_value(p: float) -> str:
    """A p-value with four decimals, or in scientific notation if it is below 0.001."""
    return f"{p:.4f}" if p >= 0.001 else f"{p:.1e}"


_SUCCESS = Layout(
    kind="paired",
    title="Paired comparisons of the ASR",
    caption=(
        "ASR of two cells on the same pairs: those attacked in both, 'pairs'. 'only A', 'only B': pairs where only one "
        "cell succeeds. A − B in percentage points [95 % Newcombe interval of the paired difference]. p: exact "
        "two-sided McNemar test; 'p Holm': corrected for all {count} comparisons of this table. Result: the cell with "
        f"the higher ASR if p Holm is at most {LEVEL}, else '='."
    ),
    header=(
        "budget",
        "fixed",
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
        "result",
    ),
    row=_row,
)
