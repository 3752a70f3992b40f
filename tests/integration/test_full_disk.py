"""A disk that fills up ends the sweep with one line, records no crash, and leaves a store that is used again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.file_systems import small

from frbench.harness.cli.main import main

SWEEP = ["run", "-m", "attack=fgsm,pgd", "attack.steps=1", "defense=none,blur", "allow_low_accuracy=true"]
SMALL = ["dataset.people=30", "dataset.photos_per_person=2", "dataset.pairs=60", "dataset.limit=20"]
QUICK = ["~protocol.postprocessing", "protocol.bootstrap=20", "protocol.num_samples=2", "device=cpu"]


def statuses(results: Path) -> list[str]:
    return [json.loads(path.read_text())["status"] for path in (results / "runs").glob("*.json")]


def test_a_full_disk_ends_the_sweep_and_with_room_it_is_finished(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with small(tmp_path / "disk", "5m"):
        results, filler = tmp_path / "disk" / "results", tmp_path / "disk" / "filler"
        words = [*SWEEP, *SMALL, *QUICK, f"paths.results={results}"]
        filler.write_bytes(b"x" * (shutil.disk_usage(tmp_path / "disk").free - 300_000))
        assert main(words) == 2
        captured = capfd.readouterr()
        errors = [line for line in captured.err.splitlines() if line.startswith("frbench:")]
        assert len(errors) == 1, captured.err
        assert "No space left on device" in errors[0]
        assert "make room" in errors[0]
        assert len(statuses(results)) < 4
        assert set(statuses(results)) <= {"done"}
        assert not list(results.rglob(".*.tmp"))
        filler.write_bytes(b"x" * (filler.stat().st_size + shutil.disk_usage(tmp_path / "disk").free))
        assert main(["gc", f"paths.results={results}", "older_than=0s", "delete=true"]) == 0, (
            "room is made on a full disk"
        )
        filler.unlink()
        assert main(words) == 0
        assert statuses(results) == ["done"] * 4
