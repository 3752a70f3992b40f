"""The line of a finished cell."""

from __future__ import annotations

from typing import Any

from frbench.harness.storage.cell_line import cell_line

NOUNS = ("defense", "attack", "goal", "budget", "threat", "dataset")
RATES = {"asr": 0.5, "asr_low": 0.2, "asr_high": 0.8, "asr_denominator": 4}


def record(**changes: Any) -> dict[str, Any]:
    finished = {
        "names": {noun: f"the_{noun}" for noun in NOUNS},
        "kind": "verification",
        "status": "done",
        "reason": None,
        "measurements": {"clean": {"accuracy": 0.975}, "attack": RATES},
        "flags": [],
        "card": {"seconds": 1.0, "forwards": 2, "backwards": 3},
    }
    return finished | changes


def test_that_the_line_of_a_cell_has_its_flags_and_the_overrides_that_the_sweep_varies() -> None:
    flagged = record(flags=["broken_images", "budget_violated"])
    line = cell_line(flagged, found=False, differing=["attack=the_attack", "attack.steps=3", "dataset=the_dataset"])
    assert "flags: broken_images, budget_violated" in line
    assert "attack.steps=3 dataset=the_dataset" in line and "attack=the_attack" not in line
    assert "flags" not in cell_line(record(), found=True)


def test_that_the_line_has_accuracy_and_success_with_its_interval() -> None:
    line = cell_line(record(), found=False)
    assert "clean  97.50 %" in line and "ASR  50.0 % [20.0, 80.0] of 4" in line
    assert line.endswith("(1.0 s, 2 forwards, 3 backwards)") and cell_line(record(), found=True).endswith("(found)")


def test_that_the_line_of_a_crashed_cell_has_the_last_line_of_its_traceback() -> None:
    crashed = record(status="crashed", reason="Traceback\n  a line\nValueError: no", measurements=None)
    assert cell_line(crashed, found=False).endswith("crashed: ValueError: no")
