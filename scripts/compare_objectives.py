"""Final cosines of PGD and APGD at equal steps against three attack libraries on the same pairs.

    python scripts/compare_objectives.py [--pairs 64] [--apgd-pairs 8] [--steps 20,100] [--eps 8,2] [overrides]

Every PGD starts at the clean image and steps 1.5 radii over the number of steps; all attack the prepared network.
The APGD of torchattacks handles one pair at a time, hence fewer pairs, and draws its own start. It uses real faces if
FRBENCH_DATA is set, else synthetic ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import product

import torch
from _common import compose_config, default_faces, open_pairs, run_script, torch_recognizer
from bench import tasks
from bench_peers import LIBRARIES, STRIDE, THRESHOLD, AsShipped, Descend, Task, labels, two_classes
from torch import Tensor

from frbench.attacks.apgd import Apgd
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.attacks.torchattacks import seeded
from frbench.harness.core.contracts import Images, View
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.threat_model.budgets import Linf

Make = Callable[[View, Task, float, int], Images]


def our_pgd(view: View, task: Task, eps: float, steps: int) -> Images:
    return ProjectedDescent(steps=steps, rel_stepsize=STRIDE / steps)(view, task.pairs, task.goal, Linf(eps)).images


def our_apgd(view: View, task: Task, eps: float, steps: int) -> Images:
    return Apgd(steps=steps)(view, task.pairs, task.goal, Linf(eps)).images


def library_pgd(attack: Descend) -> Make:
    """PGD of a library with the step size ``STRIDE * eps / steps``."""
    return lambda view, task, eps, steps: attack(view, task, steps, eps, STRIDE * eps / steps)


def torchattacks_apgd(view: View, task: Task, eps: float, steps: int) -> Images:
    """The image of best loss; torchattacks itself returns the clean image without success."""
    import torchattacks

    found = []
    for row in range(len(task.pairs)):
        alone = Task(task.name, task.goal, task.pairs[slice(row, row + 1)])
        attack = torchattacks.APGD(two_classes(view, alone), eps=eps, steps=steps)
        with seeded(row):
            _, images = attack.perturb(alone.pairs.probe.contiguous(), labels(alone), best_loss=True)
        found.append(images.detach())
    return torch.cat(found)


OUR_APGD = "frbench APGD"
OURS: Mapping[str, Make] = {"frbench PGD": our_pgd, OUR_APGD: our_apgd}
FIXED: Mapping[str, Make] = {name: library_pgd(attack) for name, attack in LIBRARIES.items()}


def entrants(pairs: int, fewer: int) -> Iterator[tuple[int, Mapping[str, Make]]]:
    """Numbers of pairs per goal and the attacks compared on them, with the libraries that are installed."""
    yield pairs, dict(OURS) | {f"{name} PGD": make for name, make in FIXED.items() if find_spec(name)}
    if find_spec("torchattacks") and fewer:
        yield min(fewer, pairs), {OUR_APGD: our_apgd, "torchattacks APGD": torchattacks_apgd}


def cosines(view: View, task: Task, images: Images) -> Tensor:
    with torch.no_grad():
        return view.score(images, view.enroll(task.pairs))


def compare(recognizer: TorchRecognizer, work: Sequence[Task], options: argparse.Namespace) -> Iterator[str]:
    """Iterate over the rows of the Markdown table."""
    network = AsShipped(recognizer.network, recognizer.preprocessing)
    thresholds = torch.full((1 + max(int(task.pairs.index.max()) for task in work),), THRESHOLD)
    view = View(CosineVerifier(network), thresholds)
    heads = [f"{task.name}: cosine | our APGD as far" for task in work]
    yield f"| L-inf /255 | steps | pairs | attack | {' | '.join(heads)} |"
    yield "|" + " ---: |" * 3 + " --- |" + " ---: | ---: |" * len(work)
    for eps, steps in product(options.eps, options.steps):
        for count, field in entrants(options.pairs, options.apgd_pairs):
            part = [replace(task, pairs=task.pairs[slice(count)]) for task in work]
            found = {
                name: [cosines(view, task, make(view, task, eps / 255, int(steps))) for task in part]
                for name, make in field.items()
            }
            for name, scores in found.items():
                cells = [_cells(*each) for each in zip(part, scores, found[OUR_APGD], strict=True)]
                yield f"| {eps:g} | {steps:g} | {count} | {name} | {' | '.join(cells)} |"


def _cells(task: Task, scores: Tensor, apgd: Tensor) -> str:
    """Mean cosine, and the share of pairs on which our APGD reaches at least as far."""
    as_far = (task.goal.loss(apgd) <= task.goal.loss(scores)).float().mean()
    return f"{scores.mean():.4f} | {100 * as_far:.0f} %"


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def run(options: argparse.Namespace) -> None:
    chosen = [*default_faces(), f"dataset.limit={2 * options.pairs}"]
    config = compose_config([*chosen, *options.overrides, "device=cpu"])
    recognizer = torch_recognizer(config)
    pairs = open_pairs(config)
    for line in compare(recognizer, tasks(pairs, options.pairs), options):
        print(line, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=64, help="pairs of each goal, one batch")
    parser.add_argument("--apgd-pairs", type=int, default=8, help="of these for torchattacks' APGD; 0 for none")
    parser.add_argument("--steps", type=_numbers, default=[20, 100])
    parser.add_argument("--eps", type=_numbers, default=[8, 2], help="gray levels of 255")
    return run_script(parser, run, words)


if __name__ == "__main__":
    sys.exit(main())
