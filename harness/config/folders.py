"""The folders that a config names. Without torch, for the verbs that only read results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frbench.harness.storage.output_folders import check_writable
from frbench.harness.storage.result_store import ResultStore


def check_folders(config: Mapping[str, Any]) -> None:
    """Raises ConfigError: the folder of the results or of cached images is not writable."""
    for name in ("results", "cache"):
        check_writable(Path(config["paths"][name]).expanduser(), f"paths.{name}")


def store(config: Mapping[str, Any]) -> ResultStore:
    """The result store of ``paths.results``."""
    return ResultStore(Path(config["paths"]["results"]).expanduser())


def image_cache(config: Mapping[str, Any]) -> Path:
    """The folder of decoded and rendered images."""
    return Path(config["paths"]["cache"]).expanduser() / "images"
