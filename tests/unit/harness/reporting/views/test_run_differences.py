"""What differs between two runs, and nothing that both share."""

from __future__ import annotations

from typing import Any

from support.fake_records import NAMES, FakeStore, decided

from frbench.harness.reporting.views.run_differences import ABSENT, Difference, run_differences
from frbench.harness.storage.portable_record import portable
from frbench.harness.storage.records import Record

CARD: dict[str, Any] = {
    "git": "1111",
    "device": "cpu",
    "threads": 2,
    "digests": {"data": "d" * 64, "recognizer": "r" * 64, "artifact": None},
    "versions": {"numpy": "2.4.6", "torch": "2.13.0"},
    "config": {
        "seed": 0,
        "device": "auto",
        "paths": {"data": "/home/one/data", "results": "results"},
        "attack": {"steps": 20, "restarts": 2},
        "defense": {"quality": 75},
        "dataset": {"root": "/home/one/data/lfw"},
        "audit": {"sample": 32},
    },
}


def run(option: str = "jpeg", card: dict[str, Any] | None = None, **config: Any) -> Record:
    own = CARD | (card or {})
    own["config"] = CARD["config"] | config
    return portable(decided(FakeStore(), {**NAMES, "defense": option}, [True], card=own))


def test_that_runs_of_one_config_in_different_folders_do_not_differ() -> None:
    moved = {"paths": {"data": "/srv", "results": "other"}, "dataset": {"root": "/srv/lfw"}, "device": "cuda"}
    assert run_differences(run(), run(**moved)) == []


def test_that_settings_are_compared_where_the_option_is_the_same() -> None:
    found = run_differences(run(), run(attack={"steps": 100, "restarts": 2}, defense={"quality": 50}, seed=1))
    assert found == [
        Difference("setting", "attack.steps", "20", "100"),
        Difference("setting", "defense.quality", "75", "50"),
        Difference("setting", "seed", "0", "1"),
    ]
    assert run_differences(run(), run("none", defense={})) == [Difference("option", "defense", "jpeg", "none")]


def test_that_data_code_and_machine_follow() -> None:
    other = {"git": None, "digests": CARD["digests"] | {"data": "e" * 64}, "versions": {"numpy": "2.5"}, "threads": 8}
    assert run_differences(run(), run(card=other)) == [
        Difference("data", "data digest", "d" * 12, "e" * 12),
        Difference("code", "commit", "1111", ABSENT),
        Difference("code", "numpy", "2.4.6", "2.5"),
        Difference("code", "torch", "2.13.0", ABSENT),
        Difference("machine", "threads", "2", "8"),
    ]


def test_that_records_without_a_config_differ_in_their_changed_settings() -> None:
    first, second = (decided(FakeStore(), NAMES, [True], settings={"attack.steps": steps}) for steps in (1, 2))
    assert run_differences(first, second) == [Difference("setting", "attack.steps", "1", "2")]
