"""``resolve`` checks options without touching data; ``prepare`` opens them."""

from __future__ import annotations

from pathlib import Path

import pytest

from frbench.harness.config import resolution
from frbench.harness.config.cells import Spec, prepare, resolve
from frbench.harness.config.compose import composed_cell
from frbench.harness.core.contracts import Fittable
from frbench.harness.core.errors import ConfigError, DataMissing


def resolved(folder: Path, *words: str) -> Spec:
    """The spec of a run whose data and results folders do not exist."""
    paths = [f"paths.{name}={folder / name}" for name in ("data", "results", "cache")]
    cell = composed_cell([*words, *paths])
    return resolve(resolution.plain(cell.config), cell.choices, cell.settings)


def test_that_missing_data_is_found_by_prepare_and_not_by_resolve(tmp_path: Path) -> None:
    spec = resolved(tmp_path, "dataset=lfw", "recognizer=iresnet18", "defense=pca")
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataMissing, match="lfw"):
        prepare(spec)


def test_that_a_wrong_value_is_found_by_resolve(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="defense.components=none"):
        resolved(tmp_path, "dataset=lfw", "defense=pca", "defense.components=none")


def test_that_the_key_of_a_cell_is_known_before_its_defense_is_fitted(tmp_path: Path) -> None:
    few = ["dataset.people=30", "dataset.photos_per_person=2", "dataset.pairs=60"]
    faces = ["identities=synthetic", "identities.people=4", "identities.photos_per_person=2"]
    cell = prepare(resolved(tmp_path, *few, *faces, "defense=pca", "defense.components=3"))
    assert cell.fit is not None
    fitted = cell.fit(cell)
    assert isinstance(fitted.defense, Fittable) and fitted.defense.artifact is not None
    assert fitted.defense.artifact.tensors and fitted.fingerprint() == cell.fingerprint()
