"""Catalog of data and weight sources, read from ``conf/source``: addresses, digests, and which files are present.

A source lists single files with a SHA-256 each, and optionally a tree of many small images. A tree has one digest per
group of files (those whose paths share a prefix): the SHA-256 over the sorted lines ``"<sha256>  <path>\\n"``, the
format of ``sha256sum``. All paths are relative to the data folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from frbench.harness.core.text_lists import lfw_image, lfw_pair, read_list
from frbench.harness.images.image_files import image_files
from frbench.harness.runtime.download import cached_weights, file_sha256
from frbench.harness.runtime.progress import Report


@dataclass(frozen=True)
class File:
    """One file. ``sha256`` is None if none is published; without ``urls`` the user must obtain it by hand."""

    path: str
    sha256: str | None = None
    bytes: int = 0
    urls: tuple[str, ...] = ()
    optional: bool = False

    def place(self, data: Path, cache: Path) -> Path:
        """Path of the file: in the data folder, or the downloaded copy in the cache; if absent, where it belongs."""
        wanted = data / self.path
        cached = cached_weights(wanted.name, self.sha256, cache) if self.sha256 else wanted
        return cached if not wanted.exists() and cached.exists() else wanted


@dataclass(frozen=True)
class Tree:
    """A folder of aligned images.

    Attributes:
        folder: path of the folder.
        initials: length of the path prefix that groups files.
        files: expected number of images; None for any number.
        bytes: download size.
        url: address of the folder if it can be downloaded.
        originals: folder of the unaligned photographs.
        listing: files that name the images.
        pattern: regular expression of an image name in the listing; None for the format of LFW's pairs.txt.
        marks: YAML of ``conf/source/marks`` with a prefix of each file's digest.
        groups: SHA-256 of each group.
    """

    folder: str
    initials: int = 1
    files: int | None = None
    bytes: int = 0
    url: str | None = None
    originals: str | None = None
    listing: tuple[str, ...] = ()
    pattern: str | None = None
    marks: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)

    def own_list(self, data: Path) -> Path:
        """Digests of crops that ``frbench data prepare`` aligned: format of sha256sum, paths relative to the tree."""
        return data / f"{self.folder}.sha256"

    def not_found_list(self, data: Path) -> Path:
        """Originals in which no face was found, one per line."""
        return data / f"{self.folder}.not_found.txt"

    def expected(self, data: Path) -> list[str]:
        """Sorted image names from the listing; empty if there is none."""
        lists = [data / name for name in self.listing]
        if not lists or not all(path.is_file() for path in lists):
            return []
        text = "\n".join(read_list(path) for path in lists)
        return sorted(set(re.findall(self.pattern, text) if self.pattern else _images_of_pairs(text)))


@dataclass(frozen=True)
class Source:
    """Everything that one dataset or recognizer option needs. ``how`` says in one line how to obtain it."""

    name: str
    what: str
    terms: str
    how: str
    options: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    tree: Tree | None = None

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files if not file.optional) + (self.tree.bytes if self.tree else 0)


def load_sources() -> dict[str, Source]:
    """All sources of ``conf/source``, by name."""
    sources = {}
    for path in sorted(files("frbench.conf").joinpath("source").iterdir(), key=lambda path: path.name):
        if path.name.endswith(".yaml"):
            content: Any = OmegaConf.to_container(OmegaConf.create(path.read_text("utf-8")))
            sources.update({name: _source(name, entry) for name, entry in content.items()})
    return sources


def by_option(sources: Mapping[str, Source]) -> dict[str, Source]:
    """Sources by their own names and by the names of their options."""
    return {**sources, **{option: source for source in sources.values() for option in source.options}}


def scan(tree: Tree, data: Path) -> list[str]:
    """Sorted image paths in the tree, relative to it."""
    return image_files(data / tree.folder).names


def state(source: Source, data: Path, cache: Path) -> tuple[str, str]:
    """State (``present``, ``incomplete`` or ``missing``) and counts of present files. Checks names only."""
    needed = [file for file in source.files if not file.optional]
    have = sum(file.place(data, cache).is_file() for file in needed)
    counts = [f"{have} of {len(needed)} files"] if len(needed) > 1 else []
    whole, some = have == len(needed), have > 0
    if source.tree:
        images = len(scan(source.tree, data))
        counts.append(f"{images:,} of {source.tree.files:,} images" if source.tree.files else f"{images:,} images")
        whole, some = whole and images >= (source.tree.files or 1), some or images > 0
    return "present" if whole else "incomplete" if some else "missing", ", ".join(counts)


def digests(folder: Path, names: Sequence[str], progress: Report = lambda done, total: None) -> dict[str, str]:
    """SHA-256 of each file, by name."""
    with ThreadPoolExecutor() as pool:
        found = {}
        for name, digest in zip(names, pool.map(lambda name: file_sha256(folder / name), names), strict=True):
            found[name] = digest
            progress(len(found), len(names))
    return found


def group_digest(lines: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the lines of a group in the format of sha256sum, sorted by path. ``lines``: (path, sha256)."""
    return hashlib.sha256("".join(sum_line(name, digest) for name, digest in sorted(lines)).encode()).hexdigest()


def sum_line(name: str, digest: str) -> str:
    return f"{digest}  {name}\n"


def read_sums(path: Path) -> dict[str, str]:
    """Digests by name from a file in the format of sha256sum."""
    lines = path.read_text("utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def read_marks(tree: Tree) -> dict[str, list[str]]:
    """Digest prefixes of the files of each group, ordered by path; empty if the tree has none."""
    if not tree.marks:
        return {}
    text = files("frbench.conf").joinpath("source", "marks", f"{tree.marks}.yaml").read_text("utf-8")
    return {str(group): str(marks).split() for group, marks in OmegaConf.create(text).items()}


def _source(name: str, content: Mapping[str, Any]) -> Source:
    tree = content.get("tree")
    return Source(
        name=name,
        what=content["what"],
        terms=content["terms"],
        how=content["how"],
        options=tuple(content.get("options", (name,))),
        files=tuple(File(**{**file, "urls": tuple(file.get("urls", ()))}) for file in content.get("files", ())),
        tree=Tree(**{**tree, "listing": tuple(tree.get("listing", ()))}) if tree else None,
    )


def _images_of_pairs(text: str) -> Iterator[str]:
    """Image names from the lines ``name i j`` and ``name i name j`` of LFW's pairs.txt; other lines are headers."""
    for line in text.splitlines():
        yield from (lfw_image(*image) for image in lfw_pair(line) or ())
