"""CFP (Sengupta et al., 2016): 500 people, 10 official splits of 350 + 350 frontal-profile or frontal-frontal pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frbench.datasets.io.pair_lists import NamedPair, missing, open_named, read_lines
from frbench.datasets.io.pair_subsets import Subset
from frbench.harness.core.errors import CorruptFile, DataMissing
from frbench.harness.core.face_data import PairSet
from frbench.harness.images.image_files import is_hidden


@dataclass(frozen=True, kw_only=True)
class CFP(Subset):
    """Files: ``root/aligned_112/<id>/{frontal,profile}/NN.jpg`` and the official ``root/Protocol``.

    protocol: the folder in ``Protocol/Split``, ``FP`` or ``FF``. Its letters name the photo lists of the two
    numbers of a pair: the first is the reference, the second the probe. In FP the attacker changes the profile photo
    and the frontal photo is enrolled.

    limit, calibrate, seed: see ``Subset``.
    source: download information for ``frbench data``; unused here.
    """

    identity = "dataset.cfp"
    version = 1

    name: str
    root: str | Path
    protocol: str
    source: Mapping[str, Any] | None = field(default=None, compare=False)

    def open(self, cache: Path) -> PairSet:
        """Raises FrbenchError: files missing or damaged, a malformed list, an unknown image."""
        root = Path(self.root)
        pairs = self._pairs(root / "Protocol")
        return open_named(self.name, pairs, root / "aligned_112", _person, cache, self, "cfp")

    def _pairs(self, protocol: Path) -> list[NamedPair]:
        splits = protocol / "Split" / self.protocol
        photos = [self._photos(protocol / f"Pair_list_{letter}.txt") for letter in self.protocol]
        by_split = {folder: self._of_split(folder, photos, fold) for fold, folder in enumerate(self._folders(splits))}
        _check_counts(by_split)
        pairs = [pair for of_split in by_split.values() for pair in of_split]
        listed = {_person(photo) for of_letter in photos for photo in of_letter.values()}
        absent = sorted(listed - {_person(photo) for pair in pairs for photo in (pair.probe, pair.reference)})
        if absent:
            raise DataMissing(
                f"{splits}: {len(absent)} of the {len(listed)} people of the photo lists are in none of its "
                f"{len(by_split)} splits, such as {absent[0]}: a split is missing; complete the folder"
            )
        return pairs

    def _folders(self, splits: Path) -> list[Path]:
        """The splits, which are numbered from 1. Raises FrbenchError: one is missing, or there is another folder."""
        folders = [each for each in splits.iterdir() if each.is_dir()] if splits.is_dir() else []
        folders = sorted(each for each in folders if not is_hidden(each.name))
        if not folders:
            raise missing(self.name, splits)
        numbers = [int(each.name) if each.name.isdecimal() else 0 for each in folders]
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            raise DataMissing(
                f"{splits}: holds the folders {', '.join(each.name for each in folders)}, expected splits numbered "
                "from 01 without a gap; complete them, and move other folders away"
            )
        return sorted(folders, key=lambda each: int(each.name))

    def _of_split(self, folder: Path, photos: list[dict[int, str]], fold: int) -> list[NamedPair]:
        return [
            self._pair(where, line, photos, same=same, fold=fold)
            for file, same in (("same.txt", True), ("diff.txt", False))
            for where, line in read_lines(self.name, folder / file)
        ]

    def _photos(self, path: Path) -> dict[int, str]:
        """Number -> ``<id>/{frontal,profile}/NN.jpg``, from lines such as ``1 ../Data/Images/001/frontal/01.jpg``."""
        photos: dict[int, str] = {}
        for where, line in read_lines(self.name, path):
            number, _, photo = line.strip().partition(" ")
            parts = photo.strip().split("/")
            if not number.isdecimal() or len(parts) < 3:
                raise CorruptFile(f"{where}: is {line[:60]!r}, expected a number and a path; correct that line")
            if int(number) in photos:
                raise CorruptFile(f"{where}: numbers a second photo {number}; correct the list")
            photos[int(number)] = "/".join(parts[-3:])
        return photos

    def _pair(self, where: str, line: str, photos: list[dict[int, str]], same: bool, fold: int) -> NamedPair:
        try:
            first, second = (int(part) for part in line.split(","))
            reference, probe = photos[0][first], photos[1][second]
        except (ValueError, KeyError) as error:
            raise CorruptFile(
                f"{where}: is {line[:60]!r}, expected two numbers that Pair_list_{self.protocol[0]}.txt and "
                f"Pair_list_{self.protocol[1]}.txt know; correct that line"
            ) from error
        return NamedPair(probe, reference, same, fold, where)


def _check_counts(by_split: Mapping[Path, list[NamedPair]]) -> None:
    """Raises CorruptFile: splits are truncated, of different sizes, or equal."""
    counts = {
        (folder, same): sum(p.same == same for p in by_split[folder]) for folder in by_split for same in (True, False)
    }
    most = max(counts.values())
    for (folder, same), count in counts.items():
        if count != most or not most:
            file = folder / ("same.txt" if same else "diff.txt")
            raise CorruptFile(f"{file}: has {count} of the {most} pairs that other splits have; complete it")
    first: dict[frozenset[tuple[str, str]], Path] = {}
    for folder, pairs in by_split.items():
        again = first.setdefault(frozenset((pair.probe, pair.reference) for pair in pairs), folder)
        if again != folder:
            raise CorruptFile(f"{folder}: holds the same pairs as {again.name}; remove it")


def _person(image: str) -> str:
    return image.partition("/")[0]
