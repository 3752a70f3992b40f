"""What all verification sets share: from named pairs to a PairSet, decoys, the subset to attack, the digest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from frbench.datasets.imagestore import Stack, combined_digest, open_files
from frbench.harness.contracts import Draw
from frbench.harness.errors import FrbenchError
from frbench.harness.faces import PairSet, person_key
from frbench.harness.noise import uniform

log = logging.getLogger(__name__)

# Which use of the dataset's seed a random number belongs to (the step of its Draw).
_DECOYS, _WITHIN_FOLD, _ORDER_OF_FOLDS = 101, 102, 103
_REDRAWS = 64


class NamedPair(NamedTuple):
    """A pair as a list names it: two relative image names, and where it stands (``pairs.txt:17``)."""

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


def missing(name: str, path: Path) -> FrbenchError:
    """The one line for a dataset that is not there."""
    return FrbenchError(f"{path}: not found, so dataset {name} cannot be opened; run: frbench data prepare {name}")


def read_lines(name: str, path: Path) -> list[tuple[str, str]]:
    """(where, text) of each line that is not blank; ``where`` is ``path:number``."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing(name, path) from error
    except (OSError, UnicodeDecodeError) as error:
        raise FrbenchError(f"{path}: cannot be read as UTF-8 text ({error}); fetch it again") from error
    return [(f"{path}:{i}", line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]


def check_limit(name: str, limit: int | None) -> None:
    """Refuses a limit that cannot be balanced, before anything is decoded."""
    if limit is not None and (limit < 2 or limit % 2):
        raise FrbenchError(
            f"dataset {name}: limit={limit}, expected an even number of at least 2 "
            "(half genuine, half impostor pairs) or null for all"
        )


def open_named(
    name: str,
    pairs: Sequence[NamedPair],
    folder: Path,
    person: Callable[[str], str],
    cache: Path,
    limit: int | None,
    seed: int,
    source: str | None = None,
) -> PairSet:
    """The PairSet of named pairs over the image files below ``folder``; ``person`` of a relative name.

    ``source``: whose numbers people have where they have no names; by default the set's own.
    """
    check_limit(name, limit)
    if not folder.is_dir():
        raise missing(name, folder)
    named_by: dict[str, str] = {}
    for pair in pairs:
        named_by.setdefault(pair.probe, pair.where)
        named_by.setdefault(pair.reference, pair.where)
        if pair.same != (person(pair.probe) == person(pair.reference)):
            said = "a genuine" if pair.same else "an impostor"
            raise FrbenchError(f"{pair.where}: {pair.probe} and {pair.reference} cannot be {said} pair; mend the list")
    stack = open_files(name, folder, named_by, cache)
    names = sorted(named_by)
    row = {image: i for i, image in enumerate(names)}
    rows = PairList(
        probe=np.array([row[pair.probe] for pair in pairs], np.int64),
        reference=np.array([row[pair.reference] for pair in pairs], np.int64),
        same=np.array([pair.same for pair in pairs], bool),
        fold=np.array([pair.fold for pair in pairs], np.int64),
    )
    people, identity = np.unique([person(image) for image in names], return_inverse=True)
    known = tuple(person_key(source or name, str(each)) for each in people)
    return assemble(name, stack, rows, identity.astype(np.int64), limit, seed, known)


def assemble(
    name: str,
    stack: Stack,
    pairs: PairList,
    identity: np.ndarray,
    limit: int | None,
    seed: int,
    people: tuple[str, ...] = (),
) -> PairSet:
    """A PairSet with its decoys, attacked subset and digest; ``identity`` int64 (M,), -1 where unknown."""
    check_limit(name, limit)
    decoy = draw_decoys(name, pairs, identity, seed)
    arrays = {
        "probe": pairs.probe,
        "reference": pairs.reference,
        "decoy": decoy,
        "same": pairs.same,
        "fold": pairs.fold,
        "identity": identity,
    }
    return PairSet(
        name=name,
        images=stack.images,
        attacked=attacked_subset(name, pairs.same, pairs.fold, limit, seed),
        digest=combined_digest(stack.digest, **arrays),
        people=people,
        **arrays,
    )


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
        chance = _chance(open_, seed, _DECOYS, k)
        position = _pick_outside(group, excluded[0][open_], excluded[1][open_], chance)
        decoy[open_] = np.where(position < 0, -1, candidates[position])
        alike = (decoy == pairs.probe) | (decoy == pairs.reference)
        open_ = np.flatnonzero(alike)
        if not len(open_) or (decoy < 0).any():
            break
    if len(open_) or (decoy < 0).any():
        raise FrbenchError(f"dataset {name}: too few different people for a third one beside each pair; add pairs")
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


def attacked_subset(name: str, same: np.ndarray, fold: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """Sorted pair numbers (A,): half genuine and half impostor, spread over the folds; all if ``limit`` is None.

    Of each kind every fold gives one random pair per round, the folds in a random order of that round: so folds
    differ by at most one, and a larger limit contains a smaller one.
    """
    everything = np.arange(len(same))
    if limit is None or limit >= len(same):
        return everything
    each = min(limit // 2, int(same.sum()), int((~same).sum()))
    if each == 0:
        raise FrbenchError(f"dataset {name}: pairs of one kind only cannot be balanced; set dataset.limit=null")
    if each < limit // 2:
        log.warning("dataset %s: limit=%d lowered to %d to stay balanced", name, limit, 2 * each)
    taken = [_in_rounds(np.flatnonzero(kind), fold, seed)[:each] for kind in (same, ~same)]
    return np.sort(np.concatenate(taken))


def _in_rounds(pairs: np.ndarray, fold: np.ndarray, seed: int) -> np.ndarray:
    """The pair numbers ``pairs``, reordered: in round r the r-th random pair of each fold."""
    shuffled = pairs[np.lexsort((pairs, _chance(pairs, seed, _WITHIN_FOLD), fold[pairs]))]
    folds = fold[shuffled]
    turn = np.arange(len(folds)) - np.searchsorted(folds, folds)  # rank of the pair within its fold
    folds_chance = _chance(turn * (int(fold.max()) + 1) + folds, seed, _ORDER_OF_FOLDS)
    return shuffled[np.lexsort((folds, folds_chance, turn))]


def _chance(index: np.ndarray, seed: int, use: int, k: int = 0) -> np.ndarray:
    """Uniform numbers in [0, 1), float64 (n,), each a function of (seed, use, k, index) alone."""
    return uniform(torch.from_numpy(index), Draw(seed, use, k), (1,))[:, 0].numpy().astype(np.float64)
