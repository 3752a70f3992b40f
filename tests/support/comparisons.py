"""Comparisons of fabricated runs."""

from __future__ import annotations

from support.fake_records import NAMES, FakeStore, attacked

from frbench.harness.reporting.views.comparison import Comparison, Side, compare
from frbench.harness.storage.records import Record

STRENGTHS = (0.6, 0.4)  # of the attacks of ``two_runs``


def side(store: FakeStore, record: Record) -> Side:
    """One run of a comparison, with its scores in ``store``."""
    return Side(record, store.scores(record["fingerprint"]))


def compared(store: FakeStore, a: Record, b: Record) -> Comparison:
    """The comparison of two records of ``store``."""
    return compare(side(store, a), side(store, b))


def two_runs(store: FakeStore, *defenses: str, **names: str) -> list[Record]:
    """Two runs on the same pairs, the second one with a weaker attack."""
    runs = [NAMES | {"defense": defense} | names for defense in defenses]
    return [attacked(store, each, 8.0, strength, salt=strength) for each, strength in zip(runs, STRENGTHS, strict=True)]
