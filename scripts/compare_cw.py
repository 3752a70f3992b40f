"""Our CW against foolbox and torchattacks on the same pairs: median L2, success, passes and seconds.

    python scripts/compare_cw.py [--pairs 32] [--steps 50] [dataset=... recognizer=... overrides as for frbench run]

Norms are of float images, infinite for failures; success is by the score alone. torchattacks uses one constant for all
pairs, so several are tried, and ours runs again with as many passes as its best. It uses LFW if FRBENCH_DATA is set.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from _common import compose_config, default_faces, open_pairs
from torch import Tensor, nn

from frbench.attacks.cw import CarliniWagner
from frbench.harness.config import build
from frbench.harness.core.contracts import Goal, Images, View
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.metrics.thresholds import best_threshold
from frbench.harness.threat_model.budgets import L2, Unbounded
from frbench.harness.threat_model.goals import Dodging, Impersonation

CONSTANTS, RATES = (1.0, 10.0), (1e-2, 1e-3)  # of torchattacks


class TwoClasses(nn.Module):
    """The decision as two positive logits, as torchattacks needs, whose difference is the score minus the target."""

    def __init__(self, view: View, pairs: PairBatch, goal: Goal, network: nn.Module) -> None:
        super().__init__()
        self.view, self.network, self.calls = view, network, 0
        self.template, self.aim = view.enroll(pairs), view.aim(goal, pairs.index)
        self.eval()

    def forward(self, images: Images) -> Tensor:
        self.calls += 1
        over = self.view.score(images, self.template) - self.aim
        return 3 + torch.stack([over, -over], dim=1) / 2


@dataclass(frozen=True)
class Task:
    view: View
    pairs: PairBatch
    goal: Goal
    network: nn.Module

    @property
    def labels(self) -> Tensor:
        """The true class: 0 match, 1 non-match."""
        return (~self.pairs.same).to(torch.int64)

    def model(self) -> TwoClasses:
        return TwoClasses(self.view, self.pairs, self.goal, self.network)

    def sizes(self, images: Images) -> Tensor:
        model = self.model()
        with torch.no_grad():
            achieved = self.goal.achieved(self.view.score(images, model.template), model.aim)
        return torch.where(achieved, L2(1.0).size(images, self.pairs.probe), torch.inf)


Run = Callable[[Task], tuple[Images, float]]  # images, and gradients taken for each pair


def ours(**options: Any) -> Run:
    def run(task: Task) -> tuple[Images, float]:
        result = CarliniWagner(**options)(task.view, task.pairs, task.goal, Unbounded())
        return result.images, float(result.iterations.float().mean())

    return run


def torchattacks_cw(constant: float, rate: float, steps: int) -> Run:
    def run(task: Task) -> tuple[Images, float]:
        import torchattacks

        model = task.model()
        attack = torchattacks.CW(model, c=constant, lr=rate, steps=steps)
        return attack(task.pairs.probe, task.labels).detach(), model.calls

    return run


def foolbox_cw(**options: Any) -> Run:
    def run(task: Task) -> tuple[Images, float]:
        import foolbox

        model = task.model()
        shown = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        attack = foolbox.attacks.L2CarliniWagnerAttack(**options)
        return attack.run(shown, task.pairs.probe, foolbox.Misclassification(task.labels)).detach(), model.calls

    return run


def contenders(steps: int) -> Iterator[tuple[str, Run]]:
    yield "frbench", ours()
    yield "frbench, 120 steps", ours(steps=120)
    yield f"foolbox, 9 x {steps}", foolbox_cw(steps=steps)
    yield (
        f"foolbox, 5 x {steps}, c 1, lr 1e-3",
        foolbox_cw(binary_search_steps=5, steps=steps, initial_const=1.0, stepsize=1e-3),
    )
    for constant in CONSTANTS:
        for rate in RATES:
            yield f"torchattacks, c {constant:g}, lr {rate:g}", torchattacks_cw(constant, rate, steps)


def timed(name: str, run: Run, task: Task) -> tuple[float, int]:
    """Print a line on ``run`` and return its median norm and its passes."""
    started = perf_counter()
    images, passes = run(task)
    seconds = perf_counter() - started
    sizes = task.sizes(images)
    median, won = float(sizes.median()), int(sizes.isfinite().sum())
    print(
        f"  {name:<36} median L2 {median:7.4f}  {won:3d}/{len(sizes)}  {passes:6.1f} passes  {seconds:7.1f} s",
        flush=True,
    )
    return median, round(passes)


def compare(task: Task, steps: int) -> None:
    found = {name: timed(name, run, task) for name, run in contenders(steps)}
    theirs = {median: passes for name, (median, passes) in found.items() if name.startswith("torchattacks")}
    passes = theirs[min(theirs)]
    equal = ours(binary_search_steps=1, steps=max(passes - CarliniWagner.newton_warmup_steps, 1), line_search_steps=0)
    timed(f"frbench at {passes} passes", equal, task)


def tasks(pairs: PairSet, recognizer: Any, count: int) -> Iterator[Task]:
    """``count`` pairs per goal that the recognizer decides correctly at its best threshold on the first 600."""
    verifier = CosineVerifier(recognizer)
    scores = np.concatenate([_scores(verifier, pairs.batch(part)) for part in np.array_split(np.arange(600), 10)])
    threshold = float(best_threshold(scores, pairs.same[:600]))
    view = View(verifier, torch.full((len(pairs),), threshold), margin=1e-3)
    for goal in (Dodging(), Impersonation()):
        same = torch.from_numpy(pairs.same[:600])
        held = ~goal.achieved(torch.from_numpy(scores), torch.tensor(threshold))
        rows = (goal.eligible(same) & held).nonzero().flatten()[:count].numpy()
        yield Task(view, pairs.batch(rows), goal, recognizer.network)


@torch.no_grad()
def _scores(verifier: CosineVerifier, batch: PairBatch) -> np.ndarray:
    view = View(verifier, torch.zeros(1))
    return view.score(batch.probe, view.enroll(batch)).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=32, help="pairs per goal")
    parser.add_argument("--steps", type=int, default=50, help="steps of the libraries, in each of foolbox's rounds")
    options, words = parser.parse_known_args()
    words = [*default_faces(), *words, "device=cpu"]
    config = compose_config(words)
    pairs = open_pairs(config)
    recognizer = build.instantiate(config["recognizer"], "recognizer")
    for task in tasks(pairs, recognizer, options.pairs):
        print(f"{type(task.goal).__name__}, {len(task.pairs)} pairs of {pairs.name}, {recognizer.name}")
        compare(task, options.steps)


if __name__ == "__main__":
    main()
