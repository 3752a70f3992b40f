"""The ``grids`` of an experiment: products of values, with some keys that vary together, one grid after the other.

grids:
  - attack: fgsm,pgd                      # the product of the values of all keys
    zip: {defense: [blur, jpeg], seed: [0, 1]}   # blur with seed 0, jpeg with seed 1
  - attack: lots
    defense: none
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import product
from typing import Any

from frbench.harness.config.option_words import word
from frbench.harness.core.errors import ConfigError

_TOGETHER = "zip"


def grid_words(grids: Any, given: Collection[str]) -> Iterator[list[str]]:
    """Overrides of each grid, once for each combination of the values that vary together; swept values as they are.

    Args:
        grids: as the experiment has them.
        given: keys that the command line sets, which are left out.

    Raises:
        ConfigError: the grids are not of the form above.
    """
    if not isinstance(grids, list) or not grids:
        raise ConfigError(f"grids={grids} is not a list of mappings from key to values; see the page on sweeps")
    for number, grid in enumerate(grids):
        yield from _words(grid, f"grids[{number}]", given)


def _words(grid: Any, where: str, given: Collection[str]) -> Iterator[list[str]]:
    if not isinstance(grid, Mapping) or not grid:
        raise ConfigError(f"{where}={grid} is not a mapping from key to values, such as attack: fgsm,pgd")
    together = _blocks(grid.get(_TOGETHER, []), where)
    keys = [str(key) for key in grid if key != _TOGETHER] + [key for block in together for key in block]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"{where} has {key} twice; a key is either swept or part of one zip")
    swept = [f"{key}={_text(grid[key], f'{where}.{key}')}" for key in map(str, grid) if key != _TOGETHER]
    kept = [word for word in swept if word.partition("=")[0].lstrip("+~") not in given]
    for rows in product(*map(_rows, together)):
        values = [pair for row in rows for pair in row.items()]
        yield [*(word(key, value) for key, value in values if key.lstrip("+~") not in given), *kept]


def _rows(block: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """The first value of each key, then the second of each, and so on."""
    return [dict(zip(block, values, strict=True)) for values in zip(*block.values(), strict=True)]


def _blocks(given: Any, where: str) -> list[dict[str, list[Any]]]:
    """The mappings of ``zip``, each from key to equally many values."""
    blocks = given if isinstance(given, list) else [given]
    for block in blocks:
        if not isinstance(block, Mapping) or not block or not all(isinstance(each, list) for each in block.values()):
            raise ConfigError(f"{where}.{_TOGETHER}={block} is not a mapping from key to a list of values")
        lengths = {str(key): len(values) for key, values in block.items()}
        if len(set(lengths.values())) > 1 or 0 in lengths.values():
            shown = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            raise ConfigError(f"{where}.{_TOGETHER} needs equally many values for each key, and {shown}")
    return [{str(key): values for key, values in block.items()} for block in blocks]


def _text(value: Any, where: str) -> str:
    if isinstance(value, Mapping | list) or value is None:
        raise ConfigError(f"{where}={value} is not a text of values with commas between them, such as fgsm,pgd")
    return str(value).lower() if isinstance(value, bool) else str(value)
