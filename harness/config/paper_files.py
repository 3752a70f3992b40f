"""The files of ``conf/paper``: tables of papers, and the reasons that they give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from frbench.harness.config.hydra_errors import unknown_option
from frbench.harness.config.hydra_state import CONF
from frbench.harness.config.overrides import own_folder, tidied
from frbench.harness.core.errors import ConfigError

GROUP = "paper"
ALL = "all"
_REASONS = "reasons"


def split_paper(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names of ``paper=NAME`` in ``words``, of every table for ``paper=all``, and the other words.

    Raises ConfigError: there is no such table.
    """
    given = [word.partition("=")[2] for word in words if word.startswith(f"{GROUP}=")]
    others = [word for word in words if not word.startswith(f"{GROUP}=")]
    known = sorted(set(_files(own_folder(tidied(others)))) - {_REASONS})
    for name in given:
        if name not in (*known, ALL):
            raise ConfigError(unknown_option(GROUP, name, [*known, ALL]))
    names = [each for name in given for each in (known if name == ALL else [name])]
    return list(dict.fromkeys(names)), others


def paper_values(name: str, words: Sequence[str] = ()) -> dict[str, Any]:
    """The values of the table ``name``. words: of the command, which may have ``--config-dir``."""
    return _values(_files(own_folder(tidied(words)))[name])


def reason_values(words: Sequence[str] = ()) -> dict[str, Any]:
    """The values of ``reasons.yaml``: the packaged ones and those of a user's own folder."""
    found = [files[_REASONS] for files in _folders(own_folder(tidied(words))) if _REASONS in files]
    return {key: value for file in found for key, value in _values(file).items()}


def paper_names() -> list[str]:
    """The packaged tables."""
    return sorted(set(_files(None)) - {_REASONS})


def _files(own: Path | None) -> dict[str, Traversable]:
    return {name: file for files in _folders(own) for name, file in files.items()}


def _folders(own: Path | None) -> Iterator[Mapping[str, Traversable]]:
    for root in (resources.files(CONF) / GROUP, *([] if own is None else [own / GROUP])):
        if root.is_dir():
            yield {each.name.removesuffix(".yaml"): each for each in root.iterdir() if each.name.endswith(".yaml")}


def _values(file: Traversable) -> dict[str, Any]:
    values: Any = OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")))
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: expected a mapping from key to value")
    return values
