"""LFW, the official 10 x 600 pairs (Huang et al., 2007): aligned images and ``pairs.txt``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frbench.datasets.pairs import NamedPair, open_named, read_lines
from frbench.harness.errors import FrbenchError
from frbench.harness.faces import PairSet


@dataclass(frozen=True, kw_only=True)
class LFW:
    """Files: ``root/aligned_112/<Name>/<Name>_0001.jpg`` and ``root/pairs.txt``; only images that pairs name.

    The first line of ``pairs.txt`` is ``folds<TAB>n``; each fold has n lines ``name i j`` (genuine), then n lines
    ``name i name j`` (impostor). The first image of a line is the probe.

    limit: how many pairs to attack (balanced), None for all; seed: of decoys and of that subset.
    source: where ``frbench data`` gets the files; not read here.
    """

    name: str
    root: str | Path
    limit: int | None = None
    seed: int = 0
    source: Mapping[str, Any] | None = field(default=None, compare=False)

    def open(self, cache: Path) -> PairSet:
        """Raises FrbenchError: files missing or damaged, a malformed list, an unknown image."""
        root = Path(self.root)
        pairs = read_pairs(self.name, root / "pairs.txt")
        return open_named(self.name, pairs, root / "aligned_112", _person, cache, self.limit, self.seed)


def read_pairs(name: str, path: Path) -> list[NamedPair]:
    """The pairs of a file in the format of LFW's ``pairs.txt``, with folds numbered from 0."""
    (_, header), *lines = read_lines(name, path) or [("", "")]
    try:
        folds, each = (int(part) for part in header.split())
    except ValueError as error:
        raise FrbenchError(f"{path}:1: is {header[:40]!r}, expected the header '10<TAB>300'; fetch it again") from error
    if folds < 2 or each < 1 or len(lines) != 2 * folds * each:
        raise FrbenchError(
            f"{path}: has {len(lines)} pairs, expected {folds} folds of {each} genuine and {each} impostor pairs; "
            "fetch it again"
        )
    return [
        _pair(where, line, same=i % (2 * each) < each, fold=i // (2 * each)) for i, (where, line) in enumerate(lines)
    ]


def _pair(where: str, line: str, same: bool, fold: int) -> NamedPair:
    parts = line.split()
    try:
        if same:
            person, first, second = parts
            return NamedPair(_image(person, first), _image(person, second), same, fold, where)
        person, first, other, second = parts
        return NamedPair(_image(person, first), _image(other, second), same, fold, where)
    except ValueError as error:
        expected = "'name i j' (genuine)" if same else "'name i name j' (impostor)"
        raise FrbenchError(f"{where}: is {line[:60]!r}, expected {expected}; fetch the list again") from error


def _image(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04d}.jpg"


def _person(image: str) -> str:
    return image.partition("/")[0]
