"""Speed and memory of Fawkes (modes low and high), batched, against the original implementation, image by image.

    python scripts/bench_cloaks.py [--rounds 3] [--low 16] [--high 8] [overrides as for frbench run]

The original's procedure is reimplemented below: one image at a time, clean features recomputed in each step, two
scalars read back per step. All entrants use the same network, steps and images and take turns in random order; ratios
are medians of the ratios within a round. Peak memory is measured in a separate process each. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from _common import compose_config, default_faces, open_pairs, run_script, table_row, torch_recognizer, write_result
from bench import machine, ratio
from bench_memory import in_subprocess, peak_growth
from bench_peers import AsShipped

from frbench.attacks.fawkes import Fawkes
from frbench.harness.core.contracts import Draw, Images, Recognizer, View
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.metrics.perturbation import ssim
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.threat_model.budgets import Unbounded
from frbench.harness.threat_model.goals import Cloak

LEAST = 8.0  # times the original's images a second
MODES = {"low": Fawkes(0.004, 40, 25.0), "high": Fawkes(0.017, 150, 15.0)}
TANH = 2 - 1e-6


@dataclass(frozen=True)
class Entrant:
    """``make`` cloaks photos (N, 3, 112, 112), in one batch if ``at_once``; ``network`` is the form of the network."""

    name: str
    network: str
    make: Callable[[Images], Images]
    at_once: bool


def batched(attack: Fawkes, recognizer: Recognizer) -> Callable[[Images], Images]:
    def make(photos: Images) -> Images:
        index = torch.arange(len(photos))
        pairs = PairBatch(photos, photos, photos, torch.ones(len(photos), dtype=torch.bool), index, index)
        view = View(CosineVerifier(recognizer), torch.full((len(photos),), -1.0))
        return attack(view, pairs, Cloak(), Unbounded()).images

    return make


def one_by_one(attack: Fawkes, recognizer: Recognizer) -> Callable[[Images], Images]:
    """The original's steps for each photo, without caching between steps."""
    return lambda photos: torch.cat(
        [original(attack, recognizer, photo[None], row) for row, photo in enumerate(photos)]
    )


def original(attack: Fawkes, recognizer: Recognizer, photo: Images, row: int) -> Images:
    """Cloak one photo (1, 3, 112, 112) from the initial noise of our implementation."""
    start = torch.atanh((photo - 0.5) * TANH)
    noise = uniform(torch.tensor([row]), Draw(0, Stream.ATTACK), tuple(photo.shape[1:]))
    change = (1e-4 * (2 * noise - 1)).requires_grad_(True)
    optimizer = torch.optim.Adadelta([change], attack.lr, rho=0.95, eps=1e-7)
    weight, course, best, kept = 1.0, 1, 0.0, photo
    for step in range(attack.steps):
        natural = torch.tanh(start) / TANH + 0.5
        moved = natural + (torch.tanh(start + change) / TANH + 0.5 - natural).clamp(
            -attack.max_pixel_change / 255, attack.max_pixel_change / 255
        )
        dissimilar = (1 - ssim(natural, moved)[0]) / 2
        distance = (recognizer.embed(moved) - recognizer.embed(natural)).square().sum()
        loss = attack.penalty_weight * (dissimilar - attack.threshold).relu().square() - weight * distance
        (slope,) = torch.autograd.grad(loss, change)
        size, far = dissimilar.item(), distance.item()  # the two synchronizations
        change.grad = slope
        optimizer.step()
        if step == 0:
            change = (change.detach() - 0.01 * slope.sign()).requires_grad_(True)
            optimizer = torch.optim.Adadelta([change], attack.lr, rho=0.95, eps=1e-7)
        if size <= 1.1 * attack.threshold and far > best:
            best, kept = far, moved.detach()
        weight, course = scheduled(size / attack.threshold, weight, course)
    if best < 0.3 and size < 0.015 and far > best:
        kept = moved.detach()
    return (kept * 255).floor() / 255


def passes(attack: Fawkes, recognizer: Recognizer) -> Callable[[Images], Images]:
    """A bare forward and backward pass per step in one batch, a lower bound of the cost of cloaking."""

    def make(photos: Images) -> Images:
        moving = photos.clone().requires_grad_(True)
        for _ in range(attack.steps):
            torch.autograd.grad(recognizer.embed(moving).sum(), moving)
        return photos

    return make


def scheduled(share: float, weight: float, course: int) -> tuple[float, int]:
    if share <= 0.9 and weight <= 129:
        return (1.0 if course == -1 else 2 * weight), 1
    if share >= 1.1 and weight >= 1 / 129:
        return (1.0 if course == 1 else weight / 2), -1
    return 1.0, 0


