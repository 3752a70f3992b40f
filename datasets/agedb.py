"""AgeDB (Moschoglou et al., 2017) with 30 years between the two photos of a pair: ``agedb_30``.

Files: ``root/aligned_112/<number>_<Person>_<age>_<f|m>.jpg`` as the column ``filepath`` of
``root/agedb_file_list.csv`` names them; the identity is the person's name (the number only counts images).

Where ``root/pairs_30.txt`` exists, it is the pair list: one pair per line, four columns separated by blanks,
``probe reference same fold`` (two file names, 1 genuine or 0 impostor, fold from 1), and ``#`` starts a comment.

Else the pairs are ours, and the set is called ``agedb_30_ours``: as in the paper's protocols the ages differ by
*exactly* ``gap`` years in genuine and impostor pairs alike, 10 folds of 300 + 300, and no person is in two folds.
The older photo is the probe. The choice hangs on the file names alone (SHA-256 of them gives the order), never on
``seed``. An impostor pair uses an image at most once; genuine pairs are taken in turns from all people.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from frbench.datasets.io.pair_lists import NamedPair, missing, open_named, read_lines
from frbench.datasets.io.pair_subsets import Subset
from frbench.harness.core.domains import AtLeastTwo, NonNegativeInt, PositiveInt
from frbench.harness.core.errors import CorruptFile, DataMissing, warn_once
from frbench.harness.core.face_data import PairSet
from frbench.harness.images.image_files import find_images, image_files


class Face(NamedTuple):
    """One image of the list."""

    file: str
    person: str
    age: int


@dataclass(frozen=True, kw_only=True)
class AgeDB(Subset):
    """gap: years between the photos of generated pairs; folds, each: 10 folds of 300 genuine and 300 impostor pairs.

    limit, calibrate, seed: see ``Subset``.
    source: download information for ``frbench data``; unused here.
    """

    identity = "dataset.agedb"
    version = 1

    name: str
    root: str | Path
    gap: NonNegativeInt = 30
    folds: AtLeastTwo = 10
    each: PositiveInt = 300
    source: Mapping[str, Any] | None = field(default=None, compare=False)

    def open(self, cache: Path) -> PairSet:
        """Raises FrbenchError: files missing or damaged, a malformed list, too few faces to generate pairs."""
        folder, listed = Path(self.root) / "aligned_112", Path(self.root) / "pairs_30.txt"
        if not folder.is_dir():
            raise missing(self.name, folder)
        faces, present, remarks = self._faces(folder)
        if listed.is_file():
            name, pairs = self.name, read_pairs(self.name, listed, faces)
        else:
            name = f"{self.name}_ours"
            pairs = make_pairs(faces.values(), present, self.gap, self.folds, self.each, str(folder))
        opened = open_named(name, pairs, folder, lambda file: faces[file].person, cache, self)
        return replace(opened, remarks={**remarks, **opened.remarks})

    def _faces(self, folder: Path) -> tuple[dict[str, Face], set[str], dict[str, int]]:
        """The listed images by file name (without a list: those that are there), the names that are there, remarks."""
        found = image_files(folder)
        listing = Path(self.root) / "agedb_file_list.csv"
        if not listing.is_file():
            named = [face for face in map(_face_of_name, found.names) if face]
            remarks = {**found.left_out, "images_named_otherwise": len(found.names) - len(named)}
            return {face.file: face for face in named}, {face.file for face in named}, remarks
        faces = _read_list(listing)
        present = set(find_images(folder, faces))
        absent = sorted(faces.keys() - present)
        if absent:
            warn_once(f"{folder}: {len(absent)} of {len(faces)} listed images are absent, first {absent[0]}")
        return faces, present, {**found.left_out, "images_absent": len(absent)}


def _read_list(path: Path) -> dict[str, Face]:
    faces: dict[str, Face] = {}
    lines = read_lines(path.stem, path)
    for (where, _), row in zip(lines[1:], csv.DictReader(line for _, line in lines), strict=False):
        try:
            face = Face(row["filepath"], row["person_name"], int(row["age"]))
        except (KeyError, ValueError, TypeError) as error:
            raise CorruptFile(
                f"{where}: expected the columns person_name, age (a number) and filepath; correct that line"
            ) from error
        if faces.setdefault(face.file, face) != face:
            raise CorruptFile(f"{where}: lists {face.file} a second time, as somebody else; correct the list")
    return faces


def _face_of_name(file: str) -> Face | None:
    match = re.fullmatch(r"\d+_(.+)_(\d+)_[fm]\.\w+", file)
    return Face(file, match[1], int(match[2])) if match else None


def read_pairs(name: str, path: Path, faces: Mapping[str, Face]) -> list[NamedPair]:
    """The pairs of a list ``probe reference same fold``, see above."""
    pairs = []
    by_stem = {PurePath(file).stem: file for file in faces}  # the list may have another suffix than the files
    for where, line in read_lines(name, path):
        text = line.partition("#")[0].strip()
        parts = [part.strip() for part in text.split("\t")] if "\t" in text else text.split()
        if not parts:
            continue
        if len(parts) != 4 or parts[2] not in ("0", "1") or not parts[3].isdecimal() or int(parts[3]) < 1:
            raise CorruptFile(
                f"{where}: is {line[:60]!r}, expected 'probe reference same(0|1) fold(from 1)'; correct it"
            )
        probe, reference = (file if file in faces else by_stem.get(PurePath(file).stem) for file in parts[:2])
        if probe is None or reference is None:
            file = parts[0] if probe is None else parts[1]
            raise CorruptFile(f"{where}: names the image {file}, which is not one of AgeDB's; correct the list")
        pairs.append(NamedPair(probe, reference, parts[2] == "1", int(parts[3]) - 1, where))
    if not pairs:
        raise CorruptFile(f"{path}: holds no pair, expected lines 'probe reference same fold'; correct or remove it")
    folds = {pair.fold for pair in pairs}
    if absent := set(range(max(folds))) - folds:
        raise CorruptFile(f"{path}: has no pair of fold {min(absent) + 1} of {max(folds) + 1}; complete the list")
    return pairs


def make_pairs(
    faces: Iterable[Face], present: Container[str], gap: int, folds: int, each: int, where: str
) -> list[NamedPair]:
    """Generated pairs: ``folds`` folds of disjoint people, each of ``each`` genuine and ``each`` impostor pairs.

    Only images that are ``present`` (by file name) are paired; the folds of people hang on all ``faces``, so that a
    few absent images change few pairs.
    """
    people = defaultdict(list)
    for face in sorted(faces, key=_rank):
        people[face.person].append(face)
    genuine = {person: _genuine(of_person, gap) for person, of_person in people.items()}
    pairs = []
    for fold, members in enumerate(_disjoint_folds(people, genuine, folds)):
        there = sorted((face for person in members for face in people[person] if face.file in present), key=_rank)
        whole = [
            [
                (older, younger)
                for older, younger in genuine[person]
                if older.file in present and younger.file in present
            ]
            for person in members
        ]
        matched, mixed = _in_turns(whole)[:each], _impostors(there, gap, each)
        if min(len(matched), len(mixed)) < each:
            raise DataMissing(
                f"{where}: fold {fold + 1} has {len(matched)} genuine and {len(mixed)} impostor pairs "
                f"{gap} years apart, expected {each} each; complete the folder or give a pairs_30.txt"
            )
        for kind, same in ((matched, True), (mixed, False)):
            pairs += [NamedPair(older.file, younger.file, same, fold, where) for older, younger in kind]
    return pairs


def _rank(face: Face) -> bytes:
    return hashlib.sha256(face.file.encode()).digest()


def _genuine(of_person: Sequence[Face], gap: int) -> list[tuple[Face, Face]]:
    pairs = [(a, b) if a.age > b.age else (b, a) for a, b in combinations(of_person, 2) if abs(a.age - b.age) == gap]
    return sorted(pairs, key=lambda pair: hashlib.sha256("\n".join((pair[0].file, pair[1].file)).encode()).digest())


def _disjoint_folds(people: Mapping[str, Sequence[Face]], genuine: Mapping[str, list], folds: int) -> list[list[str]]:
    """People with the most genuine pairs (then images) first, each into the fold that has the fewest so far."""
    members: list[list[str]] = [[] for _ in range(folds)]
    load = [(0, 0)] * folds
    for person in sorted(people, key=lambda p: (-len(genuine[p]), -len(people[p]), p)):
        fold = load.index(min(load))
        members[fold].append(person)
        load[fold] = load[fold][0] + len(genuine[person]), load[fold][1] + len(people[person])
    return members


def _in_turns(groups: Sequence[list]) -> list:
    """The first of each group, then the second of each, and so on."""
    return [group[i] for i in range(max(map(len, groups), default=0)) for group in groups if i < len(group)]


def _impostors(faces: Sequence[Face], gap: int, count: int) -> list[tuple[Face, Face]]:
    """Up to ``count`` pairs of different people, no image twice, taken in the order of ``faces``."""
    of_age = defaultdict(list)
    for face in faces:
        of_age[face.age].append(face)
    used: set[str] = set()
    pairs: list[tuple[Face, Face]] = []
    for face in faces:
        if len(pairs) == count:
            break
        others = (*of_age[face.age - gap], *of_age[face.age + gap])
        free = (other for other in others if other.person != face.person and other.file not in used)
        other = None if face.file in used else next(free, None)
        if other:
            used |= {face.file, other.file}
            pairs.append((face, other) if face.age > other.age else (other, face))
    return pairs
