"""Section ``kills`` of scripts/faults.py: workers that are killed at random times."""

from __future__ import annotations

import random
import time
from pathlib import Path

from _fault_tools import LIMIT, Bench, Child, Result, Watch, records

WORKERS = 4
PAUSES = (0.1, 2.0)  # mean seconds between two kills, at least and at most
WRITING = 0.5  # seconds to wait for a file that is being written


def kills(bench: Bench, rng: random.Random, count: int) -> Result:
    """Kill ``count`` workers of sweeps with four workers; each sweep ends with one clean run of the same command."""
    result = Result("kills")
    for what in ("killed", "while writing", "sweeps"):
        result.count(what, 0)
    while int(str(result.facts["killed"])) < count and result.holds:
        results = bench.results("kills")
        disturbed = _Disturbed(bench, results, rng)
        result.count("killed", disturbed.kill(count - int(str(result.facts["killed"]))))
        result.count("while writing", disturbed.while_writing)
        result.count("sweeps")
        result.count("records before the clean run", len(records(results)))
        ended = bench.sweep(results)
        result.none("recorded or cached and made again", disturbed.watch.made_again())
        bench.check_finished(result, results, ended)
    return result


class _Disturbed:
    """A sweep whose workers are killed. One of them is ``frbench run``, and all are while cells have failed.

    Cells fail that started twice without progress; ``frbench run`` tries these again. The pauses between kills become
    longer while nothing new is stored, and shorter otherwise.
    """

    def __init__(self, bench: Bench, results: Path, rng: random.Random) -> None:
        self._bench, self._results, self._rng, self._pause = bench, results, rng, 0.5
        self._sweep = bench.plan(results)
        self.watch = Watch(results)
        self.while_writing = 0

    def kill(self, count: int) -> int:
        """Kill at most ``count`` workers, until every cell has a record. Returns how many were killed."""
        workers = [self._start(number) for number in range(WORKERS)]
        killed, until = 0, time.monotonic() + LIMIT
        while killed < count and len(records(self._results)) < self._bench.reference.cells and time.monotonic() < until:
            number = self._victim(workers)
            killed += workers[number].kill()
            workers[number] = self._start(number)
            factor = 0.75 if self.watch.look() else 1.3
            self._pause = min(max(factor * self._pause, PAUSES[0]), PAUSES[1])
        for worker in workers:
            worker.kill()
        self.watch.look()
        return killed

    def _start(self, number: int) -> Child:
        if number == 0 or any(self._results.glob("sweeps/*/failed/*")):
            return self._bench.start(["run", *self._bench.words(self._results)])
        return self._bench.start(["work", self._sweep, f"paths.results={self._results}"])

    def _victim(self, workers: list[Child]) -> int:
        """The worker to kill, after a random time; every other time one that is writing a file, if there is one."""
        time.sleep(self._rng.uniform(0, 2 * self._pause))
        number = self._rng.choice([number for number, each in enumerate(workers) if each.alive] or [0])
        if self._rng.random() < 0.5:
            return number
        numbers = {str(worker.process.pid): number for number, worker in enumerate(workers)}
        until = time.monotonic() + WRITING
        while time.monotonic() < until:
            for path in (self._results / "tmp").glob(".*"):
                if (writer := path.name.split("-")[-2]) in numbers:
                    self.while_writing += 1
                    return numbers[writer]
        return number
