"""Artifacts: made once, found by what decides them and by nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from conftest import LinearRecognizer
from support.reference_fits import CPU, SIDE, SmallPin, faces
from torch import Tensor

from frbench.defenses.subspace.eigenfaces import Eigenfaces
from frbench.defenses.subspace.mask_losses import MaskCost
from frbench.defenses.subspace.pca import PcaDefense
from frbench.defenses.subspace.pin import DenoiserRecipe, PinDefense
from frbench.harness.cli.main import main
from frbench.harness.core.contracts import Artifact, FitContext, Recognizer
from frbench.harness.core.face_data import FaceSet
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.training.artifacts import ArtifactBuilder, fitted
from frbench.harness.training.loop import Schedule

PEOPLE = faces(12, 16)
MADE: list[str] = []  # what was fitted, in order


@dataclass(frozen=True)
class Part:
    """The mean image of the faces, and what it costs to say so."""

    name: str = "part"
    needs_recognizer: bool = False

    def fit(self, context: FitContext) -> Artifact:
        MADE.append(self.name)
        context.unfinished.parent.mkdir(parents=True, exist_ok=True)
        context.unfinished.write_text("half of it")
        assert (context.recognizer is not None) == self.needs_recognizer
        return {"mean": context.faces.load(torch.arange(12).numpy()).mean(dim=0), "seed": torch.tensor(context.seed)}


@dataclass(frozen=True)
class Whole:
    """Twice a part."""

    name: str
    part: Part = Part()
    needs_recognizer: bool = False

    def fit(self, context: FitContext) -> Artifact:
        part = context.part(self.part)
        MADE.append(self.name)
        return {"twice": 2 * part["mean"].transpose(1, 2)}


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    MADE.clear()


@pytest.fixture
def workshop(tmp_path: Path) -> ArtifactBuilder:
    return ArtifactBuilder(PEOPLE, recognizer(0), ResultStore(tmp_path), 0, CPU)


def recognizer(seed: int) -> Recognizer:
    return LinearRecognizer(torch.randn(768, 4, generator=torch.Generator().manual_seed(seed)))


def test_a_part_is_fitted_once_for_all_that_share_it(workshop: ArtifactBuilder) -> None:
    first, second = workshop.artifact(Whole("first")), workshop.artifact(Whole("second"))
    workshop.artifact(Part())
    assert MADE == ["part", "first", "second"]
    assert first.key != second.key
    assert torch.equal(first.tensors["twice"], second.tensors["twice"])
    workshop.artifact(Whole("third", Part("another")))
    assert MADE[3:] == ["another", "third"]


def test_an_artifact_found_is_the_artifact_made(workshop: ArtifactBuilder) -> None:
    made, found = workshop.artifact(Whole("whole")), workshop.artifact(Whole("whole"))
    assert MADE == ["part", "whole"]
    assert (made.key, made.sha256) == (found.key, found.sha256)
    expected = 2 * PEOPLE.load(torch.arange(12).numpy()).mean(dim=0).transpose(1, 2)
    assert torch.allclose(found.tensors["twice"], expected)


def test_unfinished_work_lies_beside_the_artifact_and_is_gone_at_the_end(
    workshop: ArtifactBuilder, tmp_path: Path
) -> None:
    key = workshop.artifact(Part()).key
    assert {path.name for path in (tmp_path / "artifacts").iterdir()} == {f"{key}.safetensors"}


def test_a_fit_that_fails_leaves_its_unfinished_work_and_no_artifact(workshop: ArtifactBuilder, tmp_path: Path) -> None:
    class Failing(Part):
        def fit(self, context: FitContext) -> Artifact:
            super().fit(context)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workshop.artifact(Failing())
    (left,) = (tmp_path / "artifacts").iterdir()
    assert left.suffix == ".unfinished" and left.read_text() == "half of it"
    with pytest.raises(KeyboardInterrupt):
        workshop.artifact(Failing())  # and the lock was let go


def test_a_key_is_decided_by_recipe_faces_and_seed(workshop: ArtifactBuilder) -> None:
    usual = workshop.artifact(Part()).key
    same = [
        replace(workshop, recognizer=recognizer(1)),
        replace(workshop, recognizer=None),
        replace(workshop, faces=replace(PEOPLE, name="another name", people=())),
    ]
    other = [replace(workshop, seed=1), replace(workshop, faces=replace(PEOPLE, digest="other faces"))]
    assert {each.artifact(Part()).key for each in same} == {usual}
    assert MADE == ["part"]
    assert len({usual, workshop.artifact(Part("other")).key, *(each.artifact(Part()).key for each in other)}) == 4


def test_the_recognizer_decides_where_it_takes_part(workshop: ArtifactBuilder) -> None:
    needing = Part("needing", needs_recognizer=True)
    usual = workshop.artifact(needing).key
    assert replace(workshop, recognizer=recognizer(0)).artifact(needing).key == usual
    assert replace(workshop, recognizer=recognizer(1)).artifact(needing).key != usual
    assert MADE == ["needing"] * 2


def test_a_recipe_without_the_recognizer_does_not_get_at_it_through_a_part(workshop: ArtifactBuilder) -> None:
    """Its key says nothing of the recognizer, so another recognizer would find what this one made."""
    sly = Whole("sly", Part("needing", needs_recognizer=True))
    with pytest.raises(AssertionError):
        workshop.artifact(sly)


def test_the_seed_reaches_the_recipe(workshop: ArtifactBuilder) -> None:
    assert int(replace(workshop, seed=7).artifact(Part()).tensors["seed"]) == 7


BRIEF = Schedule(epochs=1, batch_size=4, lr=1e-3)
PIN = SmallPin(5, 2, 4, DenoiserRecipe(2, 0.04, BRIEF), MaskCost(1e-5), BRIEF)


@dataclass(frozen=True)
class Toys:
    name: str = "toys"
    seed: int = 0

    def open(self, cache: Path) -> FaceSet:
        return faces(12, SIDE, self.seed)


def test_pins_artifact_does_not_depend_on_how_it_is_used(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)

    def key(defense: PinDefense | PcaDefense, seed: int = 0) -> str:
        ready = fitted(defense, None, store, tmp_path, seed, CPU)
        assert isinstance(ready, type(defense)) and ready.artifact is not None
        return ready.artifact.key

    usual = PinDefense(Toys(), PIN)
    known = key(usual)
    kept = {path.name for path in (tmp_path / "artifacts").iterdir()}
    assert len(kept) == 3, "eigenfaces, denoiser, selector"
    assert {
        key(replace(usual, apply_to="probe")),
        key(replace(usual, mask="threshold_half")),
        key(replace(usual, mask="threshold_mean")),
    } == {known}
    assert {path.name for path in (tmp_path / "artifacts").iterdir()} == kept
    others = [
        key(replace(usual, recipe=replace(PIN, noise=0.03))),
        key(replace(usual, recipe=replace(PIN, cost=MaskCost(2e-5)))),
        key(replace(usual, faces=Toys(seed=1))),
        key(usual, seed=1),
    ]
    assert len({known, *others}) == 5


def test_fixed_pca_and_pin_share_their_eigenfaces(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    pca = fitted(PcaDefense(Toys(), components=5), None, store, tmp_path, 0, CPU)
    assert isinstance(pca, PcaDefense) and pca.artifact is not None
    before = store.artifact(pca.artifact.key).stat().st_mtime_ns
    workshop = ArtifactBuilder(Toys().open(tmp_path), None, store, 0, CPU)
    pin = workshop.artifact(PIN)
    assert workshop.artifact(Eigenfaces(5)).key == pca.artifact.key
    assert store.artifact(pca.artifact.key).stat().st_mtime_ns == before
    assert torch.equal(pin.tensors["basis"], pca.artifact.tensors["basis"])
    assert len(list((tmp_path / "artifacts").iterdir())) == 3


OWN_DEFENSE = '''
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
import torch

@dataclass(frozen=True)
class Centre:
    """Embeddings are looked at while fitting."""

    needs_recognizer: ClassVar[bool] = True

    def fit(self, context):
        with open("fitted.log", "a") as log:
            log.write("once\\n")
        return {"centre": context.recognizer.embed(context.faces.load(torch.arange(8).numpy())).mean(dim=0)}

@dataclass(frozen=True)
class Mine:
    faces: Any
    artifact: Any = None
    recipe: ClassVar[Centre] = Centre()

    def fitted(self, artifact):
        return replace(self, artifact=artifact)

    def protect(self, verifier):
        return verifier

    def relaxations(self, verifier):
        return {"exact": verifier}
'''


def test_what_is_fitted_ahead_for_a_recognizer_is_found_by_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A run counts the recognizer's forwards by wrapping it, which must not make it another one."""
    (tmp_path / "own" / "defense").mkdir(parents=True)
    (tmp_path / "own" / "defense" / "mine.yaml").write_text("_target_: own_defense.Mine\nfaces: ${identities}\n")
    (tmp_path / "own" / "own_defense.py").write_text(OWN_DEFENSE)
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    words = [f"--config-dir={tmp_path / 'own'}", "trust=[own_defense]", "defense=mine", "identities.people=4"]
    words += ["dataset.people=30", "dataset.photos_per_person=2", "dataset.pairs=20", "attack=none", "device=cpu"]
    words += [f"paths.{name}={tmp_path / name}" for name in ("results", "cache")]
    assert main(["fit", *words]) == 0
    assert str(tmp_path / "results" / "artifacts") in capfd.readouterr().out
    assert main(["run", *words]) == 0, capfd.readouterr().err
    assert Path("fitted.log").read_text().split() == ["once"]
    (record,) = ResultStore(tmp_path / "results").records()
    assert record["status"] == "done", json.dumps(record)


def test_tensors_come_back_with_their_shapes_and_kinds(workshop: ArtifactBuilder) -> None:
    kinds: dict[str, Tensor] = {
        "half": torch.ones(2, 3, dtype=torch.bfloat16),
        "count": torch.tensor(3),
        "view": torch.arange(6.0).reshape(2, 3).T,
    }

    class Kinds(Part):
        def fit(self, context: FitContext) -> Artifact:
            return kinds

    found = workshop.artifact(Kinds("kinds")).tensors
    assert {name: (each.dtype, each.shape) for name, each in found.items()} == {
        name: (each.dtype, each.shape) for name, each in kinds.items()
    }
    assert all(torch.equal(found[name], kinds[name]) for name in kinds)
