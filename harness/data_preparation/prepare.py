"""Prepare a source in the data folder: download its files and align its photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from urllib.parse import quote

from frbench.harness.core.atomic import write_atomically
from frbench.harness.core.errors import CorruptFile, DataMissing
from frbench.harness.core.leases import lease
from frbench.harness.data_preparation.catalog import (
    File,
    Source,
    Tree,
    by_option,
    digests,
    load_sources,
    scan,
    state,
    sum_line,
)
from frbench.harness.data_preparation.checksums import Findings, verify_tree
from frbench.harness.runtime.download import Download, fetch, fetch_many, file_sha256, mirrored
from frbench.harness.runtime.progress import byte_bar, count_bar

JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True)
class Detector:
    """A face detector: a class of ``frbench.datasets.alignment.align``, and the source of its weights, if any."""

    factory: str
    weights: str | None = None


DETECTORS = {
    "yunet": Detector("frbench.datasets.alignment.align:YuNet", weights="yunet"),
    "insightface": Detector("frbench.datasets.alignment.align:InsightFace"),
}


@dataclass(frozen=True)
class Place:
    """Target folders, and a mirror that replaces the original addresses."""

    data: Path
    cache: Path
    mirror: str | None = None


@dataclass(frozen=True)
class Outcome:
    """Whether nothing is missing (``ready``), and what was done or is left to the user, one line each."""

    ready: bool
    lines: list[str] = field(default_factory=list)


def ensure_dataset(name: str, data_root: Path) -> None:
    """Download the dataset option ``name`` into the data folder unless it is present.

    A user's own dataset has no source; its loader checks it.

    Raises:
        DataMissing: the files cannot be downloaded; the message says what to do.
    """
    source = by_option(load_sources()).get(name)
    if source is None or state(source, data_root, data_root)[0] == "present":
        return
    if not prepare(source, Place(data_root, data_root)).ready:
        raise DataMissing(f"dataset {name} is not in {data_root}: {source.how}")


def prepare(source: Source, place: Place, detector: str = "yunet") -> Outcome:
    """Download and align as much of ``source`` as possible. Correct files are kept, so the call can be repeated."""
    lines: list[str] = []
    for file in source.files:
        _prepare_file(file, place)
    if source.tree:
        lines += _prepare_tree(source.tree, place, detector)
    summary, counts = state(source, place.data, place.cache)
    ready = summary == "present"
    lines.append(
        f"{source.name}: {summary}" + (f" ({counts})" if counts else "") + ("" if ready else f": {source.how}")
    )
    return Outcome(ready, lines)


def _prepare_file(file: File, place: Place) -> None:
    here = file.place(place.data, place.cache)
    urls = mirrored(file.urls, file.path, place.mirror) if file.sha256 else ()
    if not urls or (here.is_file() and file_sha256(here) == file.sha256):
        return
    with byte_bar(f"fetching {file.path}") as progress:
        fetch(urls, here, file.sha256, progress)


def _prepare_tree(tree: Tree, place: Place, detector: str) -> list[str]:
    there = scan(tree, place.data)
    originals = _originals(tree, place.data)
    if originals and (tree.own_list(place.data).is_file() or not there):
        return _align(tree, place, originals, detector)
    if address := _address(tree, place):
        _fetch_tree(tree, place, address)
    return []


def _address(tree: Tree, place: Place) -> str:
    return next(iter(mirrored([tree.url] if tree.url else [], tree.folder, place.mirror)), "")


def _fetch_tree(tree: Tree, place: Place, address: str) -> None:
    """Download the images of the listing; remove those with a wrong digest and download them once more."""
    names = tree.expected(place.data)
    folder = place.data / tree.folder
    if not names:
        return
    for _ in range(2):
        absent = [name for name in names if not (folder / name).is_file()]
        if absent:
            wanted = [Download((f"{address}/{quote(name)}",), folder / name, magic=JPEG) for name in absent]
            with count_bar(f"fetching {tree.folder}", "files") as progress:
                fetch_many(wanted, place.data / Path(tree.folder).parent, progress)
        found = Findings()
        with count_bar(f"checking {tree.folder}", "files") as progress:
            verify_tree(tree, place.data, found, progress)
        if found.sound:
            return
        groups = tuple(name.removesuffix("*") for name in found.wrong if name.endswith("*"))
        for name in names:
            path = f"{tree.folder}/{name}"
            if path in found.wrong or path.startswith(groups):
                (place.data / path).unlink()
    raise CorruptFile(
        f"{len(found.wrong)} files from {address} do not match their published digests "
        f"({', '.join(found.wrong[:3])}); they were removed: try again later or with another --mirror"
    )


def _originals(tree: Tree, data: Path) -> list[str]:
    """Unaligned photographs, relative to their folder."""
    return scan(Tree(tree.originals), data) if tree.originals else []


def _align(tree: Tree, place: Place, originals: Sequence[str], detector: str) -> list[str]:
    """Align the originals; write the digests of the crops and the list of photographs without a face."""
    aligned, own, nowhere = place.data / tree.folder, tree.own_list(place.data), tree.not_found_list(place.data)
    aligned.mkdir(parents=True, exist_ok=True)
    with lease(aligned.parent / ".align.lease"):
        own.touch()  # marks the tree as aligned here, so that published digests no longer apply
        align_folder = resolve_name("frbench.datasets.alignment.align:align_folder")
        detect = _load_detector(DETECTORS[detector], place)
        with count_bar(f"aligning {tree.originals}", "images") as progress:
            missed = align_folder(place.data / str(tree.originals), aligned, originals, detect, progress)
        sums = digests(aligned, scan(tree, place.data))
        _replace(own, "".join(sum_line(name, digest) for name, digest in sums.items()))
    without = sorted(missed.faceless + missed.unreadable)
    if not without:
        nowhere.unlink(missing_ok=True)
        return []
    _replace(nowhere, "".join(f"{name}\n" for name in without))
    parts = {"without a face": missed.faceless, "unreadable": missed.unreadable}
    counts = ", ".join(f"{len(names):,} {words}" for words, names in parts.items() if names)
    return [
        f"{counts} of {len(originals):,} images, listed in {nowhere}: "
        f"put your own 112x112 crops into {aligned} under the same names"
    ]


def _load_detector(detector: Detector, place: Place) -> object:
    if detector.weights is None:
        return resolve_name(detector.factory)().load()
    source = load_sources()[detector.weights]
    outcome = prepare(source, place)
    if not outcome.ready:
        raise DataMissing(f"the detector {source.name} is missing: {source.how}")
    return resolve_name(detector.factory)(source.files[0].place(place.data, place.cache)).load()


def _replace(target: Path, text: str) -> None:
    write_atomically(target, lambda path: path.write_text(text, "utf-8"))
