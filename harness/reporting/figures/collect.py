"""Which figures a set of records gives, and their files. The drawing itself is in ``plots``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frbench.harness.core.flags import Flag
from frbench.harness.metrics.confidence import wilson
from frbench.harness.metrics.security_curves import security_curve
from frbench.harness.reporting.figures import image_grids as plots_pictures
from frbench.harness.reporting.figures import plots
from frbench.harness.reporting.figures.collect_cloaking import grids, line_figures, scatters
from frbench.harness.reporting.figures.collect_feature_distance import distance_figures
from frbench.harness.reporting.figures.collect_summary import AXIS, RADIUS, story_figures
from frbench.harness.reporting.figures.style import save
from frbench.harness.reporting.pair_outcomes import counted, sizes
from frbench.harness.reporting.summary import Story
from frbench.harness.reporting.tables.perturbation_sizes import REACH, asks
from frbench.harness.reporting.tables.rendering import file_name
from frbench.harness.storage.records import NULL, Kind, Record, label, measured, natural, of_kind, rest

_BOARD = ("dataset", "recognizer", "protocol", "surrogate", "settings")  # what all panels of a figure share
_SIZES = {"linf": "L∞, gray levels of 255", "rms": "RMS, gray levels of 255"}  # sizes with a curve of their own
_Costs = list[tuple[Record, NDArray[np.float64]]]  # cells with what success cost each attacked pair
_PAGE = 12  # pairs on a page of pictures


class Kept(Protocol):
    """What cells kept beside their records."""

    def scores(self, fingerprint: str) -> pd.DataFrame | None: ...

    def pictures(self, fingerprint: str) -> Mapping[str, np.ndarray] | None: ...


def draw(
    store: Kept, records: Sequence[Record], frame: pd.DataFrame, folder: Path, top: int, told: Story | None
) -> list[Path]:
    """Draw everything that ``records`` (in natural order, ``frame`` their tidy rows) allow; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    of_pairs = [r["names"]["attack"] != NULL and r["kind"] == Kind.VERIFICATION for r in records]
    attacked = [record for record, is_so in zip(records, of_pairs, strict=True) if is_so]
    cloaks, cells = of_kind(records, Kind.CLOAKING), _cells(frame[of_pairs])
    written: list[Path] = []
    chosen = (_curves(cells), _heat_maps(cells), _security(store, attacked), _queries(store, attacked))
    walks = distance_figures(of_kind(records, Kind.FEATURE_DISTANCE))
    for figures in (
        story_figures(told),
        *chosen,
        _histograms(store, attacked),
        walks,
        line_figures(cloaks),
        scatters(store, cloaks),
    ):
        for name, figure in figures:
            written += save(figure, folder / name, "png", "pdf")
    for figures in (_grids(store, attacked, top), grids(store, cloaks, top)):
        for name, figure in figures:
            written += save(figure, folder / name, "png")  # pixels gain nothing from a PDF
    return written


