"""Time of a PGD step of frbench against a bare forward and backward pass and three attack libraries.

    python scripts/bench.py [--rounds 30] [dataset=... recognizer=... overrides as for frbench run]

All contenders take turns in one process on the same pairs in random order; each ratio is the median of the ratios
within a round. It uses real faces if FRBENCH_DATA is set, else synthetic ones. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import compose_config, default_faces, open_pairs, run_script, table_row, torch_recognizer, write_result
from bench_peers import EPSILON, LIBRARIES, STEP, STEPS, AttackPass, Contender, Task, contenders

from frbench.harness.core.contracts import Draw, Images
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.threat_model.goals import Dodging, Impersonation

PREPARED, OURS, FROZEN, SHIPPED = range(4)  # places in ``contenders``
BARS = {  # name -> contender, over which other, at most
    "step over bare pass, prepared": (OURS, PREPARED, 1.03),
    "step over bare pass, as shipped and frozen": (OURS, FROZEN, 0.5),
    "step over bare pass, as shipped": (OURS, SHIPPED, 0.5),
}
DISTRIBUTIONS = {"art": "adversarial-robustness-toolbox"}


def tasks(pairs: PairSet, count: int) -> list[Task]:
    """``count`` genuine pairs for dodging and ``count`` impostor pairs for impersonation."""
    same = pairs.same[pairs.attacked]
    genuine, impostor = pairs.attacked[same][:count], pairs.attacked[~same][:count]
    if min(len(genuine), len(impostor)) < count:
        raise ConfigError(
            f"--pairs={count}: {pairs.name} has {len(genuine)} genuine and {len(impostor)} impostor pairs; use fewer"
        )
    return [
        Task("dodging", Dodging(), pairs.batch(genuine)),
        Task("impersonation", Impersonation(), pairs.batch(impostor)),
    ]


def measure(field: Sequence[Contender], work: Sequence[Task], rounds: int) -> np.ndarray:
    """Seconds per step (rounds, contenders). Tasks alternate by round, after a warm-up round of each."""
    seconds, random = np.zeros((rounds, len(field))), np.random.default_rng(0)
    for turn in range(-len(work), rounds):
        for place in random.permutation(len(field)):  # random order, against effects of the predecessor
            took = field[place].seconds(work[turn % len(work)])
            if turn >= 0:
                seconds[turn, place] = took
        print(f"\rround {turn + 1} of {rounds}" if turn >= 0 else "\rwarm-up", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return seconds


def mean_cosine(recognizer: TorchRecognizer, task: Task, images: Images) -> float:
    """Mean cosine of the pairs with ``images`` as probes, by the prepared recognizer."""
    judge = CosineVerifier(recognizer)
    with torch.no_grad():
        template = judge.enroll(task.pairs.reference, task.pairs.index, Draw())
        return float(judge.score(images, template, Draw()).mean())


def fold_difference(recognizer: TorchRecognizer, work: Sequence[Task]) -> float:
    """Largest difference of an embedding's coordinate between the prepared and the original network."""
    shipped, found = recognizer.as_shipped(), 0.0
    with torch.no_grad():
        for task in work:
            plain = unit_length(shipped(recognizer.preprocessing(task.pairs.probe.contiguous())))
            found = max(found, float((recognizer.embed(task.pairs.probe) - plain).abs().max()))
    return found


def bench(recognizer: TorchRecognizer, work: Sequence[Task], rounds: int) -> dict[str, Any]:
    """All measurements as plain JSON data."""
    field, missing = contenders(recognizer)
    seconds = measure(field, work, rounds)
    rows = []
    for place, contender in enumerate(field):
        quarter, median, three = np.quantile(1000 * seconds[:, place], [0.25, 0.5, 0.75])
        row: dict[str, Any] = {"contender": contender.name, "network": contender.network}
        row |= {"milliseconds": median, "quartiles": [quarter, three]}
        row["ratios"] = {field[base].network: ratio(seconds, place, base) for base in (PREPARED, FROZEN, SHIPPED)}
        if isinstance(contender, AttackPass):
            row["final_cosine"] = {t.name: mean_cosine(recognizer, t, contender.images(t)) for t in work}
        rows.append(row)
    bars = [(name, ratio(seconds, over, under), limit) for name, (over, under, limit) in BARS.items()]
    return {
        "rows": rows,
        "not_installed": missing,
        "bars": [{"bar": name, "ratio": value, "limit": limit, "met": value <= limit} for name, value, limit in bars],
        "clean_cosine": {task.name: mean_cosine(recognizer, task, task.pairs.probe) for task in work},
        "embedding_difference": fold_difference(recognizer, work),
        "seconds": seconds.tolist(),
    }


