"""Exports of images: a folder of PNG files for each record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from frbench.harness.core.errors import ConfigError, DataMissing
from frbench.harness.reporting.export.photo_names import PairNames
from frbench.harness.reporting.export.run_folder import ImagesOfPairs, write_run
from frbench.harness.reporting.file_names import FileName
from frbench.harness.storage.records import Kind, Record, measured, select

_IMAGE_DIMENSIONS = 4
_INDEX = "index"
_SCORES = ("same", "clean_score", "adversarial_score", "threshold", "correct", "success")
_NOUNS = ("attack", "threat", "defense")


class NoImages(Exception):
    """A record without images; the message says why, for all records of the same kind."""


class Store(Protocol):
    """A result store."""

    def records(self) -> list[dict[str, Any]]: ...

    def score_table(self, fingerprint: str) -> pa.Table | None: ...

    def sample_images(self, fingerprint: str) -> Mapping[str, np.ndarray] | None: ...


Source = Callable[[Record, Sequence[int]], Iterable[ImagesOfPairs]]  # of a record and its attacked pairs


@dataclass
class ExportedImages:
    """What an export of images wrote.

    Attributes:
        folders: one for each record with images.
        pairs: pairs with images.
        attacked: pairs of all selected records.
        rounded: pairs with an image that was rounded to 8 bits.
        reasons: number of records without images, by reason.
    """

    folders: list[Path] = field(default_factory=list)
    pairs: int = 0
    attacked: int = 0
    rounded: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def sampled(store: Store) -> Source:
    """The images that a store keeps for figures: of the first pairs of each record."""

    def images(record: Record, pairs: Sequence[int]) -> Iterable[ImagesOfPairs]:
        found = store.sample_images(record["fingerprint"])
        if not found:
            raise NoImages("no sample images: protocol.num_samples=0, a protocol that keeps none, or they were deleted")
        stacks = {name: each for name, each in found.items() if each.ndim == _IMAGE_DIMENSIONS}
        return [ImagesOfPairs(found[_INDEX], stacks)]

    return images


def export_images(
    store: Store, where: Mapping[str, Any] | None, source: Source, out: Path, overwrite: bool
) -> ExportedImages:
    """Write the images of the selected records to ``out``, a folder for each record.

    Args:
        store: where records and scores are.
        where: selects records, see ``storage.records.select``.
        source: the images of a record; raises NoImages.
        out: a new folder.
        overwrite: whether ``out`` may exist; the folders of these records in it are replaced.

    Raises:
        ConfigError: ``out`` exists and ``overwrite`` is false, or ``where`` matches no record.
        DataMissing: there are no records.
        DiskFull: there is no room.
    """
    if out.exists() and not (overwrite and out.is_dir()):
        raise ConfigError(
            f"{out} exists; add overwrite=true to replace earlier images in it, or set out to another path"
        )
    records = select(store.records(), where)
    if not records:
        raise DataMissing("there are no records to export; run `frbench run` first, or set paths.results=FOLDER")
    done = ExportedImages()
    for record in records:
        scores = store.score_table(record["fingerprint"])
        pairs = [] if scores is None else _pairs(scores)
        done.attacked += len(pairs)
        try:
            _check(record)
            parts = source(record, pairs)
        except NoImages as none:
            done.reasons[str(none)] += 1
            continue
        attack, *others = (record["names"].get(noun) or "" for noun in _NOUNS)
        folder = out / f"{FileName(attack, tuple(others))}-{record['fingerprint'][:12]}"
        written = write_run(folder, _names(record, scores), _scores(scores), parts)
        done.folders.append(folder)
        done.pairs += written.pairs
        done.rounded += written.rounded
    return done


def _check(record: Record) -> None:
    if record["status"] != "done":
        raise NoImages(f"{record['status']}")
    if not measured(record, "attack"):
        raise NoImages("no attack")


def _pairs(scores: pa.Table) -> list[int]:
    """Numbers of the pairs; of cloaked photos, which have a row for each split, each once."""
    return list(dict.fromkeys(scores.column(_INDEX).to_pylist())) if _INDEX in scores.column_names else []


def _names(record: Record, scores: pa.Table | None) -> PairNames:
    unit = "photo" if record["kind"] == Kind.CLOAKING else "pair"
    if scores is None:
        return PairNames([], {}, unit)
    pairs = _pairs(scores)
    one_row_each = len(pairs) == len(scores)
    sides = [side for side in ("probe", "reference") if side in scores.column_names and one_row_each]
    return PairNames(pairs, {side: scores.column(side).to_pylist() for side in sides}, unit)


def _scores(scores: pa.Table | None) -> dict[int, dict[str, Any]]:
    if scores is None or len(_pairs(scores)) != len(scores):
        return {}
    columns = [name for name in _SCORES if name in scores.column_names]
    return dict(zip(_pairs(scores), scores.select(columns).to_pylist(), strict=True))
