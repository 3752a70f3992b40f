"""The YAML files of ``conf`` and of a user's own folder: which options there are, and what they compose to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from frbench.harness.config.hydra_state import CONF
from frbench.harness.config.number_hints import flattened

# Groups that are used inside another option: where they stand, and an option that has such a place.
NESTED = {
    "recognizer@threat.surrogate": "threat=transfer",
    "tracker@protocol.tracker": "protocol=cloaking",
    "network@training.network": "training=single",
    "network@training.start.network": "training=mter",
    "network@defense.recipe.network": "a trained ensemble such as defense=diverse_ensemble",
    "maker@defense.recipe.cloaks.makers.fawkes": "defense=puface",
}

NO_OPTIONS = ("source", "paper")  # folders with other data: where files come from, tables of papers


def known_options(own: Path | None = None) -> dict[str, dict[str, Traversable]]:
    """Group -> option -> its YAML file: the packaged ones and those of the folder ``own``, which take precedence."""
    groups: dict[str, dict[str, Traversable]] = {}
    for root in (resources.files(CONF), *([] if own is None else [own])):
        for folder in (each for each in root.iterdir() if each.is_dir()):
            groups.setdefault(folder.name, {}).update(options_below(folder))
    return {
        name: dict(sorted(groups[name].items())) for name in sorted(groups) if groups[name] and name not in NO_OPTIONS
    }


def options_below(folder: Traversable) -> Iterator[tuple[str, Traversable]]:
    """Options of a group with their files; those in subfolders are called ``folder/option``."""
    for each in folder.iterdir():
        if each.is_dir():
            yield from ((f"{each.name}/{option}", file) for option, file in options_below(each))
        elif each.name.endswith(".yaml"):
            yield each.name.removesuffix(".yaml"), each


@cache
def packaged(file: str) -> Mapping[str, Any]:
    """A packaged YAML file, not composed."""
    written: Any = OmegaConf.create((resources.files(CONF) / file).read_text(encoding="utf-8"))
    return dict(OmegaConf.to_container(written))  # type: ignore[arg-type]


def place_of(group: str) -> str:
    """The dotted place of a group's options in the config of a run: ``attack``, ``protocol.tracker``."""
    top_level = any(group in each for each in packaged("run.yaml")["defaults"] if isinstance(each, dict))
    nested = [key.partition("@")[2] for key in NESTED if key.startswith(f"{group}@")]
    return nested[0] if nested and not top_level else group


def leaves(cfg: DictConfig | ListConfig) -> dict[str, Any]:
    """Dotted key -> value, interpolations unresolved."""
    return flattened(OmegaConf.to_container(cfg, resolve=False))
