"""Clean verification accuracy and TAR at FAR 1e-3 of recognizers on the official folds.

python scripts/clean_accuracy.py --datasets lfw cfp_fp --recognizers foamliu_mobilefacenet face_reid_0095
python scripts/clean_accuracy.py --pairs 600        # quick: a balanced subset of every fold
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import compose_config, open_pairs

from frbench.harness.config import build
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.evaluation.calibration import Calibration
from frbench.harness.evaluation.execution import Execution
from frbench.harness.metrics.confidence import wilson
from frbench.harness.metrics.verification import kfold_accuracy
from frbench.harness.protocols.pair_metrics import tar_at_far
from frbench.harness.recognizers.inference import resolve_device
from frbench.harness.storage.result_store import ResultStore

RECOGNIZERS = ("foamliu_mobilefacenet", "bubbliiiing_mobilefacenet", "mobileface_v2", "face_reid_0095")


def only_attacked(pairs: PairSet) -> PairSet:
    """The pairs selected by ``dataset.limit`` as a set."""
    chosen = pairs.attacked
    fields = {name: getattr(pairs, name)[chosen] for name in ("probe", "reference", "decoy", "same", "fold")}
    return dataclasses.replace(pairs, **fields, attacked=np.arange(len(chosen)), digest=f"{pairs.digest}:{len(chosen)}")


def measure(dataset: str, recognizer: str, limit: int | None, results: Path) -> str:
    """A row of the table."""
    overrides = [f"dataset={dataset}", f"recognizer={recognizer}", f"dataset.limit={limit or 'null'}"]
    config = compose_config(overrides)
    pairs = open_pairs(config)
    pairs = only_attacked(pairs) if limit else pairs
    network = build.instantiate(config["recognizer"], "recognizer")
    device = resolve_device(config["device"])
    started = time.monotonic()
    scores = Calibration(pairs, Execution(ResultStore(results), 0, 64, device)).scores(CosineVerifier(network))
    seconds = time.monotonic() - started
    folds = kfold_accuracy(scores, pairs.same, pairs.fold)
    low, high = wilson(int(folds.correct.sum()), len(pairs))
    found = tar_at_far(scores, pairs, 1e-3)
    at_far = (
        f"n/a | {found['reason']}"
        if found["reason"]
        else "{tar:.4f} | {far:.5f} held out, {far_set:.5f} where set".format(**found)
    )
    return (
        f"| {pairs.name} | {recognizer} | {100 * folds.accuracy:.2f} | [{100 * low:.2f}, {100 * high:.2f}] "
        f"| {len(pairs)} | {at_far} | {seconds:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["lfw", "cfp_fp"])
    parser.add_argument("--recognizers", nargs="+", default=list(RECOGNIZERS))
    parser.add_argument("--pairs", type=int, default=None, help="size of a balanced subset of pairs; default all")
    arguments = parser.parse_args()
    print("| dataset | recognizer | accuracy % | 95 % interval | pairs | TAR@FAR=1e-3 | realised FAR | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for dataset in arguments.datasets:
            for recognizer in arguments.recognizers:
                print(measure(dataset, recognizer, arguments.pairs, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
