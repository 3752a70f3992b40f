"""The summary at the head of a report: ASR without a defense, oblivious against adaptive, effective defenses. Pure.

It covers the setting (dataset, recognizer, protocol and other settings) with the most comparisons between oblivious and
adaptive attacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from frbench.harness.metrics.confidence import PairedDifference, wilson
from frbench.harness.metrics.significance import LEVEL, exact_mcnemar, holm
from frbench.harness.reporting.budget_axis import budget_words
from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.tables.layout import percent, phrase, signed
from frbench.harness.storage.records import NULL, Kind, Record, label, measured, of_kind, order, rest

_Reductions = list[tuple[Record, PairedDifference]]  # adaptive records, and their ASR minus the ASR without a defense
_SETTING = ("dataset", "recognizer", "protocol")

METHOD = "95 % confidence intervals. Significant: p ≤ 0.05 in an exact McNemar test with Holm's correction."


def summarize(records: Sequence[Record], findings: Findings, outcomes: Outcomes) -> tuple[str, ...]:
    """Up to three sentences in Markdown; none if no pair was attacked."""
    attacked = [r for r in of_kind(records, Kind.VERIFICATION) if measured(r, "attack").get("asr") is not None]
    settings: dict[tuple[str, ...], list[Record]] = {}
    for record in sorted(attacked, key=order):
        settings.setdefault((*(label(record, noun) for noun in _SETTING), rest(record)), []).append(record)
    if not settings:
        return ()
    chosen = max(settings.values(), key=lambda group: (len(_compared(group, findings)), len(group)))
    compared = _compared(chosen, findings)
    reductions = _reductions(chosen, compared, outcomes)
    effective = _significant_reductions(reductions)
    lead, gains = _lead(compared, findings, effective)
    false_security = (
        lead is not None and any(r is lead for r, _ in reductions) and all(r is not lead for r, _ in effective)
    )
    sentences = (
        _without_defense(chosen, lead),
        _adaptive(compared, lead, gains, findings),
        _effective(reductions, effective, lead if false_security else None),
    )
    return tuple(each for each in sentences if each)


def _compared(records: Iterable[Record], findings: Findings) -> list[Record]:
    """Adaptive records with a defense that have an oblivious record on the same pairs."""
    return [r for r in records if r["fingerprint"] in findings.gaps and r["names"]["defense"] != NULL]


def _lead(compared: Sequence[Record], findings: Findings, effective: _Reductions) -> tuple[Record | None, int]:
    """The record with the clearest significant gain, ineffective defenses first, and the number of such gains."""
    gaps = [findings.gaps[r["fingerprint"]] for r in compared]
    corrected = holm([exact_mcnemar(gap.only_a, gap.only_b) for gap in gaps])
    gained = [r for r, gap, p in zip(compared, gaps, corrected, strict=True) if p <= LEVEL and gap.low > 0]
    reduced = {r["fingerprint"] for r, _ in effective}
    ranked = sorted(gained, key=lambda r: (r["fingerprint"] in reduced, -findings.gaps[r["fingerprint"]].low))
    return (ranked[0] if ranked else None), len(gained)


def _significant_reductions(reductions: _Reductions) -> _Reductions:
    corrected = holm([exact_mcnemar(gap.only_a, gap.only_b) for _, gap in reductions])
    return [each for each, p in zip(reductions, corrected, strict=True) if p <= LEVEL and each[1].high < 0]


def _without_defense(records: Sequence[Record], lead: Record | None) -> str:
    undefended = [r for r in records if r["names"]["defense"] == NULL]
    if not undefended:
        return ""
    same_budget = [r for r in undefended if lead is None or _same(r, lead, "goal", "budget")]
    best = max(same_budget or undefended, key=lambda r: float(measured(r, "attack")["asr"]))
    budget = budget_words(label(best, "budget"))
    return (
        f"**Without a defense**, {phrase(best, 'recognizer')} on {phrase(best, 'dataset')}: the strongest attack "
        f"within {budget} is {phrase(best, 'attack')} ({label(best, 'goal')}), ASR {_rate(best)}."
    )


def _adaptive(compared: Sequence[Record], lead: Record | None, gains: int, findings: Findings) -> str:
    if not compared:
        return "**Adaptive attacks**: no defense was attacked by both threat=oblivious and threat=adaptive."
    if lead is None:
        return (
            "**Adaptive attacks**: no ASR is significantly above that of the oblivious attack "
            f"({_comparisons(len(compared))})."
        )
    gap = findings.gaps[lead["fingerprint"]]
    oblivious, adaptive = (_share(count, gap.total) for count in (gap.both + gap.only_b, gap.both + gap.only_a))
    return (
        f"**Adaptive attacks**: the ASR is significantly above that of the oblivious attack in {gains} of "
        f"{_comparisons(len(compared))}, most clearly for {_named(lead)}: oblivious {oblivious}, adaptive "
        f"{adaptive}, a difference of {_points(gap)}."
    )


def _effective(reductions: _Reductions, effective: _Reductions, ineffective: Record | None) -> str:
    """Which defenses reduce the ASR of adaptive attacks, and which one gives a false sense of security."""
    if not reductions:
        return ""
    false = f"{phrase(ineffective, 'defense')} gives a false sense of security; " if ineffective is not None else ""
    if not effective:
        return (
            f"**Defenses against adaptive attacks**: {false}no defense reduces the ASR significantly "
            f"({_comparisons(len(reductions))} with no defense)."
        )
    best, gap = min(effective, key=lambda each: each[1].high)
    return (
        f"**Defenses against adaptive attacks**: {false}the ASR is significantly below that without a defense in "
        f"{len(effective)} of {_comparisons(len(reductions))}, most clearly for {_named(best)}: "
        f"{_share(gap.both + gap.only_a, gap.total)} with the defense, {_share(gap.both + gap.only_b, gap.total)} "
        f"without, a difference of {_points(gap)}."
    )


def _reductions(records: Sequence[Record], compared: Sequence[Record], outcomes: Outcomes) -> _Reductions:
    """Adaptive records, each with its ASR minus that of the same attack without a defense."""
    found = []
    for record in compared:
        undefended = [
            r for r in records if r["names"]["defense"] == NULL and _same(r, record, "goal", "budget", "attack")
        ]
        same_threat = [r for r in undefended if r["names"]["threat"] == record["names"]["threat"]] or undefended
        gap = outcomes.difference(record, same_threat[0]) if same_threat else None
        if gap is not None:
            found.append((record, gap))
    return found


def _same(a: Record, b: Record, *nouns: str) -> bool:
    return all(label(a, noun) == label(b, noun) for noun in nouns)


def _named(record: Record) -> str:
    budget = f"{label(record, 'goal')}, {budget_words(label(record, 'budget'))}"
    return f"{phrase(record, 'attack')} on {phrase(record, 'defense')} ({budget})"


def _comparisons(count: int) -> str:
    return f"{count} paired comparison" if count == 1 else f"{count} paired comparisons"


def _points(gap: PairedDifference) -> str:
    return f"{signed(gap.difference)} percentage points [{signed(gap.low)}, {signed(gap.high)}]"


def _share(successes: int, total: int) -> str:
    low, high = wilson(successes, total)
    return f"{percent(successes / total)} % [{percent(low)}, {percent(high)}] ({successes} of {total} pairs)"


def _rate(record: Record) -> str:
    found = measured(record, "attack")
    total = int(found["asr_denominator"])
    return _share(int(found.get("asr_successes", round(found["asr"] * total))), total)
