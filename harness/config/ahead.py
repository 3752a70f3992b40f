"""Adversarial images of a cell ahead of its run, which then finds them in the cache."""

from __future__ import annotations

from frbench.harness.config.cells import prepare, resolve
from frbench.harness.config.running import CellConfig
from frbench.harness.core.errors import ConfigError
from frbench.harness.evaluation.cell import CraftsImages
from frbench.harness.evaluation.shards import Filled, Shard
from frbench.harness.evaluation.smaller_batches import fitted, with_smaller_batches


def craft(config: CellConfig, shard: Shard) -> Filled:
    """Put the adversarial images of one shard of the cell into the cache, after fitting its defense.

    Raises:
        ConfigError: the cell has no attack, or its protocol makes no images ahead.
        FrbenchError: as the run of the cell.
    """
    spec = resolve(config.config, config.choices, config.settings)
    protocol = spec.protocol
    if spec.attack is None:
        raise ConfigError(f"attack={spec.choices['attack']} makes no images; take another attack, such as attack=pgd")
    if not isinstance(protocol, CraftsImages):
        raise ConfigError(f"protocol={spec.choices['protocol']} makes no images ahead of its run; use frbench run")
    filled, _ = with_smaller_batches(fitted(prepare(spec)), lambda each: protocol.craft(each, config.store, shard))
    return filled
