"""Groups of cells: what one job does. Only a schedule: leases and keys keep the results right in any order.

Cells with the same adversarial images form a group, so that one job makes the images. Defenses are fitted first, each
once, then the clean scores of each defended recognizer, then the cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from frbench.harness.core.contracts import Fittable
from frbench.harness.core.errors import FrbenchError, shortened
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.evaluation.cell import CalibratesVictim, Cell
from frbench.harness.sweeps.built_cells import built
from frbench.harness.sweeps.plan import Group, Plan, PlannedCell, Wave, with_cells
from frbench.harness.threat_model.threats import SharesImages


@dataclass(frozen=True)
class CellFacts:
    """What decides the schedule of a cell.

    Attributes:
        key: of its record.
        images: what the attacker sees; None without an attack.
        fit: key of the artifact of its defense; None where nothing is fitted.
        clean: the defended recognizer and the data; None for a protocol without clean scores.
    """

    key: str
    images: str | None
    fit: str | None
    clean: str | None


def facts_of(cell: Cell) -> CellFacts:
    """The facts of a cell whose defense may be unfitted."""
    defense = cell.defense
    artifact = defense.artifact if isinstance(defense, Fittable) else None
    victim = (cell.recognizer, defense, cell.data.digest, cell.seed)
    clean = fingerprint(*victim) if isinstance(cell.protocol, CalibratesVictim) else None
    return CellFacts(cell.fingerprint(), _images(cell), artifact.key if artifact else None, clean)


def _images(cell: Cell) -> str | None:
    """Equal for cells that share adversarial images."""
    if cell.attack is None:
        return None
    threat = cell.threat
    seen: tuple[object, ...] = (cell.recognizer, cell.defense)
    if isinstance(threat, SharesImages):
        seen = (cell.recognizer,) if threat.sees_recognizer else ()
    attacker = (cell.attack, cell.goal, cell.budget, threat, cell.seed, cell.protocol.kind)
    return fingerprint(cell.data.digest, cell.data.attacked, *attacker, *seen)[:16]


def grouped(plan: Plan, fitted: Callable[[str], bool], least: int) -> Plan:
    """``plan`` with the keys of its cells and with groups. A cell that cannot be built stays without a key.

    Args:
        plan: of all cells, in their order.
        fitted: whether the artifact of this key is in the store.
        least: groups of fewer cells are put together.
    """
    cells: list[PlannedCell] = []
    facts: dict[int, CellFacts] = {}
    for cell in plan.cells:
        try:
            found = facts_of(built(plan, cell))
        except FrbenchError as error:
            cells.append(replace(cell, key=None, images=None, fit=None, unknown=shortened(error)))
        else:
            facts[cell.number] = found
            cells.append(replace(cell, key=found.key, images=found.images, fit=found.fit, unknown=None))
    fits = _firsts((number, each.fit) for number, each in facts.items() if each.fit and not fitted(each.fit))
    cleans = _firsts((number, each.clean) for number, each in facts.items())
    alike = list(_alike(cells))
    waves = [(Wave.FIT, fits), (Wave.CLEAN, cleans), (Wave.CELLS, _packed(alike, least))]
    works = [(wave, numbers) for wave, groups in waves for numbers in groups]
    return with_cells(plan, cells, (Group(number, *work) for number, work in enumerate(works)))


def _firsts(keyed: Iterable[tuple[int, str | None]]) -> list[tuple[int, ...]]:
    """The first cell of each key, alone."""
    first: dict[str, int] = {}
    for number, key in keyed:
        if key is not None:
            first.setdefault(key, number)
    return [(number,) for number in first.values()]


def _alike(cells: Sequence[PlannedCell]) -> Iterator[tuple[int, ...]]:
    """Numbers of the cells that share images; each cell without an attack alone."""
    groups: dict[str, list[int]] = {}
    for cell in cells:
        groups.setdefault(cell.images or f"cell {cell.number}", []).append(cell.number)
    yield from (tuple(numbers) for numbers in groups.values())


def _packed(groups: Iterable[tuple[int, ...]], least: int) -> list[tuple[int, ...]]:
    """Consecutive groups put together until each has at least ``least`` cells, but for the last."""
    packed: list[tuple[int, ...]] = []
    for numbers in groups:
        if packed and len(packed[-1]) < least:
            packed[-1] += numbers
        else:
            packed.append(numbers)
    return packed
