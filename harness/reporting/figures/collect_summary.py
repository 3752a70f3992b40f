"""The figures of the summary: oblivious and adaptive ASR of each defense, and a false sense of security."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pandas as pd

from frbench.harness.reporting.budget_axis import AXES, budget_words, norm_and_radius
from frbench.harness.reporting.figures import plots
from frbench.harness.reporting.figures.figure_spec import FigureSpec
from frbench.harness.reporting.figures.plots_summary import asr_dots
from frbench.harness.reporting.summary import FIGURES, Summary
from frbench.harness.reporting.tables.layout import phrase
from frbench.harness.storage.records import NULL, Record, label, measured, natural

_ATTACKERS = {"oblivious": "oblivious attack", "adaptive": "adaptive attack"}


def summary_figures(summary: Summary | None) -> Iterator[FigureSpec]:
    """File names and figures; none if no defense was attacked adaptively."""
    lead = summary and (summary.lead or _strongest(summary.records))
    if not summary or not lead:
        return
    same = [r for r in summary.records if all(label(r, noun) == label(lead, noun) for noun in ("budget", "attack"))]
    rows = [_row(r, attacker=_ATTACKERS[r["names"]["threat"]]) for r in same if r["names"]["threat"] in _ATTACKERS]
    frame = pd.DataFrame(rows).sort_values(["defense", "goal"], key=lambda names: names.map(natural), kind="stable")
    models = f"{phrase(lead, 'recognizer')} on {phrase(lead, 'dataset')}"
    yield FigureSpec(
        f"{FIGURES}oblivious_vs_adaptive",
        (),
        (),
        f"Success of oblivious and adaptive attacks, {phrase(lead, 'attack')}, {budget_words(label(lead, 'budget'))}",
        models,
        "ASR of each defense with 95 % confidence intervals: where the adaptive attack is far to the right of the "
        "oblivious one, the defense protects against attackers that ignore it, and not against others.",
        partial(asr_dots, frame, list(_ATTACKERS.values())),
    )
    if summary.lead and summary.false_security:
        yield from _false_security(summary.records, summary.lead, models)


def _false_security(records: Sequence[Record], lead: Record, models: str) -> Iterator[FigureSpec]:
    """ASR with the defense of ``lead`` and without one against the budget, for budgets of one norm."""
    lines = {
        (NULL, lead["names"]["threat"]): "no defense",
        (label(lead, "defense"), "oblivious"): _ATTACKERS["oblivious"],
        (label(lead, "defense"), "adaptive"): _ATTACKERS["adaptive"],
    }
    budget = norm_and_radius(label(lead, "budget"))
    rows = []
    for record in records:
        line = lines.get((label(record, "defense"), record["names"]["threat"]))
        own = norm_and_radius(label(record, "budget"))
        if line and budget and own and own[0] == budget[0] and label(record, "attack") == label(lead, "attack"):
            rows.append(_row(record, attacker=line, radius=own[1]) | {"threat": ""})
    if rows and budget:
        order = list(lines.values())
        frame = pd.DataFrame(rows).sort_values("attacker", key=lambda names: names.map(order.index), kind="stable")
        yield FigureSpec(
            f"{FIGURES}false_security",
            (),
            (),
            f"False sense of security, defense {phrase(lead, 'defense')}",
            f"{phrase(lead, 'attack')}, {models}",
            "ASR as the budget grows: the defense stops the oblivious attack, and the adaptive attack succeeds about "
            "as often as without a defense.",
            partial(plots.asr_curves, frame, "attacker", AXES.get(budget[0], budget[0])),
        )


def _row(record: Record, **more: Any) -> dict[str, Any]:
    rates = {name: measured(record, "attack")[name] for name in ("asr", "asr_low", "asr_high")}
    return {"defense": label(record, "defense"), "goal": label(record, "goal"), **rates, **more}


def _strongest(records: Sequence[Record]) -> Record | None:
    """The adaptive record with a defense of highest ASR."""
    adaptive = [r for r in records if r["names"]["threat"] == "adaptive" and r["names"]["defense"] != NULL]
    return max(adaptive, key=lambda r: float(measured(r, "attack")["asr"]), default=None)
