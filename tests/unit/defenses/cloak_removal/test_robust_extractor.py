"""The robust extractor: it recognises people with and without cloaks, and replaces the recognizer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.cloaked_cells import SIZE, Wearing, cloaking_cell, negatives, users
from torch import Tensor, nn

from frbench.defenses.cloak_removal.cloaked_faces import CloakedFaces, CloakMaker
from frbench.defenses.cloak_removal.robust_extractor import RobustExtractor, RobustRecipe
from frbench.harness.core.contracts import Images
from frbench.harness.core.errors import Refused
from frbench.harness.core.face_data import FaceSet
from frbench.harness.evaluation.cell import run_cell
from frbench.harness.protocols.cloaking.trackers.finetuned import FineTuned
from frbench.harness.recognizers.metering import Meter, Metered
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.recognizers.trainable import network_of
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Unbounded
from frbench.harness.training.artifacts import fitted
from frbench.harness.training.loop import Schedule

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Deep:
    """Two layers, so that a photo and its negative can be taught to be the same."""

    name: str = "deep"
    differentiable: bool = True
    digest: str = "deep"

    def module(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(_Centred(), nn.Linear(3 * SIZE * SIZE, 128), nn.ReLU(), nn.Linear(128, 32))

    def embed(self, images: Images) -> Tensor:
        return unit_length(self.module()(images))

    def fingerprint(self) -> str:
        return self.digest


class _Centred(nn.Module):
    def forward(self, images: Images) -> Tensor:
        return (images - 0.5).flatten(1)


@dataclass(frozen=True)
class Public:
    """The users themselves: people of random pixels have nothing in common by which one could learn from others."""

    name: str = "public"

    def open(self, cache: Path) -> FaceSet:
        own = users()
        return FaceSet("public", own.images, own.identity, tuple("abcde"), "public")


def robust(share: float = 0.5) -> RobustExtractor:
    cloaks = CloakedFaces({"negatives": CloakMaker(Wearing(negatives), Deep(), Unbounded())}, 50)  # type: ignore[arg-type]
    return RobustExtractor(Public(), RobustRecipe(cloaks, Schedule(40, 10, 0.02, lr_gamma=0.95), share))


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> RobustExtractor:
    folder = tmp_path_factory.mktemp("results")
    found = fitted(robust(), Deep(), ResultStore(folder), folder / "cache", 0, CPU)
    assert isinstance(found, RobustExtractor)
    return found


def test_that_it_learns_the_people_cloaked_and_uncloaked(taught: RobustExtractor) -> None:
    assert taught.artifact is not None
    assert taught.artifact.tensors["history/accuracy"][-1] > 0.95
    extractor = taught.replace_recognizer(Deep())
    photos = Public().open(Path("unused")).load(np.arange(40))
    alike = (extractor.embed(photos) * extractor.embed(1 - photos)).sum(dim=1)
    before = (Deep().embed(photos) * Deep().embed(1 - photos)).sum(dim=1)
    assert alike.median() > max(0.7, before.median() + 0.2)


def test_that_it_counts_where_the_old_one_did_and_is_known_by_its_artifact(taught: RobustExtractor) -> None:
    meter = Meter()
    extractor = taught.replace_recognizer(Metered(Deep(), meter))
    extractor.embed(torch.rand(3, 3, SIZE, SIZE))
    assert (meter.forwards, extractor.name) == (3, "deep")
    assert taught.artifact is not None and extractor.digest == taught.artifact.sha256


def test_that_a_tracker_uses_it_in_place_of_the_recognizer(taught: RobustExtractor, tmp_path: Path) -> None:
    plain = cloaking_cell(negatives, recognizer=Deep())
    store = ResultStore(tmp_path)
    without = run_cell(plain, store)["measurements"]["attack"]
    behind = run_cell(replace(plain, defense=taught), store)["measurements"]["attack"]
    assert without["asr"] > 0.9
    assert behind["asr"] < 0.1
    assert behind["fidelity"]["cosine"] > without["fidelity"]["cosine"] + 0.2
    assert behind["fidelity"]["psnr"] == pytest.approx(without["fidelity"]["psnr"])  # no photo is changed


def test_that_a_tracker_trains_it_further(taught: RobustExtractor, tmp_path: Path) -> None:
    """The whole network learns from the training photos: cloaked ones are somebody else to it, unless it was taught."""
    plain = cloaking_cell(negatives, recognizer=Deep())
    trained = replace(plain, protocol=replace(plain.protocol, tracker=FineTuned(epochs=4, lr=0.1, users=2), splits=1))
    store = ResultStore(tmp_path)
    without = run_cell(trained, store)["measurements"]
    behind = run_cell(replace(trained, defense=taught), store)["measurements"]
    assert without["clean"]["accuracy"] == behind["clean"]["accuracy"] == 1
    assert without["attack"]["fit_accuracy"] == behind["attack"]["fit_accuracy"] == 1
    assert without["attack"]["asr"] > 0.9
    assert behind["attack"]["asr"] < 0.1


def test_that_what_is_trained_further_is_a_copy(taught: RobustExtractor) -> None:
    extractor, photos = taught.replace_recognizer(Deep()), torch.rand(2, 3, SIZE, SIZE)
    before, student = extractor.embed(photos), network_of(extractor)
    assert torch.allclose(unit_length(student(photos)), before, atol=1e-6)
    with torch.no_grad():
        for weight in student.parameters():
            assert weight.requires_grad
            weight.zero_()
    assert torch.equal(extractor.embed(photos), before)


def test_that_what_shows_no_network_is_refused(taught: RobustExtractor, linear: object) -> None:
    with pytest.raises(Refused, match="linear shows no network"):
        taught.replace_recognizer(linear())  # type: ignore[operator]
