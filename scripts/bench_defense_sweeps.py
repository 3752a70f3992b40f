"""CPU time of a sweep over several defenses against that over one, as a ratio within one run.

    python scripts/bench_defense_sweeps.py [--pairs 32] [overrides as for frbench run]

Six defenses against six attacks of 20 steps, over the first defense alone against the same attacks.
Adversarial images are made for the first defense and found by the others. Without overrides it measures a MobileFaceNet
(on LFW if FRBENCH_DATA is set, else with initial weights on synthetic faces) and the tiny recognizer.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from _common import REAL_FACES, default_faces, run_script, table_row, write_result

from frbench.harness.config.running import finish, single_cell
from frbench.harness.recognizers.architectures.mobilefacenet import MobileFaceNet

DEFENSES = ("none", "gray", "bitdepth", "blur", "jpeg", "wavelet")
ATTACKS = ("pgd", "bim", "mifgsm", "difgsm", "tifgsm", "apgd")
STEPS = 20
MOST = 1.4  # six defenses over one


def mobilefacenet(folder: Path) -> list[str]:
    """Overrides of a MobileFaceNet: on real faces where there are any, else with initial weights."""
    if default_faces():
        return list(REAL_FACES)
    torch.manual_seed(0)
    weights = folder / "mobilefacenet.pt"
    torch.save(MobileFaceNet().state_dict(), weights)
    network = f"{MobileFaceNet.__module__}.{MobileFaceNet.__qualname__}"
    return ["recognizer=pytorch", f"recognizer.architecture._target_={network}", f"recognizer.weights={weights}"]


def run_cell(words: Sequence[str], results: Path) -> dict[str, Any]:
    """CPU seconds of one cell, its composition included, and the passes through the recognizer."""
    started = time.process_time()
    record = finish(single_cell([*words, f"paths.results={results}"])).record
    if record["status"] != "done":
        raise RuntimeError(f"{' '.join(words)}: {record['status']}: {record['reason']}")
    seconds = time.process_time() - started
    return {"seconds": seconds, **{name: record["card"][name] for name in ("forwards", "backwards")}}


def defenses(words: Sequence[str], pairs: int, folder: Path) -> dict[str, Any]:
    """CPU seconds and passes of each defense over all attacks, and the ratio of all defenses to the first."""
    data = [f"dataset.limit={2 * pairs}", f"dataset.calibrate={2 * pairs}", "goal=dodging", "allow_low_accuracy=true"]
    common = [*data, "threat=oblivious", "device=cpu", *words]
    run_cell([*common, "attack=fgsm"], folder / "warm_up")  # loads the network and the libraries
    rows: dict[str, dict[str, float]] = {
        name: dict.fromkeys(("seconds", "forwards", "backwards"), 0) for name in DEFENSES
    }
    for attack in ATTACKS:
        for defense in DEFENSES:
            cell = run_cell(
                [*common, f"attack={attack}", f"attack.steps={STEPS}", f"defense={defense}"], folder / "cells"
            )
            rows[defense] = {name: value + cell[name] for name, value in rows[defense].items()}
            print(f"\r{attack} {defense}          ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    total = sum(row["seconds"] for row in rows.values())
    return {"pairs": pairs, "defenses": rows, "ratio": total / rows[DEFENSES[0]]["seconds"], "limit": MOST}


def markdown(result: Mapping[str, Any]) -> str:
    lines = []
    for name, found in result["defenses"].items():
        lines += [f"{name}, {found['pairs']} pairs, {len(ATTACKS)} attacks of {STEPS} steps", ""]
        lines += [table_row(["defense", "CPU s", "forwards", "backwards"]), table_row(["---"] + ["---:"] * 3)]
        for defense, row in found["defenses"].items():
            counts = [f"{row[each]:.0f}" for each in ("forwards", "backwards")]
            lines.append(table_row([defense, f"{row['seconds']:.1f}", *counts]))
        met = "met" if found["ratio"] <= found["limit"] else "MISSED"
        lines += ["", f"- all defenses over the first: {found['ratio']:.2f} (at most {found['limit']}: {met})", ""]
    return "\n".join(lines)


def measure_defenses(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    given = {"as given": options.overrides} if options.overrides else None
    chosen = given or {"MobileFaceNet": mobilefacenet(folder), "tiny": ["recognizer=tiny"]}
    return {
        name: defenses(words, options.pairs, folder / f"defenses_{place}")
        for place, (name, words) in enumerate(chosen.items())
    }


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        result = {"defenses": measure_defenses(options, Path(folder))}
    write_result(result, markdown(result), options.out)


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=32, help="attacked pairs")
    parser.add_argument("--out", type=Path, default=Path("results/bench_defense_sweeps.json"))
    return run_script(parser, run, words)


if __name__ == "__main__":
    sys.exit(main())
