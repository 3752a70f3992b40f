"""What of a command line stands in a cell's label: what differs from the options' own files, and no path."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import DictConfig

from frbench.harness.composing import chosen_options, settings, with_hydra


def told(*words: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def job(cfg: DictConfig) -> None:
        found.append(settings(cfg, chosen_options()))

    with_hydra("run", [*words, "hydra.run.dir=."], job)
    return found[0]


def test_that_nothing_stands_there_of_a_run_that_changes_nothing() -> None:
    assert told("attack=pgd", "paths.results=elsewhere", "batch_size=3") == {}


def test_that_a_value_given_again_is_no_change_and_another_is() -> None:
    assert told("seed=0", "attack.steps=20") == {}
    assert told("seed=4", "attack.steps=21") == {"attack.steps": 21, "seed": 4}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("/home/somebody/run_3/single.safetensors", "run_3/single.safetensors"),
        ("run_3/single.safetensors", "run_3/single.safetensors"),
        ("single.safetensors", "single.safetensors"),
    ],
)
def test_that_a_file_is_told_by_its_name_and_its_folders(given: str, shown: str) -> None:
    assert told("recognizer=trained", f"recognizer.weights={given}") == {"recognizer.weights": shown}


def test_that_an_address_is_told_whole() -> None:
    address = "http://127.0.0.1:9009/v2/compare"
    assert told("recognizer=service", f"recognizer.url={address}") == {"recognizer.url": address}


def test_that_the_people_of_a_fit_are_told_where_they_are_not_the_options_own() -> None:
    assert told("identities=synthetic", "identities.people=40") == {"identities.people": 40}
