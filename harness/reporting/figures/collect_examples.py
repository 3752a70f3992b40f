"""Figures of single pairs: histograms of their scores, and sample images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from frbench.harness.reporting.budget_axis import budget_words
from frbench.harness.reporting.figures.figure_spec import FigureSpec
from frbench.harness.reporting.figures.image_grids import PairRow, pair_grid
from frbench.harness.reporting.figures.plots_scores import score_histograms
from frbench.harness.reporting.file_names import FileName
from frbench.harness.reporting.grouping import grouped, models, others, subject
from frbench.harness.reporting.pair_outcomes import CellFiles
from frbench.harness.reporting.words import defense_words, words
from frbench.harness.storage.records import Record, label, measured, natural

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAGE = 8  # pairs per page of an image grid
_SCORES = ["same", "clean_score", "adversarial_score", "threshold"]


def histograms(files: CellFiles, records: Sequence[Record]) -> Iterator[FigureSpec]:
    """Scores before and after an attack: a figure per threat model and budget, of the strongest attack there."""
    for key, group in grouped(records, ("threat", "budget")):
        attack = _strongest(group)
        own = sorted((r for r in group if label(r, "attack") == attack), key=lambda r: natural(label(r, "defense")))
        frames = [
            scores[_SCORES].assign(defense=label(r, "defense"), goal=label(r, "goal"))
            for r in own
            if (scores := files.scores(r["fingerprint"])) is not None
        ]
        if frames:
            yield FigureSpec(
                FileName("scores", subject(key, *key[-2:], f"attack_{attack}"), others(key)),
                f"Scores before and after the attack, {words(attack)}, {budget_words(key[-1])}",
                f"{words(key[-2])} attacker, {models(key)}",
                "Cosine scores of the attacked pairs before and after the attack with the highest mean ASR: the "
                "attack succeeds on the pairs that cross the threshold.",
                partial(score_histograms, pd.concat(frames)),
                place="all",
            )


def _strongest(records: Sequence[Record]) -> str:
    """The attack with the highest mean ASR."""
    rates: dict[str, list[float]] = {}
    for record in records:
        rates.setdefault(label(record, "attack"), []).append(float(measured(record, "attack").get("asr") or 0))
    return max(sorted(rates, key=natural), key=lambda name: float(np.mean(rates[name])))


def pair_examples(files: CellFiles, records: Sequence[Record], top: int) -> Iterator[FigureSpec]:
    """Pages of sample images: all budgets and attacks of one goal, threat model and defense."""
    first = True
    for key, group in grouped(records, ("goal", "threat", "defense")):
        rows = [(r, i) for r in group for i in range(_samples(files, r, top))]
        pages = [rows[start : start + _PAGE] for start in range(0, len(rows), _PAGE)]
        goal, threat, defense = key[-3:]
        for number, page in enumerate(pages, 1):
            which = (f"page_{number}",) if len(pages) > 1 else ()
            yield FigureSpec(
                FileName("examples", subject(key, goal, threat, f"defense_{defense}", *which), others(key)),
                f"Attacked pairs, {words(goal)}, {defense_words(defense)}",
                f"{words(threat)} attacker, {models(key)}",
                "The first attacked pairs with the amplified difference, and the score of each image with the "
                "reference: the attack succeeds if the score crosses the threshold.",
                partial(_draw, files, page),
                ("png",),
                place="main" if first else "all",
            )
            first = False


def _samples(files: CellFiles, record: Record, top: int) -> int:
    """The number of pairs that are shown of ``record``."""
    samples = files.sample_images(record["fingerprint"])
    return 0 if samples is None else min(top, len(samples["index"]))


def _draw(files: CellFiles, page: Sequence[tuple[Record, int]], title: str) -> Figure:
    """The images are read here, so that those of one page are in memory at a time."""
    samples = {r["fingerprint"]: files.sample_images(r["fingerprint"]) or {} for r, _ in page}
    return pair_grid([_row(record, samples[record["fingerprint"]], i) for record, i in page], title)


def _row(record: Record, samples: Mapping[str, np.ndarray], i: int) -> PairRow:
    attack = fill(words(label(record, "attack")), 28, max_lines=2, placeholder=" …")
    return PairRow(
        name=f"{attack}\n{budget_words(label(record, 'budget'))}, pair {int(samples['index'][i])}",
        clean=samples["probe"][i],
        adversarial=samples["adversarial"][i],
        reference=samples["reference"][i],
        clean_score=float(samples["clean_score"][i]),
        adversarial_score=float(samples["adversarial_score"][i]),
        threshold=float(samples["threshold"][i]),
        success=bool(samples["success"][i]),
    )
