"""A sweep whose jobs run a short program in place of a worker, for tests of launchers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from frbench.harness.sweeps.launchers.base import Submission
from frbench.harness.sweeps.plan import Wave
from frbench.harness.sweeps.sweep_folder import SweepFolder

# Works in steps, as a worker in blocks, and leaves a file for each. Stops after a step once a signal came.
PROGRAM = """\
import os, signal, sys, time
from pathlib import Path

folder, steps, seconds, group = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[-1]
asked = []
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, frame: asked.append(number))
with (folder / f"starts-{group}").open("a") as file:
    print(time.time(), os.environ.get("FRBENCH_LOG"), file=file, flush=True)
print("group", group)
for step in range(steps):
    path = folder / f"step-{group}-{step}"
    if path.exists():
        continue
    end = time.monotonic() + seconds
    while time.monotonic() < end:  # a signal does not shorten the step
        time.sleep(0.02)
    with path.open("a") as file:
        print(time.time(), file=file)
    if asked:
        sys.exit(75)
sys.exit(1 if group == "13" else 0)
"""


@dataclass(frozen=True)
class ToySweep(Submission):
    """Jobs that make ``steps`` files, each after ``seconds``; the job of group 13 ends with exit code 1."""

    steps: int = 2
    seconds: float = 0.1

    @property
    def files(self) -> Path:
        """Where the jobs leave their files."""
        return self.folder.root / "files"

    def command(self, group: int | str | None = None) -> list[str]:
        program = self.folder.root / "program.py"
        which = [] if group is None else ["--group", str(group)]
        return [sys.executable, str(program), str(self.files), str(self.steps), str(self.seconds), *which]

    def starts(self, group: int) -> list[float]:
        """The times at which the job of ``group`` started."""
        path = self.files / f"starts-{group}"
        return [float(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []

    def log(self, group: int) -> Path:
        """The log of the job of ``group``, as the job knows it."""
        return Path((self.files / f"starts-{group}").read_text().split()[1])

    def made(self) -> dict[int, int]:
        """Group -> number of its files, each of which was made once."""
        found: dict[int, int] = {}
        for path in self.files.glob("step-*"):
            assert path.read_text().count("\n") == 1, f"{path.name} was made twice"
            group = int(path.name.split("-")[1])
            found[group] = found.get(group, 0) + 1
        return found


def toy_sweep(
    results: Path, waves: Mapping[Wave, Sequence[int]], steps: int = 2, seconds: float = 0.1, name: str = "toy-1"
) -> ToySweep:
    """A sweep in the results folder ``results``."""
    folder = SweepFolder(results / "sweeps" / name)
    (folder.root / "files").mkdir(parents=True)
    (folder.root / "program.py").write_text(PROGRAM)
    return ToySweep(folder, waves, (), lambda: 0, lambda: None, steps, seconds)
