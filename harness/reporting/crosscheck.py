"""Comparisons between cells: an attacker who knows more must not do worse. Pure over records and per-pair scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from frbench.harness.core.flags import Flag, doubtful
from frbench.harness.metrics.confidence import PairedDifference
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.tables.layout import threat_model
from frbench.harness.reporting.tables.rendering import CLEAN, DOUBTED
from frbench.harness.storage.records import NOUNS, NULL, Kind, Record, label, measured, of_kind, rest

_BLACK_BOX = ("query", "transfer")


@dataclass(frozen=True)
class Shortfall:
    """A success rate below that of an attacker who knows less.

    Attributes:
        other: attack and threat model of that attacker.
        gap: this cell minus the other; None without per-pair scores.
    """

    other: str
    gap: PairedDifference | None


@dataclass(frozen=True)
class Findings:
    """The results of all comparisons.

    Attributes:
        flags: from the fingerprint of a record to its failed comparisons by flag.
        gaps: from the fingerprint of an adaptive record to its ASR minus that of the oblivious attack.
    """

    flags: dict[str, dict[str, Shortfall]] = field(default_factory=dict)
    gaps: dict[str, PairedDifference] = field(default_factory=dict)

    def all_flags(self, record: Record) -> list[str]:
        """Flags of the record and of its comparisons, sorted."""
        found = self.flags.get(record["fingerprint"])
        return sorted({*record["flags"], *(found or ())})

    def doubts(self, record: Record) -> list[str]:
        """Flags that must be explained before the values of the record are believed."""
        return doubtful(self.all_flags(record))

    def badge(self, record: Record) -> str:
        """``DOUBTED``, ``CLEAN`` if the record is audited without a doubt, else empty."""
        if self.doubts(record):
            return DOUBTED
        return CLEAN if measured(record, "attack").get("audit") else ""


def compare(records: Iterable[Record], outcomes: Outcomes) -> Findings:
    """Compare verification cells with cells whose attacker knows less, on the pairs that both attacked.

    ``adaptive_weaker_than_oblivious``: adaptive against oblivious, for the same attack. ``weaker_than_black_box``: the
    best white-box cell (adaptive, or oblivious without a defense) against every query and transfer cell of the same
    recognizer, defense, goal and budget, for any attack. A cell is flagged if its ASR is lower and the 95 % interval of
    the paired difference excludes 0; without per-pair scores, if the intervals of the two ASRs are disjoint.
    """
    attacked = [r for r in of_kind(records, Kind.VERIFICATION) if measured(r, "attack").get("asr") is not None]
    findings = Findings()
    for group in _grouped(attacked, without=("threat", "surrogate")):
        for adaptive in _with_threat(group, "adaptive"):
            for oblivious in _with_threat(group, "oblivious"):
                gap = outcomes.difference(adaptive, oblivious)
                if gap is not None:
                    findings.gaps[adaptive["fingerprint"]] = gap
                _check(adaptive, oblivious, Flag.ADAPTIVE_WEAKER_THAN_OBLIVIOUS, gap, findings)
    for group in _grouped(attacked, without=("threat", "surrogate", "attack")):
        white_box = [r for r in group if _is_white_box(r)]
        if white_box:
            best = max(white_box, key=lambda r: float(measured(r, "attack")["asr"]))
            for black_box in _with_threat(group, *_BLACK_BOX):
                _check(best, black_box, Flag.WEAKER_THAN_BLACK_BOX, outcomes.difference(best, black_box), findings)
    return findings


def _grouped(records: Sequence[Record], without: Sequence[str]) -> list[list[Record]]:
    """Records grouped by all labels except those of the nouns ``without``."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        key = (*(label(record, noun) for noun in NOUNS if noun not in without), rest(record))
        found.setdefault(key, []).append(record)
    return list(found.values())


def _with_threat(records: Sequence[Record], *threats: str) -> list[Record]:
    return [r for r in records if r["names"]["threat"] in threats]


def _is_white_box(record: Record) -> bool:
    threat, defense = record["names"]["threat"], record["names"]["defense"]
    return threat == "adaptive" or (threat == "oblivious" and defense == NULL)


def _check(more: Record, less: Record, flag: Flag, gap: PairedDifference | None, findings: Findings) -> None:
    """Flag ``more``, whose attacker knows more, if its ASR is below that of ``less``; keep the clearest difference."""
    if not (gap.high < 0 if gap is not None else _disjoint(more, less)):
        return
    flags = findings.flags.setdefault(more["fingerprint"], {})
    known = flags.get(flag)
    if known is None or known.gap is None or (gap is not None and gap.high < known.gap.high):
        flags[flag] = Shortfall(f"{label(less, 'attack')}, {threat_model(less)}", gap)


def _disjoint(more: Record, less: Record) -> bool:
    high, low = measured(more, "attack").get("asr_high"), measured(less, "attack").get("asr_low")
    return high is not None and low is not None and high < low
