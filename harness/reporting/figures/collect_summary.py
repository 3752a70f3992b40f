"""The two figures at the head of a report: oblivious against adaptive, and the defense that only seems to hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from frbench.harness.reporting.figures import plots
from frbench.harness.reporting.figures import plots_summary as plots_story
from frbench.harness.reporting.summary import FIGURES, Story
from frbench.harness.storage.records import NULL, Record, label, measured, natural

RADIUS = re.compile(r"([a-z][a-z0-9]*)_(\d+(?:p\d+)?)")
AXIS = {"linf": "L∞ radius, gray levels of 255", "l2": "L2 radius on [0, 1]"}
_SIDES = {"oblivious": "ignores the defense", "adaptive": "knows the defense"}


def story_figures(told: Story | None) -> Iterator[tuple[str, Any]]:
    """Names and figures; none where no defense was attacked with and without knowledge of it."""
    lead = told and (told.lead or _strongest(told.cells))
    if not told or not lead:
        return
    alike = [r for r in told.cells if all(label(r, noun) == label(lead, noun) for noun in ("budget", "attack"))]
    rows = [_row(r, side=_SIDES[r["names"]["threat"]]) for r in alike if r["names"]["threat"] in _SIDES]
    frame = pd.DataFrame(rows).sort_values(["defense", "goal"], key=lambda names: names.map(natural), kind="stable")
    where = f"{label(lead, 'recognizer')} on {label(lead, 'dataset')}"
    title = f"Oblivious against adaptive · {label(lead, 'attack')}, {label(lead, 'budget')} · {where}"
    yield f"{FIGURES}1-oblivious-adaptive", plots_story.twins(frame, list(_SIDES.values()), title)
    if told.lead and told.hollow:
        yield from _seeming(told.cells, told.lead, where)


def _seeming(cells: Sequence[Record], lead: Record, where: str) -> Iterator[tuple[str, Any]]:
    """Success on ``lead``'s defense against the budget, beside that on none, where budgets have radii of one norm."""
    lines = {
        (NULL, lead["names"]["threat"]): "no defense",
        (label(lead, "defense"), "oblivious"): _SIDES["oblivious"],
        (label(lead, "defense"), "adaptive"): _SIDES["adaptive"],
    }
    norm = RADIUS.fullmatch(label(lead, "budget"))
    rows = []
    for record in cells:
        line = lines.get((label(record, "defense"), record["names"]["threat"]))
        parsed = RADIUS.fullmatch(label(record, "budget"))
        if line and norm and parsed and parsed[1] == norm[1] and label(record, "attack") == label(lead, "attack"):
            row = _row(record, attacker=line, radius=float(parsed[2].replace("p", ".")))
            rows.append(row | {"threat": label(record, "attack")})
    if rows and norm:
        order = list(lines.values())
        frame = pd.DataFrame(rows).sort_values("attacker", key=lambda names: names.map(order.index), kind="stable")
        title = f"{label(lead, 'defense')} only seems to hold · {where}"
        yield f"{FIGURES}2-seems-to-hold", plots.asr_curves(frame, "attacker", AXIS.get(norm[1], norm[1]), title)


def _row(record: Record, **more: Any) -> dict[str, Any]:
    rates = {name: measured(record, "attack")[name] for name in ("asr", "asr_low", "asr_high")}
    return {"defense": label(record, "defense"), "goal": label(record, "goal"), **rates, **more}


def _strongest(cells: Sequence[Record]) -> Record | None:
    """The cell of an attacker who knows the defense with the highest success rate."""
    adaptive = [r for r in cells if r["names"]["threat"] == "adaptive" and r["names"]["defense"] != NULL]
    return max(adaptive, key=lambda r: float(measured(r, "attack")["asr"]), default=None)
