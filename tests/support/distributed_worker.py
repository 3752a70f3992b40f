"""What each of several processes runs in the tests of training by several: ``python trained_together.py FOLDER``."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from support.reference_fits import context
from torch import Tensor
from unit.harness.training.test_loop import PEOPLE, Toy, weights

from frbench.harness.core.errors import FrbenchError
from frbench.harness.runtime import distributed, interrupts
from frbench.harness.training import loop as training
from frbench.harness.training.loop import Schedule, train

# Eleven batches of two, of which five times two make the steps of an epoch.
SCHEDULE = Schedule(
    epochs=3,
    batch_size=2,
    lr=0.05,
    gradient_accumulation_steps=2,
    lr_scheduler="polynomial",
    weight_decay=0.01,
    grad_clip_norm=1.0,
    precision="full",
)


class Monitored(Toy):
    """Says which process looked."""

    val_every_n_epochs = 2

    def monitored_metrics(self) -> dict[str, Tensor]:
        return {"looked": torch.tensor(float(distributed.rank()))}


class Sparing(Toy):
    """A weight that no loss uses."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Linear(3, 3)


class Signalled(Toy):
    """A signal reaches the first process alone in step 4."""

    def after_step(self, steps: int) -> None:
        super().after_step(steps)
        if steps == 4 and distributed.is_main_process():
            interrupts.request("a signal")


def result(toy: Toy, schedule: Schedule, unfinished: Path) -> dict[str, Any]:
    history = train(toy, schedule, context(PEOPLE, unfinished), "toy")
    return {"history": history, "weights": weights(toy), "rows": toy.rows, "steps": toy.steps}


def ended(work: Callable[[], object]) -> str:
    """How it ended, in words."""
    try:
        work()
    except (FrbenchError, interrupts.Interrupted) as error:
        return str(error)
    except SystemExit as error:
        return f"exit {error.code}"
    return "done"


def words() -> dict[str, Any]:
    """What the processes tell each other."""
    mine = torch.tensor([distributed.rank(), 5.0])
    spread = [torch.full((2, 3), float(distributed.rank())).T, torch.tensor(distributed.rank())]
    distributed.broadcast(spread)
    return {
        "gathered": distributed.all_gather(mine),
        "spread": [each.clone() for each in spread],
        "told": [
            distributed.broadcast_flag(distributed.rank() == 0),
            distributed.broadcast_flag(distributed.rank() == 1),
        ],
        "bytes": [distributed.broadcast_bytes(each).decode() for each in (b"of %d" % distributed.rank(), b"")],
        "who": (distributed.rank(), distributed.world_size(), distributed.is_main_process()),
    }


def main(folder: Path) -> None:
    distributed.init_distributed()
    mine = f"{distributed.rank()}"
    print(f"printed by {mine}")
    found: dict[str, Any] = {"words": words()}
    found["whole"] = result(Monitored(), SCHEDULE, folder / "whole.unfinished")
    found["spared"] = result(Sparing(), replace(SCHEDULE, epochs=1), folder / "spared.unfinished")
    unfinished = folder / "signalled.unfinished"
    with interrupts.handling_signals():
        found["signalled"] = ended(lambda: result(Signalled(), SCHEDULE, unfinished))
    found["after signal"] = result(Toy(), SCHEDULE, unfinished)
    training._CHECKPOINT_SECONDS = 0.0
    for stop_after in (3, 5, 9):
        unfinished = folder / f"stopped{stop_after}.unfinished"
        try:
            train(Toy(stop_after), SCHEDULE, context(PEOPLE, unfinished), "stopped")
        except KeyboardInterrupt:
            found[f"stopped{stop_after}"] = result(Toy(), SCHEDULE, unfinished)
    bad = Toy(bad_at=7 if distributed.rank() == 1 else None)
    found["bad"] = ended(lambda: result(bad, SCHEDULE, folder / "bad.unfinished"))
    alone = replace(SCHEDULE, gradient_accumulation_steps=1)
    found["alone"] = ended(lambda: result(Toy(), alone, folder / "alone.unfinished"))
    found["few"] = ended(lambda: result(Toy(), replace(SCHEDULE, batch_size=12), folder / "few.unfinished"))
    torch.save(found, folder / f"found{mine}.pt")


def together(command: list[str], count: int = 2) -> list[subprocess.CompletedProcess[str]]:
    """``command`` in ``count`` processes that know of each other, as a launcher starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    begun = [
        subprocess.Popen([sys.executable, *command], env=shared | {"RANK": str(k), "LOCAL_RANK": str(k)}, **pipes)
        for k in range(count)
    ]
    try:
        ends = [each.communicate(timeout=250) for each in begun]
    finally:
        for each in begun:
            each.kill()
    return [subprocess.CompletedProcess(command, each.returncode, *end) for each, end in zip(begun, ends, strict=True)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
