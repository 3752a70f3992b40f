"""From a composed config to the record of its cell: what ``frbench run`` and the Python interface both do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from frbench.harness.config import folders
from frbench.harness.config.cells import prepare, resolve
from frbench.harness.config.compose import ComposedCell, composed_cell, composed_cells
from frbench.harness.config.identity_memo import IdentityMemo
from frbench.harness.config.resolution import plain_config
from frbench.harness.core.errors import ConfigError, FrbenchError
from frbench.harness.evaluation.cell import Cell, ImagesOfPairs, ShowsImages, run_cell
from frbench.harness.storage.records import Record
from frbench.harness.storage.result_store import ResultStore

RUN_CONTROLS = ("launcher", "wait", "retry", "fail_fast", "images")
_TRAINED = "to run a trained network use recognizer=trained, or a trained defense such as defense=diverse_ensemble"


@dataclass(frozen=True)
class CellConfig:
    """A cell as ``conf`` composes it.

    Attributes:
        config: resolved, as plain Python.
        choices: the option of each group.
        settings: the values that differ from the options' own files.
        words: the overrides of ``frbench run`` that give this cell.
        controls: how the sweep runs: ``RUN_CONTROLS`` by name. They are no part of ``config``.
    """

    config: Mapping[str, Any]
    choices: Mapping[str, str]
    settings: Mapping[str, Any]
    words: tuple[str, ...]
    controls: Mapping[str, Any] = field(compare=False, default_factory=dict)

    @property
    def store(self) -> ResultStore:
        return folders.store(self.config)

    def cell(self) -> Cell:
        """The cell with its objects built and its data opened."""
        return prepare(resolve(self.config, self.choices, self.settings), self.words)


class Finished(NamedTuple):
    """The record of a cell. found: whether it was in the store already."""

    record: Record
    found: bool


@dataclass(frozen=True)
class WrongCell:
    """A cell whose options compose, and that has a wrong value.

    Attributes:
        words: its overrides.
        error: what is wrong.
    """

    words: tuple[str, ...]
    error: FrbenchError


def cell_configs(words: Sequence[str]) -> list[CellConfig | WrongCell]:
    """Every cell of ``frbench run`` with ``words``. A wrong value of one cell does not stop the others.

    Raises:
        ConfigError: options that do not compose, in any cell, or a folder that is not writable.
    """
    found: list[CellConfig | WrongCell] = []
    memo = IdentityMemo()
    for composed in composed_cells(words):
        try:
            found.append(cell_config(composed, memo))
        except FrbenchError as error:
            found.append(WrongCell(composed.words, error))
    cells = [each for each in found if isinstance(each, CellConfig)]
    for name in RUN_CONTROLS:
        if len({json.dumps(cell.controls.get(name)) for cell in cells}) > 1:
            raise ConfigError(f"{name} takes one value for a whole sweep; start a sweep for each of its values")
    check_folders(cells)
    return found


def cell_config(composed: ComposedCell, memo: IdentityMemo) -> CellConfig:
    """The cell that ``conf`` composes to. Raises ConfigError: a setting is wrong. memo: of the other cells."""
    config = plain_config(composed.config, memo)
    if "training" in config or config["out"] is not None:
        raise ConfigError(f"training= and out= are options of frbench fit; {_TRAINED}")
    controls = {name: config.pop(name) for name in RUN_CONTROLS if name in config}
    choices = {group: option for group, option in composed.choices.items() if group not in RUN_CONTROLS}
    return CellConfig(config, choices, composed.settings, composed.words, controls)


def single_cell(words: Sequence[str]) -> CellConfig:
    """The cell of ``frbench run`` with the overrides ``words``, not a sweep. Raises ConfigError: one is wrong."""
    cell = cell_config(composed_cell(words), IdentityMemo())
    check_folders([cell])
    return cell


def check_folders(cells: Iterable[CellConfig]) -> None:
    """Raises ConfigError: a folder of results or of cached images is not writable."""
    for paths in {tuple(cell.config["paths"].items()) for cell in cells}:
        folders.check_folders({"paths": dict(paths)})


def finish(config: CellConfig) -> Finished:
    """The record of the cell, from the store or from a run that is then stored.

    Raises:
        FrbenchError: a wrong option, missing data, or bad input; nothing is recorded.
    """
    cell, store = config.cell(), config.store
    found = store.finished(cell.fingerprint())
    return Finished(found or run_cell(cell, store), bool(found))


def images_of(config: CellConfig, store: ResultStore, key: str, pairs: Sequence[int] | None) -> ImagesOfPairs:
    """Images of the cell of ``config`` whose record has this ``key``; see ``Evaluation.images``.

    Raises:
        ConfigError: a pair that is not attacked, no attack, a protocol without one image for a pair, or data or
            code that changed since the record was written.
    """
    cell = config.cell()
    protocol = cell.protocol
    if not isinstance(protocol, ShowsImages):
        raise ConfigError(
            f"protocol={cell.names['protocol']} does not keep one image for a pair; take protocol=verification to see "
            "the images of an attack"
        )
    if cell.attack is None:
        raise ConfigError(f"attack={cell.names['attack']} makes no images; take another attack, such as attack=pgd")
    if cell.fingerprint() != key:
        raise ConfigError(f"the data, weights or code of the cell {key[:12]} changed since it ran; evaluate it again")
    index = None if pairs is None else np.asarray(pairs, np.int64)
    return protocol.images(cell.fit(cell) if cell.fit else cell, store, index)
