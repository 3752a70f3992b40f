"""The check that a folder is writable, before any work is done."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from frbench.harness.core.errors import ConfigError


def check_writable(folder: Path, key: str) -> None:
    """Raises ConfigError: ``folder``, or the existing folder above it, is not writable. Creates nothing.

    key: the setting that names the folder, for the message.
    """
    try:
        with TemporaryFile(dir=next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())):
            pass
    except OSError as error:
        raise ConfigError(f"{key}={folder} is not writable ({error.strerror}); set {key} to another folder") from error
