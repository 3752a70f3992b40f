"""What every defense in conf/defense promises: a verifier in, a verifier out, and stand-ins that can be attacked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import frbench.conf
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.defenses.cloak_removal.cloaked_faces import CloakedFaces, CloakMaker
from frbench.defenses.ensembles import FusedDefense
from frbench.defenses.subspace.ais import SelectorConfig, WarmUp
from frbench.defenses.subspace.ais_learner import AisCost
from frbench.defenses.subspace.mask_losses import MaskCost
from frbench.defenses.subspace.pin import DenoiserRecipe
from frbench.harness.core.contracts import Defense, Draw, Fittable, Images, Verifier
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.errors import FrbenchError, Refused
from frbench.harness.core.face_data import FaceSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.recognizers.trainable import Reteaching
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.training.artifacts import fitted
from frbench.harness.training.ensemble_recipe import EnsembleRecipe
from frbench.harness.training.loop import Schedule
from frbench.harness.training.losses.margins import ArcFace

CONF = Path(frbench.conf.__file__).parent
# Other sizes of a defense that stands here by itself; test_presets looks at them.
PRESETS = {"pin_full", "pin_paper", "ais_full", "ais_paper", "puface_full"}
DEFENSES = sorted({path.stem for path in (CONF / "defense").glob("*.yaml")} - PRESETS)
# What it takes to fit on thirty faces in no time: fields of the defense, or of its recipe.
BRIEF = Schedule(epochs=1, batch_size=10, lr=1e-3, optimizer="adam")
DENOISER = DenoiserRecipe(4, 0.04, replace(BRIEF, epochs=2, lr=1e-2))
PIN = {"components": 20, "width": 4, "hidden": 32, "cost": MaskCost(1e-4), "denoiser": DENOISER, "schedule": BRIEF}
COST = AisCost(sparsity=1e-4, estimator="straight_through", draws=1)
WARM_UP = WarmUp(SelectorConfig(20, 2, 8, 4, "hit_only", start=0.99), COST, BRIEF)
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
    "nl_means": {"denoiser": {"distance": 2}},
    "bilateral": {"denoiser": {"window": 5}},
    "wavelet_calibrated": {"denoiser": {"sigmas": [0.001, 0.01], "wavelets": ["db1"]}},
    "pca": {"components": 20},
    "pca_pin": {"components": 20},
    "pin": {"recipe": PIN},
    "ais": {"recipe": {"warmup": WARM_UP, "schedule": BRIEF}},
    "ais_warmup": {"recipe": {"antibody": WARM_UP.antibody, "cost": COST, "schedule": BRIEF}},
    "threshold": {"components": 20},
    "random_mask": {"components": 29, "kept": 27},  # toy faces are known by every component: half would not show them
    "lowpass": {"components": 20},
    "quilting": {"bank": 2000},
}
COUNT, SIZE = 4, 112
INDEX = torch.arange(COUNT)
FAINT = {"steering"}  # looks at the choice of a mask alone, which a network fitted for seconds hardly moves
CLOSE = 0.05  # how far on the cosine a stand-in may be from what it stands for, in the mean


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


@pytest.fixture(scope="module")
def recognizer() -> Any:
    """unit(W * smoothed image): sensitive to shapes and not to the last bit of each pixel, as recognizers are."""
    return _Smoothing(torch.randn(3 * 28 * 28, 32, generator=torch.Generator().manual_seed(0)))


class _Smoothing:
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


@dataclass(frozen=True)
class Ready:
    """A defense as shipped, and ready for use: fitted on a few faces where it has to be. ``folder`` has its files."""

    option: str
    shipped: Any
    defense: Any
    folder: Path


@pytest.fixture(scope="module", params=DEFENSES)
def ready(request: pytest.FixtureRequest, recognizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Ready:
    if request.param.startswith("wavelet"):
        pytest.importorskip("pywt")
    thing = small(request.getfixturevalue("made")("defense", request.param), request.param)
    folder = tmp_path_factory.mktemp("results")
    return Ready(request.param, thing, fit(thing, recognizer, folder), folder)


def fit(thing: Defense, recognizer: Any, folder: Path) -> Any:
    return fitted(thing, recognizer, ResultStore(folder), folder / "cache", 0, torch.device("cpu"))


@pytest.fixture(scope="module")
def defense(ready: Ready) -> Defense:
    return ready.defense


@pytest.fixture(scope="module")
def bare(recognizer: Any) -> Verifier:
    return CosineVerifier(recognizer)


def scores(verifier: Verifier, probe: Images, reference: Images, index: torch.Tensor, draw: Draw) -> torch.Tensor:
    return verifier.score(probe, verifier.enroll(reference, index, draw), draw)


def test_that_a_protected_verifier_gives_one_cosine_a_pair(defense: Defense, bare: Verifier) -> None:
    found = scores(defense.protect(bare), pictures(0), pictures(1), INDEX, Draw())
    assert (found.shape, found.dtype) == ((COUNT,), torch.float32)
    assert bool((found.abs() <= 1 + 1e-5).all())
    assert len(found.unique()) == COUNT


def test_that_a_face_is_still_itself_and_nobody_else_behind_it(defense: Defense, bare: Verifier) -> None:
    verifier = defense.protect(bare)
    near = (pictures(0) + 0.02 * (pictures(3) - 0.5)).clamp(0, 1)
    same = scores(verifier, near, pictures(0), INDEX, Draw())
    other = scores(verifier, near, pictures(1), INDEX, Draw())
    assert bool((same > 0.85).all())
    assert bool((other < 0.75).all())


def test_that_what_it_sees_is_left_as_it_was(defense: Defense, bare: Verifier) -> None:
    probe, reference = pictures(0), pictures(1)
    scores(defense.protect(bare), probe, reference, INDEX, Draw())
    assert torch.equal(probe, pictures(0))
    assert torch.equal(reference, pictures(1))


def test_that_each_pair_is_judged_alone(defense: Defense, bare: Verifier) -> None:
    verifier, probe, reference = defense.protect(bare), pictures(0), pictures(1)
    together = scores(verifier, probe, reference, INDEX, Draw())
    rows = [slice(i, i + 1) for i in range(COUNT)]
    alone = torch.cat([scores(verifier, probe[row], reference[row], INDEX[row], Draw()) for row in rows])
    assert torch.allclose(together, alone, atol=1e-5)


def test_that_chance_enters_by_the_pair_and_the_draw_or_not_at_all(defense: Defense, bare: Verifier) -> None:
    verifier = defense.protect(bare)
    one = scores(verifier, pictures(0), pictures(1), INDEX, Draw(1, step=2, k=3))
    assert torch.equal(scores(verifier, pictures(0), pictures(1), INDEX, Draw(1, step=2, k=3)), one)
    others = [
        scores(verifier, pictures(0), pictures(1), INDEX + 7, Draw(1, step=2, k=3)),
        scores(verifier, pictures(0), pictures(1), INDEX, Draw(4, step=5, k=6)),
    ]
    for other in others:
        assert torch.equal(other, one) != verifier.random


def test_that_a_defense_tells_verifiers_apart_in_the_store(defense: Defense, bare: Verifier, made: Callable) -> None:
    """Clean scores are kept by the fingerprint of the verifier: no two defenses may share it."""
    known = fingerprint(defense.protect(bare))
    assert known == fingerprint(defense.protect(bare))
    unprotected = fingerprint(made("defense", "none").protect(bare))
    assert (known == unprotected) == (type(defense) is type(made("defense", "none")))


def test_that_every_stand_in_can_be_differentiated(defense: Defense, bare: Verifier) -> None:
    relaxations = defense.relaxations(bare)
    assert relaxations, "there is no differentiable stand-in, so no adaptive attacker can be measured"
    for name, relaxed in relaxations.items():
        assert relaxed.differentiable, name
        probe = pictures(0).requires_grad_(True)
        found = scores(relaxed, probe, pictures(1), INDEX, Draw())
        (gradient,) = torch.autograd.grad(found.sum(), probe, retain_graph=True)
        assert bool(torch.isfinite(gradient).all()), name
        least = 0 if name in FAINT else 1e-4
        assert bool((gradient.flatten(1).norm(dim=1) > least).all()), name
        (first,) = torch.autograd.grad(found[0], probe)
        assert first[0].abs().max() > 0, name
        assert first[1:].abs().max() == 0, f"{name}: the rows of the batch are mixed"


def test_that_every_stand_in_scores_as_the_defense_does(defense: Defense, bare: Verifier) -> None:
    protected, probe, reference = defense.protect(bare), pictures(0), pictures(1)
    truth = scores(protected, probe, reference, INDEX, Draw())
    gaps = {
        name: float((scores(relaxed, probe, reference, INDEX, Draw()) - truth).abs().mean())
        for name, relaxed in defense.relaxations(bare).items()
    }
    of_a_mean = {name for name, each in defense.relaxations(bare).items() if each.random != protected.random}
    assert all(gap < (4 * CLOSE if name in of_a_mean else CLOSE) for name, gap in gaps.items()), gaps
    assert min(gaps.values()) < 1e-4, f"no stand-in shows the true scores: {gaps}"


def test_that_stand_ins_are_random_where_the_defense_is(defense: Defense, bare: Verifier) -> None:
    random = defense.protect(bare).random
    found = {name: relaxed.random for name, relaxed in defense.relaxations(bare).items()}
    assert next(iter(found.values())) == random, "the usual one stands for single draws"
    assert random or not any(found.values()), found  # others may stand for the mean of a random defense


def test_that_a_black_box_can_be_protected_and_says_that_it_stays_one(defense: Defense, bare: Verifier) -> None:
    class Blind:
        name, differentiable, digest = "blind", False, "blind"

        def embed(self, images: Images) -> torch.Tensor:
            return bare.recognizer.embed(images)  # type: ignore[attr-defined]

    blind = CosineVerifier(Blind())
    if isinstance(defense, FusedDefense):  # it needs nothing of the recognizer whose place it takes
        assert defense.protect(blind).differentiable
        assert fingerprint(defense.protect(blind)) == fingerprint(defense.protect(bare))
        return
    if isinstance(defense, Reteaching):
        with pytest.raises(Refused, match="blind shows no network"):
            defense.protect(blind)
        return
    assert not defense.protect(blind).differentiable
    assert not any(relaxed.differentiable for relaxed in defense.relaxations(blind).values())
    assert torch.allclose(
        scores(defense.protect(blind), pictures(0), pictures(1), INDEX, Draw()),
        scores(defense.protect(bare), pictures(0), pictures(1), INDEX, Draw()),
    )


def test_that_a_purifier_gives_images_of_the_same_kind(defense: Any) -> None:
    if not hasattr(defense, "purifier"):
        return  # it is no purifier
    purified = defense.purifier()(pictures(0), INDEX, Draw())
    assert (purified.shape, purified.dtype) == ((COUNT, 3, SIZE, SIZE), torch.float32)
    assert purified.min() >= -0.25, "a projection may leave the range by a little, and is not clipped"
    assert purified.max() <= 1.25
    assert (purified - pictures(0)).abs().mean() < 0.2


@pytest.mark.parametrize("sides", ["both", "probe"])
def test_that_a_purifier_works_on_the_sides_that_it_is_given(sides: str, defense: Any, bare: Any) -> None:
    if not hasattr(defense, "purify"):
        return
    verifier = replace(defense, purify=sides).protect(bare)
    clean, purify = bare.recognizer.embed, defense.purifier()
    probe, reference = purify(pictures(0), INDEX, Draw()), pictures(1)
    if sides == "both":
        reference = purify(reference, INDEX, Draw(stream=Stream.QUERY_REFERENCE))
    expected = (clean(probe) * clean(reference)).sum(dim=1)
    assert torch.allclose(scores(verifier, pictures(0), pictures(1), INDEX, Draw()), expected, atol=1e-5)


def test_that_a_defense_to_be_fitted_is_fitted_once_and_found_after(
    ready: Ready, recognizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    thing, first = ready.shipped, ready.defense
    if not isinstance(thing, Fittable):
        assert first is thing
        assert not list(ready.folder.iterdir())
        return
    assert ready.option.startswith(thing.option)  # type: ignore[attr-defined]
    with pytest.raises(FrbenchError, match=f"frbench fit defense={thing.option}$"):  # type: ignore[attr-defined]
        thing.protect(CosineVerifier(recognizer))  # type: ignore[attr-defined]
    kept = {path: path.stat().st_mtime_ns for path in (ready.folder / "artifacts").iterdir()}
    assert first.artifact.key in {path.stem for path in kept}

    def never(self: Any, context: Any) -> None:
        raise AssertionError("it was fitted again")

    monkeypatch.setattr(type(thing.recipe), "fit", never)
    again = fit(thing, recognizer, ready.folder)
    assert {path: path.stat().st_mtime_ns for path in (ready.folder / "artifacts").iterdir()} == kept
    assert fingerprint(first) == fingerprint(again)
    verdicts = [
        scores(each.protect(CosineVerifier(recognizer)), pictures(0), pictures(1), INDEX, Draw())
        for each in (first, again)
    ]
    assert torch.equal(*verdicts)
