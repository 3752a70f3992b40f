"""The figures of a report: records, titles and files. ``plots`` draws them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frbench.harness.core.flags import Flag
from frbench.harness.metrics.confidence import wilson
from frbench.harness.metrics.security_curves import security_curve
from frbench.harness.reporting.budget_axis import AXES, budget_words, norm_and_radius
from frbench.harness.reporting.figures import plots
from frbench.harness.reporting.figures.collect_cloaking import amplification_figures, cloak_grids, embedding_figures
from frbench.harness.reporting.figures.collect_feature_distance import distance_figures
from frbench.harness.reporting.figures.collect_summary import summary_figures
from frbench.harness.reporting.figures.image_grids import PairRow, pair_grid
from frbench.harness.reporting.figures.style import save
from frbench.harness.reporting.pair_outcomes import CellFiles, attacked, sizes
from frbench.harness.reporting.summary import Summary
from frbench.harness.reporting.tables.perturbation_sizes import REACH, uses_queries
from frbench.harness.reporting.tables.rendering import file_name
from frbench.harness.storage.records import NULL, Kind, Record, label, measured, natural, of_kind, rest

_SETTING = ("dataset", "recognizer", "protocol", "surrogate", "settings")  # the same in all panels of a figure
_SIZES = {"linf": "L∞, gray levels of 255", "rms": "RMS, gray levels of 255"}  # sizes with a security curve
_Costs = list[tuple[Record, NDArray[np.float64]]]  # records with the cost of each attacked pair
_Figures = Iterator[tuple[str, Any]]  # file name and figure
_PAGE = 12  # pairs per page of an image grid


class Drawing(NamedTuple):
    """The files of one figure."""

    title: str
    paths: list[Path]


def draw(
    files: CellFiles, records: Sequence[Record], frame: pd.DataFrame, folder: Path, top: int, summary: Summary | None
) -> list[Drawing]:
    """Draw all figures that the records allow.

    Args:
        files: scores and sample images of the records.
        records: in natural order.
        frame: their tidy rows, in the same order.
        folder: where the files go; created if it does not exist.
        top: pairs or users per cell in image grids.
        summary: of the records, if there is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    is_attacked = [r["names"]["attack"] != NULL and r["kind"] == Kind.VERIFICATION for r in records]
    verification = [record for record, chosen in zip(records, is_attacked, strict=True) if chosen]
    cloaking, rows = of_kind(records, Kind.CLOAKING), _one_per_label(frame[is_attacked])
    plotted = (
        summary_figures(summary),
        _asr_curves(rows),
        _heat_maps(rows),
        _security_curves(files, verification),
        _query_curves(files, verification),
        _score_histograms(files, verification),
        distance_figures(of_kind(records, Kind.FEATURE_DISTANCE)),
        amplification_figures(cloaking),
        embedding_figures(files, cloaking),
    )
    grids = (_image_grids(files, verification, top), cloak_grids(files, cloaking, top))  # pixels gain nothing from PDF
    return [
        Drawing(" ".join(figure.get_suptitle().split()), save(figure, folder / name, *endings))
        for several, endings in ((plotted, ("png", "pdf")), (grids, ("png",)))
        for figures in several
        for name, figure in figures
    ]


