from __future__ import annotations

import pytest

from frbench.harness.reporting.paper.matching import matches

RECORD = {
    "names": {"attack": "bim", "defense": "mter"},
    "settings": {"budget.radius": 5 / 255, "attack.steps": 10},
    "seed": 2,
}


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"attack": "bim"},
        {"attack": ["fgsm", "bim"], "defense": "mter"},
        {"surrogate": None},
        {"seed": 2},
        {"settings": {"budget.radius": "5/255"}},
        {"settings": {"attack.steps": [10, 20], "attack.restarts": None}},
    ],
)
def test_that_a_record_with_every_entry_matches(where: dict) -> None:
    assert matches(RECORD, where)


@pytest.mark.parametrize(
    "where",
    [
        {"attack": "fgsm"},
        {"attack": None},
        {"surrogate": "tiny"},
        {"attack": "bim", "seed": 1},
        {"settings": {"attack.steps": 20}},
        {"settings": {"attack.steps": None}},
        {"settings": {"attack.restarts": 3}},
    ],
)
def test_that_one_entry_that_differs_is_enough_not_to_match(where: dict) -> None:
    assert not matches(RECORD, where)


def test_that_of_several_mappings_one_is_enough() -> None:
    assert matches(RECORD, [{"attack": "fgsm"}, {"attack": "bim", "defense": "mter"}])
    assert not matches(RECORD, [{"attack": "fgsm"}, {"attack": "bim", "defense": "none"}])
