"""Sweeps survive faults: the short form of each section of scripts/faults.py, and that the script notices a fault."""

from __future__ import annotations

import importlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SECTIONS = ("kills", "damage", "hosts", "disk", "images", "sharing", "stops")


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield importlib.import_module("faults")


@pytest.fixture(scope="module")
def bench(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("faults")
    return script.Bench(folder, folder / "images", script.FEW_CELLS)


def test_that_every_section_is_tested(script: ModuleType) -> None:
    assert tuple(script.SECTIONS) == SECTIONS


@pytest.mark.cluster
@pytest.mark.parametrize("name", SECTIONS)
def test_that_a_section_holds(script: ModuleType, bench: Any, name: str) -> None:
    section, _, few = script.SECTIONS[name]
    try:
        result = section(bench, random.Random(0), few)
    except script.NotPermitted as error:
        pytest.skip(str(error))
    assert result.problems == []
    assert any(result.facts.values()), "no fault was made"


def test_that_a_file_that_is_made_again_is_noticed(script: ModuleType, tmp_path: Path) -> None:
    tools = importlib.import_module("_fault_tools")
    (tmp_path / "runs").mkdir()
    first, second = (tmp_path / "runs" / f"{name}.json" for name in "ab")
    for path in (first, second):
        path.write_text("{}")
    watch = tools.Watch(tmp_path)
    watch.look()
    assert watch.made_again() == []
    (tmp_path / "new").write_text("{}")
    os.replace(tmp_path / "new", second)
    assert watch.made_again() == ["runs/b.json"]


def test_that_left_over_files_are_noticed(script: ModuleType, tmp_path: Path) -> None:
    tools = importlib.import_module("_fault_tools")
    names = ["leases/a.lease", "sweeps/x/starts/a.json", "tmp/.host-1-a.tmp", "runs/.host-1-a.tmp", "runs/a.json"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert tools.left_over(tmp_path) == sorted(names[:-1])


def test_that_damage_that_was_read_and_not_named_is_noticed(script: ModuleType, tmp_path: Path) -> None:
    damage = importlib.import_module("_fault_damage")
    path = tmp_path / "record.json"
    path.write_text("{}")
    damaged = damage.damaged_file(path, random.Random(0))
    assert damage.fate(damaged, "") == "not read"
    path.read_bytes()
    assert damage.fate(damaged, "") == "NOT NOTICED"
    assert damage.fate(damaged, f"frbench: {path} is damaged (its checksum differs)") == "named"
    path.unlink()
    assert damage.fate(damaged, "") == "NOT NOTICED"
