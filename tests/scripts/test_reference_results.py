"""``scripts/reference_results.py``: records of a results folder become the cells and the page of a study."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from support.fake_records import FakeStore

from frbench.harness.storage.result_store import ResultStore

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
CELL = {"attack": "pgd", "goal": "dodging", "threat": "oblivious", "budget": "linf_2", "defense": "none"}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("reference_results")


@pytest.fixture
def studies(script: ModuleType, tmp_path: Path) -> Path:
    root = tmp_path / "reference"
    shutil.copytree(script.ROOT, root)
    return root


def run(script: ModuleType, root: Path, *words: str) -> int:
    return script.main([*words, "--root", str(root)])


def results(folder: Path) -> Path:
    made = FakeStore().add(CELL, {"dataset.limit": 40}, measurements={"attack": {"asr": 0.123}})
    made["card"] |= {"git": "f" * 40, "started": "2031-01-02T03:04:05+00:00", "seconds": 7200}
    ResultStore(folder).write_record(made)
    return folder


def test_collected_records_stand_in_the_cells_the_manifest_and_the_page(
    script: ModuleType, studies: Path, tmp_path: Path
) -> None:
    folder = studies / "lfw_black_box"
    before = (folder / "manifest.yaml").read_text("utf-8")
    assert run(script, studies, "collect", "lfw_black_box", "--results", str(results(tmp_path / "results"))) == 0
    after = (folder / "manifest.yaml").read_text("utf-8")
    values = yaml.safe_load(after)
    assert (values["commit"], values["hours"], values["date"]) == ("f" * 40, 2.0, "2031-01-02")
    assert after.startswith(before)  # what was written by hand stays as it was
    assert run(script, studies, "render", "lfw_black_box") == 0
    page = (folder / "README.md").read_text("utf-8")
    assert "Measured: 1 of 7 cells, at commit `fffffff`, on 2031-01-02." in page
    assert "| 1 | 6 | 2031-01-02 |" in (studies / "README.md").read_text("utf-8")


def test_render_writes_every_page_as_it_stands_in_the_repository(script: ModuleType, studies: Path) -> None:
    for path in studies.rglob("README.md"):
        path.write_text("old", encoding="utf-8")
    assert run(script, studies, "render") == 0
    for path in studies.rglob("README.md"):
        assert path.read_bytes() == (script.ROOT / path.relative_to(studies)).read_bytes()


def test_facts_replace_older_ones_and_nothing_else(script: ModuleType) -> None:
    text = "title: A\ncommit: old\nversions:\n  torch: '1'\n# note\ntext: |\n  commit: in the text\nseeds: [1]\n"
    once = script.with_facts(text, {"commit": "new", "versions": {"torch": "2"}})
    assert once == "title: A\ntext: |\n  commit: in the text\nseeds: [1]\ncommit: new\nversions:\n  torch: '2'\n"
    assert script.with_facts(once, {"commit": "new", "versions": {"torch": "2"}}) == once


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("render", "lfw"), "unknown study lfw; choose from clean_accuracy,"),
        (("collect",), "no study given; choose from clean_accuracy,"),
        (("collect", "cloaking", "--results", "nowhere"), "no finished record to collect; run `frbench run` first"),
    ],
)
def test_a_wrong_command_is_one_line(
    script: ModuleType, studies: Path, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(script, studies, *words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
