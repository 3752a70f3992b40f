"""A Hydra of our own, which leaves no trace in the process."""

from __future__ import annotations

import os
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import SearchPathException

from frbench.harness.config.hydra_state import composed, initialized


def test_that_the_hydra_of_a_program_and_its_environment_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with hydra.initialize(version_base="1.3", config_path=None):
        theirs = GlobalHydra.instance().hydra
        assert composed("run", ["attack=fgsm"], None).attack.steps == 1
        assert GlobalHydra.instance().hydra is theirs
    assert os.environ["HYDRA_FULL_ERROR"] == "0"


def test_that_options_of_an_own_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / "attack").mkdir()
    (tmp_path / "attack" / "mine.yaml").write_text("steps: 7\n", encoding="utf-8")
    assert composed("run", ["attack=mine"], tmp_path).attack == {"steps": 7}


def test_that_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SearchPathException, match="nowhere"), initialized(tmp_path / "nowhere"):
        pass
