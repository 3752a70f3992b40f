"""The plan of a sweep: its cells, the groups that share work, and the file that every worker reads.

A plan is written once, as ``sweeps/<id>/plan.jsonl``: a line about the sweep, a line for each cell, and the SHA-256 of
these lines. The parts of the configs that several cells share, such as the options of one attack, are stored once. The
id of a sweep is a digest of the configs of its cells, so that the same command gives the same sweep.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from frbench.harness.core.quarantine import Damaged

_LAYOUT = 2  # of the file of a plan


class Wave(StrEnum):
    """The waves of a sweep, in their order."""

    FIT = "fit"  # fits a defense
    CLEAN = "clean"  # computes the clean scores of a defended recognizer
    CELLS = "cells"  # evaluates cells


@dataclass(frozen=True)
class Group:
    """The work of one job.

    Attributes:
        number: the N of ``frbench work SWEEP --group N``.
        wave: what is done for the cells.
        cells: numbers of cells. A group of the first two waves has one, which stands for all with the same defense.
    """

    number: int
    wave: Wave
    cells: tuple[int, ...]


@dataclass(frozen=True)
class PlannedCell:
    """One cell of a sweep.

    Attributes:
        number: its place in the sweep, from 0.
        digest: of its config; names its files in the folder of the sweep.
        words: its overrides.
        parts: digest of each top-level entry of the config, see ``Plan.parts``.
        choices: the option of each group.
        settings: the values that differ from the options' own files.
        key: of its record, as computed when the sweep was planned; None where the data could not be opened.
        images: what the attacker sees; cells with the same text share adversarial images. None without an attack.
        fit: key of the artifact of the defense; None where nothing is fitted.
        unknown: why the key is not known, in one line.
    """

    number: int
    digest: str
    words: tuple[str, ...]
    parts: Mapping[str, str]
    choices: Mapping[str, str]
    settings: Mapping[str, Any]
    key: str | None = None
    images: str | None = None
    fit: str | None = None
    unknown: str | None = None


@dataclass(frozen=True)
class Plan:
    """A sweep.

    Attributes:
        id: of the sweep.
        command: the words after ``frbench run``.
        cells: in the order of the sweep; the number of a cell is its index.
        groups: the number of a group is its index.
        parts: digest -> top-level entry of configs.
    """

    id: str
    command: tuple[str, ...]
    cells: tuple[PlannedCell, ...]
    groups: tuple[Group, ...]
    parts: Mapping[str, Any] = field(repr=False)

    def config(self, cell: PlannedCell) -> dict[str, Any]:
        """The resolved config of ``cell``."""
        return {name: self.parts[digest] for name, digest in cell.parts.items()}

    def groups_with_work(self, ended: Collection[int]) -> list[Group]:
        """The groups that are needed for the cells that have not ended. ended: numbers of cells."""
        left = {cell.fit for cell in self.cells if cell.number not in ended}
        needed: Mapping[Wave, Callable[[Group], bool]] = {
            Wave.FIT: lambda group: self.cells[group.cells[0]].fit in left,
            Wave.CLEAN: lambda group: bool(left),
            Wave.CELLS: lambda group: any(number not in ended for number in group.cells),
        }
        return [group for group in self.groups if needed[group.wave](group)]

    @cached_property
    def sharing(self) -> Mapping[str | None, Sequence[PlannedCell]]:
        """The cells that share adversarial images, by ``PlannedCell.images``."""
        found: dict[str | None, list[PlannedCell]] = {}
        for cell in self.cells:
            found.setdefault(cell.images, []).append(cell)
        return found

    @cached_property
    def varying(self) -> frozenset[str]:
        """The keys of overrides whose values differ between cells."""
        found: dict[str, set[str]] = {}
        for cell in self.cells:
            for word in cell.words:
                name, _, value = word.partition("=")
                found.setdefault(name, set()).add(value)
        return frozenset(name for name, values in found.items() if len(values) > 1)

    def differing(self, cell: PlannedCell) -> list[str]:
        """The overrides of ``cell`` whose values differ between cells."""
        return [word for word in cell.words if word.partition("=")[0] in self.varying]


def to_lines(plan: Plan) -> str:
    """``plan`` as JSON lines."""
    head = {"layout": _LAYOUT, "id": plan.id, "command": plan.command, "parts": plan.parts}
    groups = [asdict(each) for each in plan.groups]
    lines = [{**head, "groups": groups, "cells": len(plan.cells)}, *(asdict(each) for each in plan.cells)]
    text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
    return f"{text}{_checksum(text)}\n"


def from_lines(text: str) -> Plan:
    """The plan that ``to_lines`` wrote. Raises Damaged: ``text`` is no whole plan."""
    check_lines(text)
    head, *cells = map(json.loads, text.splitlines()[:-1])
    groups = (Group(each["number"], Wave(each["wave"]), tuple(each["cells"])) for each in head["groups"])
    found = (PlannedCell(**{**each, "words": tuple(each["words"])}) for each in cells)
    return Plan(head["id"], tuple(head["command"]), tuple(found), tuple(groups), head["parts"])


def check_lines(text: str) -> None:
    """Raises Damaged: ``text`` is not what ``to_lines`` returned, or another version of frbench wrote it."""
    *lines, end = text.splitlines(keepends=True) or [""]
    if end != f"{_checksum(''.join(lines))}\n":
        raise Damaged("it is not a whole plan: its checksum differs")
    if (layout := json.loads(lines[0])["layout"]) != _LAYOUT:
        raise Damaged(f"it has layout {layout}, and this frbench reads layout {_LAYOUT}")


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def with_cells(plan: Plan, cells: Iterable[PlannedCell], groups: Iterable[Group]) -> Plan:
    """``plan`` with these cells and groups."""
    return replace(plan, cells=tuple(cells), groups=tuple(groups))
