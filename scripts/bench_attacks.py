"""What whole attacks cost, beside those of the libraries: PGD to success through a defense, and CW.

    python scripts/bench_attacks.py [--rounds 3] [--pairs 32] [--races pgd] [overrides as for frbench run]

Entrants of a race take turns in one process on the same pairs of both goals, in an order drawn anew each round; ratios
are medians of the ratios within a round. Peak memory is that of a process of its own for each. Wants an idle machine.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from bench import REAL, machine, ratio, tasks
from bench_memory import apart, grown
from bench_peers import THRESHOLD, AsShipped, Task, labels, two_classes
from hydra import compose, initialize_config_module
from telling import told, written

from frbench.attacks.cw import CarliniWagner
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.attacks.torchattacks import TorchAttack
from frbench.harness.config import build
from frbench.harness.core.contracts import Defense, Draw, Images, Recognizer, Verifier, View
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.threat_model.budgets import Linf, Unbounded, norm

EPSILON, STEP, STEPS = 8 / 255, 2 / 255, 40
FOOLBOX = {"binary_search_steps": 9, "steps": 50, "stepsize": 1e-2}  # its defaults but for steps (10,000)
BARS = {"pgd": 8.0, "cw": 2.0}

Make = Callable[[View, Task], Images]


@dataclass(frozen=True)
class Entrant:
    """One attack on one network, through the race's verifier."""

    name: str
    network: str
    verifier: Verifier
    layout: torch.memory_format
    make: Make

    def images(self, task: Task) -> Images:
        shown = replace(task.pairs, probe=task.pairs.probe.contiguous(memory_format=self.layout))
        thresholds = torch.full((int(shown.index.max()) + 1,), THRESHOLD)
        return self.make(View(self.verifier, thresholds), Task(task.name, task.goal, shown))


@dataclass(frozen=True)
class Race:
    """``judge`` decides for all; the first entrant is ours, and each bar is over the second."""

    name: str
    title: str
    judge: Verifier
    entrants: Sequence[Entrant]


def our_pgd(view: View, task: Task) -> Images:
    attack = ProjectedDescent(steps=STEPS, rel_stepsize=STEP / EPSILON, early_stop=True)
    return attack(view, task.pairs, task.goal, Linf(EPSILON)).images


def their_pgd(view: View, task: Task) -> Images:
    attack = TorchAttack("PGD", {"alpha": STEP, "steps": STEPS, "random_start": False})
    return attack(view, task.pairs, task.goal, Linf(EPSILON)).images


def our_cw(view: View, task: Task) -> Images:
    return CarliniWagner()(view, task.pairs, task.goal, Unbounded()).images


