"""A comparison of two runs as tables and sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from frbench.harness.core.flags import Flag
from frbench.harness.metrics.significance import LEVEL
from frbench.harness.reporting.budget_axis import budget_words
from frbench.harness.reporting.tables.layout import clean_accuracy, signed, success_rate
from frbench.harness.reporting.tables.paired_sizes import SizeComparison, size_ratios
from frbench.harness.reporting.tables.paired_tests import p_value
from frbench.harness.reporting.tables.perturbation_sizes import median_bounds, number
from frbench.harness.reporting.tables.rendering import MISSING, Cell, Table
from frbench.harness.reporting.views.comparison import NAMES, Comparison, Part
from frbench.harness.reporting.words import defense_words, words
from frbench.harness.storage.records import Record, label, measured

_SAID = ("attack", "defense", "goal", "budget", "threat", "tracker", "recognizer", "dataset")
# The columns of flipped rows with their headers; those of both runs end with _a and _b.
_COLUMNS: Mapping[str, str] = {
    "index": "number",
    "split": "split",
    "user": "user",
    "distance": "q",
    "probe": "probe",
    "reference": "reference",
    "margin": "margin",
    "adversarial_score": "score",
    "threshold": "threshold",
    "clean_score": "clean score",
    "l2": "L2",
    "queries": "queries",
    "predicted": "named as user",
}
_STATUS = "status"
_SIGNED, _SIZES = ("margin",), ("l2", "distance")
SHORT = ("index", "split", "user", "distance", "probe", "reference", "margin", "adversarial_score", "predicted")


def run_words(record: Record) -> str:
    """A run in a few words: ``fgsm, defense jpeg, dodging, L∞ ≤ 2/255, oblivious, tiny, lfw (limit=240)``."""
    spoken = {"defense": defense_words, "budget": budget_words}
    named = [(noun, label(record, noun)) for noun in _SAID]
    return ", ".join(spoken.get(noun, words)(name) for noun, name in named if name)


def differences_table(found: Comparison) -> Table:
    """What differs between the two runs; nothing that both share."""
    rows = tuple(tuple(map(Cell, each)) for each in found.differences)
    caption = "Options, settings, data, code and machine; what both share is left out." if rows else "Nothing differs."
    return Table("differences", "Differences between the runs", caption, ("what", "name", *NAMES), rows, 2)


def rates_table(found: Comparison) -> Table:
    """The main measurements of both runs side by side, each over its own pairs."""
    names: dict[str, None] = {}
    columns = []
    for record in (found.a, found.b):
        columns.append(dict(_rates(record)))
        names |= dict.fromkeys(columns[-1])
    if all(column[_STATUS].value == "done" for column in columns):
        del names[_STATUS]
    rows = tuple((Cell(name), *(column.get(name, Cell(MISSING)) for column in columns)) for name in names)
    caption = "Each run over its own pairs, with 95 % intervals and counts."
    return Table("side_by_side", "Side by side", caption, ("measurement", *NAMES), rows, 1)


def _rates(record: Record) -> Iterator[tuple[str, Cell]]:
    clean, attack = measured(record, "clean"), measured(record, "attack")
    yield _STATUS, Cell(str(record["status"]))
    if (accuracy := clean_accuracy(clean)) is not None:
        yield "clean accuracy %", accuracy
    if attack.get("asr") is not None:
        yield "ASR %", success_rate(attack)
    for size, unit in (("l2", "median L2"), ("linf", "median L∞ (of 255)")):
        median = (attack.get(size) or {}).get("median")
        if median is not None:
            yield unit, Cell("∞" if median == "inf" else f"{median:.3g}")
    if (attack.get("queries") or {}).get("mean") is not None:
        yield "mean queries per pair", Cell(f"{attack['queries']['mean']:.0f}")
    if record["flags"]:
        yield "flags", Cell(", ".join(flag.replace("_", " ") for flag in record["flags"]))


def counts_table(found: Comparison) -> Table:
    """The 2x2 table; of several parts a row for each."""
    if len(found.parts) > 1:
        return _table_of_parts(found)
    (part,) = found.parts
    gap = part.gap
    rows = (
        (Cell("A succeeds"), *_counts(gap.both, gap.only_a)),
        (Cell("A fails"), *_counts(gap.only_b, gap.neither)),
    )
    title = f"Both runs on the same {found.row}s"
    return Table("counts", title, test_sentence(part), ("both runs", "B succeeds", "B fails"), rows, 1)


def _table_of_parts(found: Comparison) -> Table:
    rows = []
    for part in found.parts:
        gap = part.gap
        counts = _counts(gap.total, gap.both, gap.only_a, gap.only_b, gap.neither)
        change = Cell(signed(gap.difference), f"[{signed(gap.low)}, {signed(gap.high)}]")
        higher = _higher(part) or "="
        rows.append((Cell(part.name), *counts, change, Cell(p_value(part.p)), Cell(higher)))
    caption = (
        "A − B: difference of the success rates in percentage points with its 95 % interval. p: corrected by Holm for "
        f"all rows. Higher: the run with the higher rate if p is at most {LEVEL}, else '='. "
        f"Test: {found.parts[0].method}."
    )
    header = ("distance", f"{found.row}s", "both succeed", "A alone", "B alone", "neither", "A − B", "p", "higher")
    return Table("counts", f"Both runs on the same {found.row}s", caption, header, tuple(rows), 1)


def _higher(part: Part) -> str:
    """The run with the significantly higher success rate; empty if there is none."""
    if part.p > LEVEL or not part.gap.difference:
        return ""
    return NAMES[0] if part.gap.difference > 0 else NAMES[1]


def _counts(*counts: int) -> tuple[Cell, ...]:
    return tuple(Cell(f"{count:,}") for count in counts)


def overlap_sentence(found: Comparison) -> str:
    """Which rows are compared and which are not, with their numbers."""
    overlap = found.overlap
    if overlap is None:
        return ""
    text = f"{overlap.compared:,} {found.row}s are compared"
    parts = [
        f"{count:,} {what} {name}"
        for what, counts in (("only in", overlap.missing), ("counted only in", overlap.left_out))
        for name, count in zip(NAMES, counts, strict=True)
        if count
    ]
    return f"{text}; left out: {', '.join(parts)}." if parts else f"{text}, all of both runs that count."


def test_sentence(part: Part) -> str:
    """The difference of the success rates with its interval and test, and what it says."""
    gap = part.gap
    verdict = f"the ASR of {higher} is higher" if (higher := _higher(part)) else "no significant difference"
    return (
        f"ASR of A minus ASR of B: {signed(gap.difference)} percentage points [{signed(gap.low)}, {signed(gap.high)}], "
        f"p = {p_value(part.p)}: {verdict} ({part.method})."
    )


def sizes_sentence(found: Comparison) -> str:
    """The paired test of the perturbation sizes where both attacks stop at the decision boundary; else empty."""
    if not all(Flag.BOUNDARY_ATTACK in record["flags"] for record in (found.a, found.b)) or not found.parts:
        return ""
    rows = found.parts[0].rows
    if not {"l2_a", "l2_b"} <= set(rows):
        return ""
    sizes = [np.where(rows[f"success_{side}"], rows[f"l2_{side}"].astype(float), np.inf) for side in "ab"]
    compared = SizeComparison("", "", *NAMES, size_ratios(*sizes))
    ratio = f"{number(float(np.median(compared.ratios)), 2)} {median_bounds(compared.ratios)}"
    return (
        f"Both attacks stop at success, so their sizes are the result: the median ratio of L2, A to B, is {ratio}; "
        f"{compared.larger[0]:,} are larger in A, {compared.larger[1]:,} in B, p = {p_value(compared.p)} (exact "
        "two-sided sign test)."
    )


def flipped_sentence(found: Comparison, listed: int) -> str:
    """How many rows flipped in which direction, and how many of them are listed."""
    only_a, only_b = (sum(getattr(part.gap, name) for part in found.parts) for name in ("only_a", "only_b"))
    if not only_a + only_b:
        return f"No {found.row} flipped: both succeed on the same {found.row}s."
    text = f"{only_a + only_b:,} {found.row}s flipped: A alone succeeds on {only_a:,}, B alone on {only_b:,}"
    first = "those with the largest difference of the margins" if "margin_a" in found.parts[0].rows else "the first"
    return f"{text}; {listed:,} are listed, {first}." if listed < only_a + only_b else f"{text}."


def flipped_rows(found: Comparison) -> pd.DataFrame:
    """The flipped rows of all parts; ``alone`` is the run, A or B, whose attack succeeds."""
    rows = [part.flipped for part in found.parts if len(part.flipped)]
    if not rows:
        return pd.DataFrame()
    joined = pd.concat(rows, ignore_index=True)
    return joined.assign(alone=np.where(joined["success_a"], *NAMES))


def flipped_table(found: Comparison, top: int | None = None, columns: Sequence[str] = tuple(_COLUMNS)) -> Table:
    """A row per flipped pair, at most ``top``: numbers, names of the photos, scores, thresholds, sizes, queries."""
    rows = flipped_rows(found).iloc[:top]
    shown: dict[str, Sequence[Any]] = {}
    for name in columns:
        sides = {f"{name}_{side}": f" {run}" for side, run in zip("ab", NAMES, strict=True)}
        for column, run in {name: "", **sides}.items():
            if column in rows:
                shown[f"{_COLUMNS[name]}{run}"] = [_value(value, name) for value in rows[column].tolist()]
    header = tuple(shown)
    if header:
        shown["alone"] = rows["alone"].tolist()
        header = (header[0], "alone", *header[1:])
    cells = tuple(tuple(map(Cell, row)) for row in zip(*(shown[name] for name in header), strict=True))
    caption = "Alone: the run whose attack succeeds."
    if "margin A" in shown:
        caption += " Score: after the attack. Margin: score minus threshold; a pair is rejected at 0 and below."
    stub = next((place for place, name in enumerate(header) if name.endswith(f" {NAMES[0]}")), len(header))
    return Table("flipped", f"Flipped {found.row}s", caption, header, cells, stub)


def _value(value: Any, column: str) -> str:
    if isinstance(value, str):
        return photo_words(value)
    if not isinstance(value, float):
        return str(value)
    digits = "+.3f" if column in _SIGNED else ".3g" if column in _SIZES else ".3f"
    return MISSING if np.isnan(value) else f"{value:{digits}}".replace("-", "−")


def photo_words(name: str) -> str:
    """The file of a photo without its ending, and without a folder whose name it begins with."""
    folder, _, file = name.rpartition("/")
    stem = file.rsplit(".", 1)[0]
    return stem if not folder or stem.startswith(folder.rpartition("/")[2]) else f"{folder}/{stem}"
