"""Fitting on the people or the images of the test set is refused, or marked where it is allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.reference_fits import faces

from frbench.defenses.ensembles import FusedDefense
from frbench.harness.cli.main import main
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import FaceSet, PairSet, person_key
from frbench.harness.core.training_identities import people_digests, training_identities
from frbench.harness.evaluation.identity_overlap import overlap_flags, trained_flags
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.ensemble import EnsembleRecognizer
from frbench.harness.recognizers.flip_averaged import FlipAveraged
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.storage.result_store import ResultStore


@pytest.fixture
def tested(pair_set: Callable[..., PairSet]) -> PairSet:
    """Forty people of LFW, so to speak."""
    names = ("Aaron_Eckhart", "Zinedine_Zidane")
    return replace(pair_set(), name="lfw", people=tuple(person_key("lfw", each) for each in names))


def fitted_on(*people: str, source: str = "mine", digest: str = "mine") -> FaceSet:
    """Faces of these people, none of which is an image of the test set."""
    known = tuple(person_key(source, each) for each in people)
    return replace(faces(len(people), 8, seed=99), name=source, people=known, digest=digest)


@pytest.mark.parametrize(
    "written", ["aaron eckhart", "Aaron_Eckhart", "AARON ECKHART", " Aaron  Eckhart ", "aaron-eckhart", "Aaron.Eckhart"]
)
def test_a_person_is_known_by_name_however_the_name_is_written(written: str, tested: PairSet) -> None:
    with pytest.raises(FrbenchError, match="1 people, such as aaron eckhart and 0 images") as told:
        overlap_flags(fitted_on("Somebody_Else", written), tested, allowed=False)
    assert "\n" not in str(told.value)
    assert all(words in str(told.value) for words in ("mine", "lfw", "identities=", "allow_overlap=true"))


@pytest.mark.parametrize("other", ["Aaron_Eckhardt", "Aaron", "Eckhart_Aaron", "Aaron_Eckhart_2"])
def test_another_name_is_another_person(other: str, tested: PairSet) -> None:
    assert overlap_flags(fitted_on(other), tested, allowed=False) == []


def test_names_in_other_letters_are_compared_too(tested: PairSet) -> None:
    tested = replace(tested, people=(person_key("lfw", "Gerhard_SCHRÖDER"),))
    with pytest.raises(FrbenchError, match="gerhard schröder"):
        overlap_flags(fitted_on("Gerhard Schröder"), tested, allowed=False)


def test_a_number_names_somebody_within_its_source_alone(tested: PairSet) -> None:
    numbered = replace(tested, name="cfp", people=tuple(person_key("cfp", each) for each in ("001", "002")))
    assert overlap_flags(fitted_on("001", "2", source="celeba"), numbered, allowed=False) == []
    with pytest.raises(FrbenchError, match="such as cfp/002"):
        overlap_flags(fitted_on("002", "003", source="cfp"), numbered, allowed=False)


def test_the_same_image_under_another_name_is_found(tested: PairSet) -> None:
    people = fitted_on("a", "b", "c")
    images = people.images.copy()
    images[1] = tested.images[17]
    with pytest.raises(FrbenchError, match="0 people and 1 images"):
        overlap_flags(replace(people, images=images, digest="with one"), tested, allowed=False)
    images[1, 3, 3, 0] ^= 1
    assert overlap_flags(replace(people, images=images, digest="not quite"), tested, allowed=False) == []


def test_a_source_that_names_nobody_is_still_compared_by_its_images(tested: PairSet) -> None:
    nameless = replace(tested, people=())
    same = FaceSet("bin", tested.images[:3], np.arange(3), (), "three of the same")
    with pytest.raises(FrbenchError, match="0 people and 3 images"):
        overlap_flags(same, nameless, allowed=False)


def test_what_is_allowed_is_marked_and_what_is_apart_is_not(tested: PairSet) -> None:
    for allowed in (False, True):
        assert overlap_flags(fitted_on("Somebody_Else"), tested, allowed) == []
    assert overlap_flags(fitted_on("Aaron_Eckhart"), tested, allowed=True) == ["overlapping_identities"]


def kept(folder: Path, *people: str) -> TorchRecognizer:
    """A network of which a file says that it was trained on these people of LFW."""
    keys = [person_key("lfw", each) for each in people]
    network = TinyNet(width=4, dim=8)
    state = {f"members.0.{name}": each for name, each in network.state_dict().items()}
    file = folder / f"{len(list(folder.iterdir()))}.safetensors"
    save_file(state | {"people": torch.from_numpy(people_digests(keys))}, file)
    return TorchRecognizer("mine", partial(TinyNet, width=4, dim=8), str(file), prefix="members.0.")


def test_the_training_identities_of_a_file_are_known_wherever_the_file_is_used(tested: PairSet, tmp_path: Path) -> None:
    mine, other = kept(tmp_path, "Somebody_Else", "Aaron Eckhart"), kept(tmp_path, "Nobody")
    several = {"a": other, "b": mine}
    for holds in (mine, FlipAveraged(mine), EnsembleRecognizer(several), FusedDefense(several)):
        assert trained_flags(holds, "mine", tested, allowed=True) == ["overlapping_identities"]
        with pytest.raises(FrbenchError, match="^mine was trained on 1 of the 2 people of the test set lfw; take "):
            trained_flags(holds, "mine", tested, allowed=False)
    for knows_of_none in (other, FlipAveraged(other), EnsembleRecognizer({"a": other, "b": kept(tmp_path, "C")})):
        assert trained_flags(knows_of_none, "mine", tested, allowed=False) == []


def test_a_file_from_elsewhere_says_nothing_of_people(tested: PairSet, tmp_path: Path) -> None:
    network = TinyNet(width=4, dim=8)
    torch.save(network.state_dict(), tmp_path / "theirs.pt")
    theirs = TorchRecognizer("theirs", partial(TinyNet, width=4, dim=8), str(tmp_path / "theirs.pt"))
    assert training_identities(theirs).shape == (0,)
    assert trained_flags(theirs, "theirs", tested, allowed=False) == []


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A run on thirty rendered people, fitted on as many."""
    small = ["people=30", "photos_per_person=2"]
    return [
        *("run", "dataset=synthetic", "dataset.pairs=20", "identities=synthetic", "attack=none"),
        *(f"{group}.{each}" for group in ("dataset", "identities") for each in small),
        *("defense=pca", "defense.components=20", "device=cpu"),
        *(f"paths.{name}={tmp_path / name}" for name in ("data", "results")),
    ]


