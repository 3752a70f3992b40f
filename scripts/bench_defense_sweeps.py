"""CPU time of a sweep over several defenses against that over one, as a ratio within one run.

    python scripts/bench_defense_sweeps.py [--pairs 32] [overrides as for frbench run]

Six defenses against six attacks of 20 steps, over the first defense alone against the same attacks.
Adversarial images are made for the first defense and found by the others. Without overrides it measures a MobileFaceNet
(on LFW if FRBENCH_DATA is set, else with initial weights on synthetic faces) and the tiny recognizer, each with and
without the five post-processed forms of each image, which every defense must see.
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

from frbench.harness.config.running import CellConfig, WrongCell, cell_configs, finish
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


def cells(words: Sequence[str], results: Path) -> list[CellConfig]:
    """The cells of a sweep, composed together."""
    found = cell_configs(["-m", *words, f"paths.results={results}"])
    for each in found:
        if isinstance(each, WrongCell):
            raise each.error
    return [each for each in found if isinstance(each, CellConfig)]


def run_cell(cell: CellConfig) -> dict[str, Any]:
    """CPU seconds of one cell, and the passes through the recognizer."""
    started = time.process_time()
    record = finish(cell).record
    if record["status"] != "done":
        raise RuntimeError(f"{' '.join(cell.words)}: {record['status']}: {record['reason']}")
    seconds = time.process_time() - started
    return {"seconds": seconds, **{name: record["card"][name] for name in ("forwards", "backwards")}}


def defenses(words: Sequence[str], pairs: int, folder: Path) -> dict[str, Any]:
    """CPU seconds and passes of each defense over all attacks, and the ratio of all defenses to the first.

    The clean scores of each defense are measured before, with an attack of its own.
    """
    data = [f"dataset.limit={2 * pairs}", f"dataset.calibrate={2 * pairs}", "goal=dodging", "allow_low_accuracy=true"]
    common = [*data, "threat=oblivious", "device=cpu", f"defense={','.join(DEFENSES)}", *words]
    for cell in cells([*common, "attack=fgsm"], folder):
        run_cell(cell)
    rows: dict[str, dict[str, float]] = {
        name: dict.fromkeys(("seconds", "forwards", "backwards"), 0) for name in DEFENSES
    }
    for cell in cells([*common, f"attack={','.join(ATTACKS)}", f"attack.steps={STEPS}"], folder):
        found, row = run_cell(cell), rows[cell.choices["defense"]]
        row.update({name: value + found[name] for name, value in row.items()})
        print(f"\r{cell.choices['attack']} {cell.choices['defense']}          ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    passes = {name: row["forwards"] + row["backwards"] for name, row in rows.items()}
    return {
        "pairs": pairs,
        "defenses": rows,
        "ratio": sum(row["seconds"] for row in rows.values()) / rows[DEFENSES[0]]["seconds"],
        "ratio_of_passes": sum(passes.values()) / passes[DEFENSES[0]],
        "limit": MOST,
    }


def markdown(result: Mapping[str, Any]) -> str:
    lines = []
    for name, found in result["defenses"].items():
        lines += [f"{name}, {found['pairs']} pairs, {len(ATTACKS)} attacks of {STEPS} steps", ""]
        lines += [table_row(["defense", "CPU s", "forwards", "backwards"]), table_row(["---"] + ["---:"] * 3)]
        for defense, row in found["defenses"].items():
            counts = [f"{row[each]:.0f}" for each in ("forwards", "backwards")]
            lines.append(table_row([defense, f"{row['seconds']:.1f}", *counts]))
        met = "met" if found["ratio"] <= found["limit"] else "MISSED"
        lines += ["", f"- all defenses over the first: {found['ratio']:.2f} (at most {found['limit']}: {met})"]
        lines += [f"- forward and backward passes of all over those of the first: {found['ratio_of_passes']:.2f}", ""]
    return "\n".join(lines)


def measure_defenses(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    given = {"as given": options.overrides} if options.overrides else None
    networks = {"MobileFaceNet": mobilefacenet(folder), "tiny": ["recognizer=tiny"]}
    chosen = given or {
        f"{name}, {judged}": [*words, *more]
        for name, words in networks.items()
        for judged, more in {
            "with post-processing": [],
            "without post-processing": ["~protocol.postprocessing"],
        }.items()
    }
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
