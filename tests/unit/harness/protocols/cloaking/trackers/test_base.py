"""Trackers: the fast ways give the answers of the plain ones, and nothing of one scene reaches the next."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from support.cloaked_cells import stage, turns
from support.fake_services import told
from torch import nn

import frbench.conf
from frbench.harness.config import build, resolution
from frbench.harness.core.errors import Refused
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.protocols.cloaking.trackers.base import Predictions, Scenario, SplitData, ranked
from frbench.harness.protocols.cloaking.trackers.finetuned import FineTuned
from frbench.harness.protocols.cloaking.trackers.linear import LinearProbe
from frbench.harness.protocols.cloaking.trackers.nearest import NearestNeighbour
from frbench.harness.recognizers.metering import Meter, Metered
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.recognizers.trainable import Trainable

CONF = Path(frbench.conf.__file__).parent
TRACKERS = sorted(path.stem for path in (CONF / "tracker").glob("*.yaml"))


@pytest.fixture(params=TRACKERS)
def option(request: pytest.FixtureRequest) -> dict[str, Any]:
    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        words = ["protocol=cloaking", f"tracker@protocol.tracker={request.param}"]
        return resolution.plain(hydra.compose("run", [*words, "paths.data=no_data"]))["protocol"]["tracker"]


def test_that_an_option_builds_a_frozen_tracker_and_names_all_that_can_be_set(option: dict[str, Any]) -> None:
    tracker = build.instantiate(option, "tracker")
    assert tracker.__dataclass_params__.frozen
    assert {field.name for field in dataclasses.fields(tracker)} == set(option) - {"_target_"}
    assert all(getattr(tracker, name) == value for name, value in option.items() if name != "_target_")
    assert tracker.users is None or tracker.users > 0
    assert callable(tracker.predict)
    for name, value in option.items():
        if isinstance(value, int | float):
            assert fingerprint(replace(tracker, **{name: value + 1})) != fingerprint(tracker)


def plain_nearest(here: SplitData, scene: Scenario) -> tuple[np.ndarray, np.ndarray]:
    """Refit from nothing by scikit-learn: names of the test photos, and people by their nearest photo."""
    vectors = here.vectors(scene).numpy()
    nearest = KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(vectors, here.train_labels)
    names = nearest.predict(here.tests)
    scores = here.tests.numpy() @ vectors.T
    by_person = [scores[:, here.train_labels == person].max(axis=1) for person in range(here.people)]
    return names, np.argsort(-np.stack(by_person, axis=1), axis=1, kind="stable")


def test_that_two_photos_which_are_nearly_alike_are_still_two() -> None:
    here = stage(people=5, shots=6, dim=2, seed=353)
    answers = NearestNeighbour().predict(here, turns(here))
    assert all(answer.train_correct.all() for answer in answers)


@settings(max_examples=15)
@given(
    people=st.integers(2, 7), shots=st.integers(4, 9), dim=st.integers(2, 6), seed=st.integers(0, 10**6), data=st.data()
)
def test_that_the_nearest_neighbour_answers_as_a_refit_for_every_scene(
    people: int, shots: int, dim: int, seed: int, data: st.DataObject
) -> None:
    here = stage(people, shots, dim, seed)
    chance = np.random.default_rng(seed).random((3, len(here.train_labels)))
    user = data.draw(st.integers(0, people - 1))
    played = [*turns(here), *(Scenario(user, row < share) for row, share in zip(chance, (0.2, 0.5, 1.0), strict=True))]
    for scene, answer in zip(played, NearestNeighbour().predict(here, played), strict=True):
        names, order = plain_nearest(here, scene)
        np.testing.assert_array_equal(answer.ranked[:, 0], names)
        np.testing.assert_array_equal(answer.ranked, order[:, :5])
        assert answer.ranked.shape[1] == min(5, people)
        assert answer.train_correct.all() and len(answer.train_correct) == len(here.own_photos(scene))


def test_that_a_photo_that_another_person_published_too_is_not_learnt() -> None:
    here = stage(people=3)
    twice = here.natural.clone()
    twice[np.flatnonzero(here.train_labels == 1)[0]] = twice[0]
    (answer,) = NearestNeighbour().predict(replace(here, natural=twice), turns(here)[:1])
    assert int((~answer.train_correct).sum()) == 1


def test_that_the_linear_tracker_is_a_plain_pipeline_of_scikit_learn() -> None:
    here = stage(people=6, shots=9, dim=8, seed=3)
    for scene, answer in zip(turns(here), LinearProbe(2.0, 50).predict(here, turns(here)), strict=True):
        vectors = here.vectors(scene).numpy()
        scaler = StandardScaler().fit(vectors)
        model = LogisticRegression(C=2.0, max_iter=50, random_state=0).fit(scaler.transform(vectors), here.train_labels)
        chances = model.predict_proba(scaler.transform(here.tests.numpy()))
        np.testing.assert_array_equal(answer.ranked, np.argsort(-chances, axis=1, kind="stable")[:, :5])
        right = model.predict(scaler.transform(vectors)) == here.train_labels
        np.testing.assert_array_equal(answer.train_correct, right[here.own_photos(scene)])


def test_that_two_people_can_be_told_apart_by_the_linear_tracker_too() -> None:
    here = stage(people=2, shots=6, dim=2, seed=1)
    for answer in LinearProbe().predict(here, turns(here)):
        assert {tuple(sorted(row)) for row in answer.ranked} == {(0, 1)}


def test_that_of_equal_scores_the_first_person_comes_first() -> None:
    assert ranked(torch.tensor([[0.5, 0.7, 0.7, 0.1, 0.7, 0.0]])).tolist() == [[1, 2, 4, 0, 3]]


@dataclasses.dataclass(frozen=True)
class Small:
    """A recognizer that can be trained: two linear maps of 4x4 images."""

    name: str = "small"
    differentiable: bool = True
    digest: str = "small"

    def module(self) -> nn.Module:
        generator, network = torch.Generator().manual_seed(0), nn.Sequential(nn.Flatten(), nn.Linear(48, 8, bias=False))
        nn.init.normal_(network[1].weight, generator=generator)
        return network

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return unit_length(self.module()(images))


def pictures(recognizer: object = None, people: int = 4, seed: int = 0) -> SplitData:
    """A stage with pixels: people differ by their image; a cloak is the image of the next person, as noisy."""
    here = stage(people, shots=9, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    faces = torch.rand(people, 3, 4, 4, generator=generator)
    faces = (faces + faces.flip(-1)) / 2  # as mirrored photos are shown too

    def photos(people_shown: np.ndarray, draw: int) -> torch.Tensor:
        noise = torch.rand(len(people_shown), 3, 4, 4, generator=torch.Generator().manual_seed(draw))
        return 0.8 * faces[torch.from_numpy(people_shown)] + 0.2 * noise

    def training(scene: Scenario) -> torch.Tensor:
        return photos(np.where(scene.cloaked, (here.train_labels + 1) % people, here.train_labels), 1)

    known = recognizer or Small()
    embeddings = {"natural": torch.zeros(len(here.train_labels), 8)}
    return replace(
        here, **embeddings, training_images=training, test_images=lambda: photos(here.test_labels, 2), recognizer=known
    )


def answers(tracker: FineTuned, here: SplitData, scenarios: list[Scenario] | None = None) -> list[Predictions]:
    return list(tracker.predict(here, scenarios or turns(here)))


def test_that_the_fine_tuned_tracker_learns_natural_photos_and_loses_who_looked_like_another() -> None:
    here = pictures()
    nobody, *each = answers(FineTuned(epochs=15, batch_size=8), here)
    assert nobody.train_correct.all()
    assert (nobody.ranked[:, 0] == here.test_labels).mean() > 0.95
    kept = [(turn.ranked[here.test_labels == user, 0] == user).mean() for user, turn in enumerate(each)]
    assert np.mean(kept) < 0.5
    others = np.isin(here.test_labels, [2, 3])  # nobody took their looks
    assert (each[0].ranked[others, 0] == here.test_labels[others]).mean() > 0.9


def test_that_a_scene_gets_the_same_answer_whatever_came_before_it() -> None:
    here, tracker = pictures(), FineTuned(epochs=3, batch_size=8)
    everything = answers(tracker, here)
    (alone,) = answers(tracker, here, turns(here)[2:3])
    np.testing.assert_array_equal(everything[2].ranked, alone.ranked)
    np.testing.assert_array_equal(everything[2].train_correct, alone.train_correct)


def test_that_training_leaves_the_recognizer_and_the_global_generator_alone() -> None:
    here = pictures(Metered(Small(), Meter()))
    probe = torch.rand(2, 3, 4, 4)
    before, state = here.recognizer.embed(probe), torch.get_rng_state()
    answers(FineTuned(epochs=2, batch_size=8), here, turns(here)[:2])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(here.recognizer.embed(probe), before)


def test_that_a_recognizer_without_a_network_is_refused_by_who_would_train_it(linear: Callable) -> None:
    with pytest.raises(Refused) as refusal:
        answers(FineTuned(), pictures(linear()))
    assert "linear shows no network" in told(refusal)  # type: ignore[arg-type]


def test_that_the_network_to_train_is_a_new_one_with_the_recognizers_own_embeddings() -> None:
    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        config = resolution.plain(hydra.compose("run", ["recognizer=tiny", "device=cpu"]))
    tiny = build.instantiate(config["recognizer"], "recognizer")
    assert isinstance(tiny, Trainable)
    images = torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    one, other = tiny.module().eval(), tiny.module()
    assert torch.allclose(unit_length(one(images)), tiny.embed(images), atol=1e-5)
    weights = [each for each in one.parameters() if each.requires_grad]
    assert len(weights) == len(list(other.parameters())) > 10
    assert not {each.data_ptr() for each in weights} & {each.data_ptr() for each in other.parameters()}
