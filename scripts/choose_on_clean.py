"""Clean accuracy for several values of an option of PIN, AIS or a control, on people held out from the fit; no attack.

    python scripts/choose_on_clean.py recipe.cost.sparsity 1e-6,3e-6,1e-5,3e-5,1e-4 defense=pin
    python scripts/choose_on_clean.py recipe.selector.initial_leading 900,1100,1300 defense=ais_warmup [--pairs 1000]

The operating point is chosen here, on clean faces of the fitting set alone: four fifths of its people are fitted on,
the others make the pairs. ``defense=threshold`` (what PIN approximates; option ``sparsity``) needs no training.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from telling import told

from frbench.datasets.io.image_store import Stack
from frbench.datasets.io.pair_lists import PairList, assemble
from frbench.datasets.io.pair_subsets import Subset
from frbench.defenses.subspace.eigenfaces import Eigenspace, gray
from frbench.harness.config import build
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
    """A source that is open already."""

    faces: FaceSet

    @property
    def name(self) -> str:
        return self.faces.name

    def open(self, cache: Path) -> FaceSet:
        return self.faces


def halves(faces: FaceSet) -> tuple[FaceSet, FaceSet]:
    """Every fifth person apart: faces to fit on, and faces to make pairs of."""
    held = faces.identity % 5 == 4
    return _some(faces, ~held, "fit"), _some(faces, held, "held")


def _some(faces: FaceSet, rows: np.ndarray, what: str) -> FaceSet:
    return replace(faces, images=faces.images[rows], identity=faces.identity[rows], digest=f"{faces.digest}-{what}")


def pairs_of(faces: FaceSet, count: int) -> PairSet:
    """``count`` pairs, half genuine; folds by person, so that nobody is in two."""
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
    """Accuracy in percent with its interval, and how many eigenvectors pass of a probe, in the mean."""
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
    with initialize_config_module("frbench.conf", version_base="1.3"):
        try:
            return build.plain(compose("run", list(words)))
        except HydraException as error:
            raise ConfigError(
                f"{words[-1]} cannot be set ({str(error).splitlines()[0]}); see: frbench options"
            ) from error


def run(options: argparse.Namespace) -> None:
    real = ("identities=celeba", "recognizer=foamliu_mobilefacenet") if os.environ.get("FRBENCH_DATA") else ()
    words = [*(real or ("identities=synthetic",)), "defense=threshold", *options.overrides]
    config = configured(words)
    device = resolve_device(config["device"])
    recognizer = build.instantiate(config["recognizer"], "recognizer")
    defense = build.instantiate(config["defense"], "defense")
    if not isinstance(defense, Fittable):
        raise ConfigError("there is nothing to choose; take a defense that is fitted, as defense=pin")
    values = {one: configured([*words, f"defense.{options.option}={one}"]) for one in options.values.split(",")}
    cache = build.image_cache(config)
    fit, held = halves(defense.faces.open(cache))
    pairs = pairs_of(held, options.pairs)
    print(
        f"{recognizer.name}, {type(defense).__name__} fitted on {len(fit.images)} faces, {len(pairs)} pairs of others"
    )
    print(f"| {options.option} | kept | clean accuracy % |\n|---:|---:|---:|")
    for value, one in values.items():
        thing = replace(build.instantiate(one["defense"], "defense"), faces=Opened(fit))
        ready = fitting.fitted(thing, recognizer, build.store(config), cache, config["fit_seed"], device)
        if "basis" not in ready.artifact.tensors:
            raise ConfigError(
                f"{type(defense).__name__} keeps no eigenfaces; take defense=pin, ais or a control of theirs"
            )
        found = measured(ready, recognizer, pairs, device)
        interval = f"[{found['low']:.1f}, {found['high']:.1f}]"
        print(f"| {value} | {found['kept']:.0f} | {found['accuracy']:.1f} {interval} |", flush=True)


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("option", help="an option of the defense, such as recipe.cost.sparsity")
    parser.add_argument("values", help="its values, with commas between")
    parser.add_argument("--pairs", type=int, default=1000)
    return told(parser, run, words)


if __name__ == "__main__":
    sys.exit(main())
