"""Finding and reading weight files, without running code that they contain."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from frbench.harness.core.errors import CorruptFile, DataMissing, shortened
from frbench.harness.core.file_kinds import Form, is_safetensors, kind_of
from frbench.harness.core.training_identities import PEOPLE
from frbench.harness.runtime.download import locate_weights, mirrored

PACKAGED = "pkg:"
METADATA = "frbench"  # the entry of a safetensors header that holds JSON of ours


def find_weights(
    weights: str | Path,
    urls: Sequence[str] = (),
    sha256: str | None = None,
    cache: str | Path | None = None,
    download_hint: str = "",
) -> Path:
    """The local path of ``weights``, downloaded from ``urls`` into ``cache`` where it is missing.

    ``pkg:NAME`` is a file shipped beside this module. ``download_hint`` says where to get a file without a URL.
    """
    if str(weights).startswith(PACKAGED):
        return _existing(Path(__file__).parent / str(weights).removeprefix(PACKAGED), "reinstall frbench")
    path = Path(weights).expanduser()
    if not path.is_file() and cache is not None and sha256 and mirrored(urls, f"models/{path.name}"):
        return locate_weights(path, list(urls), sha256, Path(cache).expanduser())
    return _existing(path, download_hint or "give the path of your copy instead")


def _existing(path: Path, remedy: str) -> Path:
    if not path.is_file():
        raise DataMissing(f"weight file {path} does not exist: {remedy}")
    return path


def read_state(path: Path) -> dict[str, Tensor]:
    """State dict of a .safetensors or PyTorch file, without ``module.`` before the names. Errors: see ``read_weights``.

    Where the entries of a network stand in a file that wraps them otherwise is for ``state_dicts.load_found``.
    """
    loaded = read_weights(path)
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise no_state_dict(path, loaded)
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def read_weights(path: Path) -> Any:
    """What a .safetensors or PyTorch file holds: a mapping of tensors, or whatever the tensors are wrapped in.

    A pickle that holds anything but tensors in plain containers is refused by PyTorch's restricted reader and runs
    nothing. Raises FrbenchError: the file is something else or damaged.
    """
    try:
        if is_safetensors(path):
            from safetensors.torch import load_file

            return load_file(path)
        with path.open("rb") as file:  # by a path PyTorch would go by its suffix
            return torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # a dozen kinds, by how the file is broken
        raise unreadable(path, "network weights", error, forms=("PyTorch", "safetensors")) from error


def no_state_dict(path: Path, loaded: Any) -> CorruptFile:
    """The error for a file of something else than named tensors."""
    return CorruptFile(
        f"{path} holds {type(loaded).__name__}, not a state dict of tensors: "
        "save network.state_dict() with torch.save or safetensors"
    )


def unreadable(path: Path, wanted: str, error: Exception, forms: Sequence[Form]) -> CorruptFile:
    """The error for a file that could not be read as ``wanted``: what the file is instead, or what its reader said.

    forms: the formats that ``wanted`` names; a file of one of them is damaged.
    """
    kind = kind_of(path)
    if kind is not None and kind.form not in forms:
        return CorruptFile(f"{path} is {kind.name}, not {wanted}: {kind.remedy.replace('FILE', str(path))}")
    return CorruptFile(
        f"{path} cannot be read as {wanted} ({shortened(error)}): copy or download it again, or save it anew"
    )


def read_metadata(path: Path) -> dict[str, Any]:
    """What ``frbench fit training=NAME`` wrote in the metadata of a safetensors file; empty for any other file.

    Raises CorruptFile: the file, or the JSON in its metadata, is damaged.
    """
    if not is_safetensors(path):
        return {}
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            found: dict[str, Any] = json.loads((file.metadata() or {}).get(METADATA, "{}"))
    except Exception as error:
        raise unreadable(path, "network weights", error, forms=("safetensors",)) from error
    return found


def people_in(path: Path) -> Tensor:
    """int64 (n,): training identities that ``frbench fit training=...`` stored; empty for any other file.

    It stands beside the networks, so no prefix matters. Errors: see ``read_weights``.
    """
    none = torch.zeros(0, dtype=torch.int64)
    if not is_safetensors(path):
        return none
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            return cast(Tensor, file.get_tensor(PEOPLE)) if PEOPLE in list(file.keys()) else none
    except Exception as error:
        raise unreadable(path, "network weights", error, forms=("safetensors",)) from error
