"""``frbench gc`` on the results of a real sweep: room is made, the tables stay, and every cell is found."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from frbench.harness.cli.main import main

SWEEP = ["run", "-m", "attack=fgsm,pgd", "attack.steps=1", "defense=none,blur", "allow_low_accuracy=true"]
SMALL = ["dataset.people=30", "dataset.photos_per_person=2", "dataset.pairs=60", "dataset.limit=20"]
QUICK = ["~protocol.postprocessing", "protocol.bootstrap=20", "protocol.num_samples=2", "device=cpu"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two attacks on two defenses, with their tables; no figures, which take a second each."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("frbench.harness.reporting.figures.collect.draw", lambda *arguments: [])
        assert main([*SWEEP, *SMALL, *QUICK, f"paths.results={folder}"]) == 0
        yield folder


def tables(results: Path) -> dict[str, bytes]:
    assert main(["report", f"paths.results={results}"]) == 0
    return {path.name: path.read_bytes() for path in sorted((results / "tables").iterdir())}


def files(results: Path) -> set[Path]:
    return {path for path in results.rglob("*") if path.is_file()}


def later(results: Path, seconds: float) -> None:
    """As if nothing had been used for so long."""
    for path in files(results):
        os.utime(path, (time.time() - seconds,) * 2)


def test_a_dry_run_deletes_nothing_and_says_what_it_would(results: Path, capfd: pytest.CaptureFixture[str]) -> None:
    later(results, 10)
    before = files(results)
    assert main(["gc", f"paths.results={results}", "older_than=0s"]) == 0
    out = capfd.readouterr().out
    assert before <= files(results)
    assert "cached arrays" in out
    assert "frbench gc delete=true deletes them" in out
    assert main(["gc", f"paths.results={results}"]) == 0
    assert "0 files to delete, 0 bytes" in capfd.readouterr().out, "nothing is 30 days old"


def test_tables_stay_the_same_and_every_cell_is_found(results: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = tables(results)
    (results / "sample_images" / "unused.safetensors.zst").write_bytes(b"x")
    (results / "quarantine").mkdir(exist_ok=True)
    (sweep,) = (results / "sweeps").iterdir()
    (sweep / "logs").mkdir(exist_ok=True)
    (sweep / "logs" / "1_0.out").write_text("x")
    (results / "quarantine" / "damaged.json").write_bytes(b"x")
    later(results, 4000)
    kept = {path for path in files(results) if path.parent.name in ("runs", "scores", "artifacts")}
    shown = {path for path in files(results) if "sample_images" in path.parts and path.stem != "unused.safetensors"}
    capfd.readouterr()
    assert main(["gc", f"paths.results={results}", "older_than=1h", "delete=true"]) == 0
    assert "files deleted" in capfd.readouterr().out
    left = files(results)
    assert not [path for path in left if path.suffix == ".zst" and path not in shown]
    assert not (results / "quarantine").exists() or not list((results / "quarantine").iterdir())
    assert kept | shown <= left
    assert not (sweep / "logs").exists()
    assert (sweep / "plan.jsonl").exists()
    assert tables(results) == before
    capfd.readouterr()
    assert main([*SWEEP, *SMALL, *QUICK, f"paths.results={results}"]) == 0
    assert capfd.readouterr().out.count("(found)") == 4


def test_the_logs_of_an_unfinished_sweep_stay(results: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (sweep,) = (results / "sweeps").iterdir()
    (sweep / "logs").mkdir(exist_ok=True)
    (sweep / "logs" / "1_0.out").write_text("x")
    record = next((results / "runs").iterdir())
    data = record.read_bytes()
    record.unlink()
    assert main(["gc", f"paths.results={results}", "older_than=0s"]) == 0
    assert "logs of finished sweeps" not in capfd.readouterr().out
    record.write_bytes(data)
    assert main(["gc", f"paths.results={results}", "older_than=0s"]) == 0
    assert "logs of finished sweeps" in capfd.readouterr().out


def test_the_size_of_the_cache_is_limited(results: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(results / "cache")
    cache = results / "cache" / "adversarial" / "key"
    for number in range(4):
        cache.mkdir(parents=True, exist_ok=True)
        path = cache / f"{number}.safetensors.zst"
        path.write_bytes(b"x" * 1000)
        os.utime(path, (time.time() - 1000 + number,) * 2)
    assert main(["gc", f"paths.results={results}", "cache_at_most=2kB", "delete=true"]) == 0
    assert sorted(path.name[0] for path in cache.iterdir()) == ["2", "3"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["older_than=30"], "older_than=30: expected a duration such as 30d"),
        (["cache_at_most=much"], "cache_at_most=much: expected a size such as 50GB"),
        (["delete=perhaps"], "delete"),
        (["paths.results=/proc"], "has no results of frbench"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(
    words: list[str], said: str, results: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["gc", f"paths.results={results}", *words]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_running_process_keeps_its_caches(results: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (results / "leases").mkdir(exist_ok=True)
    marker = results / "leases" / "cell.lease"
    marker.touch()
    assert main(["gc", f"paths.results={results}", "older_than=0s"]) == 0
    out = capfd.readouterr().out
    assert "a process works in this folder" in out
    assert "cached arrays  " not in out
    marker.unlink()
