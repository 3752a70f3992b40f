"""A recognizer that is fed wrongly is refused before it is attacked."""

import math

import pytest

from frbench.harness.errors import FrbenchError
from frbench.harness.recognizers.preflight import check_clean_accuracy


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


def test_without_a_floor_for_the_dataset_a_low_accuracy_is_only_a_warning() -> None:
    for floor in (None, {"lfw": 98.4}):
        assert check_clean_accuracy("net", 97.0, "agedb_30", floor) is None
        warning = check_clean_accuracy("net", 71.0, "agedb_30", floor)
        assert warning is not None
        assert "71.00 %" in warning
