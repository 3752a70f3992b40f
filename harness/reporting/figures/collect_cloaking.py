"""Which figures the cells of ``protocol=cloaking`` give, and their names. The drawing is in ``plots_cloaking``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from frbench.harness.reporting.figures import plots_cloaking
from frbench.harness.reporting.tables.layout import attacker
from frbench.harness.reporting.tables.rendering import file_name
from frbench.harness.storage.records import Record, label, measured, natural, rest

_AMPLIFICATION = ("defense", "recipe", "amplification", "k")  # where a purifier's config says what it was trained on
_BOARD = ("dataset", "protocol", "threat", "surrogate")


class Kept(Protocol):
    """What cells kept beside their records."""

    def pictures(self, fingerprint: str) -> Mapping[str, np.ndarray] | None: ...


def line_figures(records: Sequence[Record]) -> Iterator[tuple[str, Any]]:
    """Success and fidelity against the amplification, where purifiers of several amplifications were run."""
    done = [(r, k) for r in records if measured(r, "attack") and (k := amplification(r)) is not None]
    boards: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for record, k in done:
        defense = label(record, "defense", without=[".".join(_AMPLIFICATION)])
        key = (*(label(record, noun) for noun in _BOARD), defense, rest(record))
        boards.setdefault(key, []).append(_point(record, k))
    for key, points in sorted(boards.items(), key=lambda each: [natural(part) for part in each[0]]):
        frame = pd.DataFrame(points).drop_duplicates(["attack", "line", "k"], keep="last")
        if frame["k"].nunique() > 1:
            title = f"Cloaks behind {key[-2]} by the amplification that it was trained on · {key[0]}"
            yield file_name(["amplification", *key]), plots_cloaking.amplification_curves(frame, title)


def amplification(record: Record) -> float | None:
    """The one K that the record's purifier was trained on; None where it has none, or several."""
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


def scatters(store: Kept, records: Sequence[Record]) -> Iterator[tuple[str, Any]]:
    """The first user's embeddings among others, for each attack and defense; the same for every tracker."""
    for record, kept in _looks(store, records):
        names = ("user", "natural", "cloaked", "purified", "both")
        plane = plots_cloaking.Plane(**{name: kept[f"plane_{name}"] for name in names})
        yield file_name(["plane", *_key(record)]), plots_cloaking.plane_scatter(plane, _title(record))


def grids(store: Kept, records: Sequence[Record], top: int) -> Iterator[tuple[str, Any]]:
    """Photos, cloaks and what is left of them, of the first ``top`` users."""
    for record, kept in _looks(store, records):
        sides = ("natural", "cloaked", "purified")
        rows = [
            plots_cloaking.CloakRow(f"user {int(user)}", *(kept[side][i] for side in sides))
            for i, user in enumerate(kept["user"][:top])
        ]
        if rows:
            yield file_name(["cloaked", *_key(record)]), plots_cloaking.cloak_grid(rows, _title(record))


def _looks(store: Kept, records: Sequence[Record]) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
    """The last cell of each look, whatever the tracker, that kept pictures."""
    last = {_key(record): record for record in records if measured(record, "attack")}
    for record in last.values():
        kept = store.pictures(record["fingerprint"])
        if kept is not None:
            yield record, kept


def _key(record: Record) -> tuple[str, ...]:
    nouns = ("dataset", "recognizer", "threat", "surrogate", "attack", "budget", "defense")
    return (*(label(record, noun) for noun in nouns), rest(record))


def _title(record: Record) -> str:
    parts = (label(record, "attack"), label(record, "budget"), f"{attacker(record)} cloaker")
    where = f"{label(record, 'recognizer')} on {label(record, 'dataset')}"
    return " · ".join([*parts, f"defense {label(record, 'defense')}", where, *([rest(record)] if rest(record) else [])])
