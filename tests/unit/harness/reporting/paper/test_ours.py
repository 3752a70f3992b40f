from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.paper_values import record, values

from frbench.harness.reporting.paper.ours import Ours, at, ours_of
from frbench.harness.reporting.paper.paper_table import Size, paper_table

SMALL = {"dataset.limit": 8}


def ours(*records: dict[str, Any], scores: Any = lambda fingerprint: None, **changes: Any) -> Ours | None:
    """Our value of the first cell."""
    table = paper_table(values(**changes), "some")
    return ours_of(table, next(iter(table.places())), list(records), scores)


def test_that_a_value_has_its_interval_and_count_in_the_unit_of_the_cell() -> None:
    found = ours(record("a"))
    assert found is not None
    assert (found.value, found.low, found.high, found.count) == (98.0, 96.5, 99.0, 600)
    assert found.fingerprints == ("a",) and found.size is Size.FULL and not found.several


def test_that_records_of_other_cells_are_left_alone() -> None:
    assert ours(record("a", {"defense": "pin"}), record("b", {"dataset": "cfp_fp"})) is None


def test_that_a_record_of_the_full_size_goes_before_one_of_the_small_size() -> None:
    small = record("a", settings=SMALL)
    only, both = ours(small), ours(small, record("b"))
    assert only is not None and both is not None
    assert (only.size, only.fingerprints) == (Size.SMALL, ("a",))
    assert (both.size, both.fingerprints, both.several) == (Size.FULL, ("b",), False)


def test_that_of_several_records_the_one_of_the_most_pairs_is_taken_and_said_so() -> None:
    more = {"clean": {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "pairs": 6000}}
    found = ours(record("a"), record("b", measurements=more))
    assert found is not None
    assert (found.value, found.fingerprints, found.several) == (50.0, ("b",), True)


def test_that_a_refused_record_gives_its_reason() -> None:
    found = ours(record("a", status="refused", reason="no gradient", measurements=None))
    assert found is not None
    assert (found.value, found.status, found.why) == (None, "refused", "no gradient")


def test_that_what_was_not_measured_gives_its_reason() -> None:
    path = "clean.tar_at_far.0.001.tar"
    measurements = {"clean": {"tar_at_far": {"0.001": {"tar": None, "reason": "FAR 0.001 is below 1/540"}}}}
    found = ours(record("a", measurements=measurements), measure={"path": path})
    assert found is not None and found.value is None
    assert found.why == "FAR 0.001 is below 1/540"


def test_that_a_mean_is_over_all_records_and_its_ends_are_means_of_the_ends() -> None:
    other = {"clean": {"accuracy": 0.9, "accuracy_low": 0.865, "accuracy_high": 0.93, "pairs": 600}}
    mean = {"path": "clean.accuracy", "count": "clean.pairs", "mean": True}
    found = ours(record("a"), record("b", measurements=other), measure=mean)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((94.0, 91.5, 96.0))
    assert found.count == 2 and set(found.fingerprints) == {"a", "b"}
    alone = ours(record("a"), measure=mean)
    assert alone is not None and alone.count == 600


@pytest.mark.parametrize(
    ("lacking", "why"),
    [
        ({"status": "crashed", "reason": "no memory", "measurements": None}, "1 of 2 records, no memory"),
        ({"measurements": {"clean": {"reason": "too few pairs"}}}, "1 of 2 records, too few pairs"),
    ],
)
def test_that_a_mean_is_not_taken_over_the_records_that_happen_to_have_a_value(
    lacking: dict[str, Any], why: str
) -> None:
    mean = {"path": "clean.accuracy", "count": "clean.pairs", "mean": True}
    found = ours(record("a"), record("b", **lacking), measure=mean)
    assert found is not None
    assert (found.value, found.why) == (None, why)


def test_that_a_median_comes_from_the_pairs_and_failures_are_infinite() -> None:
    sizes = np.arange(1.0, 22.0)
    frame = pd.DataFrame({"correct": True, "adversarial_score": 0.5, "success": sizes < 16, "l2": sizes})
    units = {"l2": {"name": "L2", "digits": 2}}
    found = ours(
        record("a"), scores=lambda fingerprint: frame, measure={"median": "l2"}, units={**units, "db": {"name": "dB"}}
    )
    assert found is not None
    assert (found.value, found.low, found.high, found.count) == (11.0, 6.0, np.inf, 21)
    without = ours(record("a"), measure={"median": "l2"}, units={**units, "db": {"name": "dB"}})
    assert without is not None and without.value is None and without.why


def test_that_hindrances_are_the_reasons_whose_needs_a_record_does_not_meet() -> None:
    comparable = {"training_data": {"settings": {"defense.faces.name": "ms1mv2"}}, "weights": {"dataset": "lfw"}}
    one, other = (ours(record("a", settings={"defense.faces.name": n}), comparable=comparable) for n in ("x", "ms1mv2"))
    assert one is not None and other is not None
    assert one.hindrances == ("training_data",)
    assert other.hindrances == ()


def test_that_a_path_finds_keys_that_have_dots() -> None:
    nested = {"at_far": {"0.01": {"asr": 0.25}, "0.001": {"asr": None}}, "asr": 1}
    assert at(nested, "at_far.0.01.asr") == 0.25
    assert at(nested, "asr") == 1
    assert at(nested, "at_far.0.001.asr") is at(nested, "at_far.0.1.asr") is at(nested, "asr.more") is None
