"""Section ``damage`` of scripts/faults.py: files that are flipped in a bit, cut short, or emptied.

A copy of an undisturbed sweep is damaged, and the same command runs again. Every damaged file must be named on stderr,
or not be read at all, as its access time shows. In every other round the records are deleted first, so that all cells
run and read the caches.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from _fault_tools import Bench, Ended, Result, TooLong, wait_until

from frbench.harness.sweeps.failures import Failure, FailureKind
from frbench.harness.sweeps.sweep_folder import find_sweep

A_ROUND = 50  # damaged files
# Files without results, whose damage may go unnoticed: the note of the last verification, lists to which workers append
# (an empty list looks like a new one), and starts, which ``frbench run`` deletes unread.
HINTS = ("verified", "jobs.jsonl", "keys.jsonl", "starts")
_TRIES = 5
_DEAD = 2**22 + 1  # the number of no process


def flipped(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(1, len(data))]


def emptied(data: bytes, rng: random.Random) -> bytes:
    return b""


KINDS: Sequence[Callable[[bytes, random.Random], bytes]] = (flipped, cut, emptied)


class Damaged(NamedTuple):
    """A damaged file. state: inode and size after the damage."""

    path: Path
    how: str
    state: tuple[int, int]


def damage(bench: Bench, rng: random.Random, count: int) -> Result:
    """Damage ``count`` files of copies of a sweep."""
    result, kinds = Result("damage"), Counter[str]()
    for what in ("damaged", "named", "not read", "hints"):
        result.count(what, 0)
    checkpoint, rounds = _checkpoint(bench), -(-count // A_ROUND)
    for number in range(rounds):
        store = _Store(bench, bench.results("damage"), checkpoint, without_records=number % 2 == 1)
        store.copy()
        damaged = store.damage(rng, count // rounds + (number < count % rounds))
        ended = store.run()
        named = {_cell(each.path) for each in damaged if fate(each, ended.err) == "named"}
        for each in damaged:
            what = fate(each, ended.err, made_again=_cell(each.path) in named)
            result.count(what)
            result.check(what != "NOT NOTICED", f"{each.how}, and not noticed: {each.path}")
            kinds[store.kind(each.path)] += 1
        result.count("damaged", len(damaged))
        result.check("Traceback" not in ended.err, ended.err)
        bench.check_finished(result, store.results, ended)
        again = store.run()
        result.check(again.out.count("(found)") == bench.reference.cells, f"cells ran again: {again.err}")
        if not result.holds:
            break
    result.facts["kinds"] = len(kinds)
    return result


def fate(damaged: Damaged, said: str, made_again: bool = False) -> str:
    """Whether a file is named, was not read, holds hints alone, or was used unnoticed.

    made_again: a damaged file of the same cell is named, so that all files of the cell were written anew.
    """
    path = damaged.path
    named = (f"{path} is damaged", f"{path}, line", f"{path.parent} is damaged")
    if any(text in said for text in named):
        return "named"
    status = path.stat() if path.exists() else None
    same = status is not None and (status.st_ino, status.st_size) == damaged.state
    if status is not None and same and status.st_atime == 0:
        return "not read"
    if status is not None and not same and made_again:
        return "made again with their cell"
    return "hints" if {path.name, path.parent.name} & set(HINTS) else "NOT NOTICED"


def _cell(path: Path) -> str:
    """The key of the cell whose record, scores or sample images are in ``path``."""
    return path.name.partition(".")[0] if path.parent.name in ("runs", "scores", "sample_images") else str(path)


@dataclass
class _Store:
    """A copy of the reference with files of interrupted work beside it."""

    bench: Bench
    results: Path
    checkpoint: Path
    without_records: bool

    @property
    def images(self) -> Path:
        return self.results.with_name("images")

    def copy(self) -> None:
        shutil.copytree(self.bench.reference.results, self.results)
        shutil.copytree(self.bench.images, self.images)
        folder = find_sweep(self.results, None)
        cells = folder.plan.cells
        folder.write_failure(cells[0], Failure(FailureKind.CRASHED, "Traceback\nValueError: a crash"))
        folder.write_fit_failure(next(cell for cell in cells if cell.fit), Failure(FailureKind.BAD_INPUT, "no data"))
        folder.write_starts(cells[1], 1)
        folder.add_key(cells[2], cells[2].key or "")
        beat = {"state": "running", "time": 0.0, "cell": cells[3].digest, "host": "other", "pid": _DEAD, "job": None}
        folder.write_heartbeat(f"other-{_DEAD}", beat)
        if self.without_records:
            for name in ("runs", "scores"):
                shutil.rmtree(self.results / name)
            for path in (self.results / "sample_images").glob("*.zst"):
                path.unlink()
            for key in {cell.fit for cell in cells if "defense=small_pin" in cell.words} | {self.checkpoint.stem}:
                (self.results / "artifacts" / f"{key}.safetensors").unlink()
            shutil.copy(self.checkpoint, self.results / "artifacts")

    def damage(self, rng: random.Random, count: int) -> list[Damaged]:
        """Damage ``count`` files, as many of each kind as there are, in turn."""
        kinds: dict[str, list[Path]] = {}
        for path in sorted(path for root in (self.results, self.images) for path in root.rglob("*") if path.is_file()):
            kinds.setdefault(self.kind(path), []).append(path)
        for paths in kinds.values():
            rng.shuffle(paths)
        chosen: list[Path] = []
        while len(chosen) < count and any(kinds.values()):
            chosen += [paths.pop() for paths in kinds.values() if paths]
        return [damaged_file(path, rng) for path in chosen[:count]]

    def kind(self, path: Path) -> str:
        """Such as ``cache/clean .zst``."""
        root = self.images if self.images in path.parents else self.results
        places = path.relative_to(root).parts
        if places[0] == "sweeps":
            return f"sweep {places[2] if len(places) > 3 else path.name}"
        if root == self.images:
            return f"images {path.name}"
        depth = 2 if places[0] == "cache" else len(places) - 1
        return f"{'/'.join(places[:depth])} {path.suffix}"

    def run(self) -> Ended:
        """The same command on the copy."""
        return replace(self.bench, images=self.images).sweep(self.results)


def damaged_file(path: Path, rng: random.Random) -> Damaged:
    data = path.read_bytes()
    how = rng.choice(KINDS)
    path.write_bytes(how(data, rng))
    status = path.stat()
    os.utime(path, ns=(0, status.st_mtime_ns))  # the next read changes the time of access
    return Damaged(path, how.__name__, (status.st_ino, status.st_size))


def _checkpoint(bench: Bench) -> Path:
    """The checkpoint of a fit of small_pin that was killed. Raises TooLong: each fit ended before it was killed."""
    for _ in range(_TRIES):
        for found in _killed_fit(bench, bench.results("checkpoint")):
            return found
    raise TooLong(f"{_TRIES} fits ended before they were killed")


def _killed_fit(bench: Bench, results: Path) -> list[Path]:
    child = bench.start(["fit", *bench.words(results, cells=["defense=small_pin"])[1:]])
    wait_until(lambda: list(results.glob("artifacts/*.unfinished")) or not child.alive, "a checkpoint")
    child.kill()
    return list(results.glob("artifacts/*.unfinished"))
