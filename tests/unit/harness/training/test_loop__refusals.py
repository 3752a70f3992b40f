"""What cannot be trained is told in one line: faces that are no classes, fields that do not go together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.toy_learners import lesson, network
from support.toy_recipes import FACES, RECIPES, SCHEDULE, SINGLE

from frbench.harness.config.checks import check_fields
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import FaceSet
from frbench.harness.training.class_labels import class_labels


def with_people(identity: np.ndarray, names: int) -> FaceSet:
    return replace(FACES, identity=identity, people=tuple(f"person {number}" for number in range(names)))


@pytest.mark.parametrize(
    ("faces", "words"),
    [
        (with_people(np.zeros(120, np.int64), 1), "has 1 person; classification needs two or more"),
        (with_people(np.repeat([0, 1, 3, 4], 30), 5), "person 2 has none"),
        (with_people(np.repeat([0, 1, 2, 3], 30), 5), "names 5 people and has faces of 4: person 4 has none"),
        (with_people(np.repeat([-1, 0, 1, 2], 30), 3), "30 faces without a name"),
    ],
    ids=["one person", "an empty class", "the last class empty", "nobody"],
)
def test_faces_that_are_no_classes_are_refused_in_one_line(faces: FaceSet, words: str, tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match=words) as error:
        SINGLE.fit(lesson(faces, tmp_path / "unfinished"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "unfinished").exists()


def test_people_are_numbered_without_gaps() -> None:
    faces = replace(FACES, identity=np.repeat([7, 3, 9, 4], 30), people=())
    assert class_labels(faces).tolist() == np.repeat([2, 0, 3, 1], 30).tolist()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: replace(RECIPES["diverse"], shared_head=False), "needs a shared head; set shared_head=true"),
        (
            lambda: replace(RECIPES["shared_head"], shared_head=False, classification_target="both"),
            "needs a shared head",
        ),
        (lambda: replace(RECIPES["diverse"], members=1), "diversity: diversity needs several members"),
        (lambda: replace(SINGLE, members=0), "members=0 is not an integer above 0"),
        (lambda: replace(SINGLE, classification_target="best"), "mean or member or sum or both"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(FrbenchError, match=words) as error:
        check_fields(make(), "training")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("epochs", -1),
            ("batch_size", 0),
            ("gradient_accumulation_steps", 0),
            ("lr", float("inf")),
            ("lr", -0.1),
            ("lr", float("nan")),
        ),
        *(("lr_step_size", 0), ("weight_decay", -1.0), ("momentum", 1.0), ("grad_clip_norm", 0.0), ("patience", 0)),
    ],
)
def test_a_number_that_no_training_can_go_by_is_named(field: str, value: float) -> None:
    with pytest.raises(FrbenchError, match=rf"^schedule\.{field}=\S+ is not a") as error:
        check_fields(replace(SCHEDULE, **{field: value}), "schedule")
    assert "\n" not in str(error.value)


def test_fine_tuning_needs_a_recognizer_that_shows_its_network() -> None:
    recipe = replace(SINGLE, network=None)
    with pytest.raises(FrbenchError, match="no network to train"):
        recipe.fit(lesson(FACES, Path("unused")))


def test_the_state_of_another_architecture_is_refused_and_kept(tmp_path: Path) -> None:
    unfinished = tmp_path / "unfinished"
    short = replace(SINGLE, schedule=replace(SCHEDULE, epochs=1))
    short.fit(lesson(FACES, unfinished))
    before = unfinished.read_bytes()
    with pytest.raises(FrbenchError) as error:
        replace(short, network=network(8)).fit(lesson(FACES, unfinished))
    assert "\n" not in str(error.value)
    assert unfinished.read_bytes() == before
