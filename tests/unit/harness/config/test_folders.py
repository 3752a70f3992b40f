"""The folders that a config names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from frbench.harness.config import folders
from frbench.harness.core.errors import ConfigError


def test_that_folders_in_the_home_directory_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = {"paths": {"results": "~/results", "cache": "~/cache"}}
    assert folders.store(config).root == tmp_path / "results"
    assert folders.image_cache(config) == tmp_path / "cache" / "images"
    folders.check_folders(config)
    assert not list(tmp_path.iterdir())


def test_that_a_folder_below_a_file_is_refused_by_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"paths\.cache=.* is not writable"):
        folders.check_folders({"paths": {"results": str(tmp_path), "cache": str(tmp_path / "file" / "cache")}})


def test_that_a_report_imports_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from frbench.harness.cli.main import main; "
        f"main(['report', 'format=json', 'paths.results={tmp_path}']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL).returncode == 0
