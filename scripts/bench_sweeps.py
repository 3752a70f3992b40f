"""What a sweep costs beside its work.

    python scripts/bench_sweeps.py [--sections resume] [--cells 200] [--folder FOLDER]

Section "resume": CPU time (user and system) to find a finished cell again, by the sections that each cell goes through,
in a new process and without its start. The folder keeps the records; without one they are made first, in a temporary
folder. CPU time is meaningful on a busy machine too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from _common import run_script, table_row, write_result
from bench import machine

from frbench.harness.config.running import CellConfig, cell_configs, finish
from frbench.harness.core.errors import ConfigError, FrbenchError

RESUME_SECONDS = 0.010  # limit of CPU time a finished cell
_FACES = ("dataset.people=30", "dataset.photos_per_person=4", "dataset.pairs=80", "dataset.limit=10")
_QUICK = ("recognizer.min_clean_accuracy=null", "~protocol.postprocessing", "protocol.bootstrap=20", "device=cpu")
_SWEPT = (
    "attack=none,fgsm",
    "goal=dodging,impersonation",
    "threat=oblivious,adaptive",
    "defense=none,blur,jpeg,bitdepth,pca",
)


def resume(options: argparse.Namespace) -> dict[str, Any]:
    """The CPU time of a finished cell, and its limit."""
    if options.folder is not None:
        return _resumed(options.folder, options.cells)
    with TemporaryDirectory() as folder:
        return _resumed(Path(folder), options.cells)


def _resumed(folder: Path, cells: int) -> dict[str, Any]:
    words = _sweep(folder, cells)
    for cell in _cells(words):
        finish(cell)
    command = [sys.executable, __file__, "--timed", str(folder), "--cells", str(cells)]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    compose, find, count = float(printed[-3]), float(printed[-2]), int(printed[-1])
    total = (compose + find) / count
    return {
        "title": f"CPU time of one of {count} finished cells",
        "rows": [["compose its config", compose / count], ["build its objects and find its record", find / count]],
        "bars": [{"bar": "seconds, at most 0.01", "figure": total, "met": total <= RESUME_SECONDS}],
    }


def _sweep(folder: Path, cells: int) -> list[str]:
    """A sweep of at most ``cells`` cells."""
    seeds = ",".join(map(str, range(max(1, cells // 40))))
    return ["-m", *_FACES, *_QUICK, *_SWEPT, f"seed={seeds}", f"paths.results={folder}"]


def _cells(words: Sequence[str]) -> list[CellConfig]:
    found = [cell for cell in cell_configs(words) if isinstance(cell, CellConfig)]
    if not found:
        raise FrbenchError("no cell of the sweep can run; see frbench run with the same words")
    return found


def _print_times(folder: Path, count: int) -> None:
    """CPU seconds to compose the cells, and to find their records, and the number of cells."""
    cell_configs([*_FACES, "seed=1000", f"paths.results={folder}"])  # imports belong to the start
    started = time.process_time()
    cells = _cells(_sweep(folder, count))
    composed = time.process_time()
    if not all(finish(cell).found for cell in cells):
        raise FrbenchError(f"{folder} lacks records of the sweep; run without --timed first")
    print(composed - started, time.process_time() - composed, len(cells))


SECTIONS: Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"resume": resume}


def markdown(result: Mapping[str, Any]) -> str:
    """A table and the limits of each section."""
    lines: list[str] = []
    for section in result["sections"]:
        lines += [section["title"], "", table_row(["step", "CPU milliseconds"]), table_row(["---", "---:"])]
        lines += [table_row([step, f"{1000 * seconds:.2f}"]) for step, seconds in section["rows"]]
        lines += [
            "",
            *(f"- {bar['bar']}: {bar['figure']:.4f} ({'met' if bar['met'] else 'MISSED'})" for bar in section["bars"]),
        ]
    return "\n".join(lines)


def run(options: argparse.Namespace) -> None:
    if options.timed is not None:
        _print_times(options.timed, options.cells)
        return
    names = options.sections.split(",")
    for name in names:
        if name not in SECTIONS:
            raise ConfigError(f"--sections={name}: unknown section; use some of {','.join(SECTIONS)}")
    result = {"machine": machine(), "sections": [SECTIONS[name](options) for name in names]}
    write_result(result, markdown(result), options.out)


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sections", default=",".join(SECTIONS), help="which of them to run")
    parser.add_argument("--cells", type=int, default=200, help="cells of the sweep, at least 40")
    parser.add_argument("--folder", type=Path, help="results folder of the section resume")
    parser.add_argument("--out", type=Path, default=Path("results/bench_sweeps.json"))
    parser.add_argument("--timed", type=Path, help=argparse.SUPPRESS)
    return run_script(parser, run, words, overrides=False)


if __name__ == "__main__":
    sys.exit(main())
