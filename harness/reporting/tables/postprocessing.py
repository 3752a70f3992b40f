"""Tables of what else the victim said of the same images: after saving and sending, and on fresh draws. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.tables.layout import facts, groups, listing, percent, setting, slug, success_rate
from frbench.harness.reporting.tables.rendering import MISSING, Cell, Table
from frbench.harness.storage.records import Record, label, measured, natural

_SURVIVAL = (
    "Success rate in % [95 % Wilson interval] (successes/attacked pairs) of the same adversarial images: as they are, "
    "and after each way of keeping and sending them. 'k not found': faces that were not found afterwards, counted as "
    "failures. 'k without attack': attacked pairs that the way alone, applied to the clean image, turns against the "
    "victim."
)
_DRAWS = (
    "The victim is random: each image is judged on K fresh draws that neither the attack nor the calibration has seen. "
    "'majority' is the success rate of all other tables; 'mean' that of one draw, ± the standard deviation over draws; "
    "'any' and 'all' count the pairs won on at least one and on every draw; 'clean flips' is the share of draws on "
    "which an attacked pair is decided wrongly without any attack."
)


def survival_tables(records: Sequence[Record], findings: Findings) -> list[Table]:
    """Success of saved, sent and re-detected images, a table for each dataset, recognizer, goal and threat model."""
    tables = []
    for group in groups([r for r in records if measured(r, "attack").get("survival")]):
        ways = sorted({way for r in group for way in measured(r, "attack")["survival"]}, key=natural)
        columns = {"as it is": _plain(findings)} | {way.replace("_", " "): _after(way) for way in ways}
        header, rows = listing(group, columns)
        title = f"What survives of {label(group[0], 'goal')}, {setting(group[0])}"
        tables.append(Table(slug("survival", group[0]), title, f"{_SURVIVAL} {facts(group)}", header, rows, 3))
    return tables


def _plain(findings: Findings) -> Callable[[Record], Cell]:
    def cell(record: Record) -> Cell:
        attack = measured(record, "attack")
        return replace(success_rate(attack), badge=findings.badge(record)) if _known(attack) else Cell("n/a")

    return cell


def _after(way: str) -> Callable[[Record], Cell]:
    def cell(record: Record) -> Cell:
        found = measured(record, "attack")["survival"].get(way)
        if found is None:
            return Cell(MISSING)
        if not _known(found):
            return Cell("n/a", notes=(found.get("reason") or "no pair was decided correctly before the attack",))
        rate = success_rate(found)
        counts = ((found.get("not_found"), "not found"), (found.get("clean_flips"), "without attack"))
        return replace(rate, detail="; ".join([rate.detail, *(f"{int(k)} {what}" for k, what in counts if k)]))

    return cell


def _known(found: Mapping[str, Any]) -> bool:
    return found.get("asr") is not None


def draws_tables(records: Sequence[Record], findings: Findings) -> list[Table]:
    """Verdicts of randomised victims on fresh draws, a table for each dataset, recognizer, goal and threat model."""
    tables = []
    for group in groups([r for r in records if measured(r, "attack").get("draws")]):
        columns: dict[str, Callable[[Record], Cell]] = {
            "K": lambda r: Cell(str(_draws(r)["k"])),
            "majority %": _plain(findings),
            "mean %": _mean_and_spread,
            **{f"{name} %": _share(f"asr_{name}") for name in ("any", "all")},
            "clean flips %": _share("clean_flips"),
        }
        header, rows = listing(group, columns)
        title = f"Randomised victims: {label(group[0], 'goal')}, {setting(group[0])}"
        tables.append(Table(slug("draws", group[0]), title, f"{_DRAWS} {facts(group)}", header, rows, 3))
    return tables


def _draws(record: Record) -> Mapping[str, Any]:
    found: Mapping[str, Any] = measured(record, "attack")["draws"]
    return found


def _mean_and_spread(record: Record) -> Cell:
    draws = _draws(record)
    return Cell(f"{percent(draws['asr_mean'])} ± {percent(draws['asr_std'])}")


def _share(name: str) -> Callable[[Record], Cell]:
    return lambda record: Cell(percent(_draws(record).get(name)))