def foolbox_cw(view: View, task: Task) -> Images:
    import foolbox

    model = foolbox.PyTorchModel(two_classes(view, task), bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.L2CarliniWagnerAttack(**FOOLBOX)
    criterion = foolbox.Misclassification(labels(task))
    images: Images = attack.run(model, task.pairs.probe, criterion)
    return images.detach()


def races(recognizer: TorchRecognizer, defense: Defense) -> dict[str, Race]:
    """Both races; libraries that are not installed do not start."""
    last, whole = torch.channels_last, torch.contiguous_format
    naive = AsShipped(recognizer.as_shipped().requires_grad_(False), recognizer.preprocessing)

    def through(network: Recognizer) -> Verifier:
        return next(iter(defense.relaxations(CosineVerifier(network)).values()))

    pgd = [Entrant("frbench PGD to success", "prepared", through(recognizer), last, our_pgd)]
    if find_spec("torchattacks"):
        pgd.append(Entrant("torchattacks PGD", "as shipped, frozen", through(naive), whole, their_pgd))
    cw = [Entrant("frbench CW", "prepared", CosineVerifier(recognizer), last, our_cw)]
    if find_spec("foolbox"):
        cw.append(Entrant("foolbox CW", "as shipped, frozen", CosineVerifier(naive), whole, foolbox_cw))
        cw.append(Entrant("foolbox CW", "prepared", CosineVerifier(recognizer), whole, foolbox_cw))
    return {
        "pgd": Race("pgd", "PGD-40 through the defense", defense.protect(CosineVerifier(recognizer)), pgd),
        "cw": Race("cw", "CW-L2, no defense", CosineVerifier(recognizer), cw),
    }


def judged(race: Race, task: Task, images: Images) -> dict[str, np.ndarray]:
    """Success and L2 of each pair; the L2 of a failure is infinite."""
    with torch.no_grad():
        template = race.judge.enroll(task.pairs.reference, task.pairs.index, Draw())
        clean = race.judge.score(task.pairs.probe, template, Draw())
        scores = race.judge.score(images, template, Draw())
    line = torch.tensor(THRESHOLD)
    success, counted = task.goal.achieved(scores, line), ~task.goal.achieved(clean, line)
    size = norm(images - task.pairs.probe).flatten().masked_fill(~success, torch.inf)
    return {"success": success[counted].numpy(), "l2": size[counted].numpy()}


def run_race(race: Race, work: Sequence[Task], rounds: int) -> dict[str, Any]:
    """Seconds (rounds, entrants) of both goals together, after one round that only warms up; and what came of it."""
    seconds, random, found = np.zeros((rounds, len(race.entrants))), np.random.default_rng(0), {}
    for turn in range(-1, rounds):
        for place in random.permutation(len(race.entrants)):
            started = perf_counter()
            images = [race.entrants[place].images(task) for task in work]
            if turn >= 0:
                seconds[turn, place] = perf_counter() - started
            found[int(place)] = [judged(race, task, each) for task, each in zip(work, images, strict=True)]
        print(f"\r{race.name}: round {turn + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows = [_row(race, seconds, place, found[place], work) for place in range(len(race.entrants))]
    return {"title": race.title, "rows": rows, "seconds": seconds.tolist(), "bar": BARS[race.name]}


def _row(
    race: Race, seconds: np.ndarray, place: int, found: Sequence[Mapping[str, np.ndarray]], work: Sequence[Task]
) -> dict[str, Any]:
    entrant = race.entrants[place]
    goals = {task.name: _outcome(each) for task, each in zip(work, found, strict=True)}
    facts = {"entrant": entrant.name, "network": entrant.network, "seconds": float(np.median(seconds[:, place]))}
    return facts | {"times": ratio(seconds, place, 0), "goals": goals}


def _outcome(found: Mapping[str, np.ndarray]) -> dict[str, float]:
    rate, median = float(found["success"].mean()), float(np.median(found["l2"]))
    return {"asr": rate, "of": len(found["l2"]), "median_l2": median}


def markdown(result: Mapping[str, Any]) -> str:
    """A table for each race, with what it was measured on above."""
    about = result["setup"] | result["machine"]
    lines = [
        f"{about['recognizer']} on {about['dataset']}, {about['pairs']} pairs a goal, {about['rounds']} interleaved "
        f"rounds, {about['threads']} threads, {about['cpu']}; "
        f"{', '.join(f'{name} {version}' for name, version in about['versions'].items())}."
    ]
    for race in result["races"]:
        goals = list(race["rows"][0]["goals"])
        heads = [f"{goal}: ASR, median L2" for goal in goals]
        lines += ["", f"{race['title']} (ours at least {race['bar']:g} times faster)", ""]
        lines += [_line(["entrant", "network", "seconds", "times ours", "peak MiB", *heads])]
        lines += [_line(["---"] * 2 + ["---:"] * (3 + len(heads)))]
        for row in race["rows"]:
            ends = [f"{100 * g['asr']:.1f} % of {g['of']}, {g['median_l2']:.3f}" for g in row["goals"].values()]
            figures = [f"{row['seconds']:.1f}", f"{row['times']:.2f}", f"{row['peak_mib']:.0f}"]
            lines.append(_line([row["entrant"], row["network"], *figures, *ends]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def run(options: argparse.Namespace) -> None:
    real = REAL if os.environ.get("FRBENCH_DATA") else ()
    words = [*real, "defense=pca", f"dataset.limit={2 * options.pairs}", *options.overrides, "device=cpu"]
    with initialize_config_module("frbench.conf", version_base="1.3"):
        config = build.plain(compose("run", words))
    recognizer = build.instantiate(config["recognizer"], "recognizer")
    if not isinstance(recognizer, TorchRecognizer):
        raise ConfigError(f"recognizer={recognizer.name} has no network as shipped; take one from a torch checkpoint")
    defense = build.fitted_defense(config, build.make_defense(config), recognizer, torch.device("cpu"))
    pairs = build.instantiate(config["dataset"], "dataset").open(build.image_cache(config))
    field = {name: race for name, race in races(recognizer, defense).items() if name in options.races.split(",")}
    work = tasks(pairs, options.pairs)
    if options.peak:
        race, place = options.peak.split(":")
        entrant = field[race].entrants[int(place)]
        print(grown(lambda: [entrant.images(task) for task in work]))
        return
    found = [run_race(race, work, options.rounds) for race in field.values()]
    for race, name in zip(found, field, strict=True):
        for place, row in enumerate(race["rows"]):
            words = ["--pairs", str(options.pairs), "--peak", f"{name}:{place}", *options.overrides]
            row["peak_mib"] = apart(__file__, words)
    setup = {"recognizer": recognizer.name, "dataset": pairs.name, "pairs": options.pairs, "rounds": options.rounds}
    result = {"setup": setup, "machine": machine(), "races": found}
    written(result, markdown(result), options.out)


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=32, help="pairs of each goal, one batch")
    parser.add_argument("--out", type=Path, default=Path("results/bench_attacks.json"))
    parser.add_argument("--races", default="pgd,cw", help="which of them to run")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    return told(parser, run, words)


if __name__ == "__main__":
    sys.exit(main())
