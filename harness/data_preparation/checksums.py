"""Is what lies in the data folder what it should be? Digests where they are published, structure where they are not."""

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
    """What a check found. missing, wrong: paths relative to the data folder; notes: what is worth saying besides."""

    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.missing and not self.wrong


def verify(source: Source, data: Path, cache: Path, progress: Report = lambda done, total: None) -> Findings:
    """Check all files of a source. ``progress`` counts images."""
    found = Findings()
    for file in source.files:
        place = file.place(data, cache)
        if not place.is_file():
            if not file.optional:
                found.missing.append(file.path)
        elif file.sha256 is None:
            found.notes.append(f"{file.path} is there; no digest of it is published")
        elif file_sha256(place) != file.sha256:
            found.wrong.append(file.path)
    if source.tree:
        verify_tree(source.tree, data, found, progress)
    return found


def verify_tree(tree: Tree, data: Path, found: Findings, progress: Report = lambda done, total: None) -> None:
    """Add to ``found`` what is missing or wrong in a tree.

    Crops aligned here are held to the list that was written then. Others are held to the published group digests:
    all of them for a tree that can be fetched; for one that cannot, only where some group agrees, since people
    who align such a set themselves get other bytes. Where nothing can be compared, every image must decode, 112x112.
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
        found.notes.append(f"{tree.folder}: aligned here, compared with {own.name}")
    elif whole and (groups := _bad_groups(tree, expected or present, sums)) is not None:
        wrong = [name for group in groups for name in _bad_files(tree, data, group, expected or present, sums)]
    else:
        wrong = [name for name in present if not is_crop(data / tree.folder / name)]
        found.notes.append(f"{tree.folder}: no published digests apply, the images were decoded")
    found.wrong.extend(f"{tree.folder}/{name}" for name in wrong)


def is_crop(path: Path) -> bool:
    """Whether the file decodes, wholly, to an aligned face."""
    from frbench.harness.images.aligned_images import BadImage, decode

    try:
        decode(path.read_bytes())
    except (OSError, BadImage):
        return False
    return True


def _differing(listed: Mapping[str, str], sums: Mapping[str, str]) -> list[str]:
    return [name for name in sorted(sums) if listed.get(name, sums[name]) != sums[name]]


def _bad_groups(tree: Tree, names: Sequence[str], sums: Mapping[str, str]) -> list[str] | None:
    """The groups whose digest is not the published one; None where these crops are not the published ones at all."""
    lines: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in names:
        lines[name[: tree.initials]].append((name, sums.get(name, "")))
    bad = [group for group, published in tree.groups.items() if group_digest(lines[group]) != published]
    return None if len(bad) == len(tree.groups) and not tree.url else bad


def _bad_files(tree: Tree, data: Path, group: str, names: Sequence[str], sums: Mapping[str, str]) -> list[str]:
    """Which files of a wrong group are wrong: by the marks, else those that do not decode, else the group itself."""
    members = sorted(name for name in names if name.startswith(group))
    there = [name for name in members if name in sums]
    marks = read_marks(tree).get(group, [])
    if len(marks) == len(members):
        marked = zip(members, marks, strict=True)
        wrong = [name for name, mark in marked if name in sums and not sums[name].startswith(mark)]
    else:
        wrong = [name for name in there if not is_crop(data / tree.folder / name)]
    return wrong or ([f"{group}*"] if there and len(there) == len(members) else [])
