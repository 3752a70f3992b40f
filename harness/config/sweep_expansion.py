"""The cells of a sweep: one tuple of overrides for each combination of the values on the command line.

Hydra composes each cell, and frbench decides which cells there are: the product of the swept values, in the order of
Hydra's basic sweeper, of the values that an experiment sweeps, and of the ``grids`` of an experiment.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import OmegaConf

from frbench.harness.config.grids import grid_words
from frbench.harness.config.hydra_errors import explaining
from frbench.harness.config.hydra_state import initialized
from frbench.harness.config.overrides import SWEEP_FLAGS, own_folder, tidied
from frbench.harness.core.errors import ConfigError

Words = tuple[str, ...]
_PLUGINS = {
    "launcher": "frbench launches sweeps itself: use launcher=processes, slurm, script or ray",
    "sweeper": "frbench expands sweeps itself: list values, such as attack=fgsm,pgd, or write an experiment with grids",
}
_BASIC = "basic"  # Hydra's own launcher and sweeper


@dataclass(frozen=True)
class _Chosen:
    """What an experiment says about its sweep: whether it is one, the swept values as overrides, and its grids."""

    sweeps: bool = False
    params: Sequence[str] = ()
    grids: Any = None


def expand(words: Sequence[str]) -> list[Words]:
    """The overrides of every cell of ``frbench run`` with ``words``: each in the form that ``composed_cell`` takes.

    Without ``-m``, and without an experiment that sweeps, that is one cell.

    Args:
        words: overrides and flags of the command line. ``--config-dir`` is part of the overrides of each cell.

    Raises:
        ConfigError: a syntax error, a launcher or sweeper of Hydra, an interval, or wrong grids.
    """
    words = tidied(words)
    own, typed = own_folder(words), [word for word in words if not word.startswith("-")]
    folder = () if own is None else (f"--config-dir={own}",)
    with explaining("run", words), initialized(own) as loader:
        given = OverridesParser.create(config_loader=loader).parse_overrides(typed)
        _refuse_plugins(given)
        _refuse_sizes(given)
        chosen = _chosen(given, loader)
        if not (chosen.sweeps or chosen.grids is not None or set(words) & set(SWEEP_FLAGS)):
            return [(*folder, *typed)]
        return [(*folder, *cell) for cell in _cells(given, chosen, loader)]


def _refuse_plugins(given: Sequence[Override]) -> None:
    for each in given:
        for kind, advice in _PLUGINS.items():
            if each.key_or_group in (f"hydra/{kind}", f"hydra.{kind}") or (
                each.key_or_group.startswith(f"hydra.{kind}.") and kind == "launcher"
            ):
                raise ConfigError(f"{each.input_line} is not supported; {advice}")
        if each.is_hydra_override() and each.is_sweep_override():
            raise ConfigError(f"{each.input_line} sweeps over a setting of Hydra, which is not supported")


def _refuse_sizes(given: Sequence[Override]) -> None:
    """A size chooses the grids of an experiment, which are those of the whole sweep."""
    for each in given:
        if each.key_or_group == "size" and each.is_sweep_override():
            raise ConfigError(
                f"{each.input_line}: a sweep has one size; start a sweep for each, size=small and size=full"
            )


def _chosen(given: Sequence[Override], loader: ConfigLoader) -> _Chosen:
    """What the chosen experiment and the overrides of ``hydra.*`` say about the sweep."""
    chosen = [each for each in given if not each.is_sweep_override()]
    if not any(each.is_hydra_override() or each.key_or_group == "experiment" for each in chosen):
        return _Chosen()
    groups = loader.list_groups("")
    kept = [each for each in chosen if _decides(each, groups)]
    config = loader.load_configuration("run", [str(each.input_line) for each in kept], RunMode.MULTIRUN)
    for kind, advice in _PLUGINS.items():
        if config.hydra.runtime.choices[f"hydra/{kind}"] != _BASIC:
            raise ConfigError(f"the experiment chooses hydra/{kind}, which is not supported; {advice}")
    params = OmegaConf.to_container(config.hydra.sweeper.params or OmegaConf.create(), resolve=True)
    assert isinstance(params, dict)
    grids = OmegaConf.to_container(config, resolve=False).get("grids")  # type: ignore[union-attr]
    return _Chosen(config.hydra.mode == RunMode.MULTIRUN, [f"{key!s}={value}" for key, value in params.items()], grids)


def _decides(override: Override, groups: Collection[str]) -> bool:
    """Whether ``override`` chooses an option of one of the top-level ``groups``, or sets something of Hydra."""
    return override.is_hydra_override() or (override.package is None and override.key_or_group in groups)


def _cells(given: Sequence[Override], chosen: _Chosen, loader: ConfigLoader) -> list[Words]:
    """Each cell once: the grids one after the other, each with the params of the experiment and the command line."""
    of_hydra = [str(each.input_line) for each in given if each.is_hydra_override()]
    typed = [str(each.input_line) for each in given if not each.is_hydra_override()]
    keys = {_bare(each.get_key_element()) for each in given}
    found: dict[frozenset[str], Words] = {}
    for words in [[]] if chosen.grids is None else grid_words(chosen.grids, keys):
        inside = {_bare(word.partition("=")[0]) for word in words}
        params = [word for word in chosen.params if _bare(word.partition("=")[0]) not in inside]
        for cell in _product([*params, *words, *typed], loader):
            found.setdefault(frozenset(cell), (*of_hydra, *cell))
    return list(found.values())


def _product(words: Sequence[str], loader: ConfigLoader) -> list[list[str]]:
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(list(words))
    for each in overrides:
        if each.is_sweep_override() and not each.is_discrete_sweep():
            key = each.get_key_element()
            raise ConfigError(f"{each.input_line} has no list of values; write {key}=1,2,3 or {key}=range(1,4)")
    (cells,) = BasicSweeper.split_arguments(overrides, None)
    return cells


def _bare(key: str) -> str:
    """``key`` without a sign in front of it."""
    return key.lstrip("+~")
