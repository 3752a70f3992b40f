"""Finding, identifying and reading weight files. Nothing here runs code that a file brings along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from frbench.harness.errors import FrbenchError
from frbench.harness.fetching import locate_weights, mirrored
from frbench.harness.trained_people import PEOPLE

PACKAGED = "pkg:"


def find_weights(
    weights: str | Path,
    urls: Sequence[str] = (),
    sha256: str | None = None,
    cache: str | Path | None = None,
    obtain: str = "",
) -> Path:
    """The local path of ``weights``, downloaded from ``urls`` into ``cache`` where it is missing.

    ``pkg:NAME`` is a file that is shipped beside this module. ``obtain`` says where to get a file that has no URL.
    """
    if str(weights).startswith(PACKAGED):
        return _existing(Path(__file__).parent / str(weights).removeprefix(PACKAGED), "reinstall frbench")
    path = Path(weights).expanduser()
    if not path.is_file() and cache is not None and sha256 and mirrored(urls, f"models/{path.name}"):
        return locate_weights(path, list(urls), sha256, Path(cache).expanduser())
    return _existing(path, obtain or "give the path of your copy instead")


def _existing(path: Path, remedy: str) -> Path:
    if not path.is_file():
        raise FrbenchError(f"weight file {path} does not exist: {remedy}")
    return path


def read_state(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """State dict of a .safetensors or PyTorch file, without ``module.`` and ``prefix`` before the names.

    With a ``prefix``, entries outside it (a training head, say) are left out. A pickle that holds anything but
    tensors in plain containers is refused by PyTorch's restricted reader and runs nothing.
    """
    with _told(path):
        loaded = _read(path)
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise FrbenchError(
            f"{path} holds {type(loaded).__name__}, not a state dict of tensors: "
            "save network.state_dict() with torch.save or safetensors"
        )
    state = {str(name).removeprefix("module."): value for name, value in state.items()}
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def people_in(path: Path) -> Tensor:
    """int64 (n,): what ``frbench fit training=...`` kept in the file of whom it trained on; none of any other file.

    It stands beside the networks, so no prefix matters. Errors: see ``read_state``.
    """
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with _told(path), safe_open(path, "pt") as file:
            if PEOPLE in file.keys():  # noqa: SIM118 - no mapping
                return cast(Tensor, file.get_tensor(PEOPLE))
    return torch.zeros(0, dtype=torch.int64)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a dozen kinds, by how the file is broken
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise FrbenchError(
            f"{path} cannot be read as network weights ({reason}): "
            "expected .safetensors or a state dict saved by torch.save; download it again or re-save it"
        ) from error


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, weights_only=True, map_location="cpu")


_REMEDY = "choose the recognizer option of its architecture, or set recognizer.prefix"


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], path: Path, remedy: str = _REMEDY) -> None:
    """Copy ``state`` into ``network``; every name and shape must agree, else one line says which do not.

    Only the step counters of batch normalisation may be absent: they decide nothing, and old files lack them.
    """
    counted = {name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
    wanted = network.state_dict()
    state = counted | dict(state)
    missing = sorted(wanted.keys() - state.keys())
    unexpected = sorted(state.keys() - wanted.keys())
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted.keys() & state.keys()
        if state[name].shape != wanted[name].shape
    ]
    wrong = {"missing": missing, "unexpected": unexpected, "wrong shape": sorted(shapes)}
    found = "; ".join(f"{len(names)} {kind} ({_few(names)})" for kind, names in wrong.items() if names)
    if found:
        raise FrbenchError(f"{path} does not fit {type(network).__name__}: {found}; {remedy}")
    network.load_state_dict(state)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (", …" if len(names) > 2 else "")
