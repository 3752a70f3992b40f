"""What is computed of each option of conf/ for its reference outputs: a small fixed input for every group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from conftest import random_batch, random_linear, random_pair_set
from support import recognizer_files, shipped_options, small_defenses, small_options
from support.cloaked_cells import Wearing, negatives, stage, turns, users
from support.reference_fits import faces
from support.reference_outputs import Entry, Outputs, Tolerance, classes, rounded, versions
from support.toy_cells import NoiseDefense, toy_cell
from support.toy_learners import lesson, network, people
from torch import Tensor

from frbench.attacks.lots import Lots, LotsDescent
from frbench.defenses.cloak_removal.cloaked_faces import CloakedFaces
from frbench.defenses.none import NoDefense
from frbench.harness.core.contracts import Draw, Images, Recipe, Verifier, Victim, View
from frbench.harness.core.verifiers import CosineVerifier, lifted
from frbench.harness.evaluation.cell import run_cell
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Linf, Unbounded
from frbench.harness.threat_model.goals import Cloak, Dodging, Impersonation

SIZE = 32  # LPIPS needs 31 pixels
BUDGET = Linf(8 / 255)


def numbers(values: Any) -> list[float]:
    return torch.as_tensor(values).detach().double().flatten().tolist()


def measurements(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, list[float]]]:
    """The numbers of a record under dotted names."""
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from measurements(value, f"{prefix}{name}.")
        elif isinstance(value, bool | int | float):
            yield f"{prefix}{name}", [float(value)]


def with_toy_recognizers(thing: Any) -> Any:
    """``thing`` with a linear recognizer in the place of each one inside, so that it needs no weight file."""
    if hasattr(thing, "embed"):
        return random_linear(112)
    if not is_dataclass(thing):
        return thing
    return replace(thing, **{each.name: with_toy_recognizers(getattr(thing, each.name)) for each in fields(thing)})


def attack(thing: Any, folder: Path) -> Outputs:
    """Three pairs for each goal on a linear recognizer."""
    outputs: dict[str, list[float]] = {}
    for goal in (Dodging(), Impersonation()):
        name, pairs = type(goal).__name__.lower(), random_batch(3, SIZE, same=goal == Dodging())
        view = View(CosineVerifier(random_linear(SIZE)), torch.full((3,), 0.3))
        result = thing(view, pairs, goal, BUDGET)
        change = (result.images - pairs.probe).flatten(1)
        with torch.no_grad():
            outputs[f"{name} score"] = numbers(view.score(result.images, view.enroll(pairs)))
        outputs[f"{name} l2"] = numbers(change.norm(dim=1))
        outputs[f"{name} linf"] = numbers(255 * change.abs().amax(dim=1))
        outputs[f"{name} achieved"] = numbers(result.achieved)
        outputs[f"{name} iterations"] = numbers(result.iterations)
    return outputs


def budget(thing: Any, folder: Path) -> Outputs:
    clean, wild = (random_batch(3, SIZE, seed=seed).probe for seed in (0, 1))
    near = clean + 0.1 * (wild - clean)
    ball = thing.around(clean)
    return {
        "size": numbers(thing.size(near, clean)),
        "fits": numbers(thing.fits(near, clean)),
        "projected": numbers((thing.project(wild, clean) - clean).abs().mean(dim=(1, 2, 3))),
        "step": numbers((ball.step(clean, wild - 0.5, 0.5) - clean).abs().mean(dim=(1, 2, 3))),
        "sample": numbers((ball.sample(wild) - clean).abs().mean(dim=(1, 2, 3))),
    }


def goal(thing: Any, folder: Path) -> Outputs:
    scores, pairs = torch.linspace(-1, 1, 9), random_batch(2, 8)
    return {
        "loss": numbers(thing.loss(scores)),
        "achieved": numbers(thing.achieved(scores, torch.full((9,), 0.25))),
        "beyond": numbers(thing.beyond(scores, 0.1)),
        "eligible": numbers(thing.eligible(torch.tensor([True, False]))),
        "target": numbers(thing.target(pairs).mean(dim=(1, 2, 3))),
    }


def threat(thing: Any, folder: Path) -> Outputs:
    """The views of a random defense: their scores, thresholds, margins and queries."""
    bare, pairs = CosineVerifier(random_linear(8)), random_batch(3, 8)
    victim = Victim(bare, NoiseDefense(), lifted, lambda verifier: torch.full((3,), 0.3 + 0.1 * verifier.random), 0)
    outputs: dict[str, list[float]] = {}
    for name, view in with_toy_surrogate(thing).views(victim).items():
        outputs[f"{name} score"] = numbers(view.score(pairs.probe, view.enroll(pairs)))
        outputs[f"{name} limits"] = [*numbers(view.thresholds), view.margin, float(view.queries or 0)]
    return outputs


def with_toy_surrogate(thing: Any) -> Any:
    return replace(thing, surrogate=random_linear(8, seed=9)) if hasattr(thing, "surrogate") else thing


def defense(thing: Any, folder: Path) -> Outputs:
    """Fitted on thirty toy faces where it has to be; scores, and gradients through each relaxation."""
    recognizer = small_defenses.SmoothingRecognizer(torch.randn(2352, 32, generator=torch.Generator().manual_seed(0)))
    ready = small_defenses.fit(thing, recognizer, folder.parent / "results")  # what several share is fitted once
    bare = CosineVerifier(recognizer)
    outputs = {"score": numbers(_scores(ready.protect(bare), small_defenses.pictures(0)))}
    for name, relaxed in ready.relaxations(bare).items():
        probe = small_defenses.pictures(0).requires_grad_(True)
        (gradient,) = torch.autograd.grad(_scores(relaxed, probe).sum(), probe)
        outputs[f"{name} gradient"] = numbers(gradient.flatten(1).norm(dim=1))
    if hasattr(ready, "purifier"):
        with torch.no_grad():
            purified = ready.purifier()(small_defenses.pictures(0), small_defenses.INDEX, Draw())
        outputs["change"] = numbers((purified - small_defenses.pictures(0)).abs().mean(dim=(1, 2, 3)))
    return outputs


def _scores(verifier: Verifier, probe: Images) -> Tensor:
    return small_defenses.scores(verifier, probe, small_defenses.pictures(1), small_defenses.INDEX, Draw())


def dataset(thing: Any, folder: Path) -> Outputs:
    """Statistics of the first images, and the first pairs or users."""
    opened = with_toy_recognizers(thing).open(folder / "cache")
    outputs = images(opened.images)
    for name in ("probe", "reference", "decoy", "same", "fold", "attacked", "target"):  # pairs or users
        if (rows := getattr(opened, name, None)) is not None:
            outputs[name] = [float(len(rows)), *numbers(rows[:6])]
    return outputs


def identities(thing: Any, folder: Path) -> Outputs:
    opened = thing.open(folder / "cache")
    return {**images(opened.images), "identity": [float(len(opened.people)), *numbers(opened.identity[:6])]}


def images(stack: Any) -> dict[str, list[float]]:
    first = np.asarray(stack[np.arange(min(4, len(stack)))], np.float64)
    return {"mean": first.mean(axis=(1, 2, 3)).tolist(), "deviation": first.std(axis=(1, 2, 3)).tolist()}


def recognizer(thing: Any, folder: Path) -> Outputs:
    return recognizer_files.embeddings(thing)


def initialized(thing: Any, folder: Path) -> Outputs:
    return recognizer_files.drawn(thing.make, thing.module)


def protocol(thing: Any, folder: Path) -> Outputs:
    """The measurements of a toy cell of this protocol."""
    fitting = {
        "verification": {},
        "feature_distance": {"attack": Lots(LotsDescent()), "goal": Impersonation(), "budget": Unbounded()},
        "cloaking": {"attack": Wearing(negatives), "goal": Cloak(), "budget": Unbounded(), "defense": NoDefense()},
    }[thing.kind]
    pairs = users() if thing.kind == "cloaking" else random_pair_set(size=16)
    cell = toy_cell(pairs, random_linear(pairs.images.shape[1]), protocol=thing, **fitting)
    record = run_cell(cell, ResultStore(folder))
    assert record["status"] == "done", record["reason"]
    return dict(measurements(record["measurements"]))


def tracker(thing: Any, folder: Path) -> Outputs:
    """People named for the test photos of each scene, and how many training photos are named right."""
    photos = torch.from_numpy(people(4, 7).images).permute(0, 3, 1, 2).float() / 255
    whole = network().module(0).eval()
    recognizer = SimpleNamespace(name="toy", module=lambda: whole, embed=lambda given: unit_length(whole(given)))
    test = torch.arange(28) % 7 % 3 == 0
    changes = {"training_images": lambda scene: photos[~test].clone(), "test_images": lambda: photos[test]}
    here = stage(people=4, shots=7, dim=16, recognizer=recognizer, **changes)
    answers = list(thing.predict(here, turns(here)))
    return {
        "predicted": [each for answer in answers for each in numbers(answer.ranked[:, 0])],
        "train_accuracy": [float(answer.train_correct.mean()) for answer in answers],
    }


def training(thing: Any, folder: Path) -> Outputs:
    """The figures of an epoch of five steps on twelve people."""
    recipe, context = small_training(thing), lesson(people(12, 2), folder / "unfinished")
    artifact = recipe.fit(replace(context, part=lambda part: part.fit(context)))
    return {name: numbers(values) for name, values in artifact.items() if name.startswith("history/")}


def small_training(recipe: Any) -> Recipe:
    brief = replace(recipe.schedule, epochs=1, batch_size=8)
    if hasattr(recipe, "start"):
        return replace(recipe, start=small_training(recipe.start), schedule=brief)
    return replace(recipe, network=network(), schedule=brief)


def audit(thing: Any, folder: Path) -> Outputs:
    """What it finds of a toy cell."""
    cell = toy_cell(random_pair_set(size=16), random_linear(16), audit=thing)
    found = run_cell(cell, ResultStore(folder))["measurements"]["attack"]["audit"]
    return dict(measurements(found))


def maker(thing: Any, folder: Path) -> Outputs:
    """The sizes of its cloaks of four photos."""
    photos, made = faces(4, SIZE), replace(thing, surrogate=random_linear(SIZE))
    context = lesson(photos, folder / "unfinished")
    context = replace(context, part=lambda part: part.fit(context))
    cloaked = CloakedFaces({"made": made}, 4).make(context)
    change = cloaked.cloaked.double() - torch.from_numpy(photos.images[cloaked.rows]).double()
    return {
        "mean": numbers(change.abs().mean(dim=(1, 2, 3))),
        "l2": numbers(change.flatten(1).norm(dim=1)),
    }


CASES: dict[str, Callable[[Any, Path], Outputs]] = {
    "attack": attack,
    "budget": budget,
    "goal": goal,
    "threat": threat,
    "defense": defense,
    "dataset": dataset,
    "identities": identities,
    "recognizer": recognizer,
    "network": initialized,
    "protocol": protocol,
    "tracker": tracker,
    "training": training,
    "audit": audit,
    "maker": maker,
}

# Between the instruction sets of CPUs (ATEN_CPU_CAPABILITY=default, SSE4 in oneDNN and MKL, against AVX-512) the last
# bits differ. Attacks by signs of small gradients grow that to 1 % of a size, mixed precision to 0.4 % of a loss,
# and fits multiply it too. The other groups are a few operations in float32.
TOLERANCES: dict[str, Tolerance] = dict.fromkeys(CASES, Tolerance(1e-3, 1e-5)) | {
    "attack": Tolerance(2e-2, 1e-4),
    "training": Tolerance(1e-2, 1e-4),
    "defense": Tolerance(1e-2, 1e-4),
    "maker": Tolerance(1e-2, 1e-4),
}


def options() -> list[tuple[str, str]]:
    """(group, option) of everything that has reference outputs."""
    return [(group, option) for group in CASES for option in shipped_options.options(group)]


def measured(group: str, option: str, folder: Path) -> tuple[Entry, list[type]]:
    """The versions and outputs of an option, and the classes that it is built of.

    folder: what the options of a session share; the option's own files lie in a folder inside it.
    """
    folder = folder / f"{group}={option}".replace("/", "_")
    folder.mkdir()
    config = small_options.supplied(group, option, folder)
    with recognizer_files.answered(config) as config:
        thing = shipped_options.built(config, group)
        outputs = CASES[group](small_options.small(group, option, thing), folder) if thing is not None else {}
    made_of = list(classes(thing))
    return Entry(versions(thing), rounded(outputs)), made_of
