"""The benchmark of PIN and AIS: both implementations agree, and the original one holds copies of the basis."""

from __future__ import annotations

import argparse
import importlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from frbench.harness.core.errors import FrbenchError

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SMALL = argparse.Namespace(small=True, batch=2, overrides=["recognizer=tiny"])


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module("bench_defenses")


@pytest.fixture(scope="module")
def races(script: ModuleType) -> dict[str, Any]:
    return {name: make(SMALL) for name, make in script.RACES.items()}


@pytest.mark.parametrize("name", ["pin_masks", "ais_masks"])
def test_that_masks_cost_the_same_either_way_and_a_difference_is_an_error(
    script: ModuleType, races: dict[str, Any], name: str
) -> None:
    race = races[name]
    for entrant in race.entrants:
        entrant.work()
    ours, copies = race.costs.values()
    assert ours.shape == copies.shape == (3, 8)
    assert ours.std() > 1e-3
    assert torch.allclose(ours, copies, rtol=1e-5)
    race.costs["copies"] = copies * 1.01
    with pytest.raises(FrbenchError, match="mask costs differ"):
        script.run_race(script.Race(race.title, [], costs=race.costs), 1)


def test_that_the_copies_project_as_the_projector_written_out(script: ModuleType) -> None:
    copies, parts = importlib.import_module("masked_copies"), importlib.import_module("defense_races")
    space, faces = parts.space(30), torch.rand(2, 112 * 112)
    masks = torch.bernoulli(torch.full((2, 3, 30), 0.5))
    found = copies.projected(space, faces, masks)
    for image in range(2):
        for draw in range(3):
            kept = space.basis[:, masks[image, draw] > 0]
            assert torch.allclose(found[image, draw], kept @ (kept.T @ faces[image]), atol=1e-5)
    assert torch.allclose(space.basis.T @ space.basis, torch.eye(30), atol=1e-5)


@pytest.mark.parametrize("name", ["pin_step", "ais_step"])
def test_that_a_step_has_the_same_loss_either_way(races: dict[str, Any], name: str) -> None:
    first, *_, last = races[name].entrants
    assert first.work() == pytest.approx(last.work(), rel=1e-3)


@pytest.mark.parametrize("name", ["pin_masks", "ais_masks"])
def test_that_the_copies_take_the_memory_of_the_copies_and_ours_do_not(script: ModuleType, name: str) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("memory is measured through /proc, which this system lacks")
    words = [["--small", "--peak", f"{name}:{place}", "recognizer=tiny"] for place in (0, 1)]
    ours, copies = (script.in_subprocess(str(script.__file__), each) for each in words)
    size = 4 * 8 * 112 * 112 * 100 / 2**20  # K copies of the basis in float32
    assert 0.9 * size < copies < 1.5 * size
    assert ours < copies / 2


def test_that_the_table_has_every_row_and_every_bar(
    script: ModuleType, races: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("defense_races"), "SHORTEST", 0.0)
    found = [script.run_race(race, rounds=1) for race in races.values()]
    for race in found:
        for row in race["rows"]:
            assert row["times"] > 0
            assert math.isfinite(row["seconds"])
            row["peak_mib"] = 10.0
    bars = [bar for race in found for bar in script.bars(race)]
    assert len(bars) == 2 * 2 + 4
    result = {"setup": {"rounds": 1}, "machine": script.machine(), "races": found, "bars": bars}
    text = script.markdown(json.loads(json.dumps(result)))
    for race in races.values():
        assert race.title in text
        assert all(f"| {entrant.name} |" in text for entrant in race.entrants)


def test_that_a_bar_is_met_from_its_limit_on_alone(script: ModuleType) -> None:
    rows = [
        {"entrant": "ours", "times": 1.0, "least": None, "most": None, "peak_mib": 5.0},
        {"entrant": "slow", "times": 100.0, "least": 100.0, "most": None, "peak_mib": 100.0},
        {"entrant": "quick", "times": 0.16, "least": None, "most": 0.15, "peak_mib": 1.0},
    ]
    assert [bar["met"] for bar in script.bars({"title": "race", "rows": rows})] == [True, True, False]
    rows[1]["times"], rows[0]["peak_mib"], rows[2]["times"] = 99.0, 6.0, 0.15
    assert [bar["met"] for bar in script.bars({"title": "race", "rows": rows})] == [False, False, True]


def test_that_an_unknown_race_is_a_one_line_error(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--races", "tortoise"]) == 2
    assert "--races=tortoise" in capsys.readouterr().err
