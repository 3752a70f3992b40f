"""The run card of a record: the config, versions, commit, digests and device needed to repeat the cell.

Tables and comparisons of records do not use it.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from frbench.harness.core.contracts import Fittable
from frbench.harness.evaluation.cell import Cell
from frbench.harness.threat_model.threats import UsesSurrogate

_PACKAGES = ("frbench", "torch", "numpy", "hydra-core", "kornia", "pillow", "onnxruntime", "onnx2torch", "torchattacks")


def run_facts(cell: Cell, config: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of the run card. Environment variables are not recorded, because they may hold secrets."""
    artifact = cell.defense.artifact if isinstance(cell.defense, Fittable) else None
    surrogate = cell.threat.surrogate if isinstance(cell.threat, UsesSurrogate) else None
    digests = {
        "data": cell.data.digest,
        "recognizer": cell.recognizer.digest,
        "surrogate": surrogate.digest if surrogate else None,
        "artifact": artifact.sha256 if artifact else None,
    }
    return {
        "config": dict(config),
        "digests": digests,
        "versions": _versions(),
        "git": _commit(),
        "device": _device(cell.device),
        "threads": torch.get_num_threads(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def _commit() -> str | None:
    """Commit of the source tree, with ``-dirty`` after it where files differ; None for an installed wheel."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        head = _git(here, "rev-parse", "HEAD")
        return head + ("-dirty" if _git(here, "status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({platform.processor() or platform.machine()})"
