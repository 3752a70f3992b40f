"""Comparisons between cells: an attacker who knows more must not do worse. Pure over records and per-pair scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from frbench.harness.core.flags import Flag, doubtful
from frbench.harness.metrics.confidence import PairedDifference
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.tables.layout import attacker
from frbench.harness.reporting.tables.rendering import CLEAN, DOUBTED
from frbench.harness.storage.records import NOUNS, NULL, Kind, Record, label, measured, of_kind, rest

_BLACK_BOX = ("query", "transfer")


@dataclass(frozen=True)
class Shortfall:
    """Worse than ``other``, which knows less. ``gap``: this minus the other, None without per-pair scores."""

    other: str
    gap: PairedDifference | None


@dataclass(frozen=True)
class Findings:
    """flags: fingerprint -> comparisons that failed; gaps: fingerprint of an adaptive cell -> gain over oblivious."""

    flags: dict[str, dict[str, Shortfall]] = field(default_factory=dict)
    gaps: dict[str, PairedDifference] = field(default_factory=dict)

    def all_flags(self, record: Record) -> list[str]:
        """The record's own flags and those of its comparisons, sorted."""
        return sorted({*record["flags"], *self.flags.get(record["fingerprint"], {})})

    def doubts(self, record: Record) -> list[str]:
        """The flags that must be explained before the cell's figure is believed."""
        return doubtful(self.all_flags(record))

    def badge(self, record: Record) -> str:
        """The mark of a cell: doubted, audited and clean, or nothing where no audit ran."""
        if self.doubts(record):
            return DOUBTED
        return CLEAN if measured(record, "attack").get("audit") else ""


def compare(records: Iterable[Record], outcomes: Outcomes) -> Findings:
    """Hold cells against cells whose attacker knows less, over the pairs that both attacked; cloaks attack no pairs.

    ``adaptive_weaker_than_oblivious``: against the same attack that ignores the defense. ``weaker_than_black_box``: the
    best white-box cell (adaptive, or oblivious where there is no defense) against every query and transfer cell of the
    same victim, goal and budget, whatever the attack. A flag means that the success rate is lower and the 95 % interval
    of the paired difference (of the unpaired rates, where per-pair scores are missing) excludes 0.
    """
    attacked = [r for r in of_kind(records, Kind.VERIFICATION) if measured(r, "attack").get("asr") is not None]
    findings = Findings()
    for twins in _alike(attacked, without=("threat", "surrogate")):
        for adaptive in _under(twins, "adaptive"):
            for oblivious in _under(twins, "oblivious"):
                gap = outcomes.difference(adaptive, oblivious)
                if gap is not None:
                    findings.gaps[adaptive["fingerprint"]] = gap
                _hold(adaptive, oblivious, Flag.ADAPTIVE_WEAKER_THAN_OBLIVIOUS, gap, findings)
    for rivals in _alike(attacked, without=("threat", "surrogate", "attack")):
        whites = [r for r in rivals if _sees_all(r)]
        if whites:
            best = max(whites, key=lambda r: float(measured(r, "attack")["asr"]))
            for black in _under(rivals, *_BLACK_BOX):
                _hold(best, black, Flag.WEAKER_THAN_BLACK_BOX, outcomes.difference(best, black), findings)
    return findings


def _alike(records: Sequence[Record], without: Sequence[str]) -> list[list[Record]]:
    """Records that share every label but those of some nouns."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        key = (*(label(record, noun) for noun in NOUNS if noun not in without), rest(record))
        found.setdefault(key, []).append(record)
    return list(found.values())


def _under(records: Sequence[Record], *threats: str) -> list[Record]:
    return [r for r in records if r["names"]["threat"] in threats]


def _sees_all(record: Record) -> bool:
    threat, defense = record["names"]["threat"], record["names"]["defense"]
    return threat == "adaptive" or (threat == "oblivious" and defense == NULL)


def _hold(more: Record, less: Record, flag: Flag, gap: PairedDifference | None, findings: Findings) -> None:
    """Flag ``more`` where it does worse than ``less``; of several such, the clearest is remembered."""
    if not (gap.high < 0 if gap is not None else _apart(more, less)):
        return
    flags = findings.flags.setdefault(more["fingerprint"], {})
    known = flags.get(flag)
    if known is None or known.gap is None or (gap is not None and gap.high < known.gap.high):
        flags[flag] = Shortfall(f"{label(less, 'attack')}, {attacker(less)}", gap)


def _apart(more: Record, less: Record) -> bool:
    high, low = measured(more, "attack").get("asr_high"), measured(less, "attack").get("asr_low")
    return high is not None and low is not None and high < low
