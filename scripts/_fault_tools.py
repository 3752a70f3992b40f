"""frbench in forked processes with a time limit, and the state of a results folder, for scripts/faults.py."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

LIMIT = 300.0  # seconds of any wait
_CONTEXT = multiprocessing.get_context(
    "forkserver"
)  # forked from a process that has imported torch and computed nothing
_CONTEXT.set_forkserver_preload(
    [
        "_fault_tools",
        "frbench.harness.cli.sweeps",
        "frbench.harness.cli.commands",
        "frbench.harness.reporting.report",
        "frbench.harness.protocols.verification",
        "frbench.defenses.subspace.pin",
        "frbench.datasets.synthetic.dataset",
    ]
)
_CONF = {
    "defense/small_pca.yaml": "defaults: [pca, _self_]\ncomponents: 10\n",
    "defense/small_pin.yaml": "defaults: [pin, _self_]\nmask: threshold_half\n"
    "recipe:\n  components: 10\n  width: 4\n  hidden: 32\n  mask_samples: 2\n"
    "  denoiser: {width: 4, schedule: {epochs: 2, batch_size: 12}}\n  schedule: {epochs: 2, batch_size: 12}\n",
}
_SIZES = ("dataset=synthetic", "recognizer=tiny", "dataset.people=30", "dataset.photos_per_person=2")
_SIZES += ("dataset.pairs=60", "dataset.limit=8", "identities.people=8", "identities.photos_per_person=3")
_QUICK = ("attack.steps=2", "~protocol.postprocessing", "protocol.bootstrap=20", "protocol.num_samples=2", "device=cpu")
Tables = Mapping[str, bytes]


class TooLong(Exception):
    """A wait took longer than its limit."""


class Ended(NamedTuple):
    """A process that ended. code: negative for one that a signal killed. out, err: its output."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Child:
    """A running frbench. log: its output without the suffixes .out and .err."""

    process: BaseProcess
    log: Path

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def kill(self) -> bool:
        """Send SIGKILL and wait. Returns whether the process was alive."""
        alive = self.alive
        self.process.kill()
        self.wait()
        return alive

    def stop(self) -> None:
        """Send SIGTERM."""
        self.process.terminate()

    def wait(self, seconds: float = LIMIT) -> Ended:
        """Wait for the end. Raises TooLong after ``seconds``, and kills the process."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise TooLong(f"{self.log}: no end after {seconds:.0f} s")
        return Ended(self.process.exitcode, *(path.read_text("utf-8", "replace") for path in _outputs(self.log)))


@dataclass
class Result:
    """What a section found. facts: its counts. problems: what does not hold."""

    name: str
    facts: dict[str, object] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.problems

    def check(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(" ".join(problem.split())[-600:])

    def none(self, what: str, found: Sequence[str]) -> None:
        """Check that there are none of ``found``, and count them."""
        self.count(what, len(found))
        self.check(not found, f"{what}: {', '.join(found[:5])}")

    def count(self, what: str, number: int = 1) -> None:
        """Add to a fact."""
        self.facts[what] = int(str(self.facts.get(what, 0))) + number

    def line(self) -> str:
        facts = ", ".join(f"{what} {value}" for what, value in self.facts.items())
        return f"{self.name}: {facts}: {'holds' if self.holds else f'DOES NOT HOLD: {self.problems[0]}'}"


class Reference(NamedTuple):
    """A sweep that nothing disturbed. cells: their number."""

    results: Path
    tables: Tables
    cells: int


@dataclass(frozen=True)
class Bench:
    """Where results, images and outputs lie.

    Attributes:
        folder: for results and outputs.
        images: the cache of rendered images that all sweeps share.
        cells: words for the cells of the sweep, such as ``defense=none,blur``.
    """

    folder: Path
    images: Path
    cells: Sequence[str]
    _numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        for name, text in _CONF.items():
            path = self.folder / "conf" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def results(self, name: str) -> Path:
        """A new results folder."""
        return self.folder / f"{name}-{next(self._numbers)}" / "results"

    def words(self, results: Path, *changes: str, cells: Sequence[str] | None = None) -> list[str]:
        """The words of ``frbench run``."""
        found = ["-m", f"--config-dir={self.folder / 'conf'}", *_SIZES, *(self.cells if cells is None else cells)]
        return [*found, *_QUICK, "allow_low_accuracy=true", *self._paths(results), *changes]

    def _paths(self, results: Path) -> list[str]:
        return [f"paths.results={results}", f"paths.cache={self.images}"]

    @cached_property
    def reference(self) -> Reference:
        """The sweep, run without faults in one process."""
        results = self.results("reference")
        ended = self.sweep(results)
        if ended.code:
            raise RuntimeError(ended.err)
        return Reference(results, self.tables(results), len(records(results)))

    def check_finished(self, result: Result, results: Path, ended: Ended) -> None:
        """Check that a sweep ended well, has the tables of the reference, and left nothing over."""
        result.check(ended.code == 0, f"exit code {ended.code}: {ended.err}")
        result.none("left over", left_over(results))
        same = ended.code == 0 and self.tables(results) == self.reference.tables
        result.check(same, "the tables differ from those of an undisturbed sweep")

    def start(self, words: Sequence[str]) -> Child:
        """Start ``frbench`` with ``words`` in a forked process."""
        return self._started(_frbench, list(words))

    def run(self, words: Sequence[str]) -> Ended:
        return self.start(words).wait()

    def sweep(self, results: Path, *changes: str, cells: Sequence[str] | None = None) -> Ended:
        """``frbench run`` of the cells."""
        return self.run(["run", *self.words(results, *changes, cells=cells)])

    def plan(self, results: Path, cells: Sequence[str] | None = None) -> str:
        """Write the plan of the sweep and run nothing. Returns the id of the sweep."""
        ended = self._started(_plan, self.words(results, cells=cells)).wait()
        if ended.code:
            raise RuntimeError(ended.err)
        return ended.out.strip()

    def tables(self, results: Path) -> Tables:
        """The tables of ``frbench report``."""
        out = self.folder / f"report-{next(self._numbers)}"
        ended = self.run(["report", *self._paths(results), f"out={out}", "figures=none", "timing=false"])
        if ended.code:
            raise RuntimeError(ended.err)
        return {path.name: path.read_bytes() for path in sorted((out / "tables").iterdir())}

    def _started(self, target: Callable[[list[str], str], None], words: list[str]) -> Child:
        log = self.folder / "logs" / f"{next(self._numbers)}-{words[0].strip('-')}"
        log.parent.mkdir(exist_ok=True)
        for name in _outputs(log):
            name.touch()
        process = _CONTEXT.Process(target=target, args=(words, str(log)))
        process.start()
        return Child(process, log)


def _outputs(log: Path) -> tuple[Path, Path]:
    """Standard output and standard error."""
    return Path(f"{log}.out"), Path(f"{log}.err")


def _frbench(words: list[str], log: str) -> None:
    from frbench.harness.cli.main import main

    _redirect(log)
    sys.exit(main(words))


def _plan(words: list[str], log: str) -> None:
    from frbench.harness.config.running import cell_configs
    from frbench.harness.sweeps.planning import plan_sweep
    from frbench.harness.sweeps.submission import Retry, opened

    _redirect(log)
    sweep = plan_sweep(words, cell_configs(words))
    print(opened(sweep.plan, sweep.store, Retry.FAILED).id)


def _redirect(log: str) -> None:
    for number, path in enumerate(_outputs(Path(log)), start=1):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_until(holds: Callable[[], object], what: str, seconds: float = LIMIT) -> None:
    """Raises TooLong: ``holds`` is false for ``seconds``."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise TooLong(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)


