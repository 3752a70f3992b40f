"""Train the shipped recognizers, a single one and a diverse ensemble of three, and write their safetensors files.

    python scripts/ship_demo.py [--out harness/recognizers] [overrides as for frbench fit]

Both are trained by the recipes of ``frbench fit`` on 1,000 rendered people. An interrupted training resumes, and a
finished one is reused. Weights are stored in half precision; the reported accuracy is that of the rounded network.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from _common import run_script
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize

from frbench.datasets.synthetic.dataset import Synthetic
from frbench.harness.cli import commands as launch
from frbench.harness.core.face_data import PairSet
from frbench.harness.metrics.verification import kfold_accuracy
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.fusion import mean
from frbench.harness.recognizers.initialization import member_names
from frbench.harness.recognizers.weight_files import METADATA, read_metadata

COMMON = (
    "network@training.network=tiny",
    "identities=synthetic_1000",
    "dataset=synthetic",
    "training.schedule.epochs=14",
)
# Another seed for the ensemble: otherwise its first member equals the single recognizer, the surrogate of the demo.
SHIPPED = {"tiny": ("training=single",), "tiny_diverse": ("training=diverse", "fit_seed=1")}
CHECK_SEED = 4  # dataset=synthetic and identities=synthetic show the people of seeds 2 and 3, users those of seed 5


def halved(trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Networks of an artifact in half precision, without heads and histories."""
    kept = {name: each for name, each in trained.items() if name.startswith("members.")}
    return {name: each.half() if each.is_floating_point() else each for name, each in kept.items()}


@torch.inference_mode()
def accuracy(weights: Mapping[str, Tensor], pairs: PairSet) -> float:
    """10-fold verification accuracy in percent of the mean of the members' unit embeddings."""
    nets = []
    for prefix in member_names(weights):
        net = TinyNet().eval()
        net.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
        nets.append(net)
    rows = np.array_split(np.arange(len(pairs.images)), max(1, len(pairs.images) // 64))
    vectors = [torch.cat([normalize(net(pairs.load(part) * 2 - 1)) for part in rows]) for net in nets]
    fused = mean(vectors)
    scores = (fused[pairs.probe] * fused[pairs.reference]).sum(dim=1).numpy()
    return 100 * kfold_accuracy(scores, pairs.same, pairs.fold).accuracy


def ship(name: str, chosen: Sequence[str], folder: Path, overrides: Sequence[str], pairs: PairSet) -> None:
    words = [*chosen, *COMMON, *overrides]
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "trained.safetensors"
        launch.fit([*words, f"out={file}"])
        weights, metadata = halved(load_file(file)), read_metadata(file)
    found, path = accuracy(weights, pairs), folder / f"{name}.safetensors"
    if len(member_names(weights)) == 1:
        weights = {key.removeprefix("members.0."): each for key, each in weights.items()}
    said = " ".join(word for word in words if not word.startswith("paths."))  # no paths of this machine
    facts = {"trained_by": "scripts/ship_demo.py", "words": said, "people_seed": "1"}
    facts |= {"input": "RGB, (x - 0.5) / 0.5", "validation_accuracy_per_cent": f"{found:.2f}"}
    facts[METADATA] = json.dumps({key: metadata[key] for key in ("architecture", "shared_head")}, sort_keys=True)
    save_file({key: each.contiguous() for key, each in weights.items()}, path, metadata=facts)
    print(f"{path}: {path.stat().st_size} bytes, validation {found:.2f} %")


def run(options: argparse.Namespace) -> None:
    check = Synthetic(name="shipped_validation", people_seed=CHECK_SEED).open(options.cache)
    for name, chosen in SHIPPED.items():
        ship(name, chosen, options.out, options.overrides, check)


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("harness/recognizers"))
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/frbench/images").expanduser())
    return run_script(parser, run, words)


if __name__ == "__main__":
    sys.exit(main())
