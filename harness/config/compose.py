"""Composes ``conf`` with the command line: the config of a verb, or of every cell of a sweep."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from frbench.harness.config.changed_settings import changed_settings
from frbench.harness.config.checks import check_targets
from frbench.harness.config.conf_files import known_options, leaves, packaged
from frbench.harness.config.hydra_errors import explaining, one_line, unknown_name
from frbench.harness.config.hydra_state import CONF, VERSION, composed, initialized, own_hydra
from frbench.harness.config.identity_memo import IdentityMemo
from frbench.harness.config.overrides import SWEEP_FLAGS, own_folder, tidied
from frbench.harness.config.shared_composition import SharedComposition, Tree, links_of
from frbench.harness.config.sweep_expansion import Words, expand
from frbench.harness.core.errors import ConfigError

_PRINTING = ("--cfg", "--info", "--help", "-h", "--hydra-help")  # flags that print something in place of a run
_PACKAGED: dict[Words, Tree] = {}  # choices of packaged options, composed once in a process


@dataclass(frozen=True)
class Composed:
    """``conf/<verb>.yaml`` with the overrides of a command.

    Attributes:
        words: the overrides.
        config: without the node ``hydra``, interpolations unresolved.
        choices: the option of each group.
    """

    words: Words
    config: Mapping[str, Any]
    choices: Mapping[str, str]

    @property
    def cfg(self) -> DictConfig:
        """``config`` as OmegaConf has it."""
        return OmegaConf.create(dict(self.config))


@dataclass(frozen=True)
class ComposedCell(Composed):
    """A cell of ``frbench run``.

    Attributes:
        settings: the values that differ from the options' own files: with the names of the options, its label.
    """

    settings: Mapping[str, Any]


def compose(name: str, words: Sequence[str]) -> Composed:
    """``conf/<name>.yaml`` with the overrides ``words``, not a sweep.

    Raises ConfigError: an override is wrong, or a key is unknown.
    """
    words = tidied(words)
    if set(SWEEP_FLAGS) & set(words):
        raise ConfigError(f"frbench {name} does not sweep; leave out -m and choose one value for each option")
    with explaining(name, words), initialized(own_folder(words)) as loader:
        tree = _tree(name, tuple(words), loader)
        return Composed(tuple(words), tree.config, tree.chosen)


def composed_cell(words: Sequence[str]) -> ComposedCell:
    """The cell of ``frbench run`` with the overrides ``words``, not a sweep. Raises ConfigError: one is wrong."""
    return _cells([tuple(tidied(words))], words)[0]


def composed_cells(words: Sequence[str]) -> list[ComposedCell]:
    """Every cell of ``frbench run`` with ``words``, in the order of ``sweep_expansion.expand``.

    Raises ConfigError: an override is wrong, or a key is unknown, in any of the cells.
    """
    return _cells(expand(words), words)


def _cells(cells: Sequence[Words], words: Sequence[str]) -> list[ComposedCell]:
    """words: of the command, for messages."""
    own = own_folder(tidied(words))
    links = links_of(known_options(own))
    with explaining("run", tidied(words)), initialized(own) as loader:
        of_hydra = tuple(word for word in cells[0] if word.startswith("hydra."))
        memo = IdentityMemo()
        shared = SharedComposition(lambda each: _tree("run", each, loader), _place_of, links)
        kept = {} if own or of_hydra else _PACKAGED  # files of a user may change

        def defaults(options: Words) -> Tree:
            if options not in kept:
                kept[options] = _tree("run", (*of_hydra, *options), loader)
            return kept[options]

        usual = SharedComposition(defaults, _place_of, links, shared.parts)
        trees = shared.all(cells)
        return [
            ComposedCell(each, tree.config, tree.chosen, changed_settings(tree, usual, memo))
            for each, tree in zip(cells, trees, strict=True)
        ]


@lru_cache(maxsize=10_000)
def _place_of(word: str) -> str:
    """The top-level place that an override concerns: ``threat`` of ``recognizer@threat.surrogate=tiny``."""
    key = word.partition("=")[0].lstrip("+~")
    group, _, package = key.partition("@")
    return (package or group).partition(".")[0]


def _tree(name: str, words: Words, loader: ConfigLoader) -> Tree:
    cfg = loader.load_configuration(name, [word for word in words if not word.startswith("-")], RunMode.RUN)
    choices = {str(group): None if each is None else str(each) for group, each in cfg.hydra.runtime.choices.items()}
    _resolve_hydra(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
        cfg.pop("grids", None)
    check_keys(cfg, name)
    config: Any = OmegaConf.to_container(cfg, resolve=False)
    return Tree(config, {group: option for group, option in choices.items() if not group.startswith("hydra/")})


def _resolve_hydra(cfg: DictConfig) -> None:
    """Replaces interpolations such as ``${hydra:runtime.cwd}`` by their values, which Hydra knows only now."""
    found = [key for key, value in leaves(cfg).items() if isinstance(value, str) and "${hydra:" in value]
    if not found:
        return
    HydraConfig.instance().set_config(cfg)
    for key in found:
        if not key.startswith("hydra."):
            OmegaConf.update(cfg, key, OmegaConf.select(cfg, key))


def printed(name: str, words: Sequence[str]) -> bool:
    """Whether ``words`` have a flag that prints something in place of a run, such as ``--cfg=job``; prints it."""
    words = tidied(words)
    if not any(word.partition("=")[0] in _PRINTING for word in words):
        return False
    if name == "run" and "--cfg=job" in words:
        cells = composed_cells([word for word in words if word not in ("--cfg=job", "--resolve")])
        if len(cells) > 1:
            for cell in cells:
                text = OmegaConf.to_yaml(cell.cfg, resolve="--resolve" in words)
                print(f"---\n# {' '.join(cell.words)}\n{text}", end="")
            return True
    before, sys.argv = sys.argv, [f"frbench {name}", *words]
    try:
        with own_hydra(), explaining(name, words):
            hydra.main(version_base=VERSION, config_path=f"pkg://{CONF}", config_name=name)(_nothing)()
    finally:
        sys.argv = before
    return True


def _nothing(cfg: DictConfig) -> None:
    """Hydra prints and calls no task."""


def check_keys(cfg: DictConfig, name: str) -> None:
    """Raises ConfigError: ``cfg`` has a top-level key, or a path, that is unknown and that no value refers to."""
    written = packaged(f"{name}.yaml")
    groups = {key for each in written["defaults"] if isinstance(each, dict) for key in each}
    known = [*written, *groups, *(f"paths.{key}" for key in packaged("paths/default.yaml"))]
    references = " ".join(value for value in leaves(cfg).values() if isinstance(value, str) and "${" in value)
    for key in (*(str(key) for key in cfg), *(f"paths.{key}" for key in cfg.paths)):
        if key not in known and f"${{{key}" not in references:
            raise ConfigError(unknown_name(key, known))


def option_config(option: str, words: list[str]) -> dict[str, Any]:
    """The fields of the option ``group=name``, interpolations unresolved.

    Raises ConfigError: it does not compose, or has a ``_target_`` outside the packages that ``words`` trust.
    """
    group, _, name = option.partition("=")
    trusted = [word for word in words if word.startswith("trust=")]
    try:
        cfg = composed("run", [f"+{group}@shown={name}", *trusted], own_folder(words))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from error
    shown: Any = OmegaConf.to_container(cfg.shown, resolve=False) if "shown" in cfg else {}
    check_targets(shown, cfg.trust)
    return dict(shown)
