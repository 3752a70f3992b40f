"""Comparisons between cells: an attacker who knows more must not do worse. Pure over records and per-pair scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from frbench.harness.intervals import PairedDifference, paired_difference
from frbench.harness.records import NOUNS, NULL, Record, label, measured, rest

Scores = Callable[[str], pd.DataFrame | None]

_KNOWS_LESS = {"adaptive": ("oblivious", "transfer"), "oblivious": ("transfer",)}


@dataclass(frozen=True)
class Findings:
    """flags: fingerprint -> comparisons that failed; gaps: fingerprint of an adaptive cell -> gain over oblivious."""

    flags: dict[str, list[str]] = field(default_factory=dict)
    gaps: dict[str, PairedDifference] = field(default_factory=dict)

    def all_flags(self, record: Record) -> list[str]:
        """The record's own flags and those of its comparisons, sorted."""
        return sorted({*record["flags"], *self.flags.get(record["fingerprint"], [])})


def compare(records: Iterable[Record], scores: Scores) -> Findings:
    """Compare each cell with the same cell under a threat model that knows less, over the pairs both attacked.

    A flag such as ``adaptive_weaker_than_oblivious`` means: the success rate is lower, and the 95 % interval of the
    paired difference (of the unpaired rates, where per-pair scores are missing) excludes 0. Transfer is held
    against oblivious only where there is no defense, since only there both attack what is judged.
    """
    twins: dict[tuple[str, ...], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if measured(record, "attack"):
            twins[_same_cell(record)][record["names"]["threat"]].append(record)
    findings = Findings()
    outcomes: dict[str, pd.Series | None] = {}

    def outcome(record: Record) -> pd.Series | None:
        name = record["fingerprint"]
        if name not in outcomes:
            outcomes[name] = _outcome(scores(name))
        return outcomes[name]

    for by_threat in twins.values():
        for threat, lesser_threats in _KNOWS_LESS.items():
            for record in by_threat.get(threat, []):
                for lesser in lesser_threats:
                    _check(record, by_threat.get(lesser, []), threat, lesser, outcome, findings)
        outcomes.clear()
    return findings


def _same_cell(record: Record) -> tuple[str, ...]:
    return (*(label(record, noun) for noun in NOUNS if noun not in ("threat", "surrogate")), rest(record))


def _outcome(frame: pd.DataFrame | None) -> pd.Series | None:
    """Success by pair number, over the pairs decided correctly when clean."""
    if frame is None:
        return None
    attacked = frame[frame["correct"].astype(bool) & frame["adversarial_score"].notna()]
    return attacked.set_index("index")["success"].astype(bool)


def _check(
    record: Record,
    others: Sequence[Record],
    threat: str,
    lesser: str,
    outcome: Callable[[Record], pd.Series | None],
    findings: Findings,
) -> None:
    fair = threat != "oblivious" or record["names"]["defense"] == NULL
    for other in others:
        gap = _gap(outcome(record), outcome(other))
        if gap is not None and lesser == "oblivious":
            findings.gaps[record["fingerprint"]] = gap
        if fair and (gap.high < 0 if gap is not None else _apart(record, other)):
            findings.flags.setdefault(record["fingerprint"], []).append(f"{threat}_weaker_than_{lesser}")


def _gap(more: pd.Series | None, less: pd.Series | None) -> PairedDifference | None:
    if more is None or less is None:
        return None
    common = np.intersect1d(more.index, less.index)
    return paired_difference(more[common].to_numpy(), less[common].to_numpy()) if len(common) else None


def _apart(more: Record, less: Record) -> bool:
    high, low = measured(more, "attack").get("asr_high"), measured(less, "attack").get("asr_low")
    return high is not None and low is not None and high < low
