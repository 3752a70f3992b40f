"""What is compared first: each defense against attackers who know more and more, at one budget. Pure.

A headline is about one dataset, recognizer, protocol and budget. Each row is a defense with one goal of the attacker;
each level of the attacker's knowledge has the attack with the highest ASR. The definitions: docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from frbench.harness.core.flags import Flag
from frbench.harness.metrics.confidence import PairedDifference
from frbench.harness.metrics.significance import LEVEL, exact_mcnemar, holm
from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.rates import Rate, rate_of
from frbench.harness.reporting.tables.layout import by_labels
from frbench.harness.storage.records import NULL, Kind, Record, label, measured, natural, of_kind, rest

NOISE = "noise"  # no attacker: random noise
LEVELS = ("transfer", "oblivious", "query", "adaptive")  # threat models, by what the attacker knows
_SETTING = ("dataset", "recognizer", "protocol", "budget")


@dataclass(frozen=True)
class Row:
    """A defense and a goal of the attacker.

    Attributes:
        goal: its label.
        defense: its label.
        records: all of it, in natural order.
        noise: the success of random noise of the size of the budget; None if it is unknown.
        strongest: by level, the finished record with the highest ASR. Without a defense, an oblivious attacker is also
            an adaptive one.
        gap: ASR of the strongest adaptive minus that of the strongest oblivious attack, on the pairs of both.
        leads: the levels at which the ASR is significantly below that of every other defense.
        cost: milliseconds that the defended recognizer takes for one image, by device: the shortest of its cells for
            any goal, since other work on a machine only adds to it.
    """

    goal: str
    defense: str
    records: tuple[Record, ...]
    noise: Rate | None
    strongest: Mapping[str, Record]
    gap: PairedDifference | None
    leads: frozenset[str]
    cost: Mapping[str, float]

    @property
    def rates(self) -> dict[str, Rate]:
        """The rate of random noise and of the strongest attack at each level, those that are known."""
        found = {NOISE: self.noise, **{level: rate_of(record) for level, record in self.strongest.items()}}
        return {level: rate for level, rate in found.items() if rate is not None}

    @property
    def worst(self) -> Record | None:
        """The record of the highest ASR at any level; of several, that of the attacker who knows most."""
        return max(reversed(list(self.strongest.values())), key=asr, default=None)

    @property
    def worst_rate(self) -> Rate | None:
        """The rate of ``worst``."""
        return None if self.worst is None else rate_of(self.worst)


@dataclass(frozen=True)
class Headline:
    """The rows of one setting, by goal and defense in natural order."""

    rows: tuple[Row, ...]

    @property
    def record(self) -> Record:
        """A record, for what all of them share."""
        return self.rows[0].records[0]

    @property
    def records(self) -> list[Record]:
        """The records of all rows."""
        return [record for row in self.rows for record in row.records]


def headlines(records: Sequence[Record], findings: Findings, outcomes: Outcomes) -> list[Headline]:
    """All headlines: first the one with the most defenses that met adaptive and oblivious attacks.

    An attack that stops at success, however large its perturbation, has no ASR to be compared, so it is left out.
    """
    attacked = [r for r in of_kind(records, Kind.VERIFICATION) if r["names"]["attack"] != NULL and not _unlimited(r)]
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in attacked:
        groups.setdefault((*(label(record, noun) for noun in _SETTING), rest(record)), []).append(record)
    found = [
        _headline(groups[key], findings, outcomes) for key in sorted(groups, key=lambda k: [natural(p) for p in k])
    ]
    return sorted((each for each in found if any(row.strongest for row in each.rows)), key=_results, reverse=True)


def _unlimited(record: Record) -> bool:
    """Whether an attack that stops at success has no budget."""
    return _stops(record) and "radius" not in (record["hyperparameters"].get("budget") or {})


def _stops(record: Record) -> bool:
    return Flag.BOUNDARY_ATTACK in record["flags"]


def _results(headline: Headline) -> tuple[int, int, int]:
    """How much of a headline is known: gaps, levels, and results."""
    levels = {level for row in headline.rows for level in row.strongest}
    gaps = sum(row.gap is not None for row in headline.rows)
    return gaps, len(levels), sum(len(row.strongest) for row in headline.rows)


def _headline(records: Sequence[Record], findings: Findings, outcomes: Outcomes) -> Headline:
    rows: list[Row] = []
    costs = {defense: _cost(own) for (defense,), own in by_labels(records, ("defense",)).items()}
    for goal, found in by_labels(records, ("goal",)).items():
        defenses = by_labels(found, ("defense",))
        strongest = {defense: _strongest(own) for (defense,), own in defenses.items()}
        leaders = {level: _leader(strongest, level, findings, outcomes) for level in LEVELS}
        for (defense,), own in defenses.items():
            full = (r for r in own if not _stops(r))  # beside others, noise has the size of their perturbation
            noise = next((Rate(*each) for r in full if (each := outcomes.noise(r)) is not None and each[1]), None)
            leads = frozenset(level for level in LEVELS if leaders[level] == defense)
            best = strongest[defense]
            rows.append(Row(goal[0], defense, tuple(own), noise, best, _gap(best, outcomes), leads, costs[defense]))
    return Headline(tuple(rows))


def asr(record: Record) -> float:
    """The attack success rate, in [0, 1]."""
    return float(measured(record, "attack")["asr"])


def _strongest(records: Sequence[Record]) -> dict[str, Record]:
    """The record of the highest ASR by level, in the order of levels."""
    done = [r for r in records if measured(r, "attack").get("asr") is not None]
    found: dict[str, Record] = {}
    for level in LEVELS:
        own = [r for r in done if r["names"]["threat"] == level]
        if not own and level == "adaptive" and records[0]["names"]["defense"] == NULL:
            own = [found["oblivious"]] if "oblivious" in found else []
        if own:
            found[level] = max(own, key=asr)
    return found


def _gap(strongest: Mapping[str, Record], outcomes: Outcomes) -> PairedDifference | None:
    adaptive, oblivious = strongest.get("adaptive"), strongest.get("oblivious")
    return None if adaptive is None or oblivious in (None, adaptive) else outcomes.difference(adaptive, oblivious)


def _cost(records: Sequence[Record]) -> dict[str, float]:
    found: dict[str, float] = {}
    for record in records:
        card = record["card"] or {}
        milliseconds, threads = card.get("ms_per_image"), card.get("threads")
        if milliseconds is not None:
            device = f"{card.get('device')}, {threads} thread{'' if threads == 1 else 's'}"
            found[device] = min(float(milliseconds), found.get(device, float("inf")))
    return dict(sorted(found.items()))


def _leader(
    strongest: Mapping[str, Mapping[str, Record]], level: str, findings: Findings, outcomes: Outcomes
) -> str | None:
    """The defense whose ASR at ``level`` is significantly below that of every other one; None if there is none.

    Exact McNemar tests on the pairs attacked in both, of all pairs of defenses, with Holm's correction. A record with a
    flag that must be explained first does not lead.
    """
    records = {defense: found[level] for defense, found in strongest.items() if level in found}
    pairs = list(combinations(records, 2))
    gaps = [outcomes.difference(records[a], records[b]) for a, b in pairs]
    corrected = holm([1.0 if gap is None else exact_mcnemar(gap.only_a, gap.only_b) for gap in gaps])
    beaten: dict[str, int] = dict.fromkeys(records, 0)
    for (a, b), gap, p in zip(pairs, gaps, corrected, strict=True):
        if gap is not None and p <= LEVEL:
            beaten[a if gap.difference < 0 else b] += 1
    leader = next((each for each, count in beaten.items() if count == len(records) - 1 > 0), None)
    return None if leader is None or findings.doubts(records[leader]) else leader


def clean(row: Row) -> Mapping[str, Any]:
    """The clean measurements of a row; empty if there are none."""
    return next((found for record in row.records if (found := measured(record, "clean"))), {})


def harshest(row: Row) -> tuple[str, Mapping[str, Any]] | None:
    """The post-processing with the lowest ASR of the strongest attack of ``row``, and its measurements."""
    worst = row.worst
    steps = (measured(worst, "attack").get("postprocessing") if worst else None) or {}
    known = {name: found for name, found in steps.items() if found and found.get("asr") is not None}
    name = min(sorted(known, key=natural), key=lambda each: float(known[each]["asr"]), default=None)
    return None if name is None else (name, known[name])
