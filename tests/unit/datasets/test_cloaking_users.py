"""Users: photos of people, ordered, each user's cloaks aiming at one other person."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.fake_services import told

from frbench.datasets.cloak_targets import TargetPool
from frbench.datasets.cloaking_users import Users
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import FaceSet

PHOTOS = (6, 3, 9, 6, 5, 4, 7)  # of each person


@dataclass(frozen=True)
class Faces:
    """People whose photos stand mixed; every pixel of a photo is its number."""

    name: str = "faces"

    def open(self, cache: Path) -> FaceSet:
        identity = np.random.default_rng(0).permutation(np.repeat(np.arange(len(PHOTOS)), PHOTOS))
        images = np.arange(len(identity), dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
        return FaceSet("faces", images, identity, tuple(f"person {i}" for i in range(len(PHOTOS))), "0" * 64)


def users(**changes: int | None) -> Users:
    return Users(name="toy", faces=Faces(), **({"people": 4, "photos_per_person": 5} | changes))


def numbers(opened: object) -> np.ndarray:
    """Which of the source's photos stand where."""
    return opened.images[:, 0, 0, 0].astype(int)  # type: ignore[attr-defined]


def test_that_photos_are_ordered_by_user_and_are_the_users_own(tmp_path: Path) -> None:
    opened, faces = users().open(tmp_path), Faces().open(tmp_path)
    np.testing.assert_array_equal(opened.identity, np.repeat(np.arange(4), 5))
    assert opened.people == ("person 0", "person 2", "person 3", "person 4")  # person 1 has too few photos
    np.testing.assert_array_equal(faces.identity[numbers(opened)], np.repeat([0, 2, 3, 4], 5))
    assert len(set(numbers(opened))) == 20
    batch = opened.batch(np.arange(3))
    assert batch.same.all() and torch.equal(batch.probe, batch.reference)


def test_that_all_photos_of_a_user_aim_at_photos_of_one_other_person(tmp_path: Path) -> None:
    seen = set()
    for seed in range(8):
        opened = users(people=None, photos_per_person=None, seed=seed).open(tmp_path)
        aims = opened.identity[opened.target]
        for user in range(6):
            (target,) = set(aims[opened.identity == user])
            assert target != user
            seen.add((user, target))
            own = opened.target[opened.identity == user]
            theirs = int((opened.identity == target).sum())
            assert len(set(own)) == min(len(own), theirs)  # in turn, before any comes again
    assert len(seen) > 20  # of 30 couples


def test_that_fewer_people_are_the_first_of_more_with_the_same_photos(tmp_path: Path) -> None:
    few, many = users(people=2).open(tmp_path), users(people=4).open(tmp_path)
    np.testing.assert_array_equal(numbers(few), numbers(many)[:10])


def test_that_the_seed_chooses_the_photos_and_is_known_by_the_digest(tmp_path: Path) -> None:
    one, again, other = (users(seed=seed).open(tmp_path) for seed in (0, 0, 1))
    assert one.digest == again.digest != other.digest
    np.testing.assert_array_equal(numbers(one), numbers(again))
    assert (numbers(one) != numbers(other)).any()


def test_that_without_photos_per_person_everybody_with_four_photos_takes_part_with_all(tmp_path: Path) -> None:
    opened = users(people=None, photos_per_person=None).open(tmp_path)
    np.testing.assert_array_equal(np.bincount(opened.identity), [6, 9, 6, 5, 4, 7])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"people": 1}, "people=1, expected at least 2"),
        ({"photos_per_person": 3}, "photos_per_person=3, expected at least 4"),
        ({"people": 5, "photos_per_person": 6}, "4 of 7 people have 6 photos or more, and 5 are needed"),
        ({"people": None, "photos_per_person": 9}, "1 of 7 people have 9 photos or more, and 2 are needed"),
    ],
)
def test_that_too_few_people_or_photos_are_told_in_one_line(changes: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(FrbenchError) as error:
        replace(users(), **changes).open(tmp_path)
    assert said in told(error)


@dataclass(frozen=True)
class Brightness:
    """Embeds the brightness of a photo as an angle."""

    name: str = "brightness"
    digest: str = "0"
    differentiable: bool = False

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        angle = images.mean(dim=(1, 2, 3)) * 255 / 40 * torch.pi
        return torch.stack([angle.cos(), angle.sin()], dim=1)


def test_that_targets_from_a_pool_are_farthest_from_all_photos_of_the_user(tmp_path: Path) -> None:
    """Two users of seven people; of the five others the one farthest from each, by the definition, is aimed at."""
    faces = Faces().open(tmp_path)
    pool = TargetPool(faces=Faces(), recognizer=Brightness(), top_k=1, photos=2)
    opened = users(people=2, photos_per_person=None, target_pool=pool).open(tmp_path)
    assert opened.people == ("person 0", "person 2")
    looks = Brightness().embed(faces.load(np.arange(len(faces.images))))
    for user, name in enumerate((0, 2)):
        mine = looks[faces.identity == name]
        far = {
            other: float((mine - looks[faces.identity == other].mean(dim=0)).norm(dim=1).min())
            for other in (1, 3, 4, 5, 6)
        }
        aimed = opened.targets[opened.target[opened.identity == user], 0, 0, 0].astype(int)
        assert set(faces.identity[aimed]) == {max(far, key=lambda other: far[other])}
        assert len(set(aimed)) == 2
    assert len(opened.images) == len(opened) and len(opened.targets) == 4


class Alone(Faces):
    """The first person alone."""

    def open(self, cache: Path) -> FaceSet:
        faces = super().open(cache)
        rows = np.flatnonzero(faces.identity == 0)
        return replace(faces, images=faces.images[rows], identity=faces.identity[rows], people=faces.people[:1])


def test_that_a_pool_of_users_alone_is_an_error(tmp_path: Path) -> None:
    pool = TargetPool(faces=Alone(), recognizer=Brightness())
    with pytest.raises(FrbenchError) as error:
        users(target_pool=pool).open(tmp_path)
    assert "so the target pool is empty" in told(error)
