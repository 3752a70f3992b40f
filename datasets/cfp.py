"""CFP (Sengupta et al., 2016): 500 people, 10 official splits of 350 + 350 frontal-profile or frontal-frontal pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frbench.datasets.pairs import NamedPair, missing, open_named, read_lines
from frbench.harness.errors import FrbenchError
from frbench.harness.faces import PairSet


@dataclass(frozen=True, kw_only=True)
class CFP:
    """Files: ``root/aligned_112/<id>/{frontal,profile}/NN.jpg`` and the official ``root/Protocol``.

    protocol: the folder in ``Protocol/Split``, ``FP`` or ``FF``. Its letters name the lists into which the two
    numbers of a pair point: the first is the reference, the second the probe. So in FP the profile photo is what
    the attacker changes and the frontal photo is enrolled.

    limit: how many pairs to attack (balanced), None for all; seed: of decoys and of that subset.
    source: where ``frbench data`` gets the files; not read here.
    """

    name: str
    root: str | Path
    protocol: str
    limit: int | None = None
    seed: int = 0
    source: Mapping[str, Any] | None = field(default=None, compare=False)

    def open(self, cache: Path) -> PairSet:
        """Raises FrbenchError: files missing or damaged, a malformed list, an unknown image."""
        root = Path(self.root)
        pairs = self._pairs(root / "Protocol")
        return open_named(self.name, pairs, root / "aligned_112", _person, cache, self.limit, self.seed, "cfp")

    def _pairs(self, protocol: Path) -> list[NamedPair]:
        splits = protocol / "Split" / self.protocol
        folders = sorted(folder for folder in splits.iterdir() if folder.is_dir()) if splits.is_dir() else []
        if not folders:
            raise missing(self.name, splits)
        photos = [self._photos(protocol / f"Pair_list_{letter}.txt") for letter in self.protocol]
        return [
            self._pair(where, line, photos, same=same, fold=fold)
            for fold, folder in enumerate(folders)
            for file, same in (("same.txt", True), ("diff.txt", False))
            for where, line in read_lines(self.name, folder / file)
        ]

    def _photos(self, path: Path) -> dict[int, str]:
        """Number -> ``<id>/{frontal,profile}/NN.jpg``, from lines such as ``1 ../Data/Images/001/frontal/01.jpg``."""
        photos = {}
        for where, line in read_lines(self.name, path):
            number, _, photo = line.strip().partition(" ")
            parts = photo.strip().split("/")
            if not number.isdecimal() or len(parts) < 3:
                raise FrbenchError(f"{where}: is {line[:60]!r}, expected a number and a path; fetch the list again")
            photos[int(number)] = "/".join(parts[-3:])
        return photos

    def _pair(self, where: str, line: str, photos: list[dict[int, str]], same: bool, fold: int) -> NamedPair:
        try:
            first, second = (int(part) for part in line.split(","))
            reference, probe = photos[0][first], photos[1][second]
        except (ValueError, KeyError) as error:
            raise FrbenchError(
                f"{where}: is {line[:60]!r}, expected two numbers that Pair_list_{self.protocol[0]}.txt and "
                f"Pair_list_{self.protocol[1]}.txt know; fetch the protocol again"
            ) from error
        return NamedPair(probe, reference, same, fold, where)


def _person(image: str) -> str:
    return image.partition("/")[0]
