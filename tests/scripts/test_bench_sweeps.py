"""The figures of a sweep: their sections, and how they are printed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from frbench.harness.config.sweep_expansion import expand

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def bench_sweeps() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module("bench_sweeps")


def test_that_a_missed_limit_is_marked(bench_sweeps: ModuleType) -> None:
    bar = {"bar": "seconds, at most 0.01", "figure": 0.02, "met": False}
    text = bench_sweeps.markdown({"sections": [{"title": "Finding", "rows": [["compose", 0.0125]], "bars": [bar]}]})
    assert "| compose | 12.50 |" in text and "0.0200 (MISSED)" in text


def test_that_an_unknown_section_is_an_error(
    bench_sweeps: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert bench_sweeps.main(["--sections", "reusme", "--out", str(tmp_path / "out.json")]) == 2
    assert "unknown section; use some of resume" in capsys.readouterr().err


def test_that_the_sweep_has_as_many_cells_as_asked_for(bench_sweeps: ModuleType, tmp_path: Path) -> None:
    assert [len(expand(bench_sweeps._sweep(tmp_path, count))) for count in (40, 200)] == [40, 200]
