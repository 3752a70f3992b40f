"""A recognizer that is fed wrongly is refused before it is attacked."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frbench.harness.cli.main import main
from frbench.harness.core.errors import FrbenchError
from frbench.harness.protocols.cloaking.photo_pairs import pair_accuracy
from frbench.harness.recognizers.accuracy_check import check_clean_accuracy


def test_at_or_above_the_floor_nothing_is_said() -> None:
    assert check_clean_accuracy("net", 98.4, "lfw", {"lfw": 98.4}) is None
    assert check_clean_accuracy("net", 60.0, "hard_set", 55) is None


@pytest.mark.parametrize("accuracy", [98.39, 50.0, math.nan])
def test_below_the_floor_is_refused_with_the_usual_causes(accuracy: float) -> None:
    with pytest.raises(FrbenchError) as error:
        check_clean_accuracy("net", accuracy, "lfw", {"lfw": 98.4, "cfp_fp": 80})
    text = str(error.value)
    assert "\n" not in text
    assert all(part in text for part in ("net", "lfw", "98.4", "channels", "normalisation", "alignment"))


@pytest.mark.parametrize("floor", [None, {"lfw": 98.4}])
def test_without_a_floor_for_the_dataset_a_low_accuracy_is_a_warning_and_below_75_refused(floor: Any) -> None:
    assert check_clean_accuracy("net", 97.0, "agedb_30", floor) is None
    warning = check_clean_accuracy("net", 81.0, "agedb_30", floor)
    assert warning is not None and "81.00 %" in warning
    with pytest.raises(FrbenchError, match="50.00 % .* at least 75 %.*preprocessing=auto.*allow_low_accuracy"):
        check_clean_accuracy("net", 50.0, "agedb_30", floor)


@pytest.mark.parametrize("floor", [None, 98])
def test_what_is_below_its_floor_may_be_allowed_and_is_told(floor: float | None) -> None:
    warning = check_clean_accuracy("net", 60.0, "lfw", floor, allowed=True)
    assert warning is not None and f"expected at least {floor or 75} %" in warning


def test_photos_of_users_are_verified_as_pairs() -> None:
    """Three users with two photos and one with a single photo; the embeddings separate all users, or none."""
    users = np.array([5, 2, 5, 9, 2, 7, 9])
    apart = torch.eye(4)[torch.tensor([0, 1, 0, 2, 1, 3, 2])]
    assert pair_accuracy(users, apart) == 1
    assert pair_accuracy(users, torch.ones(7, 1)) == 0.5


FED_WRONGLY = ["recognizer.scale=0.001", "recognizer.mean=0.5", "recognizer.min_clean_accuracy=null"]
SMALL = ["dataset.people=30", "dataset.photos_per_person=4", "dataset.pairs=100", "dataset.limit=10", "device=cpu"]


@pytest.mark.parametrize(
    "words",
    [
        FED_WRONGLY,
        ["threat=transfer", "recognizer@threat.surrogate=tiny", *(f"threat.surrogate{w[10:]}" for w in FED_WRONGLY)],
        ["protocol=cloaking", "dataset=synthetic_users", "dataset.people=6", "goal=cloak", *FED_WRONGLY],
    ],
    ids=["verification", "surrogate", "cloaking"],
)
def test_a_recognizer_fed_wrongly_is_not_attacked_unless_that_is_allowed(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = SMALL if "protocol=cloaking" not in words else ["device=cpu", "protocol.splits=1", "protocol.bootstrap=10"]
    command = ["run", "attack=fgsm", *small, *words, f"paths.results={tmp_path}"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "expected at least 75 %" in said and "allow_low_accuracy=true" in said
    assert len(said.strip().splitlines()) == 1 and not list(tmp_path.glob("runs/*.json"))
    assert main([*command, "allow_low_accuracy=true"]) == 0
    (record,) = tmp_path.glob("runs/*.json")
    assert "low_clean_accuracy" in json.loads(record.read_text())["flags"]
