"""A caller can distinguish a wrong setting, missing data and a damaged file."""

from __future__ import annotations

from pathlib import Path

import pytest

from frbench.harness.config import build
from frbench.harness.core.errors import (
    ConfigError,
    CorruptFile,
    DataMissing,
    DiskFull,
    FrbenchError,
    Refused,
    shortened,
)


def test_wrong_value_is_a_config_error() -> None:
    budget = {"_target_": "frbench.harness.threat_model.budgets.Linf", "radius": "much"}
    with pytest.raises(ConfigError, match=r"budget\.radius=much"):
        build.instantiate(budget, "budget")


def test_absent_images_are_missing_data(tmp_path: Path) -> None:
    faces = {"_target_": "frbench.datasets.identity_folders.IdentityFolders", "root": str(tmp_path / "none")}
    source = build.instantiate({**faces, "name": "celeba", "limit_people": None}, "identities")
    with pytest.raises(DataMissing, match="none"):
        source.open(tmp_path)


def test_every_kind_is_an_error_that_the_command_line_prints() -> None:
    assert all(issubclass(kind, FrbenchError) for kind in (ConfigError, DataMissing, CorruptFile, DiskFull, Refused))


def test_long_text_is_cut_between_words() -> None:
    assert shortened("one two\nthree four", 12) == "one two …"
