"""What several workers gain, and what a sweep costs beside the work of its cells.

    python scripts/bench_workers.py [--cells 12] [--steps 15]

Workers: wall time of a sweep with launcher.workers=1 over that with 2, one thread each. It needs two idle cores.
Overhead: the CPU time of a sweep in one process beyond that of its cells and clean scores, for each cell, without the
start. Most of it is composition, which is done once for each value that the sweep takes somewhere.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from _common import run_script, table_row, write_result

from frbench.harness.cli.main import main as frbench
from frbench.harness.evaluation import cell as cells_module
from frbench.harness.sweeps import worker

LEAST_GAIN = 1.7
MOST = 50  # milliseconds of CPU time a cell
_FACES = ("dataset.people=60", "dataset.photos_per_person=4", "dataset.pairs=200", "recognizer=tiny")
_QUICK = ("~protocol.postprocessing", "protocol.bootstrap=20", "recognizer.min_clean_accuracy=null", "device=cpu")


def _sweep(cells: int, *words: str) -> list[str]:
    return ["run", "-m", *_FACES, *_QUICK, f"seed=range(0,{cells})", *words]


def wall_time(cells: int, steps: int, workers: int, results: Path) -> float:
    """Seconds of a sweep of ``cells`` cells whose images are all different."""
    launcher = ["launcher=processes", f"launcher.workers={workers}", f"paths.results={results}"]
    attack = ["attack=pgd", f"attack.steps={steps}", "dataset.limit=128"]
    command = [sys.executable, "-m", "frbench.harness.cli.main", *_sweep(cells, *attack, *launcher)]
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return time.monotonic() - started


def overhead(seeds: int, folder: Path) -> float:
    """CPU seconds of a sweep beyond its cells, for each cell, without the start; 8 cells for each seed."""
    inside = 0.0

    def timed(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            nonlocal inside
            started = time.process_time()
            try:
                return work(*arguments)
            finally:
                inside += time.process_time() - started

        return run

    def beyond(name: str, *words: str) -> float:
        nonlocal inside
        inside, started = 0.0, time.process_time()
        results = f"paths.results={folder / name}"
        frbench(["run", "-m", *_FACES, *_QUICK, "attack=fgsm", "dataset.limit=8", *words, results])
        return time.process_time() - started - inside

    grid = ("goal=dodging,impersonation", "defense=none,blur,jpeg,bitdepth", f"seed=range(0,{seeds})")
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(StringIO()))
        stack.enter_context(patch.object(worker, "evaluate", timed(cells_module.evaluate)))
        stack.enter_context(patch.object(worker.Worker, "_calibrate", timed(worker.Worker._calibrate)))
        beyond("import", "seed=0,1")
        start = beyond("start", "seed=0,1")
        return (beyond("grid", *grid) - start) / (8 * seeds - 2)


def markdown(result: Mapping[str, Any]) -> str:
    """A table with the limits."""
    gain, cost = result["gain"], 1000 * result["overhead"]
    rows = [
        ("one worker, seconds", f"{result['one']:.1f}", ""),
        ("two workers, seconds", f"{result['two']:.1f}", ""),
        ("gain", f"{gain:.2f}", f"at least {LEAST_GAIN}: {_met(gain >= LEAST_GAIN)}"),
        ("CPU milliseconds a cell beside its work", f"{cost:.1f}", f"at most {MOST}: {_met(cost <= MOST)}"),
    ]
    return "\n".join([table_row(["", "measured", "limit"]), table_row(["---", "---:", "---"]), *map(table_row, rows)])


def _met(met: bool) -> str:
    return "met" if met else "MISSED"


def run(options: argparse.Namespace) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        wall_time(2, 1, 1, folder / "warm_up")  # renders the faces
        one, two = (wall_time(options.cells, options.steps, count, folder / f"{count}") for count in (1, 2))
        result = {"one": one, "two": two, "gain": one / two, "overhead": overhead(5, folder)}
    write_result(result, markdown(result), options.out)


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=12, help="cells of the sweep for the workers")
    parser.add_argument("--steps", type=int, default=15, help="steps of the attack of each cell")
    parser.add_argument("--out", type=Path, default=Path("results/bench_workers.json"))
    return run_script(parser, run, words, overrides=False)


if __name__ == "__main__":
    sys.exit(main())
