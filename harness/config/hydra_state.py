"""Hydra initialised on ``conf`` and a user's own folder, apart from the Hydra of a program that uses frbench."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.errors import SearchPathException
from hydra.types import RunMode
from hydra.version import VersionBase, setbase
from omegaconf import DictConfig

CONF = "frbench.conf"
VERSION = "1.3"  # of Hydra, whose defaults ``conf`` is written for
_FULL_ERROR = "HYDRA_FULL_ERROR"  # environment variable


@contextmanager
def own_hydra() -> Iterator[None]:
    """Puts the state of Hydra aside, as its own ``initialize`` does, and lets it raise errors instead of print them."""
    state, kinds = Singleton._instances, (GlobalHydra, HydraConfig, JobRuntime, VersionBase)
    kept: dict[type, Singleton] = {kind: state.pop(kind) for kind in kinds if kind in state}
    printing = {name: os.environ[name] for name in (_FULL_ERROR,) if name in os.environ}
    os.environ[_FULL_ERROR] = "1"
    try:
        yield
    finally:
        for kind in kinds:
            state.pop(kind, None)
        state.update(kept)
        os.environ.pop(_FULL_ERROR, None)
        os.environ.update(printing)


@contextmanager
def initialized(own: Path | None) -> Iterator[ConfigLoader]:
    """A Hydra that finds the options of ``conf`` and of the folder ``own``.

    Raises SearchPathException: there is no folder ``own``.
    """
    with own_hydra():
        setbase(VERSION)
        search_path = create_config_search_path(f"pkg://{CONF}")
        if own is not None:
            folder = own.absolute()
            if not folder.is_dir():
                raise SearchPathException(f"Additional config directory '{folder}' not found")
            search_path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
        yield Hydra.create_main_hydra2("frbench", search_path).config_loader


def composed(name: str, overrides: Sequence[str], own: Path | None) -> DictConfig:
    """``conf/<name>.yaml`` with ``overrides``, and with the node ``hydra``.

    Raises HydraException, OmegaConfBaseException or ValueError: an override is wrong.
    """
    with initialized(own) as loader:
        return loader.load_configuration(name, list(overrides), RunMode.RUN)