def ratio(seconds: np.ndarray, over: int, under: int) -> float:
    """Median over rounds of the ratio within a round, which is robust to a machine that slows down."""
    return float(np.median(seconds[:, over] / seconds[:, under]))


def machine() -> dict[str, Any]:
    """Processor, threads and versions of libraries."""
    packages = ("torch", *(DISTRIBUTIONS.get(name, name) for name in LIBRARIES))
    installed = {each.metadata["Name"].lower(): each.version for each in metadata.distributions()}
    versions = {name: installed[name] for name in packages if name in installed}
    return {"cpu": _processor(), "threads": torch.get_num_threads(), "versions": versions}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor() or platform.machine()


def markdown(result: Mapping[str, Any]) -> str:
    """The table, with the setup above and the limits below."""
    about, goals = result["setup"] | result["machine"], list(result["clean_cosine"])
    ratios = [f"/ bare, {base}" for base in result["rows"][0]["ratios"]]
    figures = ["ms a step (quartiles)", *ratios, *(f"final cosine, {goal}" for goal in goals)]
    starts = ", ".join(f"{goal} starts at {result['clean_cosine'][goal]:.4f}" for goal in goals)
    lines = [
        f"{about['recognizer']} on {about['dataset']}, {about['pairs']} pairs a goal in one batch, "
        f"L-inf {255 * EPSILON:g}/255, median of {about['rounds']} interleaved rounds, {about['threads']} threads, "
        f"{about['cpu']}; {', '.join(f'{name} {version}' for name, version in about['versions'].items())}.",
        f"Final cosines after {STEPS} steps of {255 * STEP:g}/255 from the clean image ({starts}). "
        f"Embeddings, prepared against as shipped: {result['embedding_difference']:.1e} apart at most.",
        "",
        table_row(["contender", "network", *figures]),
        table_row(["---"] * 2 + ["---:"] * len(figures)),
        *(table_row(_cells(row, goals)) for row in result["rows"]),
        *(table_row([name, "not installed"] + [""] * len(figures)) for name in result["not_installed"]),
        "",
    ]
    for bar in result["bars"]:
        lines.append(
            f"- {bar['bar']}: {bar['ratio']:.3f} (at most {bar['limit']}: {'met' if bar['met'] else 'MISSED'})"
        )
    return "\n".join(lines)


def _cells(row: Mapping[str, Any], goals: Sequence[str]) -> list[str]:
    low, high = row["quartiles"]
    cosines = [f"{row['final_cosine'][goal]:.4f}" if "final_cosine" in row else "" for goal in goals]
    ratios = [f"{value:.3f}" for value in row["ratios"].values()]
    return [row["contender"], row["network"], f"{row['milliseconds']:.0f} ({low:.0f}-{high:.0f})", *ratios, *cosines]


def run(options: argparse.Namespace) -> None:
    words = [*default_faces(), f"dataset.limit={2 * options.pairs}"]
    config = compose_config([*words, *options.overrides, "device=cpu"])
    recognizer = torch_recognizer(config)
    pairs = open_pairs(config)
    setup = {"recognizer": recognizer.name, "dataset": pairs.name, "pairs": options.pairs, "rounds": options.rounds}
    result = {"setup": setup, "machine": machine()} | bench(recognizer, tasks(pairs, options.pairs), options.rounds)
    write_result(result, markdown(result), options.out)


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=64, help="pairs of each goal, one batch")
    parser.add_argument("--out", type=Path, default=Path("results/bench.json"))
    return run_script(parser, run, words)


if __name__ == "__main__":
    sys.exit(main())