def _one_per_label(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per combination of labels: of several results the last, a finished one before others."""
    if frame.empty:
        return frame
    frame = frame.assign(finished=frame["status"] == "done").sort_values("finished", kind="stable")
    labels = [*_SETTING, "goal", "threat", "budget", "defense", "attack"]
    last = frame.drop_duplicates(labels, keep="last").drop(columns="finished")
    return last.reindex(
        columns=list(dict.fromkeys([*last.columns, "asr", "asr_low", "asr_high", "asr_denominator"]))
    ).sort_index()


def _by_setting(rows: pd.DataFrame, *more: str) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    if not rows.empty:
        for key, group in rows.groupby([*_SETTING, *more], sort=False):
            yield tuple(str(part) for part in key), group


def _asr_curves(rows: pd.DataFrame) -> _Figures:
    """ASR against budget: a figure per attack with a line per defense, and per defense with a line per attack."""
    budgets = [norm_and_radius(budget) for budget in rows["budget"]] if len(rows) else []
    points = rows[[budget is not None for budget in budgets]].assign(
        norm=[budget[0] for budget in budgets if budget], radius=[budget[1] for budget in budgets if budget]
    )
    points = points[points["asr"].notna()] if len(points) else points
    for fixed, lines in (("attack", "defense"), ("defense", "attack")):
        for key, group in _by_setting(points, "norm", fixed):
            if group["radius"].nunique() > 1 and (fixed == "attack" or group[lines].nunique() > 1):
                norm, name = key[-2:]
                ranked = group.sort_values(lines, key=lambda column: column.map(_rank(column)), kind="stable")
                title = f"ASR against budget · {fixed} {_words(name)} · {_models(key)}"
                figure = plots.asr_curves(ranked, lines, AXES.get(norm, norm), title)
                yield file_name(["curve", *key[:-2], norm, fixed, name]), figure


def _rank(names: pd.Series) -> dict[str, int]:
    return {name: i for i, name in enumerate(sorted(set(names), key=natural))}


def _heat_maps(rows: pd.DataFrame) -> _Figures:
    """ASR by defense and attack: a figure per budget."""
    for key, group in _by_setting(rows, "budget"):
        ranked = group.assign(text=[_counts(row) for row in group.to_dict("records")])
        for column in ("attack", "defense", "goal", "threat"):
            ranked = ranked.sort_values(column, key=lambda names: names.map(_rank(names)), kind="stable")
        title = f"ASR by defense and attack · {budget_words(key[-1])} · {_models(key)}"
        yield file_name(["heat", *key]), plots.heat_map(ranked, title)


def _counts(row: Mapping[Any, Any]) -> str:
    if row["status"] != "done":
        return str(row["status"])
    if pd.isna(row["asr"]):
        return "n/a"
    return f"{round(row['asr'] * row['asr_denominator'])}/{int(row['asr_denominator'])}"


def _security_curves(files: CellFiles, records: Sequence[Record]) -> _Figures:
    """ASR against perturbation size of boundary attacks.

    A figure per defense with a line per attack, and per attack on several defenses with a line per defense.
    """
    boundary = [r for r in records if Flag.BOUNDARY_ATTACK in r["flags"]]
    for fixed, lines, kind in (("defense", "attack", "security"), ("attack", "defense", "security-by-defense")):
        for key, group in _grouped(boundary, ("threat", "budget", fixed)):
            costs = [(words, _costs(files, group, column)) for column, words in _SIZES.items()]
            frames = [_steps(found, words, 0, _widest(found), lines) for words, found in costs if found]
            if frames and (fixed == "defense" or len({label(r, lines) for r in group}) > 1):
                title = f"ASR against perturbation size · {_attacker(key)} · {fixed} {_words(key[-1])} · {_models(key)}"
                yield file_name([kind, *key]), plots.share_curves(pd.concat(frames), title)


def _query_curves(files: CellFiles, records: Sequence[Record]) -> _Figures:
    """ASR against queries of black-box attacks: a figure per defense."""
    for key, group in _grouped([r for r in records if uses_queries(r)], ("threat", "budget", "defense")):
        costs = _costs(files, group, "queries")
        if costs:
            title = f"ASR against queries · {_attacker(key)} · defense {_words(key[-1])} · {_models(key)}"
            steps = _steps(costs, "queries per pair", *_query_range(costs))
            yield file_name(["queries", *key]), plots.share_curves(steps, title, "log")


def _costs(files: CellFiles, group: Sequence[Record], column: str) -> _Costs:
    """The cost of each attacked pair of each record, infinite for failures; without records that have no scores."""
    frames = [(record, files.scores(record["fingerprint"])) for record in group]
    return [(r, sizes(f, column)) for r, f in frames if f is not None and column in f and len(attacked(f))]


def _successful(costs: _Costs) -> NDArray[np.float64]:
    values = np.concatenate([values for _, values in costs])
    return values[np.isfinite(values)]


def _widest(costs: _Costs) -> float:
    """End of the axis of sizes: the 99 % quantile of successes, so that outliers do not squeeze the rest."""
    values = _successful(costs)
    return float(np.clip(np.ceil(np.quantile(values, 0.99)), 1, REACH["linf"])) if len(values) else REACH["linf"]


def _query_range(costs: _Costs) -> tuple[float, float]:
    """Start of the axis of queries, a power of ten, and its end, the query limit or the most queries used."""
    values = _successful(costs)
    limits = [float((measured(record, "attack")["queries"].get("limit")) or 1) for record, _ in costs]
    start = 10 ** np.floor(np.log10(max(1, values.min(initial=np.inf)))) if len(values) else 1
    return float(start), max(*limits, values.max(initial=0), 10 * start)


def _steps(costs: _Costs, words: str, start: float, end: float, lines: str = "attack") -> pd.DataFrame:
    """The corners of the step curves of ``costs`` from ``start`` to ``end``, with Wilson intervals."""
    frames = []
    for record, values in sorted(costs, key=lambda each: natural(label(each[0], lines))):
        x = np.unique([start, *values[(values > start) & (values < end)], end])
        share = security_curve(values, x)
        bounds = np.array([wilson(round(each * len(values)), len(values)) for each in share])
        points = pd.DataFrame({"x": x, "share": share, "low": bounds[:, 0], "high": bounds[:, 1]})
        frames.append(points.assign(cost=words, goal=label(record, "goal"), line=label(record, lines)))
    return pd.concat(frames)


def _score_histograms(files: CellFiles, records: Sequence[Record]) -> _Figures:
    for key, group in _grouped(records, ("threat", "budget")):
        frames = [
            scores.assign(defense=label(r, "defense"), attack=label(r, "attack"))
            for r in group
            if (scores := files.scores(r["fingerprint"])) is not None
        ]
        if frames:
            title = f"Clean and adversarial scores · {key[-2]} · {budget_words(key[-1])} · {_models(key)}"
            yield file_name(["scores", *key]), plots.score_histograms(pd.concat(frames), title)


def _image_grids(files: CellFiles, records: Sequence[Record], top: int) -> _Figures:
    """Pages of sample images: all budgets and attacks of one goal, threat model and defense."""
    for key, group in _grouped(records, ("goal", "threat", "defense")):
        rows = [row for r in group for row in _grid_rows(r, files.sample_images(r["fingerprint"]), top)]
        pages = [rows[i : i + _PAGE] for i in range(0, len(rows), _PAGE)]
        goal, threat, defense = key[-3:]
        for number, page in enumerate(pages, 1):
            title = f"{goal} · {threat} · defense {_words(defense)} · {_models(key)}"
            which = [f"page{number}"] if len(pages) > 1 else []
            yield file_name(["images", *key, *which]), pair_grid(page, title)


def _grid_rows(record: Record, samples: Mapping[str, np.ndarray] | None, top: int) -> list[PairRow]:
    if samples is None:
        return []
    return [
        PairRow(
            name=f"{label(record, 'attack')} {label(record, 'budget')}\npair {int(samples['index'][i])}",
            clean=samples["probe"][i],
            adversarial=samples["adversarial"][i],
            reference=samples["reference"][i],
            clean_score=float(samples["clean_score"][i]),
            adversarial_score=float(samples["adversarial_score"][i]),
            threshold=float(samples["threshold"][i]),
            success=bool(samples["success"][i]),
        )
        for i in range(min(top, len(samples["index"])))
    ]


def _grouped(records: Sequence[Record], nouns: Sequence[str]) -> Iterator[tuple[tuple[str, ...], list[Record]]]:
    """Finished records by figure; of several results with the same labels, the last."""
    groups: dict[tuple[str, ...], dict[tuple[str, ...], Record]] = {}
    for record in (r for r in records if measured(r, "attack")):
        setting = (*(label(record, noun) for noun in _SETTING[:-1]), rest(record))
        key = (*setting, *(label(record, noun) for noun in nouns))
        own = tuple(label(record, noun) for noun in ("budget", "attack", "defense", "goal"))
        groups.setdefault(key, {})[own] = record
    yield from ((key, list(group.values())) for key, group in groups.items())


def _words(name: str) -> str:
    return name.replace("(", " (", 1)


def _attacker(key: Sequence[str]) -> str:
    """Threat model and budget, which stand before the last part of ``key``."""
    return f"{key[-3]} · {budget_words(key[-2])}"


def _models(key: Sequence[str]) -> str:
    dataset, recognizer, _, surrogate, settings = key[: len(_SETTING)]
    parts = [f"{_words(recognizer)} on {_words(dataset)}", f"surrogate {surrogate}" if surrogate else "", settings]
    return ", ".join(part for part in parts if part)
