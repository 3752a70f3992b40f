"""Builds a PairSet from a list of pairs: images, decoys, the pairs to attack, and the digest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from frbench.datasets.io.image_store import Stack, combined_digest, open_files
from frbench.datasets.io.pair_subsets import Subset, chance
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.errors import ConfigError, CorruptFile, DataMissing, warn_once
from frbench.harness.core.face_data import PairSet, person_key
from frbench.harness.core.text_lists import read_list
from frbench.harness.images.image_files import find_images

_REDRAWS = 64


class NamedPair(NamedTuple):
    """A pair of a list: two relative image names, and its place (``pairs.txt:17``)."""

    probe: str
    reference: str
    same: bool
    fold: int
    where: str


@dataclass(frozen=True)
class PairList:
    """probe, reference: int64 (N,), rows of the stack; same: bool (N,); fold: int64 (N,), from 0."""

    probe: np.ndarray
    reference: np.ndarray
    same: np.ndarray
    fold: np.ndarray


def missing(name: str, path: Path) -> DataMissing:
    """The error for a missing data set."""
    return DataMissing(f"{path}: not found, so dataset {name} cannot be opened; run: frbench data prepare {name}")


def read_lines(name: str, path: Path) -> list[tuple[str, str]]:
    """(where, text) of each line that is not blank; ``where`` is ``path:number``."""
    try:
        text = read_list(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing(name, path) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptFile(f"{path}: cannot be read as UTF-8 text ({error}); save it as UTF-8") from error
    return [(f"{path}:{i}", line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]


def open_named(
    name: str,
    pairs: Sequence[NamedPair],
    folder: Path,
    person: Callable[[str], str],
    cache: Path,
    subset: Subset,
    source: str | None = None,
) -> PairSet:
    """The PairSet of named pairs of images in ``folder``; ``person`` gives the person of a relative name.

    ``source``: prefix of people who are numbers; by default the name of the set.
    """
    subset.check(name)
    if not folder.is_dir():
        raise missing(name, folder)
    named_by: dict[str, str] = {}
    for pair in pairs:
        named_by.setdefault(pair.probe, pair.where)
        named_by.setdefault(pair.reference, pair.where)
        if pair.same != (person(pair.probe) == person(pair.reference)):
            said = "a genuine" if pair.same else "an impostor"
            raise CorruptFile(
                f"{pair.where}: {pair.probe} and {pair.reference} cannot be {said} pair; correct the list"
            )
    file = _files(named_by, folder)
    names = sorted(set(file.values()))
    stack = open_files(name, folder, {file[each]: where for each, where in named_by.items()}, cache)
    number = {each: i for i, each in enumerate(names)}
    image = {each: number[file[each]] for each in named_by}
    listed = PairList(
        probe=np.array([image[pair.probe] for pair in pairs], np.int64),
        reference=np.array([image[pair.reference] for pair in pairs], np.int64),
        same=np.array([pair.same for pair in pairs], bool),
        fold=np.array([pair.fold for pair in pairs], np.int64),
    )
    whose = {file[each]: person(each) for each in named_by}
    photos = tuple(names) if stack.kept is None else tuple(names[i] for i in stack.kept)
    people, identity = np.unique([whose[each] for each in photos], return_inverse=True)
    known = tuple(person_key(source or name, str(each)) for each in people)
    return replace(assemble(name, stack, listed, identity.astype(np.int64), subset, known), photos=photos)


def _files(named_by: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The file of each named image. Raises DataMissing: some do not exist."""
    file = find_images(folder, named_by)
    absent = [name for name in named_by if name not in file]
    if absent:
        more = f" ({len(absent)} of {len(named_by)} images are absent)" if len(absent) > 1 else ""
        raise DataMissing(
            f"{named_by[absent[0]]}: names the image {absent[0]}, which is not in {folder}{more}; complete that folder "
            "or correct the list"
        )
    return file


