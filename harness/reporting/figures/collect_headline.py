"""The figures of a headline: success by knowledge, accuracy, cost and ROC curves against robustness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from frbench.harness.metrics.verification import roc
from frbench.harness.reporting.figures.figure_spec import FigureSpec
from frbench.harness.reporting.figures.plots_headline import against_robustness, knowledge_ladder, roc_and_det
from frbench.harness.reporting.headline import LEVELS, NOISE, Headline, Row, clean
from frbench.harness.reporting.pair_outcomes import CellFiles
from frbench.harness.reporting.rates import Rate
from frbench.harness.reporting.tables.headline import file_name, setting_of

_OPENING = 3  # figures that open a report


def headline_figures(files: CellFiles, found: Sequence[Headline], timing: bool) -> Iterator[FigureSpec]:
    """The figures of each headline; the first ones of the first headline open the report.

    Args:
        files: scores of the cells.
        found: the headlines.
        timing: whether the cost is drawn.
    """
    for number, headline in enumerate(found):
        specs = [*_ladder(headline), *_accuracy(headline), *_curves(files, headline)]
        specs += _cost(headline) if timing else ()
        for place, spec in enumerate(specs):
            if number:
                yield replace(spec, place="all")
            else:
                yield replace(spec, place="opening" if place < _OPENING else "main")


def _spec(headline: Headline, kind: str, title: str, caption: str, draw: Any) -> FigureSpec:
    return FigureSpec(file_name(headline, kind), title, setting_of(headline), caption, draw)


def _ladder(headline: Headline) -> Iterator[FigureSpec]:
    rows = [each for row in headline.rows for each in _steps(row)]
    found = {row["level"] for row in rows}
    levels = [level for level in (NOISE, *LEVELS) if level in found]
    if len(levels) > 1:
        yield _spec(
            headline,
            "knowledge_ladder",
            "Success of attacks by what the attacker knows",
            "ASR of the strongest attack of each attacker with 95 % confidence intervals: a line that rises steeply to "
            "the right belongs to a defense that protects against attackers who know little, and not against others.",
            partial(knowledge_ladder, pd.DataFrame(rows), levels),
        )


def _steps(row: Row) -> Iterator[dict[str, Any]]:
    for level, rate in row.rates.items():
        yield {"goal": row.goal, "defense": row.defense, "level": level, **_columns(rate)}


def _columns(rate: Rate) -> dict[str, float]:
    low, high = rate.bounds
    return {"asr": rate.share, "asr_low": low, "asr_high": high}


def _accuracy(headline: Headline) -> Iterator[FigureSpec]:
    rows = []
    for row in headline.rows:
        found, rate = clean(row), row.worst_rate
        if rate is not None and found.get("accuracy") is not None:
            x = {f"x{end}": 100 * found[f"accuracy{end}"] for end in ("", "_low", "_high")}
            rows.append({"goal": row.goal, "defense": row.defense, **x, **_columns(rate)})
    if rows:
        yield _spec(
            headline,
            "accuracy_against_robustness",
            "Clean accuracy against robustness to the strongest attack",
            "Share of the attacked pairs that withstand the strongest attack by the accuracy on clean pairs, both with "
            "95 % confidence intervals: a good defense is at the upper right, and one at the left of no defense pays "
            "with accuracy.",
            partial(against_robustness, pd.DataFrame(rows), "clean accuracy, %"),
        )


def _cost(headline: Headline) -> Iterator[FigureSpec]:
    rows = []
    for row in headline.rows:
        rate = row.worst_rate
        if rate is not None and len(row.cost) == 1:
            ((device, x),) = row.cost.items()
            named = {"goal": row.goal, "defense": row.defense, "device": device}
            rows.append({**named, **dict.fromkeys(("x", "x_low", "x_high"), x), **_columns(rate)})
    frame = pd.DataFrame(rows)
    if len(frame) and frame["defense"].nunique() > 1 and frame["device"].nunique() == 1:
        yield _spec(
            headline,
            "cost_against_robustness",
            "Cost against robustness to the strongest attack",
            "Share of the attacked pairs that withstand the strongest attack, with 95 % confidence intervals, by the "
            "time of the defended recognizer for one image: a good defense is at the upper left.",
            partial(
                against_robustness, frame, f"ms per image on {frame['device'].iloc[0].split(' (')[0]}", xscale="log"
            ),
        )


def _curves(files: CellFiles, headline: Headline) -> Iterator[FigureSpec]:
    """ROC and DET curves of defenses whose genuine and impostor pairs were both attacked."""
    frames = [frame for pairs in _both_kinds(files, headline) for frame in pairs]
    if frames:
        yield _spec(
            headline,
            "roc_and_det",
            "ROC and DET curves without an attack and after the strongest one",
            "On the attacked pairs, genuine and impostor: the further a curve moves from the upper left corner (ROC) "
            "or the lower left one (DET) when both kinds are attacked, the less the defense protects at any threshold.",
            partial(roc_and_det, pd.concat(frames)),
        )


def _both_kinds(files: CellFiles, headline: Headline) -> Iterator[list[pd.DataFrame]]:
    for defense in dict.fromkeys(row.defense for row in headline.rows):
        worst = [row.worst for row in headline.rows if row.defense == defense and row.worst is not None]
        tables = [table for record in worst if (table := files.scores(record["fingerprint"])) is not None]
        scores = pd.concat(tables) if tables else pd.DataFrame({"same": []})
        if scores["same"].nunique() == 2 and "clean_score" in scores:
            smallest = 1 / int(scores["same"].value_counts().max())
            yield [
                _curve(scores, column).assign(attacked=attacked, defense=defense, smallest=smallest)
                for attacked, column in ((False, "clean_score"), (True, "adversarial_score"))
            ]


def _curve(scores: pd.DataFrame, column: str) -> pd.DataFrame:
    known = scores[scores[column].notna()]
    far, tar = roc(known[column].to_numpy(float), known["same"].to_numpy(bool))
    return pd.DataFrame({"far": far, "tar": tar})
