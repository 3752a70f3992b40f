"""Fit once, keep as a fingerprinted safetensors artifact, load ever after."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from frbench.harness.contracts import Artifact, Defense, FitContext, Fittable, Fitted, Recipe, Recognizer
from frbench.harness.faces import FaceSet
from frbench.harness.fingerprints import fingerprint
from frbench.harness.store import ResultStore, write_atomically


def fitted(
    defense: Defense, recognizer: Recognizer | None, store: ResultStore, cache: Path, seed: int, device: torch.device
) -> Defense:
    """``defense`` ready for use: as it is, from its artifact, or fitted now."""
    if not isinstance(defense, Fittable):
        return defense
    workshop = Workshop(defense.faces.open(cache), recognizer, store, seed, device)
    return defense.fitted(workshop.artifact(defense.recipe))


@dataclass(frozen=True)
class Workshop:
    """Where artifacts are made, or found by their key: recipe, faces, the recognizer where it takes part, seed."""

    faces: FaceSet
    recognizer: Recognizer | None
    store: ResultStore
    seed: int
    device: torch.device

    def artifact(self, recipe: Recipe) -> Fitted:
        needed = self.recognizer if recipe.needs_recognizer else None
        key = fingerprint(recipe, self.faces.digest, needed, self.seed)
        path = self.store.artifact(key)
        with self.store.lock(f"artifact-{key}"):
            if not path.exists():
                self._make(recipe, replace(self, recognizer=needed), key, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return Fitted(key, digest, load_file(path, device=str(self.device)))

    def part(self, recipe: Recipe) -> Artifact:
        return self.artifact(recipe).tensors

    def _make(self, recipe: Recipe, known: Workshop, key: str, path: Path) -> None:
        unfinished = path.with_suffix(".unfinished")
        context = FitContext(self.faces, known.recognizer, self.seed, self.device, known.part, unfinished)
        tensors = {name: tensor.contiguous().cpu() for name, tensor in recipe.fit(context).items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temporary: save_file(tensors, temporary, {"key": key}))
        unfinished.unlink(missing_ok=True)
