"""The settings of a cell: the values that differ from the options' own files, without paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from frbench.harness.cli.main import main
from frbench.harness.config.compose import compose, composed_cells
from frbench.harness.core.errors import FrbenchError


def swept(*words: str) -> list[dict[str, Any]]:
    """The settings of each cell."""
    return [dict(cell.settings) for cell in composed_cells(words)]


def label(*words: str) -> dict[str, Any]:
    """The settings of a single cell."""
    (found,) = swept(*words)
    return found


def test_that_a_run_with_default_options_has_no_settings() -> None:
    assert label("attack=pgd", "paths.results=elsewhere", "batch_size=3") == {}


def test_that_a_default_given_explicitly_is_no_setting() -> None:
    assert label("seed=0", "attack.steps=20") == {}
    assert label("seed=4", "attack.steps=21") == {"attack.steps": 21, "seed": 4}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("/home/somebody/run_3/single.safetensors", "run_3/single.safetensors"),
        ("run_3/single.safetensors", "run_3/single.safetensors"),
        ("studies/run_3/single.safetensors", "studies/run_3/single.safetensors"),
        ("single.safetensors", "single.safetensors"),
    ],
)
def test_that_a_file_is_told_by_its_name_and_its_folders(given: str, shown: str) -> None:
    assert label("recognizer=trained", f"recognizer.weights={given}") == {"recognizer.weights": shown}


def test_that_an_address_is_told_whole() -> None:
    address = "http://127.0.0.1:9009/v2/compare"
    assert label("recognizer=service", f"recognizer.url={address}") == {"recognizer.url": address}


def test_that_the_people_of_a_fit_are_told_where_they_are_not_the_options_own() -> None:
    assert label("identities=synthetic", "identities.people=40") == {"identities.people": 40}


def test_that_a_setting_of_a_swept_option_reaches_each_of_its_cells(tmp_path: Path) -> None:
    words = ["-m", "defense=diverse_ensemble,shared_head_ensemble", "attack=none", f"paths.results={tmp_path}"]
    assert swept(*words, "defense.fusion=concat") == [{"defense.fusion": "concat"}] * 2
    assert (
        swept(*words, "defense.recipe.schedule.epochs=3", "defense.fusion=min,mean")
        == [
            {"defense.recipe.schedule.epochs": 3, "defense.fusion": "min"},
            {"defense.recipe.schedule.epochs": 3},
        ]
        * 2
    )


def test_that_an_option_within_a_swept_option_reaches_each_of_its_cells(tmp_path: Path) -> None:
    words = ["-m", "defense=naive_ensemble,adp", "network@defense.recipe.network=tiny", f"paths.results={tmp_path}"]
    sizes = "defense.recipe.network.make.width=8,12"
    shown = {"defense.recipe.network": "tiny"}
    assert swept(*words) == [shown] * 2
    assert swept(*words, sizes) == [shown | {"defense.recipe.network.make.width": each} for each in (8, 12)] * 2


@pytest.mark.parametrize(("place", "chosen"), [("training", "training=mter"), ("defense.recipe", "defense=mter")])
def test_that_what_adversarial_training_begins_from_takes_as_many_batches_a_step(place: str, chosen: str) -> None:
    commands = [chosen], [chosen, f"{place}.schedule.gradient_accumulation_steps=4"]
    taken = f"{place}.start.schedule.gradient_accumulation_steps"
    assert [OmegaConf.select(compose("run", words).cfg, taken) for words in commands] == [1, 4]


def test_that_a_setting_of_what_an_experiment_sweeps_reaches_each_of_its_cells(tmp_path: Path) -> None:
    fewer = ["goal=dodging", "budget=linf_2", "threat.surrogate_gradient=direct"]
    found = swept("experiment=purifiers_adaptive", "defense.apply_to=probe", *fewer, f"paths.results={tmp_path}")
    assert [cell["defense.apply_to"] for cell in found] == ["probe", "probe"]  # of PIN and of AIS


@pytest.mark.parametrize("text", ["/a/some folder/b", "[1, 2]", "null", "'x, y'", "3e-4"])
def test_that_a_setting_of_a_swept_option_is_what_it_is_without_a_sweep(text: str, tmp_path: Path) -> None:
    setting, results = f"+recognizer.extra={text}", f"paths.results={tmp_path}"
    assert swept("-m", "recognizer=tiny,trained", "recognizer.weights=x", setting, results) == 2 * [
        label("recognizer=trained", "recognizer.weights=x", setting)
    ]


def test_that_a_setting_that_a_swept_option_lacks_is_one_line(tmp_path: Path) -> None:
    words = ["-m", "defense=diverse_ensemble,jpeg", "defense.fusion=concat", f"paths.results={tmp_path}"]
    with pytest.raises(FrbenchError, match="'defense.fusion' does not exist for defense=jpeg"):
        swept(*words)


def test_that_a_network_is_taken_out_of_all_swept_trainings(tmp_path: Path) -> None:
    words = ["-m", "defense=diverse_ensemble,naive_ensemble", "attack=none", f"paths.results={tmp_path}"]
    found = swept(*words, "defense.recipe.network=null")
    assert [cell["defense.recipe.network"] for cell in found] == [None, None]


def test_that_a_misspelt_null_of_a_swept_option_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths = [f"paths.{name}={tmp_path / name}" for name in ("data", "results")]
    words = ["run", "-m", "defense=blur,jpeg", "defense.sigmma=null", "attack=none", "device=cpu"]
    assert (
        main(
            [
                *words,
                "dataset.people=30",
                "dataset.photos_per_person=2",
                "dataset.pairs=20",
                "recognizer.min_clean_accuracy=null",
                *paths,
            ]
        )
        == 2
    )
    err = capfd.readouterr().err
    assert "sigmma" in err and "Traceback" not in err
