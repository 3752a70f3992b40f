"""One way from a config to a record, for the command line and for Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.python_cells import FACES, folders

from frbench.harness.config.running import CellConfig, WrongCell, cell_configs, finish, images_of, single_cell
from frbench.harness.core.errors import ConfigError


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    faces = [f"dataset.{name}={value}" for name, value in FACES.items()]
    given = folders(tmp_path_factory, "running")
    paths = [f"paths.results={given['results']}"]
    quick = ["~protocol.postprocessing", "protocol.bootstrap=20", "protocol.num_samples=0", "device=cpu"]
    return [*faces, *paths, *quick, "recognizer.min_clean_accuracy=null", "attack=fgsm"]


def test_that_a_record_is_found_the_second_time(words: list[str]) -> None:
    record, found = finish(single_cell(words))
    again, found_again = finish(single_cell(words))
    assert (found, found_again) == (False, True) and record == again


def test_that_options_of_training_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="options of frbench fit"):
        single_cell(["training=single", f"paths.results={tmp_path}"])


def test_that_images_of_a_cell_that_changed_are_refused(words: list[str]) -> None:
    cell = single_cell(words)
    with pytest.raises(ConfigError, match="changed since it ran"):
        images_of(cell, cell.store, "0" * 64, None)


def test_that_a_protocol_with_several_images_of_a_pair_says_so(words: list[str]) -> None:
    cell = single_cell([*words[:5], "protocol=feature_distance", "attack=lots", "device=cpu"])
    with pytest.raises(ConfigError, match="protocol=feature_distance does not keep one image for a pair"):
        images_of(cell, cell.store, "", None)


def test_that_how_a_sweep_runs_is_no_part_of_a_cell(tmp_path: Path) -> None:
    words = ["wait=true", "retry=crashed", "images=until_judged", f"paths.results={tmp_path}"]
    (cell,) = cell_configs(words)
    (plain,) = cell_configs(words[-1:])
    assert isinstance(cell, CellConfig) and isinstance(plain, CellConfig)
    launcher = {"_target_": "frbench.harness.sweeps.launchers.here.Here"}
    assert cell.controls == {
        "launcher": launcher,
        "wait": True,
        "retry": "crashed",
        "fail_fast": False,
        "images": "until_judged",
    }
    assert (cell.config, cell.choices, cell.settings) == (plain.config, plain.choices, plain.settings)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-m", "fail_fast=true,false"], "fail_fast takes one value for a whole sweep"),
        (["-m", "attack=fgsm,pgdd"], "did you mean attack=pgd"),
        (["-m", "attack=fgsm,lots", "attack.early_stop=true"], "does not exist for attack=lots"),
    ],
)
def test_that_a_sweep_that_cannot_start_is_refused_as_a_whole(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        cell_configs([*words, f"paths.results={tmp_path}"])


def test_that_a_wrong_value_is_an_error_of_its_cell_alone(tmp_path: Path) -> None:
    wrong, right = cell_configs(["-m", "batch_size=0,1", f"paths.results={tmp_path}"])
    assert isinstance(wrong, WrongCell) and "batch_size=0 is not" in str(wrong.error)
    assert isinstance(right, CellConfig) and right.words[0] == "batch_size=1"