def test_on_the_command_line_the_test_sets_people_are_refused_and_marked_where_they_are_allowed(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = ResultStore(tmp_path / "results")
    assert main([*words, "identities.people_seed=2"]) == 2
    told = capfd.readouterr()
    assert told.err.startswith("frbench: ") and told.err.count("\n") == 1 and not told.out
    assert "30 people, such as synthetic 2 0 and 60 images" in told.err
    assert store.records() == []
    assert not (tmp_path / "results" / "artifacts").exists(), (
        "it was fitted, which may take hours, before it was refused"
    )

    assert main([*words, "identities.people_seed=2", "allow_overlap=true"]) == 0
    (record,) = store.records()
    assert record["status"] == "done"
    assert record["flags"] == ["overlapping_identities"]

    assert main(words) == 0
    (apart,) = [each for each in store.records() if each["fingerprint"] != record["fingerprint"]]
    assert apart["flags"] == []
    faces = {key: value for key, value in apart["settings"].items() if "faces" in key or "identities" in key}
    assert faces == {"defense.faces": "synthetic", "defense.faces.people": 30, "defense.faces.photos_per_person": 2}


def test_that_who_a_fit_is_made_on_does_not_tell_cells_without_a_fit_apart(words: list[str], tmp_path: Path) -> None:
    bare = [word for word in words if not word.startswith("defense")]
    for people in (30, 40):
        assert main([*bare, f"identities.people={people}"]) == 0
    (record,) = ResultStore(tmp_path / "results").records()
    assert not [key for key in record["settings"] if "faces" in key or "identities" in key]
