"""Artifacts of fitting: made once, stored as safetensors under their fingerprint, and loaded after that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors.torch import load, save_file

from frbench.harness.core.atomic import write_atomically
from frbench.harness.core.contracts import Artifact, Defense, FitContext, Fittable, Fitted, Recipe, Recognizer
from frbench.harness.core.face_data import FaceSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.recognizers.weight_files import METADATA
from frbench.harness.runtime import distributed
from frbench.harness.storage.result_store import ResultStore


def fitted(
    defense: Defense, recognizer: Recognizer | None, store: ResultStore, cache: Path, seed: int, device: torch.device
) -> Defense:
    """``defense`` ready for use: with its artifact, from the store or fitted now, where it needs one."""
    if not isinstance(defense, Fittable):
        return defense
    builder = ArtifactBuilder(defense.faces.open(cache), recognizer, store, seed, device, cache)
    return defense.fitted(builder.artifact(defense.recipe))


@runtime_checkable
class DescribesArtifact(Protocol):
    """A recipe that stores plain JSON data beside its tensors, in the metadata of the safetensors file."""

    def metadata(self, recognizer: Recognizer | None) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class ArtifactBuilder:
    """Makes artifacts, or finds them by their key: recipe, faces, seed, and the recognizer where the recipe uses it."""

    faces: FaceSet
    recognizer: Recognizer | None
    store: ResultStore
    seed: int
    device: torch.device
    cache: Path | None = None

    def artifact(self, recipe: Recipe) -> Fitted:
        """The artifact of ``recipe``. Processes of ``torchrun`` make it together; the main process uses the store."""
        distributed.init_distributed()
        known = replace(
            self,
            recognizer=self.recognizer if recipe.needs_recognizer else None,
            device=distributed.process_device(self.device),
        )
        key = self.key(recipe)
        path = self.store.artifact(key)
        with self.store.lock(f"artifact-{key}") if distributed.is_main_process() else nullcontext():
            if not distributed.broadcast_flag(path.exists()):
                known._make(recipe, key, path)
        data = distributed.broadcast_bytes(path.read_bytes() if distributed.is_main_process() else b"")
        tensors = {name: each.to(known.device) for name, each in load(data).items()}
        return Fitted(key, hashlib.sha256(data).hexdigest(), tensors)

    def key(self, recipe: Recipe) -> str:
        """The key of the artifact of ``recipe``, known before it is fitted."""
        recognizer = self.recognizer if recipe.needs_recognizer else None
        return fingerprint(recipe, self.faces.digest, recognizer, self.seed)

    def part(self, recipe: Recipe) -> Artifact:
        return self.artifact(recipe).tensors

    def _make(self, recipe: Recipe, key: str, path: Path) -> None:
        unfinished = path.with_suffix(".unfinished")
        context = FitContext(self.faces, self.recognizer, self.seed, self.device, self.part, unfinished, self.cache)
        tensors = {name: tensor.contiguous().cpu() for name, tensor in recipe.fit(context).items()}
        if not distributed.is_main_process():
            return
        described = recipe.metadata(self.recognizer) if isinstance(recipe, DescribesArtifact) else {}
        # One entry: safetensors writes several in no fixed order, and the file's SHA-256 is part of later keys.
        metadata = {METADATA: json.dumps({"key": key, **described}, sort_keys=True)}
        write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))
        unfinished.unlink(missing_ok=True)
