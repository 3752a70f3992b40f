"""The three sentences at the head of a report: undefended, oblivious against adaptive, what holds. Pure.

They are of the setting (dataset, recognizer and so on) in which the most cells were attacked with and without knowledge
of the defense, and of the budget that tells most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from frbench.harness.metrics.confidence import PairedDifference, wilson
from frbench.harness.metrics.significance import LEVEL, exact_mcnemar, holm
from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.tables.layout import percent, signed
from frbench.harness.storage.records import NULL, Kind, Record, label, measured, of_kind, order, rest

_Helped = list[tuple[Record, PairedDifference]]  # adaptive cells, and their success minus that without the defense
_BOARD = ("dataset", "recognizer", "protocol")


FIGURES = "story-"  # how the names of the figures beside it begin
METHOD = "95 % intervals; significant: exact McNemar tests, p ≤ 0.05 after Holm's correction."


@dataclass(frozen=True)
class Story:
    """sentences: what to read first. cells: the records that they are of, of one setting.

    lead: the adaptive cell that gains most clearly over its oblivious twin, if any gains; one that comes to no less
    than without the defense stands before others. hollow: whether it does, so that the defense only seems to hold.
    """

    sentences: tuple[str, ...]
    cells: tuple[Record, ...]
    lead: Record | None
    hollow: bool


def story(records: Sequence[Record], findings: Findings, outcomes: Outcomes) -> Story | None:
    """What ``records`` say in three sentences; None where no pair was attacked."""
    attacked = [r for r in of_kind(records, Kind.VERIFICATION) if measured(r, "attack").get("asr") is not None]
    boards: dict[tuple[str, ...], list[Record]] = {}
    for record in sorted(attacked, key=order):
        boards.setdefault((*(label(record, noun) for noun in _BOARD), rest(record)), []).append(record)
    if not boards:
        return None
    cells = max(boards.values(), key=lambda board: (len(_defended(board, findings)), len(board)))
    gains = _defended(cells, findings)
    helped = _helped(cells, gains, outcomes)
    real = _real(helped)
    lead, gained = _lead(gains, findings, real)
    hollow = lead is not None and any(r is lead for r, _ in helped) and all(r is not lead for r, _ in real)
    sentences = (
        _undefended(cells, lead),
        _knowing(gains, lead, gained, findings),
        _holding(helped, real, lead if hollow else None),
    )
    return Story(tuple(each for each in sentences if each), tuple(cells), lead, hollow)


def _defended(cells: Iterable[Record], findings: Findings) -> list[Record]:
    """Adaptive cells of a defense with an oblivious twin on the same pairs."""
    return [r for r in cells if r["fingerprint"] in findings.gaps and r["names"]["defense"] != NULL]


def _lead(gains: Sequence[Record], findings: Findings, real: _Helped) -> tuple[Record | None, int]:
    """The cell with the clearest gain that is no chance, of a defense that does not help if there is one; how many
    gains are no chance (Holm's correction)."""
    gaps = [findings.gaps[r["fingerprint"]] for r in gains]
    corrected = holm([exact_mcnemar(gap.only_a, gap.only_b) for gap in gaps])
    gained = [r for r, gap, p in zip(gains, gaps, corrected, strict=True) if p <= LEVEL and gap.low > 0]
    holding = {r["fingerprint"] for r, _ in real}
    ranked = sorted(gained, key=lambda r: (r["fingerprint"] in holding, -findings.gaps[r["fingerprint"]].low))
    return (ranked[0] if ranked else None), len(gained)


def _real(helped: _Helped) -> _Helped:
    """Of ``helped`` those where the defense lowers the success rate, and not by chance."""
    corrected = holm([exact_mcnemar(gap.only_a, gap.only_b) for _, gap in helped])
    return [each for each, p in zip(helped, corrected, strict=True) if p <= LEVEL and each[1].high < 0]


def _undefended(cells: Sequence[Record], lead: Record | None) -> str:
    bare = [r for r in cells if r["names"]["defense"] == NULL]
    if not bare:
        return ""
    alike = [r for r in bare if lead is None or _same(r, lead, "goal", "budget")]
    best = max(alike or bare, key=lambda r: float(measured(r, "attack")["asr"]))
    return (
        f"**Undefended**, {label(best, 'recognizer')} on {label(best, 'dataset')} falls to the strongest attack within "
        f"{label(best, 'budget')}, {label(best, 'attack')} ({label(best, 'goal')}), in {_rate(best)}."
    )


def _knowing(gains: Sequence[Record], lead: Record | None, gained: int, findings: Findings) -> str:
    if not gains:
        return "No defense was attacked both by an attacker who ignores it and by one who knows it (threat=adaptive)."
    if lead is None:
        return f"**Oblivious against adaptive**: knowing the defense helps none of {len(gains)} attacks significantly."
    gap = findings.gaps[lead["fingerprint"]]
    pairs = gap.both + gap.only_a + gap.only_b + gap.neither
    before, after = (_share(count, pairs) for count in (gap.both + gap.only_b, gap.both + gap.only_a))
    return (
        f"**Oblivious against adaptive**: {gained} of {len(gains)} attacks gain significantly by knowing the defense, "
        f"most clearly {_named(lead)}: {before} ignoring it, {after} knowing it, {signed(gap.difference)} points "
        f"[{signed(gap.low)}, {signed(gap.high)}] on the same pairs."
    )


def _holding(helped: _Helped, real: _Helped, hollow: Record | None) -> str:
    """Which defense only seems to hold, and which lower the success of an attacker who knows them."""
    if not helped:
        return ""
    seems = f"{label(hollow, 'defense')} only seems to hold; " if hollow is not None else ""
    if not real:
        return (
            f"**What holds**: {seems}against an attacker who knows it no defense lowers success significantly "
            f"({len(helped)} paired comparisons with no defense)."
        )
    best, gap = min(real, key=lambda each: each[1].high)
    pairs = gap.both + gap.only_a + gap.only_b + gap.neither
    return (
        f"**What holds**: {seems}an attacker who knows the defense succeeds significantly less than without one in "
        f"{len(real)} of {len(helped)} paired comparisons, most clearly {_named(best)}: "
        f"{_share(gap.both + gap.only_a, pairs)} against {_share(gap.both + gap.only_b, pairs)} undefended, "
        f"{signed(gap.difference)} points [{signed(gap.low)}, {signed(gap.high)}]."
    )


def _helped(cells: Sequence[Record], gains: Sequence[Record], outcomes: Outcomes) -> _Helped:
    """Adaptive cells, each with its success minus that of the same attack without a defense."""
    found = []
    for record in gains:
        bare = [r for r in cells if r["names"]["defense"] == NULL and _same(r, record, "goal", "budget", "attack")]
        known = [r for r in bare if r["names"]["threat"] == record["names"]["threat"]] or bare
        gap = outcomes.difference(record, known[0]) if known else None
        if gap is not None:
            found.append((record, gap))
    return found


def _same(one: Record, other: Record, *nouns: str) -> bool:
    return all(label(one, noun) == label(other, noun) for noun in nouns)


def _named(record: Record) -> str:
    where = f"{label(record, 'goal')}, {label(record, 'budget')}"
    return f"{label(record, 'attack')} on {label(record, 'defense')} ({where})"


def _share(won: int, total: int) -> str:
    low, high = wilson(won, total)
    return f"{percent(won / total)} % [{percent(low)}, {percent(high)}] ({won} of {total} pairs)"


def _rate(record: Record) -> str:
    found = measured(record, "attack")
    total = int(found["asr_denominator"])
    return _share(int(found.get("asr_successes", round(found["asr"] * total))), total)
