"""``frbench craft``: what it prints, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from frbench.harness.cli.main import main


def test_the_verb_says_what_it_made_and_what_comes_next(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small = ["people=30", "photos_per_person=2", "pairs=60", "limit=20"]
    words = [f"dataset.{each}" for each in small]
    words += ["attack=fgsm", "allow_low_accuracy=true", "device=cpu", f"paths.results={tmp_path}"]
    assert main(["craft", *words, "--shard", "0/2"]) == 0
    assert capfd.readouterr().out.startswith("shard 0/2: 1 blocks made, 0 found; next: frbench run dataset.people=30")
    assert main(["craft", *words, "--shard=1/2"]) == 0
    made = int(capfd.readouterr().out.split()[2])
    assert main(["craft", *words]) == 0
    assert capfd.readouterr().out.startswith(f"0 blocks made, {1 + made} found")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shard", "16/16"], "expected 0/16 to 15/16"),
        (["--shard"], "expected NUMBER/COUNT"),
        (["-m", "attack=fgsm,pgd"], "takes one cell"),
        (["experiment=demo"], "takes one cell"),
        (["attack=none"], "makes no images"),
    ],
)
def test_what_cannot_be_crafted_is_refused_in_one_line(
    words: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["craft", *words, f"paths.results={tmp_path}"]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