def _cells(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per label: where several results share it, the last; a finished one before others."""
    if frame.empty:
        return frame
    frame = frame.assign(finished=frame["status"] == "done").sort_values("finished", kind="stable")
    labels = [*_BOARD, "goal", "threat", "budget", "defense", "attack"]
    kept = frame.drop_duplicates(labels, keep="last").drop(columns="finished")
    return kept.reindex(
        columns=list(dict.fromkeys([*kept.columns, "asr", "asr_low", "asr_high", "asr_denominator"]))
    ).sort_index()


def _boards(cells: pd.DataFrame, *more: str) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    columns = [*_BOARD, *more]
    if not cells.empty:
        for key, group in cells.groupby(columns, sort=False):
            yield tuple(str(part) for part in key), group


def _curves(cells: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    """One figure per attack with a line for each defense, one per defense with a line for each attack."""
    parsed = [RADIUS.fullmatch(budget) for budget in cells["budget"]] if len(cells) else []
    points = cells[[p is not None for p in parsed]].assign(
        norm=[p[1] for p in parsed if p], radius=[float(p[2].replace("p", ".")) for p in parsed if p]
    )
    points = points[points["asr"].notna()] if len(points) else points
    for fixed, lines in (("attack", "defense"), ("defense", "attack")):
        for key, group in _boards(points, "norm", fixed):
            if group["radius"].nunique() > 1 and (fixed == "attack" or group[lines].nunique() > 1):
                norm, name = key[-2:]
                ranked = group.sort_values(lines, key=lambda column: column.map(_rank(column)), kind="stable")
                title = f"{fixed.capitalize()} {name}: success against budget · {_on(key)}"
                figure = plots.asr_curves(ranked, lines, AXIS.get(norm, norm), title)
                yield file_name(["curve", *key[:-2], norm, fixed, name]), figure


def _rank(names: pd.Series) -> dict[str, int]:
    return {name: i for i, name in enumerate(sorted(set(names), key=natural))}


def _heat_maps(cells: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    for key, group in _boards(cells, "budget"):
        ranked = group.assign(text=[_below(row) for row in group.to_dict("records")])
        for column in ("attack", "defense", "goal", "threat"):
            ranked = ranked.sort_values(column, key=lambda names: names.map(_rank(names)), kind="stable")
        yield file_name(["heat", *key]), plots.heat_map(ranked, f"ASR, % · {key[-1]} · {_on(key)}")


def _below(row: Mapping[Any, Any]) -> str:
    if row["status"] != "done":
        return str(row["status"])
    if pd.isna(row["asr"]):
        return "n/a"
    return f"{round(row['asr'] * row['asr_denominator'])}/{int(row['asr_denominator'])}"


def _security(store: Kept, records: Sequence[Record]) -> Iterator[tuple[str, Any]]:
    """Success against the size of the change, for attacks that look for a small one: a figure for each defense with a
    line for each attack, and one for each attack on several defenses."""
    minimising = [r for r in records if Flag.BOUNDARY_ATTACK in r["flags"]]
    for fixed, lines, kind in (("defense", "attack", "security"), ("attack", "defense", "security-by-defense")):
        for key, group in _grouped(minimising, ("threat", "budget", fixed)):
            found = [(words, _costs(store, group, column)) for column, words in _SIZES.items()]
            frames = [_corners(costs, words, 0, _widest(costs), lines) for words, costs in found if costs]
            if frames and (fixed == "defense" or len({label(r, lines) for r in group}) > 1):
                what = f"{' · '.join(key[-3:-1])} · {fixed} {key[-1]} · {_on(key)}"
                title = f"Success against the size of the change · {what}"
                yield file_name([kind, *key]), plots.share_curves(pd.concat(frames), title)


def _queries(store: Kept, records: Sequence[Record]) -> Iterator[tuple[str, Any]]:
    """Success against queries spent, for attackers that pay with them: a figure for each defense."""
    for key, group in _grouped([r for r in records if asks(r)], ("threat", "budget", "defense")):
        costs = _costs(store, group, "queries")
        if costs:
            title = f"Success against queries · {' · '.join(key[-3:-1])} · defense {key[-1]} · {_on(key)}"
            corners = _corners(costs, "queries of a pair", *_decades(costs))
            yield file_name(["queries", *key]), plots.share_curves(corners, title, "log")


def _costs(store: Kept, group: Sequence[Record], column: str) -> _Costs:
    """What success cost each attacked pair of each cell, infinite for failures; cells without per-pair scores skip."""
    frames = [(record, store.scores(record["fingerprint"])) for record in group]
    return [(r, sizes(f, column)) for r, f in frames if f is not None and column in f and len(counted(f))]


def _won(costs: _Costs) -> NDArray[np.float64]:
    values = np.concatenate([values for _, values in costs])
    return values[np.isfinite(values)]


def _widest(costs: _Costs) -> float:
    """Where an axis of sizes may end: behind 99 of 100 successes, so that a few outliers do not squeeze the rest."""
    won = _won(costs)
    return float(np.clip(np.ceil(np.quantile(won, 0.99)), 1, REACH["linf"])) if len(won) else REACH["linf"]


def _decades(costs: _Costs) -> tuple[float, float]:
    """Where an axis of queries starts, a power of ten, and where it ends: at what was allowed, or spent."""
    won = _won(costs)
    limits = [float((measured(record, "attack")["queries"].get("limit")) or 1) for record, _ in costs]
    start = 10 ** np.floor(np.log10(max(1, won.min(initial=np.inf)))) if len(won) else 1
    return float(start), max(*limits, won.max(initial=0), 10 * start)


def _corners(costs: _Costs, words: str, start: float, end: float, lines: str = "attack") -> pd.DataFrame:
    frames = []
    for record, values in sorted(costs, key=lambda each: natural(label(each[0], lines))):
        x = np.unique([start, *values[(values > start) & (values < end)], end])
        share = security_curve(values, x)
        bounds = np.array([wilson(round(each * len(values)), len(values)) for each in share])
        points = pd.DataFrame({"x": x, "share": share, "low": bounds[:, 0], "high": bounds[:, 1]})
        frames.append(points.assign(cost=words, goal=label(record, "goal"), line=label(record, lines)))
    return pd.concat(frames)


def _histograms(store: Kept, records: Sequence[Record]) -> Iterator[tuple[str, Any]]:
    for key, group in _grouped(records, ("threat", "budget")):
        frames = [
            scores.assign(defense=label(r, "defense"), attack=label(r, "attack"))
            for r in group
            if (scores := store.scores(r["fingerprint"])) is not None
        ]
        if frames:
            title = f"Scores, clean and attacked · {key[-2]} · {key[-1]} · {_on(key)}"
            yield file_name(["scores", *key]), plots.score_histograms(pd.concat(frames), title)


def _grids(store: Kept, records: Sequence[Record], top: int) -> Iterator[tuple[str, Any]]:
    """Pages of pictures: all budgets and attacks of one goal, threat and defense."""
    for key, group in _grouped(records, ("goal", "threat", "defense")):
        rows = [row for r in group for row in _rows(r, store.pictures(r["fingerprint"]), top)]
        pages = [rows[i : i + _PAGE] for i in range(0, len(rows), _PAGE)]
        goal, threat, defense = key[-3:]
        for number, page in enumerate(pages, 1):
            title = f"{goal} · {threat} · defense {defense} · {_on(key)}"
            which = [f"page{number}"] if len(pages) > 1 else []
            yield file_name(["pictures", *key, *which]), plots_pictures.picture_grid(page, title)


def _rows(record: Record, kept: Mapping[str, np.ndarray] | None, top: int) -> list[plots_pictures.PictureRow]:
    if kept is None:
        return []
    return [
        plots_pictures.PictureRow(
            name=f"{label(record, 'attack')} {label(record, 'budget')}\npair {int(kept['index'][i])}",
            clean=kept["probe"][i],
            adversarial=kept["adversarial"][i],
            reference=kept["reference"][i],
            clean_score=float(kept["clean_score"][i]),
            adversarial_score=float(kept["adversarial_score"][i]),
            threshold=float(kept["threshold"][i]),
            success=bool(kept["success"][i]),
        )
        for i in range(min(top, len(kept["index"])))
    ]


def _grouped(records: Sequence[Record], nouns: Sequence[str]) -> Iterator[tuple[tuple[str, ...], list[Record]]]:
    """Finished records by what their figure shares, the last of those under one label."""
    groups: dict[tuple[str, ...], dict[tuple[str, ...], Record]] = {}
    for record in (r for r in records if measured(r, "attack")):
        shared = (*(label(record, noun) for noun in _BOARD[:-1]), rest(record))
        key = (*shared, *(label(record, noun) for noun in nouns))
        own = tuple(label(record, noun) for noun in ("budget", "attack", "defense", "goal"))
        groups.setdefault(key, {})[own] = record
    yield from ((key, list(group.values())) for key, group in groups.items())


def _on(key: Sequence[str]) -> str:
    dataset, recognizer, _, surrogate, settings = key[: len(_BOARD)]
    parts = [f"{recognizer} on {dataset}", f"surrogate {surrogate}" if surrogate else "", settings]
    return ", ".join(part for part in parts if part)
