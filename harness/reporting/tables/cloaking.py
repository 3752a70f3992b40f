"""Tables of cloaks: how many users the trackers lose behind each defense, and what is needed to believe it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.tables.layout import SEVERAL, attacker, interval, percent
from frbench.harness.reporting.tables.mixed_versions import with_mixed_versions
from frbench.harness.reporting.tables.rendering import DOUBTED, MISSING, Cell, Table, file_name, joined
from frbench.harness.storage.records import NULL, Record, label, measured, natural, reason, rest

# Mean success of cloaks without defense and behind PuFace, in percent: the abstract of its paper.
PUBLISHED = ("69.84", "7.61")
_TABLE_OF = ("dataset", "goal", "threat", "surrogate")
_CLOAKERS = ("protocol.leak", "protocol.fraction")  # settings that change nothing where nobody cloaks
_ROW = ("attack", "budget", "defense", "protocol")
_Group = tuple[tuple[str, ...], list[Record]]
_Column = Callable[[Record], Cell]

_SUCCESS = (
    "A cell is the success rate of the cloaks in % / the accuracy in % on everybody who does not cloak, with the "
    "95 % bootstrap interval of the success rate over users, and (test photos not recognised / test photos, over "
    "all splits). Success is the mean over users, each of whom cloaks in turn, of the share of their natural test"
    " photos that the tracker does not name as theirs; photos that it would have missed without any cloak count "
    f"too. An interval of no width says that all users fared alike, not that the rate is known exactly. {DOUBTED} "
    f"stands where a flag says what must be explained first. {MISSING} stands for a cell that was not run."
)
_MEANS = (
    "Plain means over the cells of the table above that were run both without the defense and behind it. The last"
    " row is that of the abstract of PuFace's paper, on other photos, networks and cloaks: published, not "
    "measured here."
)
_BESIDE = (
    "No cloak: the share of the same photos not recognised when nobody cloaks. Top 5: the user among the first "
    "five names. Fit: training photos of the cloaking user that the tracker names right after training; far below"
    " 100, it never learned the user. Left natural: of the photos that these users publish in their turn, those "
    "whose cloak broke, left the budget or changed nothing. Sizes are medians over the other ones, as 8-bit files. "
    "Border: how often a linear probe tells these from their natural photos by the border of an 8x8 thumbnail, 50 by "
    "chance; near 100, the crop was framed or resized on its way."
)
_FIDELITY = (
    "Medians over the cloaked photos of users who take a turn, against the natural photos: PSNR in dB, SSIM, and the "
    "cosine of embeddings, of the same photos natural behind the defense, of cloaks as they are, and of cloaks behind "
    "the defense."
)
_TRACKERS = "Nobody cloaks. Accuracy is the mean over users [95 % bootstrap interval over users], std over splits."


def cloaking_tables(records: Sequence[Record], findings: Findings) -> list[Table]:
    """Everything about the cells of ``protocol=cloaking`` among ``records``, which are these alone."""
    tables: list[Table] = []
    for key, group in _groups([r for r in records if r["names"]["attack"] != NULL]):
        tables += [_success(key, group, findings), *_means(key, group)]
        done = [r for r in group if measured(r, "attack")]
        if done:
            tables += [_beside(key, done), _fidelity(key, done)]
    return [*tables, *_without_cloaks(records)]


def _groups(records: Iterable[Record]) -> list[_Group]:
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        key = (*(label(record, noun) for noun in _TABLE_OF), rest(record))
        found.setdefault(key, []).append(record)
    return [(key, found[key]) for key in sorted(found, key=lambda key: [natural(part) for part in key])]


def _on(group: Sequence[Record]) -> str:
    first = group[0]
    parts = (label(first, "dataset"), f"{attacker(first)} cloaker", rest(first))
    return ", ".join(part for part in parts if part)


def _named(record: Record, noun: str) -> str:
    """The label of ``noun``; of the protocol only what was changed of it."""
    if noun != "protocol":
        return label(record, noun)
    return _changed(label(record, noun), record)


def _changed(protocol: str, record: Record) -> str:
    return protocol.removeprefix(record["names"]["protocol"]).removeprefix("(").removesuffix(")")


def _by(records: Iterable[Record], *nouns: str) -> dict[tuple[str, ...], list[Record]]:
    """Records by labels, in natural order of these."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        found.setdefault(tuple(_named(record, noun) for noun in nouns), []).append(record)
    return {key: found[key] for key in sorted(found, key=lambda key: [natural(name) for name in key])}


