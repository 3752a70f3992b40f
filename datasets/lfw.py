"""LFW, the official 10 x 600 pairs (Huang et al., 2007): aligned images and ``pairs.txt``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frbench.datasets.io.pair_lists import NamedPair, open_named, read_lines
from frbench.datasets.io.pair_subsets import Subset
from frbench.harness.core.errors import CorruptFile
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.text_lists import lfw_image, lfw_pair


@dataclass(frozen=True, kw_only=True)
class LFW(Subset):
    """Files: ``root/aligned_112/<Name>/<Name>_0001.jpg`` and ``root/pairs.txt``; only images in pairs are read.

    The first line of ``pairs.txt`` is ``folds<TAB>n``; each fold has n lines ``name i j`` (genuine), then n lines
    ``name i name j`` (impostor), separated by tabs if names contain blanks. The first image of a line is the probe.
    Your own list has the same form; images may also be PNG, WebP or BMP.

    limit, calibrate, seed: see ``Subset``.
    source: download information for ``frbench data``; unused here.
    """

    identity = "dataset.lfw"
    version = 1

    name: str
    root: str | Path
    source: Mapping[str, Any] | None = field(default=None, compare=False)

    def open(self, cache: Path) -> PairSet:
        """Raises FrbenchError: files missing or damaged, a malformed list, an unknown image."""
        root = Path(self.root)
        pairs = read_pairs(self.name, root / "pairs.txt")
        return open_named(self.name, pairs, root / "aligned_112", _person, cache, self)


def read_pairs(name: str, path: Path) -> list[NamedPair]:
    """The pairs of a file in the format of LFW's ``pairs.txt``, with folds numbered from 0."""
    (_, header), *lines = read_lines(name, path) or [("", "")]
    folds, each = _header(f"{path}:1", header)
    if len(lines) != 2 * folds * each:
        raise CorruptFile(
            f"{path}: has {len(lines)} pairs and its first line says {folds} folds of {each} genuine and {each} "
            f"impostor pairs, {2 * folds * each} in all; correct that line or complete the list"
        )
    return [
        _pair(where, line, same=i % (2 * each) < each, fold=i // (2 * each)) for i, (where, line) in enumerate(lines)
    ]


def _header(where: str, line: str) -> tuple[int, int]:
    """The number of folds, and of pairs of each kind per fold."""
    numbers = line.split()
    if len(numbers) == 1 and numbers[0].isdecimal():
        raise CorruptFile(
            f"{where}: is {line.strip()!r}, the first line of a list of LFW's View 1, which is one set for development "
            "and has no folds to calibrate on; take View 2's pairs.txt, whose first line is '10<TAB>300'"
        )
    if len(numbers) != 2 or not all(each.isdecimal() for each in numbers) or int(numbers[0]) < 2 or int(numbers[1]) < 1:
        raise CorruptFile(
            f"{where}: is {line[:40]!r}, expected 'folds<TAB>pairs of either kind in each' with 2 folds or more, such "
            "as '10<TAB>300'; add that line"
        )
    return int(numbers[0]), int(numbers[1])


def _pair(where: str, line: str, same: bool, fold: int) -> NamedPair:
    found = lfw_pair(line)
    if found is None or (same and found[0][0] != found[1][0]):
        expected = "'name<TAB>i<TAB>j' (genuine)" if same else "'name<TAB>i<TAB>other name<TAB>j' (impostor)"
        raise CorruptFile(f"{where}: is {line[:60]!r}, expected {expected}; correct that line")
    probe, reference = (lfw_image(*image) for image in found)
    return NamedPair(probe, reference, same, fold, where)


def _person(image: str) -> str:
    return image.partition("/")[0].replace(" ", "_")
