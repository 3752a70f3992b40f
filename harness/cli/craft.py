"""``frbench craft``: makes the adversarial images of one cell, or a shard of them, ahead of its run."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence

from frbench.harness.config.overrides import SWEEP_FLAGS
from frbench.harness.config.sweep_expansion import expand
from frbench.harness.core.errors import ConfigError
from frbench.harness.evaluation.shards import WHOLE, Shard, parse_shard


def craft(words: list[str]) -> int:
    """Fill the cache with the blocks of the shard, and print how many were made and found."""
    from frbench.harness.config import ahead
    from frbench.harness.config.running import single_cell

    shard, overrides = split_shard(words)
    cells = expand(overrides)
    if {*SWEEP_FLAGS} & set(overrides) or len(cells) > 1:
        raise ConfigError("frbench craft takes one cell: one option of each group, without -m; see frbench run --help")
    filled = ahead.craft(single_cell(cells[0]), shard)
    which = "" if shard == WHOLE else f"shard {shard.number}/{shard.count}: "
    print(f"{which}{filled.made} blocks made, {filled.found} found; next: {shlex.join(['frbench', 'run', *overrides])}")
    return 0


def split_shard(words: Sequence[str]) -> tuple[Shard, list[str]]:
    """The shard of ``--shard 3/16``, or all blocks without it, and the other words."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--shard", nargs="?", const="")
    given, overrides = parser.parse_known_args(words)
    return WHOLE if given.shard is None else parse_shard(given.shard), overrides