def field(recognizer: TorchRecognizer, mode: str) -> list[Entrant]:
    """Our implementation first, the lower bound last."""
    attack = MODES[mode]
    naive = AsShipped(recognizer.as_shipped(), recognizer.preprocessing)
    return [
        Entrant(f"frbench fawkes {mode}", "prepared", batched(attack, recognizer), True),
        Entrant("the original's way", "as shipped", one_by_one(attack, naive), False),
        Entrant("the original's way", "prepared", one_by_one(attack, recognizer), False),
        Entrant("bare passes", "prepared", passes(attack, recognizer), True),
    ]


def race(entrants: Sequence[Entrant], photos: Images, rounds: int) -> np.ndarray:
    """Seconds (rounds, entrants) for all photos, after a warm-up on one photo each."""
    seconds, random = np.zeros((rounds, len(entrants))), np.random.default_rng(0)
    for entrant in entrants:
        entrant.make(photos[:1])
    for turn in range(rounds):
        for place in random.permutation(len(entrants)):
            started = perf_counter()
            entrants[place].make(photos)
            seconds[turn, place] = perf_counter() - started
        print(f"\r{entrants[0].name}: round {turn + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return seconds


def rows(entrants: Sequence[Entrant], photos: Images, seconds: np.ndarray) -> list[dict[str, Any]]:
    count = len(photos)
    return [
        {
            "entrant": entrant.name,
            "network": entrant.network,
            "images": count,
            "seconds_an_image": float(np.median(seconds[:, place])) / count,
            "images_a_second": count / float(np.median(seconds[:, place])),
            "times": ratio(seconds, place, 0),
        }
        for place, entrant in enumerate(entrants)
    ]


def bar(ours: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    words = f"{ours['entrant']}, against {other['entrant']} on the network {other['network']}"
    return {"bar": words, "times": other["times"], "met": other["times"] >= LEAST}


def markdown(result: Mapping[str, Any]) -> str:
    """A table, with what it was measured on above and the bars below."""
    about = result["setup"] | result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        f"{about['recognizer']} on {about['dataset']}, {about['rounds']} interleaved rounds, "
        f"{about['threads']} threads, {about['cpu']}; {versions}.",
        "",
        table_row(["entrant", "network", "images", "seconds/image", "images/s", "times ours", "MiB/image"]),
        table_row(["---"] * 2 + ["---:"] * 5),
    ]
    for row in result["rows"]:
        figures = [f"{row['seconds_an_image']:.3f}", f"{row['images_a_second']:.3f}", f"{row['times']:.2f}"]
        memory = f"{row['mib_an_image']:.1f}" if "mib_an_image" in row else ""
        lines.append(table_row([row["entrant"], row["network"], str(row["images"]), *figures, memory]))
    lines.append("")
    for bar in result["bars"]:
        verdict = "met" if bar["met"] else "MISSED"
        lines.append(f"- {bar['bar']}: {bar['times']:.2f} times (at least {LEAST:g}: {verdict})")
    return "\n".join(lines)


def load_subjects(options: argparse.Namespace) -> tuple[TorchRecognizer, PairSet]:
    config = compose_config([*default_faces(), *options.overrides, "device=cpu"])
    recognizer = torch_recognizer(config)
    return recognizer, open_pairs(config)


def run(options: argparse.Namespace) -> None:
    recognizer, pairs = load_subjects(options)
    counts = {"low": options.low, "high": options.high}
    photos = {mode: pairs.load(np.unique(pairs.probe)[:count]) for mode, count in counts.items() if count}
    if options.peak:
        mode, place = options.peak.split(":")
        entrant = field(recognizer, mode)[int(place)]
        entrant.make(photos[mode][:1])
        print(peak_growth(lambda: entrant.make(photos[mode])))
        return
    found: list[dict[str, Any]] = []
    bars: list[dict[str, Any]] = []
    for mode, faces in photos.items():
        entrants = field(recognizer, mode)
        found += rows(entrants, faces, race(entrants, faces, options.rounds))
        for place, row in enumerate(found[-len(entrants) :]):
            held = len(faces) if entrants[place].at_once else 1
            words = ["--peak", f"{mode}:{place}", f"--{mode}", str(held), *options.overrides]
            row["mib_an_image"] = in_subprocess(str(Path(__file__)), words) / held
        bars.append(bar(*found[-len(entrants) :][:2]))
    setup = {"recognizer": recognizer.name, "dataset": pairs.name, "rounds": options.rounds}
    result = {"setup": setup, "machine": machine(), "rows": found, "bars": bars}
    write_result(result, markdown(result), options.out)


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--low", type=int, default=16, help="photos to cloak in mode low, one batch; 0: none")
    parser.add_argument("--high", type=int, default=8, help="photos to cloak in mode high, one batch; 0: none")
    parser.add_argument("--out", type=Path, default=Path("results/bench_cloaks.json"))
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    return run_script(parser, run, words)


if __name__ == "__main__":
    sys.exit(main())
