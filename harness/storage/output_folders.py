"""Folders that a run writes into, checked before any work is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from frbench.harness.core.errors import ConfigError


def check_folders(config: Mapping[str, Any]) -> None:
    """Raises FrbenchError: results or cached images cannot be written where ``config`` says."""
    for name in ("results", "cache"):
        check_writable(Path(config["paths"][name]).expanduser(), f"paths.{name}")


def check_writable(folder: Path, key: str) -> None:
    """Raises FrbenchError, for the setting ``key``: no file can be written in ``folder``, or where it is to be made.

    Nothing is left behind: bad input that is found later makes no folders.
    """
    try:
        with TemporaryFile(dir=next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())):
            pass
    except OSError as error:
        raise ConfigError(
            f"{key}={folder}: cannot write there ({error.strerror}); give a folder that can be written: {key}=FOLDER"
        ) from error
