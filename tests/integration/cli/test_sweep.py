"""The main job end to end, through the command line: sweep, resume, report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from frbench.harness.cli.main import main

SMALL = [
    "dataset.people=30",
    "dataset.photos_per_person=4",
    "dataset.pairs=80",
    "dataset.limit=20",
    "recognizer.min_clean_accuracy=null",
    "attack.steps=2",
    "protocol.bootstrap=20",
    "device=cpu",
]
SWEEP = [
    "-m",
    "attack=fgsm,pgd",
    "threat=oblivious,adaptive",
    "budget=linf_4",
    "defense=none,blur",
]


@pytest.fixture(scope="module", autouse=True)
def tables_alone() -> Iterator[None]:
    """No figures, which take a second each: other tests draw them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("frbench.harness.reporting.figures.collect.draw", lambda *arguments: [])
        yield


def start(results: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "frbench.harness.cli.main", *words, f"paths.results={results}"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def frbench(results: Path, *words: str) -> str:
    """What the command prints, run in this process."""
    with redirect_stdout(StringIO()) as out:
        assert main([*words, f"paths.results={results}"]) == 0
    return out.getvalue()


def records(results: Path) -> list[dict]:
    """As ``frbench report format=json`` prints them, in this process."""
    with redirect_stdout(StringIO()) as out:
        assert main(["report", "format=json", f"paths.results={results}"]) == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


def tables(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted sweep and its report."""
    results = tmp_path_factory.mktemp("whole")
    frbench(results, "run", *SWEEP, *SMALL)
    frbench(results, "report", "timing=false")
    return results


def test_every_cell_is_recorded_with_its_numbers(whole: Path) -> None:
    found = records(whole)
    assert len(found) == 8
    for record in found:
        assert record["status"] == "done" and record["protocol"] == "verification"
        assert (record["dataset"], record["recognizer"], record["budget"]) == ("synthetic", "tiny", "linf_4")
        assert record["asr_low"] <= record["asr"] <= record["asr_high"]
        assert 0 < record["asr_denominator"] <= 10 and record["clean_accuracy"] > 0.8
        assert isinstance(record["threshold"], float) and isinstance(record["flags"], list)
        assert record["seconds"] > 0 and record["forwards"] > 0


def test_an_oblivious_attack_is_made_once_for_all_defenses(whole: Path) -> None:
    """And the adaptive attacker of no defense is the oblivious one."""
    made = [r for r in records(whole) if r["attack_generated"]]
    sights = {(r["attack"], r["defense"] if r["threat"] == "adaptive" else "bare") for r in made}
    assert len(made) == len(sights) == 4
    assert {d for *_, d in sights} == {"bare", "blur"}


def test_the_same_sweep_again_runs_nothing(whole: Path) -> None:
    def written() -> dict[Path, int]:
        endings = (".json", ".safetensors", ".zst")
        return {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file() and p.suffix in endings}

    before = written()
    out = frbench(whole, "run", *SWEEP, *SMALL)
    assert out.count("(found)") == 8
    assert written() == before


def test_without_records_the_images_are_still_found(whole: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    shutil.rmtree(copy / "runs")
    frbench(copy, "run", *SWEEP, *SMALL, "attack=pgd")
    found = records(copy)
    assert len(found) == 4
    assert not any(r["attack_generated"] for r in found) and all(r["backwards"] == 0 for r in found)


def test_killed_twice_the_tables_are_byte_identical(whole: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    for finished in (1, 4):
        process = start(results, "run", *SWEEP, *SMALL)
        while len(list((results / "runs").glob("*.json"))) < finished:
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
        process.communicate()
    frbench(results, "run", *SWEEP, *SMALL)
    frbench(results, "report", "timing=false")
    assert tables(results / "tables") == tables(whole / "tables")
    assert not list((results / "runs").glob("*.tmp"))


def test_attack_none_evaluates_clean_accuracy_alone(tmp_path: Path) -> None:
    frbench(tmp_path, "run", "attack=none", *SMALL[:4], "recognizer.min_clean_accuracy=null")
    (record,) = records(tmp_path)
    assert record["attack"] == "none" and record["asr"] is None and record["clean_accuracy"] > 0.8


def test_bad_input_to_one_cell_loses_no_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    people = {"people": 30, "photos_per_person": 4, "pairs": 80, "limit": 40, "name": "few"}
    (tmp_path / "own" / "dataset").mkdir(parents=True)
    own = {"_target_": "frbench.datasets.synthetic.dataset.Synthetic", **people}
    (tmp_path / "own" / "dataset" / "few.yaml").write_text(json.dumps(own))
    words = [f"--config-dir={tmp_path / 'own'}", "dataset=lfw,few", "paths.data=nowhere", "attack=none"]
    words += ["recognizer.min_clean_accuracy=null", "device=cpu", f"paths.results={tmp_path}"]
    assert main(["run", "-m", *words]) == 2
    err = capfd.readouterr().err
    assert "lfw" in err and "Traceback" not in err
    assert [r["dataset"] for r in records(tmp_path)] == ["few"]
