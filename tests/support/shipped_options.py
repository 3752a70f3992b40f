"""The options of conf/ that build objects, composed and built as the command line does it, in one go for each group."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import hydra
from omegaconf import OmegaConf

import frbench.conf
from frbench.harness.config import auto_preprocessing, build
from frbench.harness.config.ratio_values import with_numbers

CONF = Path(frbench.conf.__file__).parent


def options(group: str) -> list[str]:
    """Names of the options of ``group``, those of its folders as ``folder/option``."""
    return sorted(path.relative_to(CONF / group).with_suffix("").as_posix() for path in (CONF / group).rglob("*.yaml"))


def config(group: str, option: str, data: Path | str = "no_data") -> dict[str, Any]:
    """The resolved config of an option; what a user must give is ``???``."""
    composed = _composed(group)
    composed.paths.data = str(data)
    shown = OmegaConf.to_container(composed.shown[_key(option)], resolve=True)
    return auto_preprocessing.without(with_numbers(shown))


def unresolved(group: str) -> dict[str, Any]:
    """Option -> its config, interpolations unresolved."""
    shown: Any = OmegaConf.to_container(_composed(group), resolve=False)
    return {option: with_numbers(shown["shown"][_key(option)]) for option in options(group)}


def built(config: dict[str, Any], group: str) -> Any:
    """The object of a config, or None for an option that stands for none."""
    return build.instantiate(config, group) if config["_target_"] else None


@cache
def _composed(group: str) -> Any:
    words = [f"+{group}@shown.{_key(option)}={option}" for option in options(group)]
    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        return hydra.compose("run", [*words, "device=cpu", "paths.cache=no_cache"])


def _key(option: str) -> str:
    return option.replace("/", "_")