def _success(key: tuple[str, ...], group: Sequence[Record], findings: Findings) -> Table:
    columns = list(_by(group, "recognizer", "tracker"))
    rows = []
    for names, here in _by(group, *_ROW).items():
        cells = [_cell([r for r in here if _column(r) == column], findings) for column in columns]
        rows.append((*(Cell(name) for name in names), *cells))
    header = (*_ROW, *(f"{recognizer}, {tracker}" for recognizer, tracker in columns))
    title, caption = f"Success of cloaks: {_on(group)}", with_mixed_versions(_SUCCESS, group)
    return Table(file_name(["cloaks", *key]), title, caption, header, tuple(rows), 4)


def _column(record: Record) -> tuple[str, str]:
    return label(record, "recognizer"), label(record, "tracker")


def _cell(found: Sequence[Record], findings: Findings) -> Cell:
    best = [r for r in found if r["status"] == "done"] or found
    return joined([_one(r, findings) for r in best], SEVERAL) if best else Cell(MISSING)


def _one(record: Record, findings: Findings) -> Cell:
    if record["status"] != "done":
        return Cell(record["status"], notes=(f"{record['status']}: {reason(record)}",))
    attack = measured(record, "attack")
    notes = tuple(flag.replace("_", " ") for flag in findings.all_flags(record))
    counts = f"{interval(attack, 'asr')} ({attack['asr_successes']}/{attack['asr_denominator']})".strip()
    value = f"{percent(attack['asr'])} / {percent(attack.get('normal_accuracy'))}"
    return replace(Cell(value, counts, notes), badge=findings.badge(record))


def _means(key: tuple[str, ...], group: Sequence[Record]) -> list[Table]:
    """Each defense against none, over the cells that both have; nothing where there is no such cell."""
    done = [r for r in group if measured(r, "attack").get("asr") is not None]
    cells = {names: _rates(here) for names, here in _by(done, "defense").items()}
    bare = cells.get((NULL,), {})
    rows = []
    for (defense,), behind in cells.items():
        common = [place for place in behind if place in bare]
        if common and defense != NULL:
            rates = np.array([[*bare[place], *behind[place]] for place in common]).mean(axis=0)
            asr, normal, asr_behind, normal_behind = (Cell(percent(rate)) for rate in rates)
            rows.append((Cell(defense), asr, asr_behind, normal, normal_behind, Cell(str(len(common)))))
    if not rows:
        return []
    published = tuple(Cell(text) for text in ("published: PuFace", *PUBLISHED, MISSING, MISSING, MISSING))
    header = ("defense", "ASR % without", "ASR % behind", "others % without", "others % behind", "cells")
    title, caption = f"Mean success of cloaks: {_on(group)}", with_mixed_versions(_MEANS, done)
    return [Table(file_name(["cloaks-mean", *key]), title, caption, header, (*rows, published), 1)]


def _rates(records: Iterable[Record]) -> dict[tuple[str, ...], tuple[float, float]]:
    """Success and accuracy on the others by cell; of several results under one label, the last."""
    found = {}
    for record in records:
        attack = measured(record, "attack")
        place = tuple(label(record, noun) for noun in ("attack", "budget", "protocol", "recognizer", "tracker"))
        normal = attack.get("normal_accuracy")
        found[place] = (float(attack["asr"]), float("nan") if normal is None else float(normal))
    return found


