"""Fit once, keep as a fingerprinted safetensors artifact, load ever after."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from frbench.harness.contracts import Defense, FitContext, Fittable, Fitted, Recognizer
from frbench.harness.fingerprints import fingerprint
from frbench.harness.store import ResultStore, write_atomically


def fitted(
    defense: Defense, recognizer: Recognizer | None, store: ResultStore, cache: Path, seed: int, device: torch.device
) -> Defense:
    """``defense`` ready for use: as it is, from its artifact, or fitted now. The key is recipe, faces, recognizer."""
    if not isinstance(defense, Fittable):
        return defense
    faces = defense.faces.open(cache)
    needed = recognizer if defense.needs_recognizer else None
    key = fingerprint(defense, faces.digest, needed, seed)
    path = store.artifact(key)
    with store.lock(f"artifact-{key}"):
        if not path.exists():
            tensors = defense.fit(FitContext(faces, needed, seed, device))
            plain = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
            write_atomically(path, lambda temporary: save_file(plain, temporary, {"key": key}))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return defense.fitted(Fitted(key, digest, load_file(path, device=str(device))))
