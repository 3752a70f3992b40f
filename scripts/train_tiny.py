"""Trains the recognizer ``tiny`` on synthetic people and writes its safetensors. Seeds are fixed.

    python scripts/train_tiny.py --out harness/recognizers/tiny.safetensors

The photographs are rendered once into the cache folder; an interrupted training goes on from its last epoch.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from frbench.datasets.synthetic import Synthetic, SyntheticFaces
from frbench.harness.faces import FaceSet, PairSet
from frbench.harness.metrics import kfold_accuracy
from frbench.harness.recognizers.tiny import TinyNet

SEED = 0
PEOPLE_SEED, CHECK_SEED = 1, 4  # dataset=synthetic and identities=synthetic show the people of seeds 2 and 3
BATCH = 128
SCALE, MARGIN = 24.0, 0.30  # of CosFace (Wang et al., CVPR 2018)


class CosFace(nn.Module):
    """Large-margin cosine loss over the people of the training set."""

    def __init__(self, people: int, dim: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(people, dim) * 0.05)

    def forward(self, embeddings: Tensor, person: Tensor, margin: float) -> Tensor:
        cosine = functional.normalize(embeddings) @ functional.normalize(self.centres).T
        return functional.cross_entropy(SCALE * (cosine - margin * functional.one_hot(person, cosine.shape[1])), person)


def train(faces: FaceSet, epochs: int, rate: float, checkpoint: Path, check: PairSet) -> TinyNet:
    """Goes on from ``checkpoint`` where there is one; ``check`` is measured after each epoch."""
    torch.manual_seed(SEED)
    net = TinyNet().to(memory_format=torch.channels_last)
    head = CosFace(len(faces.people), net.dim)
    parameters = [*net.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=5e-3)
    steps = epochs * (len(faces.images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.2)
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        for part, name in ((net, "net"), (head, "head"), (optimizer, "optimizer"), (schedule, "schedule")):
            part.load_state_dict(state[name])
        first = state["epoch"] + 1
    for epoch in range(first, epochs):
        started = time.monotonic()
        margin = MARGIN * min(1.0, epoch / max(1.0, 0.3 * epochs))
        loss = _epoch(net, head, optimizer, schedule, faces, epoch, margin)
        state = {"net": net.state_dict(), "head": head.state_dict(), "epoch": epoch}
        state |= {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
        torch.save(state, checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").replace(checkpoint)
        accuracy = 100 * measure(net, check)
        print(
            f"epoch {epoch}: loss {loss:.3f}, validation {accuracy:.2f} %, {time.monotonic() - started:.0f} s",
            flush=True,
        )
    return net


def _epoch(
    net: TinyNet,
    head: CosFace,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    faces: FaceSet,
    epoch: int,
    margin: float,
) -> float:
    random = np.random.default_rng((SEED, epoch))
    order = random.permutation(len(faces.images))
    net.train()
    losses = []
    for start in range(0, len(order) - BATCH + 1, BATCH):
        rows = np.sort(order[start : start + BATCH])
        images = faces.load(rows) * 2 - 1
        flipped = torch.from_numpy(random.random(BATCH) < 0.5)[:, None, None, None]
        images = torch.where(flipped, images.flip(3), images)
        loss = head(net(images), torch.from_numpy(faces.identity[rows]), margin)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return math.fsum(losses) / len(losses)


@torch.inference_mode()
def measure(net: TinyNet, pairs: PairSet) -> float:
    """10-fold verification accuracy."""
    net.eval()
    rows = np.array_split(np.arange(len(pairs.images)), max(1, len(pairs.images) // 64))
    embeddings = torch.cat([functional.normalize(net(pairs.load(part) * 2 - 1)) for part in rows])
    scores = (embeddings[pairs.probe] * embeddings[pairs.reference]).sum(1).numpy()
    return kfold_accuracy(scores, pairs.same, pairs.fold).accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the safetensors to write")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/frbench").expanduser())
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--shots", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--rate", type=float, default=4e-3)
    options = parser.parse_args()
    faces = SyntheticFaces(name="tiny_training", people=options.people, shots=options.shots, people_seed=PEOPLE_SEED)
    check = Synthetic(name="tiny_validation", people_seed=CHECK_SEED).open(options.cache)
    net = train(faces.open(options.cache), options.epochs, options.rate, options.cache / "tiny.ckpt", check)
    # Half precision halves the file; what is measured and shipped is the rounded network.
    weights = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    net.load_state_dict(weights)
    accuracy = 100 * measure(net, check)
    facts = vars(options) | {
        "seed": SEED,
        "people_seed": PEOPLE_SEED,
        "loss": f"CosFace, scale {SCALE}, margin {MARGIN}",
        "batch": BATCH,
    }
    facts |= {"trained_by": "scripts/train_tiny.py", "input": "RGB, (x - 0.5) / 0.5"}
    facts |= {"validation_accuracy_per_cent": round(accuracy, 2)}
    metadata = {k: str(v) for k, v in facts.items() if k not in ("out", "cache")}
    save_file({k: v.contiguous() for k, v in weights.items()}, options.out, metadata=metadata)
    print(f"{options.out}: {options.out.stat().st_size} bytes, validation {accuracy:.2f} %")


if __name__ == "__main__":
    main()
