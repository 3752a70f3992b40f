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
from safetensors.torch import load, save

from frbench.harness.core.contracts import Artifact, Defense, FitContext, Fittable, Fitted, Recipe, Recognizer
from frbench.harness.core.face_data import FaceSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.quarantine import Damaged, set_aside
from frbench.harness.recognizers.weight_files import METADATA
from frbench.harness.runtime import distributed
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.storage.sealed_files import UNSIGNED, sign


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
        data = self._stored(key)
        if not distributed.broadcast_flag(data is not None):
            with self.store.lease(f"artifact-{key}") if distributed.is_main_process() else nullcontext():
                data = self._stored(key)  # another process may have made it meanwhile
                if not distributed.broadcast_flag(data is not None):
                    data = known._make(recipe, key)
        data = distributed.broadcast_bytes(data or b"")
        tensors = {name: each.to(known.device) for name, each in load(data).items()}
        return Fitted(key, hashlib.sha256(data).hexdigest(), tensors)

    def key(self, recipe: Recipe) -> str:
        """The key of the artifact of ``recipe``, known before it is fitted."""
        recognizer = self.recognizer if recipe.needs_recognizer else None
        return fingerprint(recipe, self.faces.digest, recognizer, self.seed)

    def part(self, recipe: Recipe) -> Artifact:
        return self.artifact(recipe).tensors

    def _stored(self, key: str) -> bytes | None:
        """The artifact in the store, in the main process."""
        return self.store.artifact_bytes(key) if distributed.is_main_process() else None

    def _make(self, recipe: Recipe, key: str) -> bytes | None:
        """Fit ``recipe``; the main process stores the artifact and returns its bytes."""
        unfinished = self.store.artifact(key).with_suffix(".unfinished")
        context = FitContext(self.faces, self.recognizer, self.seed, self.device, self.part, unfinished, self.cache)
        tensors = {name: tensor.contiguous().cpu() for name, tensor in self._fit(recipe, context).items()}
        if not distributed.is_main_process():
            return None
        described = recipe.metadata(self.recognizer) if isinstance(recipe, DescribesArtifact) else {}
        # One entry: safetensors writes several in no fixed order, and the file's SHA-256 is part of later keys.
        metadata = {METADATA: json.dumps({"checksum": UNSIGNED, "key": key, **described}, sort_keys=True)}
        data = sign(save(tensors, metadata))
        self.store.write_artifact(key, data)
        unfinished.unlink(missing_ok=True)
        return data

    def _fit(self, recipe: Recipe, context: FitContext) -> Artifact:
        """Fit ``recipe``, from the start where the checkpoint is damaged."""
        try:
            return recipe.fit(context)
        except Damaged:
            if distributed.is_main_process():
                set_aside(context.unfinished, self.store.root, "its checksum differs")
            return recipe.fit(context)
