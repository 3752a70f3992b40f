"""What was meant by a number in the place of an option, as in ``budget=8/255``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable
from typing import Any

from omegaconf import OmegaConf

from frbench.harness.core.ratios import as_number, is_number


def meant_number(typed: str, group: str, files: Mapping[str, Traversable]) -> str | None:
    """The options with the number ``typed``, and the setting that most options of ``group`` have; None for a name.

    files: option -> its YAML file.
    """
    try:
        number = float(as_number(typed))
    except ValueError:
        return None
    found = {option: _numbers_of(file) for option, file in files.items()}
    count = Counter(name for held in found.values() for name in held)
    settings = [name for name in count if 2 * count[name] > len(found)]
    if not settings:
        return None
    alike = [option for option, held in found.items() if any(held.get(each) == number for each in settings)]
    few = alike if len(alike) < 3 else []  # of many, a list of all is no hint
    return " or ".join([*(f"{group}={each}" for each in few), *(f"{group}.{each}={typed}" for each in settings)])


def misplaced_number(
    words: Sequence[str], known: Mapping[str, Mapping[str, Traversable]]
) -> tuple[str, list[str], str]:
    """The first option given that is not there, all that are, and their group: ``budget=8``, which Hydra refuses."""
    given = [word.lstrip("+~").partition("=") for word in words]
    places = [(group, list(known.get(group.partition("@")[0], ())), value) for group, _, value in given]
    return next(
        (each, options, group)
        for group, options, values in places
        for each in values.split(",")
        if options and each not in options
    )


def _numbers_of(file: Traversable) -> dict[str, float]:
    written = flattened(OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8"))))
    numbers = {key: as_number(value) for key, value in written.items()}
    return {key: value for key, value in numbers.items() if is_number(value)}


def flattened(container: Any) -> dict[str, Any]:
    """Dotted key -> value of nested mappings."""
    flat: dict[str, Any] = {}

    def walk(node: Any, prefix: str) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                walk(value, f"{prefix}.{key}" if prefix else str(key))
        else:
            flat[prefix] = node

    walk(container, "")
    return flat
