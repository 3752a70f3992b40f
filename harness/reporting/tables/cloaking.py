"""Tables of face cloaking: success against trackers with each defense, and the checks beside it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.file_names import FileName
from frbench.harness.reporting.tables.layout import (
    SEVERAL,
    Header,
    Rows,
    by_labels,
    flag_names,
    in_natural_order,
    interval,
    percent,
    phrase,
    threat_model,
    unfinished,
)
from frbench.harness.reporting.tables.mixed_versions import with_mixed_versions
from frbench.harness.reporting.tables.rendering import DOUBTED, MISSING, Cell, Table, joined
from frbench.harness.reporting.words import words
from frbench.harness.storage.records import NULL, Record, label, measured, rest

# Mean success of cloaks without a defense and with PuFace, in percent, from the abstract of the PuFace paper.
PUBLISHED = ("69.84", "7.61")
_TABLE_OF = ("dataset", "goal", "threat", "surrogate")
# Settings without an effect if nobody cloaks.
_CLOAKING_ONLY = ("protocol.uncloaked_training_photos", "protocol.fraction")
_ROW = ("attack", "budget", "defense", "protocol")
_Key = tuple[str, ...]
_Column = Callable[[Record], Cell]

_SUCCESS = (
    "A cell: success rate of the cloaks in % / normal accuracy in %, that is accuracy on users who do not cloak, with "
    "the 95 % bootstrap interval of the success rate over users, and (unrecognised test photos / test photos over all "
    "splits). Users cloak one at a time; success is the mean over users of the share of their uncloaked test photos "
    "that the tracker does not name as theirs, including photos that it would misname without cloaks. A zero-width "
    "interval means that all users have the same rate, not that the rate is known exactly. "
    f"{DOUBTED}: a flag must be explained before the value is believed. {MISSING}: not run."
)
_MEANS = (
    "Unweighted means over the cells of the table above that were run without and with the defense. The last row is "
    "from the abstract of the PuFace paper, for other photos, networks and cloaks: published, not measured here."
)
_DIAGNOSTICS = (
    "No cloak: error on the same photos if nobody cloaks. Top 5: the user is among the first five names. Training "
    "accuracy: training photos of the cloaking user that the tracker names correctly after training; far below 100, "
    "the tracker did not learn the user. Not cloaked: photos published by these users whose cloak failed, exceeded the "
    "budget or changed nothing. Sizes are medians over the other photos, as 8-bit files. Border probe: accuracy of a "
    "linear probe that separates cloaked from uncloaked photos by the border of an 8x8 thumbnail; chance is 50; near "
    "100, the crop was framed or resized on the way."
)
_FIDELITY = (
    "Medians over the cloaked photos, each compared with its original photo: PSNR in dB, SSIM, and cosine of the "
    "embeddings. 'original + defense': the uncloaked photo after the defense; 'cloak': the cloaked photo; 'cloak + "
    "defense': the cloaked photo after the defense."
)
_TRACKERS = "Nobody cloaks. Accuracy: mean over users [95 % bootstrap interval over users]; std: over splits."


def cloaking_tables(records: Sequence[Record], findings: Findings) -> list[Table]:
    """All tables of cloaking. ``records``: of ``protocol=cloaking`` only."""
    tables: list[Table] = []
    for key, group in _groups([r for r in records if r["names"]["attack"] != NULL]):
        tables += [_success(key, group, findings), *_means(key, group)]
        done = [r for r in group if measured(r, "attack")]
        if done:
            tables += [_diagnostics(key, done), _fidelity(key, done)]
    return [*tables, *_without_cloaks(records)]


def _groups(records: Iterable[Record]) -> list[tuple[_Key, list[Record]]]:
    found: dict[_Key, list[Record]] = {}
    for record in records:
        key = (*(label(record, noun) for noun in _TABLE_OF), rest(record))
        found.setdefault(key, []).append(record)
    return list(in_natural_order(found).items())


def _setting(group: Sequence[Record]) -> str:
    first = group[0]
    parts = (phrase(first, "dataset"), f"{threat_model(first)} cloaker", words(rest(first)))
    return ", ".join(part for part in parts if part)


def _name(record: Record, noun: str) -> str:
    """The label of ``noun``; for the protocol only its changed settings."""
    return _changes(label(record, noun), record) if noun == "protocol" else label(record, noun)


def _changes(protocol: str, record: Record) -> str:
    return protocol.removeprefix(record["names"]["protocol"]).removeprefix("(").removesuffix(")")


def _success(key: _Key, group: Sequence[Record], findings: Findings) -> Table:
    columns = list(by_labels(group, ("recognizer", "tracker"), _name))
    rows = []
    for names, row in by_labels(group, _ROW, _name).items():
        cells = [_cell([r for r in row if _models(r) == column], findings) for column in columns]
        rows.append((*(Cell(name) for name in names), *cells))
    header = (*_ROW, *(f"{recognizer}, {tracker}" for recognizer, tracker in columns))
    title, caption = f"Success of cloaks: {_setting(group)}", with_mixed_versions(_SUCCESS, group)
    return Table(FileName("cloaks", tuple(key)), title, caption, header, tuple(rows), 4)


def _models(record: Record) -> tuple[str, str]:
    return label(record, "recognizer"), label(record, "tracker")


def _cell(found: Sequence[Record], findings: Findings) -> Cell:
    best = [r for r in found if r["status"] == "done"] or found
    return joined([_success_cell(r, findings) for r in best], SEVERAL) if best else Cell(MISSING)


def _success_cell(record: Record, findings: Findings) -> Cell:
    if record["status"] != "done":
        return unfinished(record)
    attack = measured(record, "attack")
    counts = f"{interval(attack, 'asr')} ({attack['asr_successes']}/{attack['asr_denominator']})".strip()
    value = f"{percent(attack['asr'])} / {percent(attack.get('normal_accuracy'))}"
    return replace(Cell(value, counts, flag_names(findings.all_flags(record))), badge=findings.badge(record))


def _means(key: _Key, group: Sequence[Record]) -> list[Table]:
    """Means without and with each defense over the cells that have both; no table if there is no such cell."""
    done = [r for r in group if measured(r, "attack").get("asr") is not None]
    rates = {names: _rates(found) for names, found in by_labels(done, ("defense",), _name).items()}
    undefended = rates.get((NULL,), {})
    rows = []
    for (defense,), defended in rates.items():
        common = [place for place in defended if place in undefended] if defense != NULL else []
        if common:
            means = np.array([[*undefended[place], *defended[place]] for place in common]).mean(axis=0)
            asr, normal, defended_asr, defended_normal = (Cell(percent(mean)) for mean in means)
            rows.append((Cell(defense), asr, defended_asr, normal, defended_normal, Cell(str(len(common)))))
    if not rows:
        return []
    published = tuple(Cell(text) for text in ("published: PuFace", *PUBLISHED, MISSING, MISSING, MISSING))
    header = (
        "defense",
        "success %, no defense",
        "success %, defense",
        "normal accuracy %, no defense",
        "normal accuracy %, defense",
        "cells",
    )
    title, caption = f"Mean success of cloaks: {_setting(group)}", with_mixed_versions(_MEANS, done)
    return [Table(FileName("cloaks-mean", tuple(key)), title, caption, header, (*rows, published), 1)]


def _rates(records: Iterable[Record]) -> dict[_Key, tuple[float, float]]:
    """Success and normal accuracy by cell; of several results with the same labels, the last."""
    found = {}
    for record in records:
        attack = measured(record, "attack")
        place = tuple(label(record, noun) for noun in ("attack", "budget", "protocol", "recognizer", "tracker"))
        normal = attack.get("normal_accuracy")
        found[place] = (float(attack["asr"]), float("nan") if normal is None else float(normal))
    return found


def _listed(group: Sequence[Record], nouns: Sequence[str], columns: Mapping[str, _Column]) -> tuple[Header, Rows]:
    rows = [
        (*(Cell(name) for name in names), *(joined([cell(r) for r in row], SEVERAL) for cell in columns.values()))
        for names, row in by_labels(group, nouns, _name).items()
    ]
    return (*nouns, *columns), tuple(rows)


def _share(part: str, name: str) -> _Column:
    return lambda record: Cell(percent(measured(record, part).get(name)))


def _diagnostics(key: _Key, group: Sequence[Record]) -> Table:
    def size(name: str, digits: int) -> _Column:
        return lambda record: _number((measured(record, "attack").get(name) or {}).get("median"), digits)

    columns: dict[str, _Column] = {
        "no cloak %": _share("attack", "no_cloak_error"),
        "top 5 %": _share("attack", "top5"),
        "training accuracy %": _share("attack", "fit_accuracy"),
        "users": lambda record: Cell(f"{measured(record, 'attack')['users']}"),
        "splits": lambda record: Cell(f"{measured(record, 'attack')['splits']}"),
        "not cloaked": lambda record: Cell("{left_natural}/{photos}".format(**measured(record, "attack"))),
        "L∞": size("linf", 1),
        "DSSIM": size("dssim", 4),
        "border probe %": _share("attack", "border_probe_accuracy"),
    }
    header, rows = _listed(group, (*_ROW, "recognizer", "tracker"), columns)
    title, caption = f"Diagnostics of cloaks: {_setting(group)}", with_mixed_versions(_DIAGNOSTICS, group)
    return Table(FileName("cloaks-diagnostics", tuple(key)), title, caption, header, rows, 6)


def _fidelity(key: _Key, group: Sequence[Record]) -> Table:
    def value(name: str, digits: int) -> _Column:
        return lambda record: _number((measured(record, "attack").get("fidelity") or {}).get(name), digits)

    columns = {
        "PSNR, original + defense": value("psnr_natural", 1),
        "SSIM, original + defense": value("ssim_natural", 3),
        "cosine, original + defense": value("cosine_natural", 3),
        "cosine, cloak": value("cosine_bare", 3),
        "cosine, cloak + defense": value("cosine", 3),
        "PSNR, cloak + defense": value("psnr", 1),
        "SSIM, cloak + defense": value("ssim", 3),
    }
    header, rows = _listed(group, ("attack", "budget", "defense", "recognizer"), columns)
    title, caption = f"Fidelity of photos after the defense: {_setting(group)}", with_mixed_versions(_FIDELITY, group)
    return Table(FileName("cloaks-fidelity", tuple(key)), title, caption, header, rows, 4)


def _without_cloaks(records: Sequence[Record]) -> list[Table]:
    columns: dict[str, _Column] = {
        "accuracy %": lambda r: Cell(
            percent(measured(r, "clean")["accuracy"]), interval(measured(r, "clean"), "accuracy")
        ),
        "std": _share("clean", "accuracy_std"),
        "top 5 %": _share("clean", "top5"),
        "training accuracy %": _share("clean", "fit_accuracy"),
        "test photos": lambda record: Cell(str(measured(record, "clean")["pairs"])),
    }
    tables = []
    for (dataset, protocol, other), group in _by_dataset(records).items():
        header, rows = _listed(group, ("recognizer", "tracker", "defense"), columns)
        named = f"Tracker accuracy without cloaks: {words(dataset)}"
        title = ", ".join(part for part in (named, protocol, words(other)) if part)
        name = FileName("trackers", (dataset, protocol, other))
        tables.append(Table(name, title, with_mixed_versions(_TRACKERS, group), header, rows, 3))
    return tables


def _by_dataset(records: Iterable[Record]) -> dict[tuple[str, str, str], list[Record]]:
    found: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        if measured(record, "clean"):
            protocol = _changes(label(record, "protocol", without=_CLOAKING_ONLY), record)
            found.setdefault((label(record, "dataset"), protocol, rest(record)), []).append(record)
    return found


def _number(value: float | str | None, digits: int) -> Cell:
    if value is None:
        return Cell(MISSING)
    return Cell("∞") if isinstance(value, str) else Cell(f"{value:.{digits}f}".replace("-", "−"))
