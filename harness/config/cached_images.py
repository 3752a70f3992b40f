"""Images of the attacked pairs of a record, from the cache of its results folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from frbench.harness.config.recorded_cell import recorded_cell
from frbench.harness.core.contracts import Fittable
from frbench.harness.core.errors import ConfigError, DataMissing
from frbench.harness.evaluation.cell import Cell, ImagesOfPairs, ShowsImages
from frbench.harness.evaluation.crafting import cached_blocks
from frbench.harness.storage.records import Kind, Record
from frbench.harness.storage.result_store import ResultStore

_KEY = re.compile(r"[0-9a-f]{64}")


class CachedImages(NamedTuple):
    """Images of a block of pairs.

    Attributes:
        pairs: numbers (n,).
        images: float32 (n, H, W, 3) in [0, 1]: ``probe``, ``adversarial`` and ``reference``.
    """

    pairs: np.ndarray
    images: Mapping[str, np.ndarray]


def cached_images(
    record: Record, own: Mapping[str, Any], store: ResultStore, attacked: Sequence[int]
) -> Iterator[CachedImages]:
    """The images of those pairs ``attacked`` that are in the cache of ``store``, block by block. No attack runs.

    Where the attacker has several views, the images with the lowest loss on the victim, as in the run.

    Args:
        record: portable, see ``recorded_cell``.
        own: as in ``recorded_cell``.
        store: of the record.
        attacked: the pairs in the order of the run.

    Raises:
        FrbenchError: the cell cannot be built here, or differs from the record.
        DataMissing: no image is in the cache, or the fitted defense is gone.
    """
    if record["kind"] != Kind.VERIFICATION:
        raise ConfigError("pairs=cached works for protocol=verification; use pairs=samples")
    keys = [key for key in record["card"].get("adversarial_images") or () if _KEY.fullmatch(str(key))]
    blocks = cached_blocks(store, keys, np.asarray(attacked, np.int64)) if keys else []
    if not blocks:
        raise DataMissing("no image of the pairs is in the cache")
    cell = recorded_cell(record, {**own, "paths": {**own["paths"], "results": str(store.root)}}, {}).cell()
    if cell.fingerprint() != record["fingerprint"]:
        raise ConfigError("data, weights or code changed since the run")
    return _images(_with_defense(cell, store), store, blocks)


def _with_defense(cell: Cell, store: ResultStore) -> Cell:
    """``cell`` with its fitted defense, which is not fitted again. Raises DataMissing: it is gone."""
    if cell.fit is None:
        return cell
    assert isinstance(cell.defense, Fittable)
    artifact = cell.defense.artifact
    if artifact is None or not store.artifact(artifact.key).exists():
        raise DataMissing("the fitted defense is not in the results folder")
    return cell.fit(cell)


def _images(cell: Cell, store: ResultStore, blocks: Sequence[np.ndarray]) -> Iterator[CachedImages]:
    assert isinstance(cell.protocol, ShowsImages)
    for block in blocks:
        found = cell.protocol.images(cell, store, block)
        yield CachedImages(block, _by_version(found))


def _by_version(found: ImagesOfPairs) -> dict[str, np.ndarray]:
    versions = {"probe": found.clean, "adversarial": found.adversarial, "reference": found.reference}
    return {name: each.permute(0, 2, 3, 1).numpy() for name, each in versions.items()}
