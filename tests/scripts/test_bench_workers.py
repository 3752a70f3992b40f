"""The benchmark of workers."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def bench_workers() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module("bench_workers")


def test_that_the_time_inside_a_cell_is_left_out(
    bench_workers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate = bench_workers.cells_module.evaluate

    def slow(*arguments: Any) -> Any:
        started = time.process_time()
        while time.process_time() < started + 1:
            pass
        return evaluate(*arguments)

    faces = ("dataset.people=30", "dataset.photos_per_person=2", "dataset.pairs=60", "recognizer=tiny")
    monkeypatch.setattr(bench_workers, "_FACES", faces)
    monkeypatch.setattr(bench_workers.cells_module, "evaluate", slow)
    assert abs(bench_workers.overhead(1, tmp_path)) < 0.8
    assert capsys.readouterr().out == ""


def test_that_a_missed_limit_is_named(bench_workers: ModuleType) -> None:
    rows = bench_workers.markdown({"one": 30.0, "two": 20.0, "gain": 1.5, "overhead": 0.02}).splitlines()
    assert rows[4] == "| gain | 1.50 | at least 1.7: MISSED |"
    assert rows[5] == "| CPU milliseconds a cell beside its work | 20.0 | at most 50: met |"
