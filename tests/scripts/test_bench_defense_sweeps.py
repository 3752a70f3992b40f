"""The benchmark of sweeps over defenses: a further defense makes no adversarial image."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def test_that_a_further_defense_takes_no_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    script = importlib.import_module("bench_defense_sweeps")
    monkeypatch.setattr(script, "DEFENSES", ("none", "gray"))
    monkeypatch.setattr(script, "ATTACKS", ("bim",))
    monkeypatch.setattr(script, "STEPS", 2)
    out = tmp_path / "bench.json"
    small = ["recognizer=tiny", "dataset.people=30", "dataset.photos_per_person=4", "dataset.pairs=40"]
    assert script.main(["--pairs", "10", "--out", str(out), *small]) == 0
    found = json.loads(out.read_text())["defenses"]["as given"]
    assert found["defenses"]["none"]["backwards"] == 2 * 10
    assert found["defenses"]["gray"]["backwards"] == 0 < found["defenses"]["gray"]["forwards"]
    assert found["ratio"] > 1
