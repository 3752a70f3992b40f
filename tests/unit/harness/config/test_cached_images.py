"""Images of a record come from the cache of its results folder, and no attack runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frbench.harness.cli.main import main
from frbench.harness.config.cached_images import CachedImages, cached_images
from frbench.harness.config.running import images_of, single_cell
from frbench.harness.core.errors import ConfigError, DataMissing
from frbench.harness.storage.portable_record import portable
from frbench.harness.storage.result_store import ResultStore

SMALL = ["dataset.people=30", "dataset.photos_per_person=2", "dataset.pairs=60", "dataset.limit=20", "device=cpu"]
CELL = ["attack=fgsm", "threat=adaptive", "defense=jpeg", "~protocol.postprocessing", "allow_low_accuracy=true", *SMALL]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cell whose attacker has two views."""
    folder = tmp_path_factory.mktemp("results")
    assert main(["run", *CELL, f"paths.results={folder}"]) == 0
    return folder


def found(results: Path, **changes: Any) -> list[CachedImages]:
    store = ResultStore(results)
    (key,) = (record["fingerprint"] for record in store.records())
    record = portable(store.record(key) or {}) | changes
    paths = single_cell([*CELL, f"paths.results={results}"]).config["paths"]
    own = {"paths": paths, "device": "cpu", "fetch": False, "trust": []}
    return list(cached_images(record, own, store, store.score_table(key).column("index").to_pylist()))


def test_that_images_are_those_of_the_run(results: Path) -> None:
    cell, store = single_cell([*CELL, f"paths.results={results}"]), ResultStore(results)
    before = sorted(path for path in results.rglob("*") if path.is_file() and "index" not in path.parts)
    (block,) = found(results)
    key = store.records()[0]["fingerprint"]
    expected = images_of(cell, store, key, block.pairs.tolist())
    for version, images in zip(("probe", "adversarial", "reference"), expected, strict=True):
        assert np.array_equal(block.images[version], images.permute(0, 2, 3, 1).numpy()), version
    assert sorted(path for path in results.rglob("*") if path.is_file() and "index" not in path.parts) == before


def test_that_images_that_are_not_in_the_cache_are_not_made(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results, tmp_path / "results")
    views = sorted((tmp_path / "results" / "cache" / "adversarial").iterdir())
    assert len(views) == 2
    shutil.rmtree(views[0])
    with pytest.raises(DataMissing, match="no image of the pairs is in the cache"):
        found(tmp_path / "results")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "cloaking"}, "pairs=samples"),
        ({"fingerprint": "0" * 64}, "changed since the run"),
    ],
)
def test_that_another_cell_has_no_cached_images(changes: dict[str, Any], said: str, results: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        found(results, **changes)
    with pytest.raises(DataMissing, match="no image"):
        found(
            results,
            card=portable({"card": {"adversarial_images": ["../../x"]}, "settings": {}, "reason": None})["card"],
        )


def test_that_the_command_line_exports_all_pairs(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["export", "images", "pairs=cached", "device=cpu", f"paths.results={results}", f"out={tmp_path / 'out'}"]
    assert main(given) == 0
    assert "images of 10 of 10 pairs in 1 folders" in capsys.readouterr().out
    assert len(list((tmp_path / "out").rglob("adversarial/**/*.png"))) == 10
