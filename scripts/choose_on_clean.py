"""Clean accuracy for several values of an option of PIN, AIS or a baseline, on people held out from the fit.

    python scripts/choose_on_clean.py recipe.cost.sparsity 1e-6,3e-6,1e-5,3e-5,1e-4 defense=pin
    python scripts/choose_on_clean.py recipe.selector.initial_leading 900,1100,1300 defense=ais_warmup [--pairs 1000]

It chooses operating points without attacks or test data: the defense is fitted on four fifths of the people, and the
pairs are of the others. ``defense=threshold`` (option ``sparsity``), which PIN approximates, needs no training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import compose_config, default_faces, run_script

from frbench.datasets.io.image_store import Stack
from frbench.datasets.io.pair_lists import PairList, assemble
from frbench.datasets.io.pair_subsets import Subset
from frbench.defenses.subspace.eigenfaces import Eigenspace, gray
from frbench.harness.config import build, folders
from frbench.harness.core.contracts import Draw, Fittable
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet, PairSet
from frbench.harness.core.verifiers import lifted
from frbench.harness.metrics import verification as metrics
from frbench.harness.metrics.confidence import wilson
from frbench.harness.recognizers.inference import resolve_device
from frbench.harness.training import artifacts as fitting

FOLDS = 10


@dataclass(frozen=True)
class Opened:
    """A face source that is already open."""

    faces: FaceSet

    @property
    def name(self) -> str:
        return self.faces.name

    def open(self, cache: Path) -> FaceSet:
        return self.faces


def halves(faces: FaceSet) -> tuple[FaceSet, FaceSet]:
    """Split by person: four fifths to fit on, one fifth to make pairs of."""
    held = faces.identity % 5 == 4
    return _some(faces, ~held, "fit"), _some(faces, held, "held")


def _some(faces: FaceSet, rows: np.ndarray, what: str) -> FaceSet:
    return replace(faces, images=faces.images[rows], identity=faces.identity[rows], digest=f"{faces.digest}-{what}")


def pairs_of(faces: FaceSet, count: int) -> PairSet:
    """``count`` pairs, half of them genuine, in folds of disjoint people."""
    random = np.random.default_rng(0)
    fold = faces.identity // 5 % FOLDS
    first, second = np.triu_indices(len(fold), 1)
    alike, together = faces.identity[first] == faces.identity[second], fold[first] == fold[second]
    kinds = [random.permutation(np.flatnonzero(kind & together))[: count // 2] for kind in (alike, ~alike)]
    taken = np.concatenate(kinds)
    rows = PairList(first[taken], second[taken], alike[taken], fold[first[taken]])
    return assemble(faces.name, Stack(faces.images, {}, faces.digest), rows, faces.identity, Subset())


@torch.no_grad()
def measured(defense: Any, recognizer: Any, pairs: PairSet, device: torch.device) -> dict[str, float]:
    """Accuracy in percent with its interval, and the mean number of eigenfaces kept of a probe."""
    victim, scores, kept = defense.protect(lifted(recognizer)), [], []
    space = Eigenspace.of(defense.artifact.tensors, device)
    for first in range(0, len(pairs), 64):
        batch = pairs.batch(np.arange(first, min(first + 64, len(pairs))), device)
        template = victim.enroll(batch.reference, batch.index, Draw())
        scores.append(victim.score(batch.probe, template, Draw()).cpu())
        passed = space.coefficients(gray(defense.purifier()(batch.probe, batch.index, Draw())))
        kept.append((passed.abs() > 1e-3).sum(dim=1).float().cpu())
    folds = metrics.kfold_accuracy(torch.cat(scores).numpy(), pairs.same, pairs.fold)
    low, high = wilson(int(folds.correct.sum()), len(pairs))
    return {
        "accuracy": 100 * folds.accuracy,
        "low": 100 * low,
        "high": 100 * high,
        "kept": float(torch.cat(kept).mean()),
    }


def configured(words: Sequence[str]) -> dict[str, Any]:
    try:
        return compose_config(words)
    except ConfigError as error:
        raise ConfigError(f"{words[-1]} cannot be set: {error}") from error


def run(options: argparse.Namespace) -> None:
    real = default_faces(("identities=celeba", "recognizer=foamliu_mobilefacenet"))
    words = [*(real or ("identities=synthetic",)), "defense=threshold", *options.overrides]
    config = configured(words)
    device = resolve_device(config["device"])
    recognizer = build.instantiate(config["recognizer"], "recognizer")
    defense = build.instantiate(config["defense"], "defense")
    if not isinstance(defense, Fittable):
        raise ConfigError("expected a defense that is fitted; use one, such as defense=pin")
    values = {one: configured([*words, f"defense.{options.option}={one}"]) for one in options.values.split(",")}
    cache = folders.image_cache(config)
    fit, held = halves(defense.faces.open(cache))
    pairs = pairs_of(held, options.pairs)
    print(
        f"{recognizer.name}, {type(defense).__name__} fitted on {len(fit.images)} faces, {len(pairs)} pairs of others"
    )
    print(f"| {options.option} | kept | clean accuracy % |\n|---:|---:|---:|")
    for value, one in values.items():
        thing = replace(build.instantiate(one["defense"], "defense"), faces=Opened(fit))
        ready = fitting.fitted(thing, recognizer, folders.store(config), cache, config["fit_seed"], device)
        if "basis" not in ready.artifact.tensors:
            raise ConfigError(
                f"{type(defense).__name__} keeps no eigenfaces; use defense=pin, ais or one of their baselines"
            )
        found = measured(ready, recognizer, pairs, device)
        interval = f"[{found['low']:.1f}, {found['high']:.1f}]"
        print(f"| {value} | {found['kept']:.0f} | {found['accuracy']:.1f} {interval} |", flush=True)


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("option", help="an option of the defense, such as recipe.cost.sparsity")
    parser.add_argument("values", help="its values, separated by commas")
    parser.add_argument("--pairs", type=int, default=1000)
    return run_script(parser, run, words)


if __name__ == "__main__":
    sys.exit(main())
