"""The figures of ``protocol=cloaking``: records, titles and captions. ``plots_cloaking`` draws them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from frbench.harness.reporting.budget_axis import budget_words
from frbench.harness.reporting.figures import plots_cloaking
from frbench.harness.reporting.figures.figure_spec import FigureSpec
from frbench.harness.reporting.figures.image_grids import CloakRow, cloak_grid
from frbench.harness.reporting.file_names import FileName
from frbench.harness.reporting.pair_outcomes import CellFiles
from frbench.harness.reporting.tables.layout import phrase, threat_model
from frbench.harness.reporting.words import defense_words, words
from frbench.harness.storage.records import Record, label, measured, natural, rest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AMPLIFICATION = ("defense", "recipe", "amplification", "factor")  # place of K in the settings of a purifier
_SETTING = ("dataset", "protocol", "threat", "surrogate")


def amplification_figures(records: Sequence[Record]) -> Iterator[FigureSpec]:
    """Success and fidelity against amplification, for purifiers trained with several amplifications."""
    done = [(r, k) for r in records if measured(r, "attack") and (k := amplification(r)) is not None]
    settings: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for record, k in done:
        defense = label(record, "defense", without=(".".join(_AMPLIFICATION),))
        key = (*(label(record, noun) for noun in _SETTING), defense, rest(record))
        settings.setdefault(key, []).append(_point(record, k))
    for key, points in sorted(settings.items(), key=lambda each: [natural(part) for part in each[0]]):
        frame = pd.DataFrame(points).drop_duplicates(["attack", "line", "k"], keep="last")
        if frame["k"].nunique() > 1:
            dataset, protocol, threat, surrogate, defense, other = key
            yield FigureSpec(
                FileName(
                    "cloaks_by_amplification", (dataset, threat, surrogate, f"defense_{defense}"), (protocol, other)
                ),
                f"Success of cloaks against amplification, {defense_words(defense)}",
                _listed(words(dataset), f"{words(threat)} cloaker", words(other)),
                "Success of cloaks (above) and PSNR of the purified photos (below) by the amplification that the "
                "purifier was trained with: a good one has few successes and a high PSNR.",
                partial(plots_cloaking.amplification_curves, frame),
            )


def _listed(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


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
        "attack": f"{phrase(record, 'attack')}, {budget_words(label(record, 'budget'))}",
        "line": f"{label(record, 'tracker')}, {label(record, 'recognizer')}",
        "k": k,
        **{name: attack.get(name) for name in ("asr", "asr_low", "asr_high")},
        "psnr_natural": _finite(fidelity.get("psnr_natural")),
        "psnr_cloaked": _finite(fidelity.get("psnr")),
    }


def _finite(value: float | str | None) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def embedding_figures(files: CellFiles, records: Sequence[Record]) -> Iterator[FigureSpec]:
    """Embeddings of the first user among others, per attack and defense; the same for every tracker."""
    for number, record in enumerate(_with_samples(files, records)):
        yield _spec(
            record,
            "cloak_embeddings",
            "Embeddings of cloaked photos",
            "One user's photos among those of others: the cloak works where the triangles leave the circles, and "
            "the defense where it brings them back.",
            partial(_scatter, files, record["fingerprint"]),
            place="all" if number else "main",
        )


def _scatter(files: CellFiles, fingerprint: str, title: str) -> Figure:
    samples = files.sample_images(fingerprint) or {}
    names = ("user", "natural", "cloaked", "purified", "both")
    plane = plots_cloaking.EmbeddingPlane(**{name: samples[f"plane_{name}"] for name in names})
    return plots_cloaking.embedding_scatter(plane, title)


def cloak_grids(files: CellFiles, records: Sequence[Record], top: int) -> Iterator[FigureSpec]:
    """Photos, cloaks and purified photos of the first ``top`` users."""
    for number, record in enumerate(_with_samples(files, records) if top else ()):
        yield _spec(
            record,
            "cloaked_photos",
            "Cloaked photos",
            "A photo of each of the first users, its cloak, and the cloaked photo after the defense, with amplified "
            "differences from the original.",
            partial(_grid, files, record["fingerprint"], top),
            endings=("png",),
            place="all" if number else "main",
        )


def _grid(files: CellFiles, fingerprint: str, top: int, title: str) -> Figure:
    samples = files.sample_images(fingerprint) or {}
    sides = ("natural", "cloaked", "purified")
    rows = [
        CloakRow(f"user {int(user)}", *(samples[side][i] for side in sides))
        for i, user in enumerate(samples["user"][:top])
    ]
    return cloak_grid(rows, title)


def _with_samples(files: CellFiles, records: Sequence[Record]) -> Iterator[Record]:
    """Records with sample images; of several that differ in the tracker only, the last."""
    last = {_key(record): record for record in records if measured(record, "attack")}
    for record in last.values():
        samples = files.sample_images(record["fingerprint"])
        if samples is not None and len(samples["user"]):
            yield record


def _key(record: Record) -> tuple[str, ...]:
    nouns = ("dataset", "recognizer", "threat", "surrogate", "attack", "budget", "defense")
    return (*(label(record, noun) for noun in nouns), rest(record))


def _spec(record: Record, kind: str, title: str, caption: str, draw: Any, **more: Any) -> FigureSpec:
    *subject, attack, budget, defense, other = _key(record)
    models = f"{phrase(record, 'recognizer')} on {phrase(record, 'dataset')}"
    return FigureSpec(
        FileName(kind, (*subject, attack, budget, f"defense_{defense}"), (label(record, "protocol"), other)),
        f"{title}, {words(attack)}, {budget_words(budget)}, {defense_words(defense)}",
        _listed(f"{threat_model(record)} cloaker", models, words(other)),
        caption,
        draw,
        **more,
    )
