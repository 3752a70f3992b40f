"""Sections ``hosts`` and ``disk`` of scripts/faults.py: owners of leases on another host, and a disk that fills up."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _fault_tools import Bench, Result, TooLong, cards, records

LEASE = 3.0  # seconds
_CELL = ("attack=fgsm", "goal=dodging", "defense=none")
_HOLD = """
import sys
from pathlib import Path
from frbench.harness.storage.result_store import ResultStore
with ResultStore(Path(sys.argv[1])).lease(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""
_SIZE, _MOST_TRIES = 5 << 20, 60  # of the file system in bytes; sweeps on it


class NotPermitted(Exception):
    """This machine does not allow what the section needs."""


def hosts(bench: Bench, rng: random.Random, count: int) -> Result:
    """A dead owner on another host delays a cell by the lease and no more; a live one keeps it."""
    result = Result("hosts")
    alone = bench.results("alone")
    started = time.monotonic()
    ended = bench.sweep(alone, cells=_CELL)
    usual = time.monotonic() - started
    result.check(ended.code == 0, ended.err)
    key = records(alone)[0].stem

    results = _with_short_lease(bench)
    with _owner(results, key) as owner:
        owner.kill()
        owner.wait()
        started = time.monotonic()
        ended = bench.sweep(results, cells=_CELL)
        delay = time.monotonic() - started - usual
    result.check(ended.code == 0, ended.err)
    result.check(delay < LEASE + usual + 5, f"a dead owner delayed the cell by {delay:.1f} s")
    result.facts |= {"lease of a dead owner in s": LEASE, "delay in s": round(delay, 1)}

    results = _with_short_lease(bench)
    with _owner(results, key) as owner:
        child = bench.start(["run", *bench.words(results, cells=_CELL)])
        time.sleep(usual + 2 * LEASE)
        result.check(child.alive and not records(results), "the cell of a live owner was taken")
        assert owner.stdin is not None
        owner.stdin.close()
        ended = child.wait()
    result.check(ended.code == 0 and len(records(results)) == 1, ended.err)
    result.facts["live owner kept it for s"] = round(usual + 2 * LEASE)
    return result


def _with_short_lease(bench: Bench) -> Path:
    results = bench.results("lease")
    results.mkdir(parents=True)
    (results / "store.json").write_text(json.dumps({"layout": 1, "lease_seconds": LEASE}))
    return results


@contextmanager
def _owner(results: Path, key: str) -> Iterator[subprocess.Popen[str]]:
    """A process on a host of another name that holds the lease of a cell until its input is closed."""
    hold = [sys.executable, "-c", _HOLD, str(results), f"cell-{key}"]
    words = ["unshare", "--uts", "sh", "-c", 'hostname another && exec "$@"', "sh", *hold]
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    except FileNotFoundError as error:
        raise NotPermitted("unshare is not installed") from error
    try:
        assert process.stdout is not None and process.stderr is not None
        if process.stdout.readline().strip() != "held":
            raise NotPermitted(process.stderr.read().strip().splitlines()[-1])
        yield process
    finally:
        process.kill()
        process.wait()


def disk(bench: Bench, rng: random.Random, count: int) -> Result:
    """A sweep on a file system of 5 MB that is full, again and again, each time with a little more room."""
    result = Result("disk")
    folder = bench.results("disk").parent
    with _small(folder):
        results, filler, room = folder / "results", folder / "filler", 0
        for _ in range(_MOST_TRIES):
            room = min(room + rng.randrange(2 * _SIZE // count), _SIZE)
            filler.unlink(missing_ok=True)
            disk = shutil.disk_usage(folder)
            filler.write_bytes(bytes(disk.total - max(room, disk.used)))
            ended = bench.sweep(results)
            if ended.code == 0:
                break
            lines = [line for line in ended.err.splitlines() if line]
            one = len(lines) == 1 and "make room" in lines[0]
            result.check(ended.code == 2 and one, f"exit code {ended.code}: {ended.err}")
            result.none("temporary files", [str(path) for path in results.rglob(".*.tmp")])
            result.count("times full")
        else:
            raise TooLong(f"the sweep did not end within {_MOST_TRIES} times")
        result.count("cells", len(cards(results)))
        bench.check_finished(result, results, ended)
    return result


@contextmanager
def _small(folder: Path) -> Iterator[None]:
    """A file system of 5 MB at ``folder``."""
    folder.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        raise NotPermitted(f"mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
