"""Several processes that fit one thing, as ``torchrun`` starts them on the GPUs of one machine or of several.

Alone, each function answers at once. What processes tell each other goes through the CPU; gradients do not, they are
averaged by ``DistributedDataParallel``, which is what Lightning Fabric wraps too: no dependency, exact control.
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

_GIVEN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what a launcher says of the processes
_PATIENCE = timedelta(days=7)  # as long as another run may hold a lock: that a process died, the launcher sees


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _together() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if _together() else 1


def leading() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


def join() -> None:
    """Meet the other processes, where a launcher says that there are some; a second call does nothing.

    All but the first print nothing on standard output any more. Raises FrbenchError: fewer GPUs than processes.
    """
    if _together() or not set(_GIVEN) <= os.environ.keys() or int(os.environ["WORLD_SIZE"]) < 2:
        return
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        if _local() >= torch.cuda.device_count():
            raise ConfigError(
                f"process {_local()} of this machine finds {torch.cuda.device_count()} GPUs; start as many processes "
                "as there are: torchrun --nproc_per_node=gpu"
            )
        torch.cuda.set_device(_local())
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=_PATIENCE)
    atexit.register(_part)
    if not leading():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (for as long as the process lives)


def own_device(device: torch.device) -> torch.device:
    """Where this process computes: on a GPU of its own. Raises FrbenchError: processes cannot share ``device``."""
    if world() == 1 or device.type == "cpu":
        return device
    if device.type != "cuda" or device.index not in (None, _local()):
        refuse(f"device={device} with {world()} processes; take device=auto or cpu")
    return torch.device("cuda", _local())


def averaging(losses: nn.Module, device: torch.device) -> DistributedDataParallel:
    """``losses``, whose backward gives each weight the mean gradient of all processes."""
    # A loss may leave out some weights, as it may with one process. One more that every loss leaves out: PyTorch warns
    # where it looks for such weights and finds none.
    losses.register_parameter("left_out", nn.Parameter(torch.zeros((), device=device)))
    with warnings.catch_warnings(category=FutureWarning, action="ignore"):  # of a name that older versions need
        return DistributedDataParallel(
            losses,
            device_ids=[device] if device.type == "cuda" else None,
            broadcast_buffers=False,
            find_unused_parameters=True,
        )


def gather(tensor: Tensor) -> Tensor:
    """``tensor`` of every process, (processes, ...), on the CPU. It has one shape and kind in all of them."""
    mine = tensor.detach().cpu().contiguous()
    if world() == 1:
        return mine[None]
    found = [torch.empty_like(mine) for _ in range(world())]
    dist.all_gather(found, mine)
    return torch.stack(found)


@torch.no_grad()
def spread(tensors: Iterable[Tensor]) -> None:
    """Overwrite ``tensors`` by those of the first process."""
    if world() == 1:
        return
    for each in tensors:
        known = each.detach().cpu().contiguous()
        dist.broadcast(known, 0)
        each.copy_(known)


def told(word: bool) -> bool:
    """What the first process says."""
    said = torch.tensor(word, dtype=torch.uint8)
    spread([said])
    return bool(said)


def told_bytes(data: bytes) -> bytes:
    """What the first process says, at any length."""
    if world() == 1:
        return data
    length = torch.tensor(len(data))
    spread([length])
    said = torch.frombuffer(bytearray(data), dtype=torch.uint8) if leading() and data else None
    said = torch.empty(int(length), dtype=torch.uint8) if said is None else said
    spread([said])
    return said.numpy().tobytes()


def refuse(message: str) -> NoReturn:
    """An error that all processes meet alike: the first tells it, the others end as it does."""
    if leading():
        raise FrbenchError(message)
    raise SystemExit(2)


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


def _local() -> int:
    """The number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def _part() -> None:
    if _together():
        dist.destroy_process_group()
