"""Training with several processes, as ``torchrun`` starts them on the GPUs of one or several machines.

With one process every function returns at once. Flags and bytes are exchanged through the CPU (gloo); gradients are
averaged by ``torch.nn.parallel.DistributedDataParallel``.
"""

from __future__ import annotations

import atexit
import os
import sys
import warnings
from collections.abc import Iterable
from datetime import timedelta
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from frbench.harness.core.errors import ConfigError, FrbenchError

_LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # set by torchrun
_TIMEOUT = timedelta(days=7)  # the main process may wait for another run's lock; the launcher reports dead processes


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if _is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if _is_initialized() else 1


def is_main_process() -> bool:
    """Whether this process writes files and prints."""
    return rank() == 0


def init_distributed() -> None:
    """Initialize the process group where a launcher started several processes; later calls do nothing.

    Standard output of all processes but the main one is discarded.

    Raises:
        ConfigError: fewer GPUs than processes on this machine.
    """
    if _is_initialized() or not set(_LAUNCHER_VARIABLES) <= os.environ.keys() or int(os.environ["WORLD_SIZE"]) < 2:
        return
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        if _local_rank() >= torch.cuda.device_count():
            raise ConfigError(
                f"process {_local_rank()} of this machine finds {torch.cuda.device_count()} GPUs; start one process "
                "per GPU: torchrun --nproc_per_node=gpu"
            )
        torch.cuda.set_device(_local_rank())
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=_TIMEOUT)
    atexit.register(_destroy)
    if not is_main_process():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (open for the life of the process)


def process_device(device: torch.device) -> torch.device:
    """The device of this process: its own GPU, or ``device`` with one process or on the CPU.

    Raises:
        FrbenchError: the processes cannot share ``device``.
    """
    if world_size() == 1 or device.type == "cpu":
        return device
    if device.type != "cuda" or device.index not in (None, _local_rank()):
        abort(f"device={device} cannot be shared by {world_size()} processes; use device=auto or device=cpu")
    return torch.device("cuda", _local_rank())


def data_parallel(losses: nn.Module, device: torch.device) -> DistributedDataParallel:
    """Wrap ``losses`` so that backward averages gradients over all processes."""
    # A loss may leave some weights unused. With find_unused_parameters PyTorch warns when it finds none, so there is
    # always one.
    losses.register_parameter("unused", nn.Parameter(torch.zeros((), device=device)))
    with warnings.catch_warnings(category=FutureWarning, action="ignore"):  # an argument that older versions need
        return DistributedDataParallel(
            losses,
            device_ids=[device] if device.type == "cuda" else None,
            broadcast_buffers=False,
            find_unused_parameters=True,
        )


def all_gather(tensor: Tensor) -> Tensor:
    """Stack ``tensor``, of one shape and dtype in all processes, to (world size, ...) on the CPU."""
    local = tensor.detach().cpu().contiguous()
    if world_size() == 1:
        return local[None]
    gathered = [torch.empty_like(local) for _ in range(world_size())]
    dist.all_gather(gathered, local)
    return torch.stack(gathered)


@torch.no_grad()
def broadcast(tensors: Iterable[Tensor]) -> None:
    """Overwrite ``tensors`` with those of the main process."""
    if world_size() == 1:
        return
    for each in tensors:
        value = each.detach().cpu().contiguous()
        dist.broadcast(value, 0)
        each.copy_(value)


def broadcast_flag(flag: bool) -> bool:
    """The main process's ``flag``, in every process."""
    value = torch.tensor(flag, dtype=torch.uint8)
    broadcast([value])
    return bool(value)


def broadcast_bytes(data: bytes) -> bytes:
    """The main process's ``data``, of any length, in every process."""
    if world_size() == 1:
        return data
    length = torch.tensor(len(data))
    broadcast([length])
    value = torch.frombuffer(bytearray(data), dtype=torch.uint8) if is_main_process() and data else None
    value = torch.empty(int(length), dtype=torch.uint8) if value is None else value
    broadcast([value])
    return value.numpy().tobytes()


def abort(message: str) -> NoReturn:
    """End all processes because of an error that all of them meet: the main process raises it, the others exit."""
    if is_main_process():
        raise FrbenchError(message)
    raise SystemExit(2)


def _is_initialized() -> bool:
    return dist.is_available() and dist.is_initialized()


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def _destroy() -> None:
    if _is_initialized():
        dist.destroy_process_group()
