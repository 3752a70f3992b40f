"""Verify the data folder: published digests where they exist, decodable 112x112 images where they do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from frbench.harness.data_preparation.catalog import Source, Tree, digests, group_digest, read_marks, read_sums, scan
from frbench.harness.runtime.download import file_sha256
from frbench.harness.runtime.progress import Report


@dataclass(frozen=True)
class Findings:
    """Result of a check. ``missing`` and ``wrong`` are paths relative to the data folder; ``notes`` are remarks."""

    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.missing and not self.wrong


def verify(source: Source, data: Path, cache: Path, progress: Report = lambda done, total: None) -> Findings:
    """Check all files of a source. ``progress`` receives numbers of images."""
    found = Findings()
    for file in source.files:
        place = file.place(data, cache)
        if not place.is_file():
            if not file.optional:
                found.missing.append(file.path)
        elif file.sha256 is None:
            found.notes.append(f"{file.path} is present; its digest is not published")
        elif file_sha256(place) != file.sha256:
            found.wrong.append(file.path)
    if source.tree:
        verify_tree(source.tree, data, found, progress)
    return found


def verify_tree(tree: Tree, data: Path, found: Findings, progress: Report = lambda done, total: None) -> None:
    """Add the missing and the wrong files of a tree to ``found``.

    Crops that ``frbench data prepare`` aligned are compared with the digests it wrote. Other crops are compared with
    the published group digests: all groups for a tree that can be downloaded; for one that cannot, only if some group
    matches, because a user's own alignment gives other bytes. Where no digest applies, every image must decode to
    112x112.
    """
    present, expected = scan(tree, data), tree.expected(data)
    missing = sorted(set(expected).difference(present))
    found.missing.extend(f"{tree.folder}/{name}" for name in missing)
    whole = bool(expected) or len(present) >= (tree.files or 1)
    if not whole:
        found.missing.append(f"{(tree.files or 1) - len(present):,} images or more in {tree.folder}/")
    sums = digests(data / tree.folder, present, progress)
    own = tree.own_list(data)
    if own.is_file():
        wrong = _differing(read_sums(own), sums)
        found.notes.append(f"{tree.folder}: aligned by frbench data prepare, compared with {own.name}")
    elif whole and (groups := _bad_groups(tree, expected or present, sums)) is not None:
        wrong = [name for group in groups for name in _bad_files(tree, data, group, expected or present, sums)]
    else:
        wrong = [name for name in present if not is_crop(data / tree.folder / name)]
        found.notes.append(f"{tree.folder}: no published digest applies; checked that every image decodes")
    found.wrong.extend(f"{tree.folder}/{name}" for name in wrong)


def is_crop(path: Path) -> bool:
    """Whether the whole file decodes to an aligned face."""
    from frbench.harness.images.aligned_images import BadImage, decode

    try:
        decode(path.read_bytes())
    except (OSError, BadImage):
        return False
    return True


def _differing(listed: Mapping[str, str], sums: Mapping[str, str]) -> list[str]:
    return [name for name in sorted(sums) if listed.get(name, sums[name]) != sums[name]]


def _bad_groups(tree: Tree, names: Sequence[str], sums: Mapping[str, str]) -> list[str] | None:
    """Groups whose digests differ from the published ones; None if all differ, as for a user's own crops."""
    lines: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in names:
        lines[name[: tree.initials]].append((name, sums.get(name, "")))
    bad = [group for group, published in tree.groups.items() if group_digest(lines[group]) != published]
    return None if len(bad) == len(tree.groups) and not tree.url else bad


def _bad_files(tree: Tree, data: Path, group: str, names: Sequence[str], sums: Mapping[str, str]) -> list[str]:
    """Wrong files of a wrong group: by digest prefix, else those that do not decode, else the whole group."""
    members = sorted(name for name in names if name.startswith(group))
    there = [name for name in members if name in sums]
    marks = read_marks(tree).get(group, [])
    if len(marks) == len(members):
        marked = zip(members, marks, strict=True)
        wrong = [name for name, mark in marked if name in sums and not sums[name].startswith(mark)]
    else:
        wrong = [name for name in there if not is_crop(data / tree.folder / name)]
    return wrong or ([f"{group}*"] if there and len(there) == len(members) else [])
