"""Repeats the work of a cell with half the batch size where the device runs out of memory.

Images and scores do not depend on the batch, and blocks that are made stay in the cache.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from frbench.harness.runtime.out_of_memory import is_out_of_memory, release_memory

if TYPE_CHECKING:
    from frbench.harness.evaluation.cell import Cell

T = TypeVar("T")


class OutOfMemory(RuntimeError):
    """The device has too little memory and the batch size cannot be halved; the message says what to set."""


def with_smaller_batches(cell: Cell, work: Callable[[Cell], T]) -> tuple[T, Cell]:
    """The result of ``work``, and the cell with the batch size at which it succeeded.

    Raises:
        OutOfMemory: one image at a time is too much, or the images of the attack depend on the batch size.
    """
    while True:
        try:
            return work(cell), cell
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if cell.batch_size == 1 or (cell.attack is not None and cell.attack.batch_dependent):
                raise OutOfMemory(_advice(cell)) from error
        half = max(1, cell.batch_size // 2)  # outside of the handler, whose traceback holds tensors
        print(
            f"frbench: {cell.device} is out of memory with batch_size={cell.batch_size}; continuing with {half}, "
            "which gives the same images",
            file=sys.stderr,
        )
        release_memory()
        cell = replace(cell, batch_size=half)


def fitted(cell: Cell) -> Cell:
    """``cell`` with its defense fitted. Raises OutOfMemory: the fit needs more memory than the device has."""
    try:
        return cell.fit(cell) if cell.fit else cell
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        name = cell.names["defense"]
        raise OutOfMemory(
            f"fitting defense={name} needs more memory than {cell.device} has: set a smaller batch size of its recipe, "
            f"which is part of the result (frbench options defense={name}), or take another device"
        ) from error


def _advice(cell: Cell) -> str:
    if cell.batch_size == 1:
        return f"{cell.device} has too little memory for one image at a time: take another device, such as device=cpu"
    return (
        f"{cell.device} is out of memory with batch_size={cell.batch_size}, and the images of "
        f"attack={cell.names['attack']} depend on the batch size: set it, such as batch_size={cell.batch_size // 2}"
    )
