"""Checkpoints of training runs: written atomically, read without unpickling, errors in one line."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from frbench.harness.core.atomic import write_atomically
from frbench.harness.core.quarantine import Damaged
from frbench.harness.runtime import distributed
from frbench.harness.storage.sealed_files import seal, unseal


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The state in ``path``, or None where there is no file; in all processes that of the main process.

    Raises Damaged, in all processes: the file is not what was written.
    """
    if not distributed.broadcast_flag(path.exists()):
        return None
    data = distributed.broadcast_bytes(path.read_bytes() if distributed.is_main_process() else b"")
    try:
        content = BytesIO(unseal(data))
    except Damaged as error:
        raise Damaged(f"{path}: {error}; delete it to restart") from error
    try:
        state: dict[str, Any] = torch.load(content, map_location=device, weights_only=True)
    except Exception as error:  # its class depends on what was written
        distributed.abort(f"{path} cannot be read ({_short(error)}); delete it to restart")
    return state


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` with a checksum, in the main process."""
    if not distributed.is_main_process():
        return

    file = BytesIO()
    torch.save(state, file)
    write_atomically(path, lambda temporary: temporary.write_bytes(seal(file.getvalue())), durable=True)


def restore(path: Path, state: dict[str, Any], learner: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load ``state`` into ``learner`` and ``optimizer``. Raises FrbenchError: it belongs to another architecture."""
    try:
        learner.load_state_dict(state["learner"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError, KeyError) as error:
        distributed.abort(
            f"checkpoint {path} does not match this model ({_short(error)}); restore the original network and "
            "optimizer settings, or delete it to restart"
        )


def _short(error: Exception) -> str:
    """The first of the tensors that PyTorch lists."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return (lines[1] if len(lines) > 1 and lines[0].endswith(":") else lines[0])[:200].rstrip(". ")
