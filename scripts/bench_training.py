"""Training throughput in images per second against a bare forward and backward pass of the same network.

    python scripts/bench_training.py [--network iresnet50] [--batch 128] [--mixed] [--rounds 5] [device=cuda]

A training step includes loading the batch, ArcFace over ``--people`` people, gradient clipping, SGD, logging and
checks. Entrants take turns in one process in random order; ratios are medians of the ratios within a round. Weights and
faces are random. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from _common import compose_config, run_script, write_result
from bench import machine, measure, ratio
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, one_hot

from frbench.harness.config import build
from frbench.harness.core.contracts import Artifact, FitContext, Recipe
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet
from frbench.harness.recognizers.inference import resolve_device
from frbench.harness.training.loop import Schedule, train
from frbench.harness.training.losses.margins import ArcFace

WARM = 2  # warm-up steps of each turn


class TimedLearner(nn.Module):
    """``Learner`` of ArcFace that records the end times of steps in ``ends``."""

    def __init__(self, network: nn.Module, dim: int, people: int) -> None:
        super().__init__()
        self.network, self.margin, self.people = network, ArcFace(), people
        self.head = nn.Parameter(torch.randn(people, dim) * dim**-0.5)
        self.ends: list[float] = []

    def loss(self, images: Tensor, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        embeddings = self.network(images)
        with torch.autocast(images.device.type, enabled=False):
            cosines = normalize(embeddings.float(), dim=1) @ normalize(self.head, dim=1).T
            own = one_hot(rows % self.people, self.people).bool()
            judged = self.margin.scale * cosines.where(~own, self.margin.penalized(cosines, 9.0))
            return cross_entropy(judged, rows % self.people), {}

    def after_step(self, steps: int) -> None:
        self.ends.append(_now(self.head.device))


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()


class Entrant:
    """A timed procedure; ``seconds`` is its time per image."""

    def __init__(self, name: str, ends: Callable[[], Sequence[float]], batch: int) -> None:
        self.name, self.ends, self.batch = name, ends, batch

    def seconds(self, task: object) -> float:
        ends = self.ends()[WARM - 1 :]
        return (ends[-1] - ends[0]) / (len(ends) - 1) / self.batch


class Field:
    """The entrants with a common network and faces."""

    def __init__(self, network: nn.Module, options: argparse.Namespace, device: torch.device) -> None:
        self.device, self.count, self.mixed = device, options.steps + WARM, options.mixed
        shape = (self.count * options.batch, 112, 112, 3)
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        self.faces = FaceSet("made up", images, np.arange(len(images)) % options.people, (), "made up")
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad():
            dim = network.eval()(self.faces.load(np.arange(2), device)).shape[1]
        self.learner = TimedLearner(network.requires_grad_(True), dim, options.people).to(device).train()
        self.schedule = Schedule(
            1, options.batch, 1e-4, grad_clip_norm=5.0, precision="mixed" if self.mixed else "full", weight_decay=1e-4
        )

    def entrants(self) -> list[Entrant]:
        found = {"forward and backward": self.bare, "with head": self.headed, "training step": self.trained}
        return [Entrant(name, ends, self.schedule.batch_size) for name, ends in found.items()]

    def bare(self) -> list[float]:
        return self._passes(lambda images, rows: self.learner.network(images).float().square().mean())

    def headed(self) -> list[float]:
        return self._passes(lambda images, rows: self.learner.loss(images, rows, torch.Generator())[0])

    def trained(self) -> list[float]:
        self.learner.ends.clear()
        with tempfile.TemporaryDirectory() as folder:
            context = FitContext(self.faces, None, 0, self.device, _nothing, Path(folder) / "bench.unfinished")
            train(self.learner, self.schedule, context, "training")
        return self.learner.ends

    def _passes(self, loss: Callable[[Tensor, Tensor], Tensor]) -> list[float]:
        """Forward and backward passes on a fixed batch without an optimizer."""
        self.learner.train()
        rows = np.arange(self.schedule.batch_size)
        images, numbers, ends = self.faces.load(rows, self.device), torch.from_numpy(rows).to(self.device), []
        for _ in range(self.count):
            self.learner.zero_grad(set_to_none=True)
            with self._precision():
                found = loss(images, numbers)
            found.backward()
            ends.append(_now(self.device))
        return ends

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.mixed else nullcontext()


def _nothing(recipe: Recipe) -> Artifact:
    raise ConfigError(f"the benchmark fits no {recipe}")


def markdown(result: Mapping[str, Any]) -> str:
    about = result["setup"] | result["machine"]
    lines = [
        f"{about['network']}, batch {about['batch']}, {about['people']} people, "
        f"{'bfloat16' if about['mixed'] else 'float32'}, {about['rounds']} interleaved rounds on {about['device']}, "
        f"{about['threads']} threads, {about['cpu']}; torch {about['versions']['torch']}.",
        "",
        "| entrant | images/s | share of the first's |",
        "| --- | ---: | ---: |",
    ]
    return "\n".join(
        [*lines, *(f"| {r['entrant']} | {r['images_s']:,.1f} | {r['share']:.3f} |" for r in result["rows"])]
    )


def run(options: argparse.Namespace) -> None:
    config = compose_config([f"+network@bench={options.network}", *options.overrides])
    device = resolve_device(config["device"])
    if options.steps < 1 or options.batch < 2:
        raise ConfigError(f"--steps={options.steps} --batch={options.batch}: expected at least 1 step and 2 images")
    torch.manual_seed(0)
    entrants = Field(build.instantiate(config["bench"], "network").module(0), options, device).entrants()
    seconds = measure(entrants, ["step"], options.rounds)  # type: ignore[arg-type]
    rows = [
        {"entrant": each.name, "images_s": float(1 / np.median(seconds[:, k])), "share": ratio(1 / seconds, k, 0)}
        for k, each in enumerate(entrants)
    ]
    kept = ("network", "batch", "people", "mixed", "rounds", "steps")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    setup = {name: getattr(options, name) for name in kept} | {"device": where}
    result = {"setup": setup, "machine": machine(), "rows": rows, "all_seconds": seconds.tolist()}
    write_result(result, markdown(result), options.out)


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="mobilefacenet", help="an option of the group network")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10, help="of each entrant in a round")
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--mixed", action="store_true", help="forwards in bfloat16")
    parser.add_argument("--out", type=Path, default=Path("results/bench_training.json"))
    return run_script(parser, run, words)


if __name__ == "__main__":
    sys.exit(main())