def assemble(
    name: str,
    stack: Stack,
    listed: PairList,
    identity: np.ndarray,
    subset: Subset,
    people: tuple[str, ...] = (),
) -> PairSet:
    """A PairSet with its decoys, subsets and digest.

    Args:
        listed: pairs of images as the source numbers them; pairs of an image that cannot be read are left out.
        identity: int64 (M,), the person of each row of the stack, -1 where unknown.
    """
    subset.check(name)
    whole, remarks = _readable(name, listed, stack)
    decoy = draw_decoys(name, whole, identity, subset.seed)
    kept = subset.calibrated(name, whole.same, whole.fold)
    attacked = np.searchsorted(kept, subset.attacked(name, whole.same, whole.fold))
    if len(kept) < len(whole.same):
        remarks["pairs_not_calibrated_on"] = len(whole.same) - len(kept)
    arrays = {each: array[kept] for each, array in {**vars(whole), "decoy": decoy}.items()}
    arrays["identity"] = identity
    return PairSet(
        name=name,
        images=stack.images,
        attacked=attacked,
        digest=combined_digest(stack.digest, **arrays),
        people=people,
        remarks={**remarks, **stack.remarks},
        **arrays,
    )


def _readable(name: str, listed: PairList, stack: Stack) -> tuple[PairList, dict[str, int]]:
    """The pairs whose images can be read, by rows of the stack; and remarks, which are also printed to stderr."""
    probe, reference = stack.rows(listed.probe), stack.rows(listed.reference)
    there = (probe >= 0) & (reference >= 0)
    pairs = PairList(probe[there], reference[there], listed.same[there], listed.fold[there])
    look = np.arange(len(stack.images)) if stack.pixels is None else stack.pixels
    alone = int((look[pairs.probe] == look[pairs.reference]).sum())
    both = np.sort(np.stack([pairs.probe, pairs.reference], axis=1), axis=1)
    repeated = len(both) - len(np.unique(both, axis=0))
    if not there.all():
        warn_once(f"dataset {name}: {(~there).sum()} of {len(there)} pairs are left out: their images cannot be read")
    if alone:
        warn_once(
            f"dataset {name}: {alone} of {len(both)} pairs hold one and the same image twice, which any recognizer "
            "accepts; correct the list unless that is meant"
        )
    found = {"pairs_left_out": int((~there).sum()), "pairs_of_one_image": alone, "pairs_repeated": repeated}
    return pairs, found


def draw_decoys(name: str, pairs: PairList, identity: np.ndarray, seed: int) -> np.ndarray:
    """For each pair a reference image (int64 (N,), a row) of a third person.

    Where any identity is unknown: the reference of a pair of another fold, and neither image of this pair.
    """
    if (identity < 0).any():
        candidates, group = pairs.reference, pairs.fold
        excluded = pairs.fold, pairs.fold
    else:
        candidates = np.unique(pairs.reference)
        group = identity[candidates]
        excluded = identity[pairs.probe], identity[pairs.reference]
    decoy = np.full(len(pairs.probe), -1, np.int64)
    open_ = np.arange(len(decoy))
    for k in range(_REDRAWS):
        drawn = chance(open_, seed, Stream.DECOYS, k)
        position = _pick_outside(group, excluded[0][open_], excluded[1][open_], drawn)
        decoy[open_] = np.where(position < 0, -1, candidates[position])
        alike = (decoy == pairs.probe) | (decoy == pairs.reference)
        open_ = np.flatnonzero(alike)
        if not len(open_) or (decoy < 0).any():
            break
    if len(open_) or (decoy < 0).any():
        raise ConfigError(f"dataset {name}: too few different people for a third one beside each pair; add pairs")
    return decoy


def _pick_outside(group: np.ndarray, first: np.ndarray, second: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """For each row a position (n,) in ``group``, uniform over those of neither group ``first`` nor ``second``.

    Sorted by group, each excluded group is one interval: draw among the rest, then step over the intervals.
    -1 where nothing is left.
    """
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    low, high = np.minimum(first, second), np.maximum(first, second)
    low_start, high_start = np.searchsorted(ordered, low), np.searchsorted(ordered, high)
    low_size = np.searchsorted(ordered, low, side="right") - low_start
    high_size = np.where(low == high, 0, np.searchsorted(ordered, high, side="right") - high_start)
    left = len(group) - low_size - high_size
    pick = np.floor(chance * left).astype(np.int64)
    pick += np.where(pick >= low_start, low_size, 0)
    pick += np.where(pick >= high_start, high_size, 0)
    return np.where(left > 0, order[np.minimum(pick, len(group) - 1)], -1)