def _listed(group: Sequence[Record], nouns: Sequence[str], columns: Mapping[str, _Column]) -> tuple[Any, Any]:
    rows = [
        (*(Cell(name) for name in names), *(joined([cell(r) for r in here], SEVERAL) for cell in columns.values()))
        for names, here in _by(group, *nouns).items()
    ]
    return (*nouns, *columns), tuple(rows)


def _beside(key: tuple[str, ...], group: Sequence[Record]) -> Table:
    def share(name: str) -> _Column:
        return lambda record: Cell(percent(measured(record, "attack").get(name)))

    def size(name: str, digits: int) -> _Column:
        return lambda record: _number((measured(record, "attack").get(name) or {}).get("median"), digits)

    columns: dict[str, _Column] = {
        "no cloak %": share("no_cloak_error"),
        "top 5 %": share("top5"),
        "fit %": share("fit_accuracy"),
        "users": lambda record: Cell(f"{measured(record, 'attack')['users']}"),
        "splits": lambda record: Cell(f"{measured(record, 'attack')['splits']}"),
        "left natural": lambda record: Cell("{left_natural}/{photos}".format(**measured(record, "attack"))),
        "L∞": size("linf", 1),
        "DSSIM": size("dssim", 4),
        "border %": share("geometry"),
    }
    header, rows = _listed(group, (*_ROW, "recognizer", "tracker"), columns)
    title, caption = f"Beside the success: {_on(group)}", with_mixed_versions(_BESIDE, group)
    return Table(file_name(["cloaks-beside", *key]), title, caption, header, rows, 6)


def _fidelity(key: tuple[str, ...], group: Sequence[Record]) -> Table:
    def of(name: str, digits: int) -> _Column:
        return lambda record: _number((measured(record, "attack").get("fidelity") or {}).get(name), digits)

    columns = {
        "PSNR of natural": of("psnr_natural", 1),
        "SSIM": of("ssim_natural", 3),
        "cosine": of("cosine_natural", 3),
        "cosine of cloaks": of("cosine_bare", 3),
        "cosine behind": of("cosine", 3),
        "PSNR of cloaks behind": of("psnr", 1),
        "SSIM behind": of("ssim", 3),
    }
    header, rows = _listed(group, ("attack", "budget", "defense", "recognizer"), columns)
    title = f"What the defense does to photos: {_on(group)}"
    caption = with_mixed_versions(_FIDELITY, group)
    return Table(file_name(["cloaks-fidelity", *key]), title, caption, header, rows, 4)


def _without_cloaks(records: Sequence[Record]) -> list[Table]:
    def of(name: str) -> _Column:
        return lambda record: Cell(percent(measured(record, "clean").get(name)))

    columns: dict[str, _Column] = {
        "accuracy %": lambda r: Cell(
            percent(measured(r, "clean")["accuracy"]), interval(measured(r, "clean"), "accuracy")
        ),
        "std": of("accuracy_std"),
        "top 5 %": of("top5"),
        "fit %": of("fit_accuracy"),
        "test photos": lambda record: Cell(str(measured(record, "clean")["pairs"])),
    }
    tables = []
    for (dataset, protocol, other), group in _of_trackers(records).items():
        header, rows = _listed(group, ("recognizer", "tracker", "defense"), columns)
        title = ", ".join(part for part in (f"Trackers without cloaks: {dataset}", protocol, other) if part)
        name = file_name(["trackers", dataset, protocol, other])
        tables.append(Table(name, title, with_mixed_versions(_TRACKERS, group), header, rows, 3))
    return tables


def _of_trackers(records: Iterable[Record]) -> dict[tuple[str, str, str], list[Record]]:
    found: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        if measured(record, "clean"):
            protocol = _changed(label(record, "protocol", without=_CLOAKERS), record)
            found.setdefault((label(record, "dataset"), protocol, rest(record)), []).append(record)
    return found


def _number(value: float | str | None, digits: int) -> Cell:
    if value is None:
        return Cell(MISSING)
    return Cell("∞") if isinstance(value, str) else Cell(f"{value:.{digits}f}".replace("-", "−"))
