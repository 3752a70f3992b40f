#!/usr/bin/env python3
"""Faults of sweeps: killed workers, damaged files, dead hosts, a full disk, and several processes on one store.

    python scripts/faults.py                       # all sections, about 15 minutes on two cores
    python scripts/faults.py --short               # fewer faults
    python scripts/faults.py kills disk --seed 3   # some sections

Each section prints one line with its counts, and the exit code is 1 where something does not hold. The tables of
``frbench report`` must be those of an undisturbed sweep, byte for byte. Faults are drawn from ``--seed``; what a
process does when it is killed depends on the machine as well. Every wait has a time limit.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from _fault_damage import damage
from _fault_hosts import NotPermitted, disk, hosts
from _fault_kills import kills
from _fault_sharing import images, sharing
from _fault_stops import stops
from _fault_tools import Bench, Result, TooLong

Section = Callable[[Bench, random.Random, int], Result]
SECTIONS: Mapping[str, tuple[Section, int, int]] = {  # with the number of faults, and that of --short
    "kills": (kills, 100, 6),
    "damage": (damage, 300, 30),
    "hosts": (hosts, 1, 1),
    "disk": (disk, 20, 4),
    "images": (images, 8, 4),
    "sharing": (sharing, 1, 1),
    "stops": (stops, 2, 1),
}
CELLS = ("attack=fgsm,pgd", "goal=dodging,impersonation", "defense=none,blur,jpeg,bitdepth,small_pca,small_pin")
FEW_CELLS = ("attack=fgsm", "goal=dodging,impersonation", "defense=none,small_pin")


def run(bench: Bench, names: Sequence[str], seed: int, short: bool) -> bool:
    """Run sections and print a line for each. Returns whether all hold."""
    holds = True
    for name in names:
        section, *counts = SECTIONS[name]
        try:
            result = section(bench, random.Random(f"{seed} {name}"), counts[short])
        except NotPermitted as error:
            print(f"{name}: skipped, not permitted on this machine: {error}", flush=True)
            continue
        except TooLong as error:
            result = Result(name, problems=[str(error)])
        print(result.line(), flush=True)
        holds = holds and result.holds
    return holds


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="fewer cells and faults")
    options = parser.parse_args(words)
    unknown = set(options.sections) - SECTIONS.keys()
    if unknown:
        parser.error(f"unknown section {sorted(unknown)[0]}; choose from {', '.join(SECTIONS)}")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="frbench-faults-") as folder:
        bench = Bench(Path(folder), Path(folder) / "images", FEW_CELLS if options.short else CELLS)
        return 0 if run(bench, options.sections or list(SECTIONS), options.seed, options.short) else 1


if __name__ == "__main__":
    sys.exit(main())
