"""The defenses of conf/defense small enough to be fitted in no time, and the toy faces and recognizer to do it with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.defenses.cloak_removal.cloaked_faces import CloakedFaces, CloakMaker
from frbench.defenses.subspace.ais import SelectorConfig, WarmUp
from frbench.defenses.subspace.ais_learner import AisCost
from frbench.defenses.subspace.mask_losses import MaskCost
from frbench.defenses.subspace.pin import DenoiserRecipe
from frbench.harness.core.contracts import Defense, Draw, Fittable, Images, Verifier
from frbench.harness.core.face_data import FaceSet
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.training.artifacts import fitted
from frbench.harness.training.ensemble_recipe import EnsembleRecipe
from frbench.harness.training.loop import Schedule
from frbench.harness.training.losses.margins import ArcFace

# What it takes to fit on thirty faces in no time: fields of the defense, or of its recipe.
BRIEF = Schedule(epochs=1, batch_size=10, lr=1e-3, optimizer="adam")
DENOISER = DenoiserRecipe(4, 0.04, replace(BRIEF, epochs=2, lr=1e-2))
PIN = {"components": 20, "width": 4, "hidden": 32, "cost": MaskCost(1e-4), "denoiser": DENOISER, "schedule": BRIEF}
COST = AisCost(sparsity=1e-4, estimator="straight_through", mask_samples=1)
WARM_UP = WarmUp(SelectorConfig(20, 2, 8, 4, "hit_only", initial_keep=0.99), COST, BRIEF)
TINY = TorchRecognizer("tiny", TinyNet, "pkg:tiny.safetensors", mean=0.5, std=0.5)
CLOAKS = CloakedFaces({"pgd": CloakMaker(ProjectedDescent(steps=1), TINY, Linf(4 / 255))}, 20)
PUFACE = {"recipe": {"cloaks": CLOAKS, "features": TINY, "layers": 4, "channels": 4, "warmup": None, "schedule": BRIEF}}
MARGIN = ArcFace(8.0, 0.1)
FURTHER = {"network": None, "margin": MARGIN, "schedule": BRIEF}  # from the recognizer, which knows its faces already
START = EnsembleRecipe(MARGIN, BRIEF)
ZOO = {"members": {"a": TINY, "b": replace(TINY, bgr=True)}}
SEGNET = {"widths": [8], "schedule": replace(BRIEF, epochs=10, lr=0.02)}
SMALL: dict[str, dict[str, Any]] = {
    "puface": PUFACE,
    "puface_mixed": PUFACE,
    "puface_dev": PUFACE,
    "puface_image_only": PUFACE,
    "autoencoder": {"recipe": SEGNET},
    **{
        option: {"recipe": FURTHER}
        for option in ("diverse_ensemble", "diverse_residual_cos_ensemble", "shared_head_ensemble")
    },
    **{option: {"recipe": FURTHER} for option in ("naive_ensemble", "diverse_separate_heads_ensemble", "adp")},
    "mter": {"recipe": {"start": START, "schedule": replace(BRIEF, batch_size=10)}},
    "zoo_ensemble": ZOO,
    "robust_extractor": {"recipe": {"cloaks": CLOAKS, "schedule": BRIEF}},
    "tv_chambolle": {"denoiser": {"iterations": 10}},
    "nl_means": {"denoiser": {"patch_distance": 2}},
    "bilateral": {"denoiser": {"window_size": 5}},
    "wavelet_calibrated": {"denoiser": {"sigmas": [0.001, 0.01], "wavelets": ["db1"]}},
    "pca": {"components": 20},
    "pca_pin": {"components": 20},
    "pin": {"recipe": PIN},
    "ais": {"recipe": {"warmup": WARM_UP, "schedule": BRIEF}},
    "ais_warmup": {"recipe": {"selector": WARM_UP.selector, "cost": COST, "schedule": BRIEF}},
    "threshold": {"components": 20},
    "random_mask": {"components": 29, "kept": 27},  # toy faces are known by every component: half would not show them
    "lowpass": {"components": 20},
    "quilting": {"num_patches": 2000},
}
COUNT, SIZE = 4, 112
INDEX = torch.arange(COUNT)


@cache
def natural(count: int, seed: int) -> np.ndarray:
    """Images uint8 (count, 112, 112, 3) with the spectrum of photographs, more or less: filtered noise."""
    noise = np.random.default_rng(seed).normal(size=(count, SIZE, SIZE, 3))
    smooth = gaussian_filter(noise, (0, 5, 5, 0)) * 4 + gaussian_filter(noise, (0, 1, 1, 0)) * 0.3
    return np.clip(smooth * 200 + 128, 0, 255).astype(np.uint8)


def pictures(seed: int) -> Images:
    return torch.from_numpy(natural(COUNT, seed)).permute(0, 3, 1, 2).float() / 255


@dataclass(frozen=True)
class ToyFaces:
    """Thirty faces of ten people, so to speak."""

    name: str = "toy"

    def open(self, cache: Path) -> FaceSet:
        return FaceSet("toy", natural(30, 5), np.arange(30) // 3, tuple("abcdefghij"), "toy")


def small(thing: Any, option: str) -> Any:
    """A defense that takes no time, to be fitted on toy faces where it has to be."""
    fields = dict(SMALL.get(option, {}))
    for part in {"recipe", "denoiser"} & fields.keys():
        fields[part] = replace(getattr(thing, part), **fields[part])
    return replace(thing, **({"faces": ToyFaces()} if isinstance(thing, Fittable) else {}), **fields)


class SmoothingRecognizer:
    name, differentiable, digest = "smoothing", True, "smoothing"

    def __init__(self, weight: torch.Tensor) -> None:
        self.weight = weight

    def fingerprint(self) -> str:
        return self.digest

    def embed(self, images: Images) -> torch.Tensor:
        small = torch.nn.functional.avg_pool2d(images - 0.5, 4).flatten(1)
        return torch.nn.functional.normalize(small @ self.weight)

    def module(self) -> torch.nn.Module:
        """The same as a network to train further."""
        linear = torch.nn.Linear(*self.weight.shape, bias=False)
        linear.load_state_dict({"weight": self.weight.T.clone()})
        return torch.nn.Sequential(_Centred(), torch.nn.AvgPool2d(4), torch.nn.Flatten(), linear)


class _Centred(torch.nn.Module):
    def forward(self, images: Images) -> torch.Tensor:
        return images - 0.5


def fit(thing: Defense, recognizer: Any, folder: Path) -> Any:
    return fitted(thing, recognizer, ResultStore(folder), folder / "cache", 0, torch.device("cpu"))


def scores(verifier: Verifier, probe: Images, reference: Images, index: torch.Tensor, draw: Draw) -> torch.Tensor:
    return verifier.score(probe, verifier.enroll(reference, index, draw), draw)
