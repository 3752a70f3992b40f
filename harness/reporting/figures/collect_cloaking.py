"""The figures of ``protocol=cloaking``: records and titles. ``plots_cloaking`` draws them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from frbench.harness.reporting.budget_axis import budget_words
from frbench.harness.reporting.figures import plots_cloaking
from frbench.harness.reporting.figures.image_grids import CloakRow, cloak_grid
from frbench.harness.reporting.pair_outcomes import CellFiles
from frbench.harness.reporting.tables.layout import phrase, threat_model
from frbench.harness.reporting.tables.rendering import file_name
from frbench.harness.storage.records import Record, label, measured, natural, rest

_AMPLIFICATION = ("defense", "recipe", "amplification", "factor")  # place of K in the settings of a purifier
_SETTING = ("dataset", "protocol", "threat", "surrogate")


def amplification_figures(records: Sequence[Record]) -> Iterator[tuple[str, Any]]:
    """Success and fidelity against amplification, for purifiers trained with several amplifications."""
    done = [(r, k) for r in records if measured(r, "attack") and (k := amplification(r)) is not None]
    settings: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for record, k in done:
        defense = label(record, "defense", without=[".".join(_AMPLIFICATION)])
        key = (*(label(record, noun) for noun in _SETTING), defense, rest(record))
        settings.setdefault(key, []).append(_point(record, k))
    for key, points in sorted(settings.items(), key=lambda each: [natural(part) for part in each[0]]):
        frame = pd.DataFrame(points).drop_duplicates(["attack", "line", "k"], keep="last")
        if frame["k"].nunique() > 1:
            title = f"Success of cloaks against amplification · defense {key[-2]} · {key[0]}"
            yield file_name(["amplification", *key]), plots_cloaking.amplification_curves(frame, title)


def amplification(record: Record) -> float | None:
    """The amplification K that the purifier of ``record`` was trained with; None if there is none or several."""
    found: Any = record["hyperparameters"]
    for step in _AMPLIFICATION:
        found = found.get(step) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) else None


def _point(record: Record, k: float) -> dict[str, Any]:
    attack = measured(record, "attack")
    fidelity = attack.get("fidelity") or {}
    return {
        "attack": f"{label(record, 'attack')}, {label(record, 'budget')}",
        "line": f"{label(record, 'tracker')}, {label(record, 'recognizer')}",
        "k": k,
        **{name: attack.get(name) for name in ("asr", "asr_low", "asr_high")},
        "psnr_natural": _finite(fidelity.get("psnr_natural")),
        "psnr_cloaked": _finite(fidelity.get("psnr")),
    }


def _finite(value: float | str | None) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def embedding_figures(files: CellFiles, records: Sequence[Record]) -> Iterator[tuple[str, Any]]:
    """Embeddings of the first user among others, per attack and defense; the same for every tracker."""
    for record, samples in _samples(files, records):
        names = ("user", "natural", "cloaked", "purified", "both")
        plane = plots_cloaking.EmbeddingPlane(**{name: samples[f"plane_{name}"] for name in names})
        title = f"Embeddings in two dimensions · {_title(record)}"
        yield file_name(["embeddings", *_key(record)]), plots_cloaking.embedding_scatter(plane, title)


def cloak_grids(files: CellFiles, records: Sequence[Record], top: int) -> Iterator[tuple[str, Any]]:
    """Photos, cloaks and purified photos of the first ``top`` users."""
    for record, samples in _samples(files, records):
        sides = ("natural", "cloaked", "purified")
        rows = [
            CloakRow(f"user {int(user)}", *(samples[side][i] for side in sides))
            for i, user in enumerate(samples["user"][:top])
        ]
        if rows:
            yield file_name(["cloaked", *_key(record)]), cloak_grid(rows, _title(record))


def _samples(files: CellFiles, records: Sequence[Record]) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
    """Records with sample images; of several that differ in the tracker only, the last."""
    last = {_key(record): record for record in records if measured(record, "attack")}
    for record in last.values():
        samples = files.sample_images(record["fingerprint"])
        if samples is not None:
            yield record, samples


def _key(record: Record) -> tuple[str, ...]:
    nouns = ("dataset", "recognizer", "threat", "surrogate", "attack", "budget", "defense")
    return (*(label(record, noun) for noun in nouns), rest(record))


def _title(record: Record) -> str:
    models = f"{phrase(record, 'recognizer')} on {phrase(record, 'dataset')}"
    attack = (phrase(record, "attack"), budget_words(label(record, "budget")), f"{threat_model(record)} cloaker")
    return " · ".join(part for part in (*attack, f"defense {phrase(record, 'defense')}", models, rest(record)) if part)
