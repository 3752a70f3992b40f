"""Hints for a number in place of an option, such as ``budget=8/255``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable
from typing import Any

from omegaconf import OmegaConf

from frbench.harness.core.ratios import as_number, is_number


def number_hint(typed: str, group: str, files: Mapping[str, Traversable]) -> str | None:
    """What a user may have meant by the number ``typed``: options with this number, and the field to set.

    Args:
        typed: what stands in place of an option; None is returned if it is no number.
        files: option of ``group`` -> its YAML file. The fields to set are those that most of them have.
    """
    try:
        number = float(as_number(typed))
    except ValueError:
        return None
    found = {option: _numbers_of(file) for option, file in files.items()}
    count = Counter(name for numbers in found.values() for name in numbers)
    fields = [name for name in count if 2 * count[name] > len(found)]
    if not fields:
        return None
    equal = [option for option, numbers in found.items() if any(numbers.get(each) == number for each in fields)]
    few = equal if len(equal) < 3 else []
    return " or ".join([*(f"{group}={each}" for each in few), *(f"{group}.{each}={typed}" for each in fields)])


def misplaced_number(
    words: Sequence[str], known: Mapping[str, Mapping[str, Traversable]]
) -> tuple[str, str, list[str]]:
    """The first unknown option among the overrides ``words``, such as ``budget=8``: its group, it, and the options."""
    given = [word.lstrip("+~").partition("=") for word in words]
    places = [(group, list(known.get(group.partition("@")[0], ())), value) for group, _, value in given]
    return next(
        (group, each, options)
        for group, options, values in places
        for each in values.split(",")
        if options and each not in options
    )


def _numbers_of(file: Traversable) -> dict[str, float]:
    written = flattened(OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8"))))
    numbers = {key: as_number(value) for key, value in written.items()}
    return {key: value for key, value in numbers.items() if is_number(value)}


def flattened(container: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value of nested mappings; an empty mapping is a value."""
    if not isinstance(container, dict) or (prefix and not container):
        return {prefix: container}
    flat: dict[str, Any] = {}
    for key, value in container.items():
        flat |= flattened(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
