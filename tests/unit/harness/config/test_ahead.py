"""Images of a cell ahead of its run, from its overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from frbench.harness.config.ahead import craft
from frbench.harness.config.running import CellConfig, finish, single_cell
from frbench.harness.core.errors import ConfigError
from frbench.harness.evaluation.shards import WHOLE

SMALL = ["dataset.people=30", "dataset.photos_per_person=2", "dataset.pairs=60", "dataset.limit=20"]
QUICK = ["~protocol.postprocessing", "protocol.bootstrap=20", "protocol.num_samples=0", "device=cpu", "attack=fgsm"]


def cell(results: Path, *words: str) -> CellConfig:
    return single_cell([*SMALL, *QUICK, "allow_low_accuracy=true", *words, f"paths.results={results}"])


def test_the_run_finds_what_was_made_ahead(tmp_path: Path) -> None:
    assert craft(cell(tmp_path, "defense=blur"), WHOLE).made == 1
    record, found = finish(cell(tmp_path, "defense=blur"))
    assert not found
    assert record["card"]["attack_generated"] is False


def test_a_cell_without_an_attack_has_no_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="attack=none makes no images"):
        craft(cell(tmp_path, "attack=none"), WHOLE)
