"""Tables of the same images after image post-processing, and on new draws of randomized defenses. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.tables.layout import (
    NO_PAIRS,
    groups,
    listing,
    percent,
    setting,
    settings_caption,
    slug,
    success_rate,
)
from frbench.harness.reporting.tables.rendering import MISSING, Cell, Table
from frbench.harness.storage.records import Record, label, measured, natural

_POSTPROCESSING = (
    "ASR in % [95 % Wilson interval] (successes/attacked pairs) of the same adversarial images, without and with each "
    "post-processing. 'k not detected': faces that the detector did not find afterwards, counted as failures. 'k "
    "without attack': attacked pairs that are decided wrongly if the clean image is post-processed."
)
_DRAWS = (
    "For randomized defenses. Each image is judged on K new random draws, used neither by the attack nor for "
    "calibration. 'majority': ASR by majority vote, as in all other tables. 'mean': ASR of a single draw ± standard "
    "deviation over draws. 'any', 'all': successes on at least one draw and on every draw. 'clean errors': share of "
    "draws on which an attacked pair is decided wrongly without an attack."
)


def postprocessing_tables(records: Sequence[Record], findings: Findings) -> list[Table]:
    """ASR of saved, resized and re-detected images, a table per dataset, recognizer, goal and threat model."""
    tables = []
    for group in groups([r for r in records if measured(r, "attack").get("postprocessing")]):
        steps = sorted({step for r in group for step in measured(r, "attack")["postprocessing"]}, key=natural)
        columns = {"original": _original(findings)} | {step.replace("_", " "): _processed(step) for step in steps}
        header, rows = listing(group, columns)
        title = f"ASR of {label(group[0], 'goal')} after image post-processing: {setting(group[0])}"
        caption = f"{_POSTPROCESSING} {settings_caption(group)}"
        tables.append(Table(slug("postprocessing", group[0]), title, caption, header, rows, 3))
    return tables


def _original(findings: Findings) -> Callable[[Record], Cell]:
    def cell(record: Record) -> Cell:
        attack = measured(record, "attack")
        return replace(success_rate(attack), badge=findings.badge(record)) if _known(attack) else Cell("n/a")

    return cell


def _processed(step: str) -> Callable[[Record], Cell]:
    def cell(record: Record) -> Cell:
        found = measured(record, "attack")["postprocessing"].get(step)
        if found is None:
            return Cell(MISSING)
        if not _known(found):
            return Cell("n/a", notes=(found.get("reason") or NO_PAIRS,))
        rate = success_rate(found)
        counts = ((found.get("not_found"), "not detected"), (found.get("clean_flips"), "without attack"))
        return replace(rate, detail="; ".join([rate.detail, *(f"{int(k)} {words}" for k, words in counts if k)]))

    return cell


def _known(found: Mapping[str, Any]) -> bool:
    return found.get("asr") is not None


def draws_tables(records: Sequence[Record], findings: Findings) -> list[Table]:
    """ASR on new draws of randomized defenses, a table per dataset, recognizer, goal and threat model."""
    tables = []
    for group in groups([r for r in records if measured(r, "attack").get("draws")]):
        columns: dict[str, Callable[[Record], Cell]] = {
            "K": lambda r: Cell(str(_draws(r)["k"])),
            "majority %": _original(findings),
            "mean %": _mean_and_std,
            **{f"{name} %": _share(f"asr_{name}") for name in ("any", "all")},
            "clean errors %": _share("clean_flips"),
        }
        header, rows = listing(group, columns)
        title = f"ASR of {label(group[0], 'goal')} on randomized defenses: {setting(group[0])}"
        caption = f"{_DRAWS} {settings_caption(group)}"
        tables.append(Table(slug("draws", group[0]), title, caption, header, rows, 3))
    return tables


def _draws(record: Record) -> Mapping[str, Any]:
    found: Mapping[str, Any] = measured(record, "attack")["draws"]
    return found


def _mean_and_std(record: Record) -> Cell:
    draws = _draws(record)
    return Cell(f"{percent(draws['asr_mean'])} ± {percent(draws['asr_std'])}")


def _share(name: str) -> Callable[[Record], Cell]:
    return lambda record: Cell(percent(_draws(record).get(name)))
