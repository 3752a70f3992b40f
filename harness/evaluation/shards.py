"""Parts of the blocks of adversarial images, so that several jobs craft the images of one cell.

There is nothing to merge: a shard fills the cache, and the run of the whole cell finds every block there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from frbench.harness.core.errors import ConfigError


@dataclass(frozen=True)
class Shard:
    """The blocks whose number, from 0, leaves the remainder ``number`` when divided by ``count``."""

    number: int
    count: int

    def starts(self, count: int, size: int) -> range:
        """The first rows of the blocks of this shard, where ``count`` rows are cut into blocks of ``size``."""
        return range(self.number * size, count, self.count * size)


WHOLE = Shard(0, 1)


def parse_shard(text: str) -> Shard:
    """The shard that ``text`` describes, such as 3/16. Raises ConfigError: it is none."""
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip(), re.ASCII)
    if found is None:
        raise ConfigError(f"--shard {text}: expected NUMBER/COUNT, such as --shard 3/16")
    number, count = map(int, found.groups())
    if number >= count:
        expected = f"0/{count} to {count - 1}/{count}" if count else "a count of at least 1, such as --shard 0/1"
        raise ConfigError(f"--shard {text}: shards are numbered from 0; expected {expected}")
    return Shard(number, count)


@dataclass(frozen=True)
class Filled:
    """Blocks of images that a shard made, and those that were in the cache already."""

    made: int = 0
    found: int = 0

    def __add__(self, other: Filled) -> Filled:
        return Filled(self.made + other.made, self.found + other.found)
