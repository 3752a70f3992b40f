"""Text files of lists: their encoding, and the lines of LFW's pair lists."""

from __future__ import annotations

import codecs
from pathlib import Path


def read_list(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Raises OSError, UnicodeDecodeError.
    """
    data = path.read_bytes()
    utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if utf_16 else "utf-8-sig")


def lfw_pair(line: str) -> tuple[tuple[str, int], tuple[str, int]] | None:
    """(name, number) of the two images of a line ``name i j`` or ``name i name j``; None for any other line.

    Names may contain blanks if tabs separate the columns; without tabs, only if the line is unambiguous.
    """
    if "\t" in line:
        return _of_parts([part.strip() for part in line.strip().split("\t")])
    words = line.split()
    ways = [way for way in map(_of_parts, _splits(words)) if way]
    return _of_parts(words) or (ways[0] if len(ways) == 1 else None)


def _splits(words: list[str]) -> list[list[str]]:
    """All ways to join words into three or four columns where only names contain blanks."""
    one = [[" ".join(words[:-2]), *words[-2:]]]
    two = [
        [" ".join(words[:place]), words[place], " ".join(words[place + 1 : -1]), words[-1]]
        for place in range(1, len(words) - 2)
    ]
    return one + two


def _of_parts(parts: list[str]) -> tuple[tuple[str, int], tuple[str, int]] | None:
    numbers = (parts[1::2] if len(parts) == 4 else parts[1:]) if len(parts) in (3, 4) else []
    if not numbers or not all(each.isdecimal() for each in numbers) or not parts[0] or not parts[-2]:
        return None
    first, second = (int(each) for each in numbers)
    return (parts[0], first), (parts[2] if len(parts) == 4 else parts[0], second)


def lfw_image(person: str, number: int) -> str:
    """Path of an image in LFW, such as ``Ann/Ann_0001.jpg``."""
    return f"{person}/{person}_{number:04d}.jpg"
