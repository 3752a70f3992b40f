"""A table of a paper from a user's own folder: the experiment runs, and published values stand beside ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from frbench.harness.cli.main import main

EXPERIMENT = """
# @package _global_
dataset: {limit: 4, calibrate: 40}
grids:
  - {dataset: synthetic, attack: fgsm, defense: "none,blur"}
"""
TABLE = """
title: Accuracy of two defenses
paper: {cite: "Somebody, 2020", url: "https://example.org", table: table 2}
units: {percent: {name: percent, factor: 100, digits: 1}}
measure: {path: clean.accuracy, count: clean.pairs}
rows:
  none: {label: No defense, where: {defense: none}}
  blur: {label: Blur, where: {defense: blur}}
  jpeg: {label: JPEG, where: {defense: jpeg}}
columns:
  rendered: {label: rendered faces, where: {dataset: synthetic}}
cells:
  - &cell {row: none, column: rendered, published: 99.9, source: table 2 of the paper, checked: "2026-11-30"}
  - {<<: *cell, row: blur, published: 12.5}
  - {<<: *cell, row: jpeg}
small: {settings: {dataset.limit: 2}}
experiment: mine
"""


def test_that_published_values_are_within_or_apart_from_what_the_experiment_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, text in (("experiment", EXPERIMENT), ("paper", TABLE)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").write_text(text, encoding="utf-8")
    words = [f"--config-dir={tmp_path}", f"paths.results={tmp_path / 'results'}"]
    assert main(["run", "experiment=mine", *words, "recognizer=tiny", "audit=basic"]) == 0
    assert main(["report", "paper=mine", *words]) == 0
    csv = (tmp_path / "results" / "tables" / "paper-mine.csv").read_text("utf-8").splitlines()
    assert csv[1].startswith("No defense,rendered faces,99.9,") and ",within," in csv[1]
    assert csv[2].startswith("Blur,rendered faces,12.5,") and ",apart," in csv[2]
    assert "not run: frbench run experiment=mine size=small" in csv[3]
    assert "1 within, 1 apart, 1 not run" in capsys.readouterr().out
