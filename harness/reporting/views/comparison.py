"""Two runs compared pair by pair: which pairs flipped, the paired test, and what differs between the runs. Pure.

Runs that are not paired are explained, not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from frbench.harness.metrics.confidence import PairedDifference, bootstrap_mean, paired_difference
from frbench.harness.metrics.significance import exact_mcnemar, holm
from frbench.harness.reporting.views.paired_rows import LAYOUTS, Overlap, flipped, is_readable, paired_rows
from frbench.harness.reporting.views.run_differences import Difference, run_differences
from frbench.harness.storage.portable_record import portable
from frbench.harness.storage.records import Kind, Record, label, measured, reason

NAMES = ("A", "B")


@dataclass(frozen=True)
class Side:
    """One of two runs: its whole record, and its scores; None if there are none."""

    record: Record
    scores: pd.DataFrame | None


@dataclass(frozen=True)
class Part:
    """Paired rows with their test; a run at several feature distances has a part for each.

    Attributes:
        name: such as ``q = 0.5``; empty if there is one part.
        rows: the compared rows, see ``paired_rows``.
        gap: success rate of A minus that of B with its interval, and the 2x2 table of the rows.
        p: p-value of ``method``, corrected by Holm for all parts.
        method: the test, and what the interval is.
    """

    name: str
    rows: pd.DataFrame
    gap: PairedDifference
    p: float
    method: str

    @property
    def flipped(self) -> pd.DataFrame:
        """The rows where one run alone succeeds, those with the largest difference of the margins first."""
        return flipped(self.rows)


@dataclass(frozen=True)
class Comparison:
    """Two runs.

    Attributes:
        a: the record of the first run.
        b: the record of the second run.
        differences: what differs between them.
        obstacle: why their pairs are not compared, and what can be compared; empty if they are.
        overlap: how their tables of scores overlap; None if they were not joined.
        parts: the compared rows with their tests; none if there is an obstacle.
    """

    a: Record
    b: Record
    differences: tuple[Difference, ...]
    obstacle: str
    overlap: Overlap | None
    parts: tuple[Part, ...]

    @property
    def row(self) -> str:
        """What a row is: ``pair``, ``image`` (of a pair at a feature distance) or ``test photo``."""
        return LAYOUTS[Kind(self.a["kind"])].row


def compare(a: Side, b: Side) -> Comparison:
    """Compare two runs, on the rows that both have and that count in both; no folder of a machine is in the result."""
    records = (portable(a.record), portable(b.record))
    differences = tuple(run_differences(*records))
    obstacle = _no_results(records) or _unpaired(records) or _no_scores(a, b)
    if obstacle or a.scores is None or b.scores is None:
        return Comparison(*records, differences, obstacle, None, ())
    kind = Kind(a.record["kind"])
    rows, overlap = paired_rows(kind, a.scores, b.scores)
    obstacle = _little_overlap(records, overlap)
    parts = () if obstacle else tuple(_PARTS[kind](rows))
    corrected = holm([part.p for part in parts]) if parts else []
    tested = tuple(replace(part, p=p) for part, p in zip(parts, corrected, strict=True))
    return Comparison(*records, differences, obstacle, overlap, tested)


def _no_results(records: tuple[Record, Record]) -> str:
    """Why a record has nothing to compare: refused, crashed, of an unknown kind, or without an attack."""
    found = []
    for name, record in zip(NAMES, records, strict=True):
        if record["status"] != "done":
            found.append(f"{name} {_ENDED.get(record['status'], 'did not finish')}: {reason(record)}")
        elif record["kind"] not in set(Kind):
            found.append(f"{name} has the kind {record['kind']}, which this frbench does not know")
        elif not measured(record, "attack"):
            found.append(f"{name} has no attack, so only its clean accuracy can be compared")
    return "; ".join(found)


_ENDED = {"refused": "was refused", "crashed": "crashed"}


def _unpaired(records: tuple[Record, Record]) -> str:
    """Why the rows of two finished records are not the same pairs."""
    a, b = records
    if a["kind"] != b["kind"]:
        return (
            f"A is a run of {a['kind']} and B one of {b['kind']}: they measure different things, and their rates "
            "cannot be compared"
        )
    digests = [_data_digest(record) for record in records]
    if digests[0] != digests[1]:
        sets = [f"{label(r, 'dataset')} (digest {d[:12]})" for r, d in zip(records, digests, strict=True)]
        return (
            f"the images or pairs differ, {sets[0]} and {sets[1]}: the same number stands for another pair; the rates "
            "can be compared with their intervals, not pair by pair"
        )
    if a["kind"] == Kind.CLOAKING and a["seed"] != b["seed"]:
        return (
            f"the seeds differ ({a['seed']} and {b['seed']}), so the trackers are trained and tested on other photos; "
            "the rates can be compared with their intervals, not photo by photo"
        )
    return ""


def _data_digest(record: Record) -> str:
    digests = (record["card"] or {}).get("digests")
    return str(digests.get("data")) if isinstance(digests, Mapping) else "unknown"


def _no_scores(a: Side, b: Side) -> str:
    found = []
    for name, side in zip(NAMES, (a, b), strict=True):
        if side.scores is None:
            found.append(f"there are no scores of {name} beside its record, in scores/ of its results folder")
        elif not is_readable(Kind(side.record["kind"]), side.scores):
            found.append(f"the scores of {name} are not those of a run of {side.record['kind']}")
    return "; ".join(found)


def _little_overlap(records: tuple[Record, Record], overlap: Overlap) -> str:
    """Why no row is left, or too few for a test that means what it says."""
    kind = Kind(records[0]["kind"])
    row, goals = LAYOUTS[kind].row, [label(record, "goal") for record in records]
    if overlap.compared == 0:
        attacked = f"A attacks {overlap.rows[0]} {row}s ({goals[0]}), B {overlap.rows[1]} ({goals[1]})"
        why = f"{overlap.common} are in both, and none of these is decided correctly without an attack in both runs"
        return f"{attacked}; {why if overlap.common else f'no {row} is in both'}; compare their rates with intervals"
    if kind == Kind.CLOAKING and overlap.missing != (0, 0):
        return (
            f"A has {overlap.missing[0]} and B {overlap.missing[1]} test photos that the other does not test, so their "
            "trackers are trained on other photos; compare their rates with intervals"
        )
    return ""


def _pairs(rows: pd.DataFrame, name: str = "") -> Part:
    gap = paired_difference(rows["success_a"], rows["success_b"])
    return Part(name, rows, gap, exact_mcnemar(gap.only_a, gap.only_b), _MCNEMAR)


def _at_distances(rows: pd.DataFrame) -> list[Part]:
    """A part for each feature distance that both runs have, the largest first."""
    distances = sorted(rows["distance"].unique(), reverse=True)
    return [_pairs(rows[rows["distance"] == each].reset_index(drop=True), f"q = {each:g}") for each in distances]


def _users(rows: pd.DataFrame) -> Part:
    """Test photos of one user depend on each other: the test and the interval are over users."""
    means = rows.groupby("user")[["success_a", "success_b"]].mean()
    change = means["success_a"] - means["success_b"]
    low, high = bootstrap_mean(change)
    gap = replace(paired_difference(rows["success_a"], rows["success_b"]), difference=float(change.mean()))
    p = exact_mcnemar(int((change > 0).sum()), int((change < 0).sum()))
    return Part("", rows, replace(gap, low=low, high=high), p, _SIGN)


_MCNEMAR = "exact two-sided McNemar test; Newcombe interval of the paired difference"
_SIGN = "exact two-sided sign test over users; bootstrap interval over users of the mean difference per user"
_PARTS: Mapping[Kind, Callable[[pd.DataFrame], list[Part]]] = {
    Kind.VERIFICATION: lambda rows: [_pairs(rows)],
    Kind.FEATURE_DISTANCE: _at_distances,
    Kind.CLOAKING: lambda rows: [_users(rows)],
}