def records(results: Path) -> list[Path]:
    return sorted((results / "runs").glob("*.json"))


def cards(results: Path) -> list[dict[str, object]]:
    """The run cards of all records."""
    return [json.loads(path.read_text())["card"] for path in records(results)]


def left_over(results: Path) -> list[str]:
    """Files that no finished sweep leaves: temporary files, leases, counted starts and failures."""
    patterns = (".*.tmp", "leases/*", "tmp/*", "sweeps/*/starts/*", "sweeps/*/failed/*")
    found = {path for pattern in patterns for path in results.rglob(pattern) if "quarantine" not in path.parts}
    return sorted(str(path.relative_to(results)) for path in found)


class Watch:
    """Notes the files of a results folder that are made once, and finds those that were made again."""

    def __init__(self, results: Path) -> None:
        self._results, self._seen = results, dict[Path, tuple[int, int]]()

    def look(self) -> int:
        """Note new files. Returns their number."""
        new = {path: _state(path) for path in self._files() if path not in self._seen}
        self._seen |= new
        return len(new)

    def made_again(self) -> list[str]:
        """Noted files that another file has replaced, or that are gone."""
        now = {path: _state(path) for path in self._files()}
        return [str(path.relative_to(self._results)) for path, state in self._seen.items() if now.get(path) != state]

    def _files(self) -> Iterator[Path]:
        for pattern in ("runs/*.json", "cache/**/*.zst", "artifacts/*.safetensors"):
            yield from self._results.glob(pattern)


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns
