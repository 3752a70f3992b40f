"""``docs/options.md`` is what ``scripts/generate_docs.py`` makes of the YAML files."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("generate_docs")


def test_that_the_page_of_options_is_up_to_date(script: ModuleType) -> None:
    assert script.page() == (ROOT / "docs" / "options.md").read_text("utf-8"), "run python scripts/generate_docs.py"


def test_that_an_option_that_builds_on_another_lists_what_differs(script: ModuleType) -> None:
    groups = script.known_options()
    mid = script.read(groups, "attack", "fawkes_mid")
    assert mid.base == "attack=fawkes"
    assert {row.name: row.default for row in script.rows(mid)} == {"threshold": "0.012", "steps": "75", "lr": "20.0"}
    assert all("number" in row.meaning or "integer" in row.meaning for row in script.rows(mid))


def test_that_an_option_inside_another_is_one_row(script: ModuleType) -> None:
    minimal = {row.name: row.default for row in script.rows(script.read(script.known_options(), "attack", "minimal"))}
    assert minimal["inner"] == "attack=bim" and minimal["budget"] == "budget=linf_16"
    assert minimal["inner.early_stop"] == "true" and minimal["bisections"] == "10"
    assert "inner.steps" not in minimal
