"""A part that breaks its contract is one error with its name, its file, and all that is missing or wrong at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from support.cloaked_cells import users

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.contracts import Attack, AttackResult, Defense, Recognizer, Verifier
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.part_contracts import check_pairs, check_part, check_result, check_test_set, check_users
from frbench.harness.core.verifiers import Comparer
from frbench.harness.recognizers.metering import Meter, metered
from frbench.harness.threat_model.threats import Transfer


def told(job: Callable[[], object]) -> str:
    with pytest.raises(FrbenchError) as error:
        job()
    return str(error.value)


class Sloppy:
    """Not a dataclass; a method where a bool is expected, a number where another is, and two arguments too few."""

    bounded = 1

    def needs_gradient(self) -> bool:
        return False

    def __call__(self, view: Any, pairs: Any) -> None: ...


@pytest.mark.parametrize("part", [Sloppy, Sloppy()], ids=["class", "object"])
def test_that_all_breaches_stand_in_one_error_with_the_name_and_the_file(part: object) -> None:
    message = told(lambda: check_part(part, (Attack,), "attack"))
    expected = [
        "Sloppy",
        __file__,
        "not a dataclass",
        "needs_gradient is a method, expected bool",
        "bounded is 1, expected bool",
        "stops_early (bool)",
        "batch_dependent (bool)",
        "__call__ takes (view, pairs), expected (view, pairs, goal, budget)",
    ]
    assert not [each for each in expected if each not in message]
    assert "\n" not in message


@dataclass
class Changeable:
    def protect(self, verifier: Verifier) -> Verifier:
        return verifier


def test_that_a_dataclass_that_can_be_changed_and_a_missing_method_are_named() -> None:
    message = told(lambda: check_part(Changeable(), (Defense,), "defense"))
    assert "frozen=True" in message and "relaxations(verifier)" in message and "protect" not in message


def test_that_a_recognizer_is_held_against_the_contract_that_it_is_nearer_to(linear: Callable) -> None:
    @dataclass(frozen=True)
    class NoDigest:
        name: str = "mine"
        differentiable: bool = False
        random: bool = False

        def compare(self, probe: Any, reference: Any) -> Any: ...

    check_part(linear(), (Recognizer, Comparer), "recognizer")
    message = told(lambda: check_part(NoDigest(), (Recognizer, Comparer), "recognizer"))
    assert "a Comparer" in message and "digest" in message and "embed" not in message


def test_that_a_part_inside_a_part_is_looked_at_too(linear: Callable) -> None:
    check_part(Transfer(linear()), (), "threat")
    assert told(lambda: check_part(Transfer(Sloppy()), (), "threat")).startswith("threat.surrogate: ")  # type: ignore[arg-type]


def test_that_a_digest_is_not_worked_out_to_see_that_it_is_there() -> None:
    @dataclass(frozen=True)
    class Large:
        name: str = "large"
        differentiable: bool = True

        @property
        def digest(self) -> str:
            raise AssertionError("weights were read")

        def embed(self, images: Any) -> Any: ...

    check_part(Large(), (Recognizer,), "recognizer")


PROBE = torch.zeros(2, 3, 4, 4)
DONE, COUNT = torch.ones(2, dtype=torch.bool), torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("result", "came"),
    [
        (PROBE, "a Tensor, expected an AttackResult"),
        (AttackResult(PROBE.byte(), DONE, COUNT), "images uint8 (2, 3, 4, 4) on cpu, expected float32 (2, 3, 4, 4)"),
        (AttackResult(PROBE.double(), DONE, COUNT), "images float64"),
        (AttackResult(PROBE[:1], DONE, COUNT), "images float32 (1, 3, 4, 4)"),
        (AttackResult(PROBE.numpy(), DONE, COUNT), "images as ndarray"),  # type: ignore[arg-type]
        (AttackResult(PROBE, DONE.float(), COUNT), "achieved float32 (2,)"),
        (AttackResult(PROBE, DONE, torch.tensor(3)), "iterations int64 ()"),
    ],
    ids=["tensor", "uint8", "float64", "shape", "numpy", "achieved", "iterations"],
)
def test_that_a_result_of_another_kind_is_named_with_what_was_expected(result: object, came: str) -> None:
    message = told(lambda: check_result(ProjectedDescent(), result, PROBE))
    assert "ProjectedDescent" in message and came in message
    check_result(ProjectedDescent(), AttackResult(PROBE, DONE, COUNT), PROBE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": np.zeros((80, 8, 8, 3), np.float32)}, "images float32 (80, 8, 8, 3), expected uint8 (M, H, W, 3)"),
        ({"same": np.zeros(40, np.int64)}, "same int64 (40,), expected bool (40,)"),
        ({"probe": np.arange(41)}, "reference int64 (40,), expected int64 (41,)"),
        ({"reference": np.full(40, 80)}, "reference from 80 to 80, expected 0 to 79"),
        ({"identity": [0] * 80}, "identity as list"),
        ({"attacked": np.array([-1])}, "attacked from -1 to -1"),
    ],
    ids=["images", "same", "count", "rows", "list", "attacked"],
)
def test_that_a_data_set_whose_arrays_do_not_fit_is_named(change: Any, said: str, pair_set: Callable) -> None:
    check_pairs(Changeable(), pair_set())
    message = told(lambda: check_pairs(Changeable(), replace(pair_set(), **change)))
    assert "Changeable" in message and said in message
    assert "a list, expected a PairSet or a UserSet" in told(lambda: check_test_set(Changeable(), [1]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"identity": np.arange(49)}, "identity int64 (49,), expected int64 (50,)"),
        ({"target": np.full(50, 50)}, "target from 50 to 50, expected 0 to 49"),
        ({"targets": np.zeros((50, 8, 8), np.uint8)}, "targets uint8 (50, 8, 8), expected uint8 (M, H, W, 3)"),
    ],
    ids=["count", "rows", "targets"],
)
def test_that_users_whose_arrays_do_not_fit_are_named(change: Any, said: str) -> None:
    assert check_test_set(Changeable(), users()) is not None
    message = told(lambda: check_users(Changeable(), replace(users(), **change)))
    assert "Changeable" in message and said in message


def test_that_pairs_are_no_users(pair_set: Callable) -> None:
    assert "a PairSet, expected a UserSet" in told(lambda: check_users(Changeable(), pair_set()))
    assert "a UserSet, expected a PairSet" in told(lambda: check_pairs(Changeable(), users()))


@dataclass(frozen=True)
class Returning:
    """A recognizer that returns what it is given."""

    vectors: Any = field(compare=False)
    name: str = "mine"
    differentiable: bool = True
    digest: str = "mine"

    def embed(self, images: Any) -> Any:
        return self.vectors


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (torch.ones(2, 5), "length 2.24 to 2.24, expected unit length"),
        (torch.full((2, 5), torch.nan), "unit length"),
        (torch.ones(3, 5), "float32 (3, 5) for 2 images"),
        (torch.ones(2, 5, 1, 1), "float32 (2, 5, 1, 1)"),
        ((torch.ones(2, 5), torch.ones(2)), "a tuple for 2 images"),
    ],
    ids=["length", "nan", "count", "shape", "tuple"],
)
def test_that_embeddings_of_another_kind_are_named(vectors: Any, said: str) -> None:
    recognizer = metered(Returning(vectors), Meter())
    message = told(lambda: recognizer.embed(PROBE))  # type: ignore[union-attr]
    assert "Returning" in message and said in message
