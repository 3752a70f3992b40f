"""Work of a cell ahead of its run: adversarial images and clean scores, which the run then finds in the cache."""

from __future__ import annotations

from frbench.harness.config.running import CellConfig
from frbench.harness.core.errors import ConfigError
from frbench.harness.evaluation.cell import CalibratesVictim, CraftsImages
from frbench.harness.evaluation.shards import Filled, Shard
from frbench.harness.evaluation.smaller_batches import fitted, with_smaller_batches


def craft(config: CellConfig, shard: Shard) -> Filled:
    """Put the adversarial images of one shard of the cell into the cache, after fitting its defense.

    Raises:
        ConfigError: the cell has no attack, or its protocol makes no images ahead.
        FrbenchError: as the run of the cell.
    """
    cell = config.cell()
    protocol = cell.protocol
    if cell.attack is None:
        raise ConfigError(f"attack={cell.names['attack']} makes no images; take another attack, such as attack=pgd")
    if not isinstance(protocol, CraftsImages):
        raise ConfigError(f"protocol={cell.names['protocol']} makes no images ahead of its run; use frbench run")
    filled, _ = with_smaller_batches(fitted(cell), lambda each: protocol.craft(each, config.store, shard))
    return filled


def calibrate(config: CellConfig) -> None:
    """Put the clean scores of the recognizer of the cell, bare and defended, into the cache, after fitting its defense.

    A protocol without clean scores of pairs has nothing to compute.
    """
    cell = config.cell()
    protocol = cell.protocol
    if isinstance(protocol, CalibratesVictim):
        with_smaller_batches(fitted(cell), lambda each: protocol.calibrate(each, config.store))
