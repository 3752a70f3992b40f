"""A device without enough memory: the batch is halved, the images stay the same, and nothing made is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import LinearRecognizer, random_pair_set
from support.toy_cells import toy_cell
from torch import Tensor

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.contracts import Images
from frbench.harness.evaluation import crafting
from frbench.harness.evaluation.audit import Audit
from frbench.harness.evaluation.cell import Cell, run_cell
from frbench.harness.recognizers.metering import Metered
from frbench.harness.storage.records import reason
from frbench.harness.storage.result_store import Record, ResultStore

SIZE = 16


@dataclass(frozen=True)
class Small(LinearRecognizer):
    """A recognizer on a device with room for ``room`` images."""

    room: int = 10**6

    def embed(self, images: Images) -> Tensor:
        if len(images) > self.room:
            raise torch.OutOfMemoryError(f"out of memory with {len(images)} images")
        return super().embed(images)


@dataclass(frozen=True)
class Dependent(ProjectedDescent):
    """An attack whose images depend on the batch."""

    batch_dependent = True


def cell(room: int, **changes: Any) -> Cell:
    weights = torch.randn(3 * SIZE * SIZE, 12, generator=torch.Generator().manual_seed(0))
    plain = toy_cell(random_pair_set(size=SIZE), LinearRecognizer(weights), **changes)
    return replace(plain, recognizer=Metered(Small(weights, room=room), plain.meter))


def same(one: Record, other: Record) -> bool:
    return json.dumps(one["measurements"]) == json.dumps(other["measurements"])


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crafting, "BLOCK_SIZE", 8)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("room", [5, 1])
def test_the_batch_is_halved_and_the_result_is_that_of_small_batches(
    room: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    audit = Audit(full=True)
    found = run_cell(cell(room, audit=audit), ResultStore(tmp_path / "found"))
    fits = 4 if room == 5 else 1
    expected = run_cell(cell(10**6, batch_size=fits, audit=audit), ResultStore(tmp_path / "expected"))
    assert found["status"] == "done", found["reason"]
    assert found["card"]["batch_size"] == fits
    assert same(found, expected)
    assert found["fingerprint"] == cell(room, audit=audit).fingerprint()
    lines = [line for line in capfd.readouterr().err.splitlines() if "out of memory" in line]
    assert lines[0] == (
        "frbench: cpu is out of memory with batch_size=16; continuing with 8, which gives the same images"
    )
    assert len(lines) == {4: 2, 1: 4}[fits]


def test_blocks_made_before_the_memory_ran_out_are_kept(
    small_blocks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    original: Callable[..., Any] = ProjectedDescent.__call__

    def third_is_too_much(self: ProjectedDescent, view: Any, pairs: Any, *more: Any) -> Any:
        calls.append(len(pairs))
        if len(calls) == 3:
            raise torch.OutOfMemoryError("out of memory")
        return original(self, view, pairs, *more)

    monkeypatch.setattr(ProjectedDescent, "__call__", third_is_too_much)
    record = run_cell(cell(10**6, batch_size=8), ResultStore(tmp_path))
    assert record["status"] == "done"
    assert calls[:2] == [8, 8]
    assert set(calls[3:]) == {4}, "two blocks were found, the third was made in smaller batches"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (cell(0), "too little memory for one image at a time: take another device"),
        (cell(5, attack=Dependent(steps=2)), "depend on the batch size: set it, such as batch_size=8"),
    ],
    ids=["not even one image", "images depend on the batch"],
)
def test_what_cannot_be_halved_is_a_crash_with_advice(given: Cell, said: str, tmp_path: Path) -> None:
    record = run_cell(given, ResultStore(tmp_path))
    assert record["status"] == "crashed"
    assert said in reason(record)


def test_a_fit_is_not_repeated_with_other_batches(tmp_path: Path) -> None:
    fits = []

    def fit(each: Cell) -> Cell:
        fits.append(each.batch_size)
        raise torch.OutOfMemoryError("out of memory")

    record = run_cell(cell(10**6, fit=fit), ResultStore(tmp_path))
    assert (record["status"], fits) == ("crashed", [16])
    assert "set a smaller batch size of its recipe" in reason(record)
