"""PuFace on small faces: shared cloaks, split of people, loss, and what it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.reference_cloaks import SIDE, Squares, pattern, people
from support.reference_fits import CPU, faces
from torch import Tensor

from frbench.defenses.cloak_removal.amplification import Amplification
from frbench.defenses.cloak_removal.autoencoder import AutoencoderDefense, AutoencoderRecipe, SegNet
from frbench.defenses.cloak_removal.cloaked_faces import CloakedFaces, CloakMaker
from frbench.defenses.cloak_removal.puface import PufaceDefense, PufaceRecipe
from frbench.defenses.cloak_removal.puface_learner import Photos, PurifierLearner
from frbench.defenses.components.artifact_tensors import without_prefix
from frbench.harness.core.contracts import Draw, Fitted, Images
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import FaceSet
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.training import loop as training
from frbench.harness.training.artifacts import ArtifactBuilder
from frbench.harness.training.loop import Schedule

BRIEF = Schedule(epochs=2, batch_size=10, lr=3e-3, optimizer="adam")


@pytest.fixture
def cloaks(linear: Callable[..., Any]) -> CloakedFaces:
    return CloakedFaces({"squares": CloakMaker(Squares(), linear(SIDE), Linf(8 / 255))}, 1000)


@pytest.fixture
def recipe(cloaks: CloakedFaces, linear: Callable[..., Any]) -> PufaceRecipe:
    return PufaceRecipe(cloaks, 6, 8, Amplification(3), 0.2, linear(SIDE, seed=1), BRIEF)


def fitted(recipe: Any, folder: Path, who: FaceSet | None = None) -> Fitted:
    return ArtifactBuilder(who or people(), None, ResultStore(folder), 0, CPU).artifact(recipe)


def test_a_mirrored_photo_is_shown_with_its_cloak_mirrored() -> None:
    """A cloak that darkens each pixel by a share of it: whatever is mirrored, that share is missing."""
    who, shown = people(40), []

    class Listening(PurifierLearner):
        def purification_loss(
            self, inputs: Images, clean: Images, embeddings: Tensor
        ) -> tuple[Tensor, dict[str, Tensor]]:
            shown.append((inputs, clean))
            return inputs.sum(), {}

    images, rows = who.load(np.arange(40)), torch.arange(40)
    darker = (images * 0.9 * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    photos = Photos(who, darker, torch.zeros(2, 40, 4))
    learner = Listening(None, None, Amplification(5, clean_fraction=0.0), photos)  # type: ignore[arg-type]
    learner.loss(images, rows, torch.Generator().manual_seed(0))
    ((seen, natural),) = shown
    mirrored = [bool(torch.equal(each, image.flip(2))) for each, image in zip(natural, images, strict=True)]
    assert 5 < sum(mirrored) < 35
    assert torch.allclose(seen, (natural - 5 * 0.1 * natural).clamp(0, 1), atol=5 * 0.6 / 255)


def test_cloaks_are_made_once_for_all_that_learn_from_them(recipe: PufaceRecipe, tmp_path: Path) -> None:
    fitted(recipe, tmp_path)
    attack = recipe.cloaks.makers["squares"].attack
    asked = len(attack.asked)  # type: ignore[attr-defined]
    other = fitted(replace(recipe, amplification=Amplification(1), feature_weight=0.0), tmp_path)
    assert len(attack.asked) == asked == 3  # type: ignore[attr-defined]
    assert len(list((tmp_path / "artifacts").glob("*.safetensors"))) == 3
    assert not list((tmp_path / "artifacts").glob("*.unfinished"))
    assert "history/feature" not in other.tensors


def test_those_who_validate_are_other_people(recipe: PufaceRecipe) -> None:
    identity = np.random.default_rng(0).integers(0, 40, 300)
    inside, outside = recipe.split(identity, seed=0)
    assert sorted([*inside, *outside]) == list(range(300))
    assert not set(identity[inside]) & set(identity[outside])
    assert len(set(identity[outside])) == 8
    assert set(identity[recipe.split(identity, seed=1)[1]]) != set(identity[outside])


@pytest.mark.parametrize(("share", "count"), [(0.0, 40), (0.2, 5), (1.0, 40)])
def test_nobody_on_either_side_is_an_error(share: float, count: int, recipe: PufaceRecipe, tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match="change validation_fraction or use more people"):
        fitted(replace(recipe, validation_fraction=share), tmp_path, people(count))


def test_a_recognizer_of_features_without_gradients_is_refused(recipe: PufaceRecipe, tmp_path: Path) -> None:
    blind = replace(recipe.features, differentiable=False)  # type: ignore[type-var]
    with pytest.raises(FrbenchError, match="gradients of features and linear has none"):
        fitted(replace(recipe, features=blind), tmp_path)
    fitted(replace(recipe, features=blind, feature_weight=0.0), tmp_path)


def test_the_loss_is_that_of_the_image_and_of_the_features_in_their_weights(
    recipe: PufaceRecipe, tmp_path: Path
) -> None:
    """Before the first step the purifier is the identity; faces that are their own mirror image make flips nothing."""
    who = people(20)
    mirrored = replace(who, images=np.concatenate([who.images[:, :, :8], who.images[:, :, :8][:, :, ::-1]], axis=2))
    frozen = Schedule(epochs=1, batch_size=15, lr=0.0)
    still = replace(
        recipe, schedule=frozen, validation_fraction=0.25, amplification=Amplification(2, clean_fraction=0.0)
    )
    found = fitted(still, tmp_path, mirrored).tensors
    inside, outside = still.split(mirrored.identity, 0)
    natural = mirrored.load(np.arange(20))
    delta = (natural + 10 / 255 * pattern(SIDE)).clamp(0, 1).mul(255).round() / 255 - natural
    symmetric = pattern(SIDE).flip(1)

    def loss(rows: np.ndarray, k: float) -> tuple[float, float]:
        seen, clean = (natural + k * delta).clamp(0, 1)[rows], natural[rows]
        assert recipe.features is not None
        gap = (recipe.features.embed(seen) - recipe.features.embed(clean)).abs().mean()
        image = np.sqrt(float((seen - clean).square().mean()))
        return image, image + 20 * np.sqrt(16 / 512) * float(gap)

    assert torch.equal(symmetric, -pattern(SIDE)) or torch.equal(symmetric, pattern(SIDE))
    assert float(found["history/image"][0]) == pytest.approx(loss(inside, 2)[0], rel=1e-4)
    assert float(found["history/validation_cloaked"][0]) == pytest.approx(loss(outside, 1)[1], rel=1e-4)
    assert float(found["history/validation_natural"][0]) == pytest.approx(0, abs=1e-5)
    assert float(found["history/validation"][0]) == pytest.approx(loss(outside, 1)[1], rel=1e-4)


def test_a_warm_up_on_the_image_alone_is_shared_by_all_that_begin_with_it(recipe: PufaceRecipe, tmp_path: Path) -> None:
    warm, still = replace(BRIEF, epochs=3), replace(BRIEF, lr=0.0)
    found = fitted(replace(recipe, warmup=warm, schedule=still), tmp_path)
    assert len(list((tmp_path / "artifacts").glob("*.safetensors"))) == 3
    other = fitted(replace(recipe, warmup=warm, schedule=still, feature_weight=1.0), tmp_path)
    assert len(list((tmp_path / "artifacts").glob("*.safetensors"))) == 4
    alone = fitted(replace(recipe, warmup=None, schedule=warm, feature_weight=0.0, validation_factor=3.0), tmp_path)
    assert int(alone.tensors["history/validation"].argmin()) == 2, "so that the last weights are the best ones too"
    first, second, third = (without_prefix(each.tensors, "network") for each in (found, other, alone))
    assert all(torch.equal(first[name], second[name]) and torch.equal(first[name], third[name]) for name in first)


@pytest.mark.parametrize("feature_weight", [0.0, 20.0])
def test_it_learns_to_take_away_cloaks_of_other_people_and_to_leave_natural_photos(
    feature_weight: float, recipe: PufaceRecipe, tmp_path: Path
) -> None:
    longer = replace(recipe, feature_weight=feature_weight, schedule=replace(BRIEF, epochs=15, grad_clip_norm=1.0))
    artifact = fitted(longer, tmp_path)
    history = without_prefix(artifact.tensors, "history")
    assert float(history["loss"][-1]) < 0.5 * float(history["loss"][0])
    purifier = PufaceDefense(None, longer, artifact=artifact).purifier()  # type: ignore[arg-type]
    natural = faces(40, SIDE, seed=9).load(np.arange(40))
    cloaked = (natural + 10 / 255 * pattern(SIDE)).clamp(0, 1)
    after = [error(purifier(each, torch.arange(40), Draw()), natural) for each in (cloaked, natural)]
    assert after[0] < 0.6 * error(cloaked, natural)
    assert after[1] < 0.6 * error(cloaked, natural)


def error(images: Images, natural: Images) -> float:
    return float((images - natural).square().mean().sqrt())


def test_the_weights_kept_are_those_of_the_best_examination(recipe: PufaceRecipe, tmp_path: Path) -> None:
    wild = replace(recipe, schedule=replace(BRIEF, epochs=6, lr=0.05, patience=3))
    history = without_prefix(fitted(wild, tmp_path).tensors, "history")["validation"]
    best = int(history.argmin())
    short = replace(wild, schedule=replace(wild.schedule, epochs=best + 1))
    one, other = (without_prefix(fitted(each, tmp_path).tensors, "network") for each in (wild, short))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_fit_that_was_broken_off_ends_in_the_same_bits(
    recipe: PufaceRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
    whole = fitted(recipe, tmp_path / "whole")
    usual, steps = training._Run.step, []

    def breaking(self: Any, rows: np.ndarray) -> None:
        steps.append(rows)
        if len(steps) == 9:
            raise KeyboardInterrupt
        usual(self, rows)

    monkeypatch.setattr(training._Run, "step", breaking)
    with pytest.raises(KeyboardInterrupt):
        fitted(recipe, tmp_path / "stopped")
    again = fitted(recipe, tmp_path / "stopped")
    assert again.sha256 == whole.sha256
    assert len(steps) == 25, "twelve batches an epoch, and the one that was broken off"


def test_a_purifier_clips_what_it_gives_and_training_does_not(recipe: PufaceRecipe) -> None:
    network = recipe.network()
    torch.nn.init.constant_(network.decoder[-1].bias, 0.5)
    artifact = Fitted("", "", {f"network/{name}": each for name, each in network.state_dict().items()})
    images = torch.rand(5, 3, SIDE, SIDE)
    found = PufaceDefense(None, recipe, artifact=artifact).purifier()(images, torch.arange(5), Draw())  # type: ignore[arg-type]
    assert torch.allclose(found, (images + 0.5).clamp(0, 1))
    assert float(network(images).detach().max()) > 1


def test_an_autoencoder_learns_to_give_natural_photos_back(tmp_path: Path) -> None:
    recipe = AutoencoderRecipe([8], 1, Schedule(epochs=10, batch_size=10, lr=0.01, optimizer="adam"))
    artifact = fitted(recipe, tmp_path)
    history = artifact.tensors["history/loss"]
    assert float(history[-1]) < 0.3 * float(history[0])
    purifier = AutoencoderDefense(None, recipe, artifact=artifact).purifier()  # type: ignore[arg-type]
    natural = faces(20, SIDE, seed=9).load(np.arange(20))
    assert error(purifier(natural, torch.arange(20), Draw()), natural) < 0.6 * float(natural.std())


@pytest.mark.parametrize(("widths", "convolutions"), [([4], 1), ([4, 8, 8], 2), ([64, 128, 256, 512, 512], 3)])
def test_an_autoencoder_gives_images_of_the_size_it_gets(widths: list[int], convolutions: int) -> None:
    """Sides that halving does not divide too: VGG's five stages make 3 of 112."""
    with torch.no_grad():
        assert SegNet(widths, convolutions).eval()(torch.rand(1, 3, 44, 37)).shape == (1, 3, 44, 37)
