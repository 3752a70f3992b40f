"""``scripts/choose_on_clean.py``: clean accuracy on people held out from the fit."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from frbench.datasets.synthetic.dataset import SyntheticFaces

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SMALL = ["identities.people=100", "identities.photos_per_person=3", "recognizer=tiny", "device=cpu", "--pairs", "60"]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.delenv("FRBENCH_DATA", raising=False)
    return importlib.import_module("choose_on_clean")


def test_that_a_higher_price_of_eigenfaces_keeps_fewer_of_them(
    script: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["sparsity", "1e-6,1e-3", "defense.components=60", f"paths.results={tmp_path}", *SMALL]
    assert script.main(words) == 0
    rows = re.findall(r"^\| (\S+) \| (\d+) \| ([\d.]+) \[([\d.]+), ([\d.]+)\]", capsys.readouterr().out, re.MULTILINE)
    (_, cheap, *_), (_, dear, *accuracy) = rows
    assert int(dear) < int(cheap) <= 60
    found, low, high = map(float, accuracy)
    assert low <= found <= high


def test_that_nobody_is_both_fitted_on_and_measured(script: ModuleType, tmp_path: Path) -> None:
    fit, held = script.halves(SyntheticFaces(name="few", people=10, photos_per_person=2, people_seed=3).open(tmp_path))
    assert not set(fit.identity) & set(held.identity)
    assert len(fit.images) + len(held.images) == 20


def test_that_a_misspelt_option_is_a_one_line_error_before_any_fit(
    script: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert script.main(["sparsty", "1e-6", f"paths.results={tmp_path}", *SMALL]) == 2
    told = capsys.readouterr().err
    assert "defense.sparsty=1e-6 cannot be set" in told and told.count("\n") == 1
    assert not (tmp_path / "artifacts").exists()


def test_that_a_defense_without_a_fit_is_a_one_line_error(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["quality", "50", "defense=jpeg", *SMALL]) == 2
    assert "expected a defense that is fitted" in capsys.readouterr().err
