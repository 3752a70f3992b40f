"""Time and memory of whole attacks against those of libraries: PGD to success through a defense, and CW.

    python scripts/bench_attacks.py [--rounds 3] [--pairs 32] [--races pgd] [overrides as for frbench run]

Entrants of a race take turns in one process on the same pairs of both goals in random order; ratios are medians of the
ratios within a round. Peak memory is measured in a separate process each. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from _common import compose_config, default_faces, open_pairs, run_script, table_row, torch_recognizer, write_result
from bench import machine, ratio, tasks
from bench_memory import in_subprocess, peak_growth
from bench_peers import THRESHOLD, AsShipped, Task, labels, two_classes

from frbench.attacks.cw import CarliniWagner
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.attacks.torchattacks import TorchAttack
from frbench.harness.config import build
from frbench.harness.core.contracts import Defense, Draw, Images, Recognizer, Verifier, View
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
    """A comparison; ``judge`` evaluates all entrants, the first is ours, and the limit is against the second."""

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
    """Both races, with the libraries that are installed."""
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
    """Success and L2 norm of each pair; the norm of a failure is infinite."""
    with torch.no_grad():
        template = race.judge.enroll(task.pairs.reference, task.pairs.index, Draw())
        clean = race.judge.score(task.pairs.probe, template, Draw())
        scores = race.judge.score(images, template, Draw())
    line = torch.tensor(THRESHOLD)
    success, counted = task.goal.achieved(scores, line), ~task.goal.achieved(clean, line)
    size = norm(images - task.pairs.probe).flatten().masked_fill(~success, torch.inf)
    return {"success": success[counted].numpy(), "l2": size[counted].numpy()}


def run_race(race: Race, work: Sequence[Task], rounds: int) -> dict[str, Any]:
    """Seconds (rounds, entrants) of both goals together after a warm-up round, and the outcomes."""
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
    """A table for each race, with the setup above."""
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
        lines += [table_row(["entrant", "network", "seconds", "times ours", "peak MiB", *heads])]
        lines += [table_row(["---"] * 2 + ["---:"] * (3 + len(heads)))]
        for row in race["rows"]:
            ends = [f"{100 * g['asr']:.1f} % of {g['of']}, {g['median_l2']:.3f}" for g in row["goals"].values()]
            figures = [f"{row['seconds']:.1f}", f"{row['times']:.2f}", f"{row['peak_mib']:.0f}"]
            lines.append(table_row([row["entrant"], row["network"], *figures, *ends]))
    return "\n".join(lines)


def run(options: argparse.Namespace) -> None:
    words = [*default_faces(), "defense=pca", f"dataset.limit={2 * options.pairs}", *options.overrides, "device=cpu"]
    config = compose_config(words)
    recognizer = torch_recognizer(config)
    defense = build.fitted_defense(config, build.make_defense(config), recognizer, torch.device("cpu"))
    pairs = open_pairs(config)
    field = {name: race for name, race in races(recognizer, defense).items() if name in options.races.split(",")}
    work = tasks(pairs, options.pairs)
    if options.peak:
        race, place = options.peak.split(":")
        entrant = field[race].entrants[int(place)]
        print(peak_growth(lambda: [entrant.images(task) for task in work]))
        return
    found = [run_race(race, work, options.rounds) for race in field.values()]
    for race, name in zip(found, field, strict=True):
        for place, row in enumerate(race["rows"]):
            words = ["--pairs", str(options.pairs), "--peak", f"{name}:{place}", *options.overrides]
            row["peak_mib"] = in_subprocess(__file__, words)
    setup = {"recognizer": recognizer.name, "dataset": pairs.name, "pairs": options.pairs, "rounds": options.rounds}
    result = {"setup": setup, "machine": machine(), "races": found}
    write_result(result, markdown(result), options.out)


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=32, help="pairs of each goal, one batch")
    parser.add_argument("--out", type=Path, default=Path("results/bench_attacks.json"))
    parser.add_argument("--races", default="pgd,cw", help="which of them to run")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    return run_script(parser, run, words)


if __name__ == "__main__":
    sys.exit(main())
