"""Measure a results folder of 10,000 records: looking up cells, status, reports. CPU seconds and peak memory.

    python scripts/bench_store.py [--records 10000] [--pairs 40] [--folder FOLDER]

The records are fabricated: 5 attacks, 8 defenses, 5 budgets, 2 goals, 2 threat models, and as many seeds as needed.
Each figure is of a process of its own, so that the memory is that of the figure alone. 'first': without an index.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from frbench.harness.metrics.confidence import wilson
from frbench.harness.reporting.report import report
from frbench.harness.storage.result_store import SCHEMA, ResultStore

NOUNS = {
    "goal": ("dodging", "impersonation"),
    "threat": ("oblivious", "adaptive"),
    "attack": ("fgsm", "bim", "pgd", "mifgsm", "cw"),
    "defense": ("none", "jpeg", "blur", "pca", "pin", "ais", "puface", "tiny_diverse"),
    "budget": ("linf_2", "linf_4", "linf_5p1", "linf_8", "linf_16"),
}
FIXED = {"dataset": "lfw", "recognizer": "arcface", "protocol": "verification"}
LOOKED_UP = 200  # finished cells whose files are verified


def fill(store: ResultStore, records: int, pairs: int) -> None:
    """Write fabricated cells with their scores."""
    random = np.random.default_rng(0)
    for number, names in enumerate(itertools.islice(_names(), records)):
        key = sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()
        success = random.random(pairs) < random.random()
        table = {"index": np.arange(pairs), "correct": True, "success": success, "same": True}
        table |= {name: random.random(pairs) for name in ("clean_score", "adversarial_score", "threshold", "linf")}
        store.write_scores(key, pd.DataFrame(table))
        seed = names.pop("seed")
        store.write_record(
            {
                "schema": SCHEMA,
                "fingerprint": key,
                "kind": "verification",
                "status": "done",
                "reason": None,
                "names": names,
                "settings": {"seed": seed} if seed else {},
                "seed": seed,
                "hyperparameters": {"threat": {"margin": 0.05}, "audit": {}, "attack": {"steps": 20}},
                "measurements": {"clean": _clean(), "attack": _attack(int(success.sum()), pairs)},
                "flags": [],
                "card": {"config": {"notes": "x" * 3000}, "seconds": float(number), "versions": {"torch": "2.9.0"}},
            }
        )


def _names() -> Iterator[dict[str, object]]:
    for seed in itertools.count():
        for chosen in itertools.product(*NOUNS.values()):
            yield {**FIXED, **dict(zip(NOUNS, chosen, strict=True)), "seed": seed}


def _clean() -> dict[str, object]:
    return {"accuracy": 0.99, "accuracy_low": 0.98, "accuracy_high": 1.0, "accuracy_std": 0.01, "pairs": 600}


def _attack(successes: int, pairs: int) -> dict[str, object]:
    low, high = wilson(successes, pairs)
    rate = {"asr": successes / pairs, "asr_low": low, "asr_high": high}
    rate |= {"asr_successes": successes, "asr_denominator": pairs}
    sizes = {name: {"mean": 1.5, "median": 1.5, "max": 2.0} for name in ("linf", "rms", "l2", "ssim")}
    steps = {name: {**rate, "clean_flips": 0, "reason": None} for name in ("png", "jpeg_75", "resized")}
    audit = {"level": "basic", "figures": {"not_converged": 0.1}, "flags": []}
    return {**rate, **sizes, "eligible": pairs, "left_out": 0, "at_far": {"0.01": rate}} | {
        "postprocessing": steps,
        "audit": audit,
    }


def status(store: ResultStore) -> None:
    store.finished_keys()


def lookups(store: ResultStore) -> None:
    for path in itertools.islice((store.root / "runs").glob("*.json"), LOOKED_UP):
        store.finished(path.stem)


def as_json(store: ResultStore) -> None:
    with Path("/dev/null").open("w") as nowhere, redirect_stdout(nowhere):
        report(store, store.root, "json")


def tables(store: ResultStore) -> None:
    report(store, store.root, figures="none")


MEASURED: dict[str, Callable[[ResultStore], None]] = {
    "status": status,
    "lookups": lookups,
    "json": as_json,
    "tables": tables,
}


def measure(name: str, folder: Path) -> tuple[float, float]:
    """CPU seconds beyond the imports, and peak memory in MB, of a process that does ``name``."""
    words = [sys.executable, __file__, "--measure", name, "--folder", str(folder)]
    seconds, memory = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--folder", type=Path, help="where the records are, or are written; a temporary folder if not")
    parser.add_argument("--measure", choices=MEASURED, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        started = time.process_time()
        MEASURED[args.measure](ResultStore(args.folder))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(time.process_time() - started, memory)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if not (folder / "runs").exists():
            fill(ResultStore(folder), args.records, args.pairs)
        shutil.rmtree(folder / "index", ignore_errors=True)
        print(f"{'what':<16}{'CPU s':>8}{'peak MB':>9}")
        for name, what in (
            ("status (first)", "status"),
            ("json (first)", "json"),
            *zip(MEASURED, MEASURED, strict=True),
        ):
            seconds, memory = measure(what, folder)
            per_cell = f"   {1000 * seconds / LOOKED_UP:.1f} ms a finished cell" if what == "lookups" else ""
            print(f"{name:<16}{seconds:>8.2f}{memory:>9.0f}{per_cell}", flush=True)


if __name__ == "__main__":
    main()
