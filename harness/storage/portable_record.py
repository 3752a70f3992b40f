"""Records for other people: without paths, addresses and names of a machine or a user. Pure.

A path below ``paths.data`` or ``paths.cache`` becomes ``${paths.data}/…``, as in the files of the options. Of any other
path the name of the file remains, as ``<file>/model.onnx``; the address of a service becomes ``<url>``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from frbench.harness.storage.records import Record, reason

OWN_FILE = "<file>"  # stands for the folder of a file that only the user of the record has
OWN_URL = "<url>"
FOLDERS = ("data", "cache")  # of ``paths``, which config values may name

_CONTROLS = re.compile(
    r"(\+|~)?(paths\.|hydra\.|launcher\b|wait=|retry=|fail_fast=|images=|device=|fetch=|--config-dir)"
)
_ABSOLUTE = re.compile(r"(?<![\w.}>/\\])(?:~?[/\\]|[A-Za-z]:[/\\])(?:[^\s'\",:;()\[\]{}<>|/\\]*[/\\])+")
_ADDRESS = re.compile(r"(?<!\w)\w+://[^\s'\",]+")
_URL_KEY, _TARGET = "url", "_target_"


def portable(record: Record) -> dict[str, Any]:
    """``record`` with the same measurements, and a config that another machine can use.

    Args:
        record: whole, with its config.
    """
    card = dict(record["card"] or {})
    config = card.get("config") or {}
    folders = {name: str(path) for name, path in (config.get("paths") or {}).items() if name in FOLDERS and path}
    own = _own_paths(config, folders)
    kept = {key: value for key, value in config.items() if key not in ("paths", "out")}
    card["config"] = _config(kept, folders)
    if "overrides" in card:
        card["overrides"] = [_text(word) for word in card["overrides"] if not _CONTROLS.match(word)]
    rest = {key: value for key, value in record.items() if key not in ("card", "checksum", "files", "reason")}
    settings = {key: _setting(value, own) for key, value in record["settings"].items()}
    return {
        **_without_paths(rest | {"settings": settings}),
        "reason": _text(reason(record)) or None,
        "files": [],
        "card": {key: value if key == "config" else _without_paths(value) for key, value in card.items()},
    }


def overrides_of(record: Record) -> list[str] | None:
    """The overrides of ``frbench run`` that give the cell, as a portable record keeps them; None in old records."""
    found = (record["card"] or {}).get("overrides")
    return None if found is None else [str(word) for word in found]


def _config(value: Any, folders: Mapping[str, str], key: str = "") -> Any:
    if isinstance(value, Mapping):
        built = _TARGET in value  # a service, and no public source of a data set
        return {name: _config(each, folders, str(name) if built else "") for name, each in value.items()}
    if isinstance(value, list):
        return [_config(each, folders) for each in value]
    if not isinstance(value, str):
        return value
    return OWN_URL if key == _URL_KEY else _path(value, folders)


def _path(value: str, folders: Mapping[str, str]) -> str:
    """A path as another machine has it; any other text unchanged."""
    for name, folder in folders.items():
        if value == folder or value.startswith(f"{folder.rstrip('/')}/"):
            return f"${{paths.{name}}}{value[len(folder.rstrip('/')) :]}"
    return f"{OWN_FILE}/{_name(value)}" if _is_absolute(value) else value


def _is_absolute(value: str) -> bool:
    return bool(re.match(r"[/\\]|~\w|[A-Za-z]:[/\\]", value))


def _name(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name


def _own_paths(value: Any, folders: Mapping[str, str]) -> set[str]:
    """Absolute paths in a config that are in none of the ``folders``."""
    if isinstance(value, Mapping):
        return set().union(*(_own_paths(each, folders) for key, each in value.items() if key != "paths"))
    if isinstance(value, list):
        return set().union(*(_own_paths(each, folders) for each in value))
    return {value} if isinstance(value, str) and _path(value, folders).startswith(OWN_FILE) else set()


def _setting(value: Any, own: set[str]) -> Any:
    """A setting, of which the label shows the last two parts of a path: the first may be the name of a user."""
    if isinstance(value, str) and any(path.rstrip("/").endswith(f"/{value}") for path in own):
        return _name(value)
    return value


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_paths(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(each) for each in value]
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    """``text`` with the last part of each absolute path, and without addresses."""
    return _ABSOLUTE.sub("", _ADDRESS.sub(OWN_URL, text))
