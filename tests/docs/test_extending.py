"""The walk-throughs of ``docs/extending.md`` run as they are printed: files are written, commands and Python run."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from frbench.harness.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.DOTALL | re.M)
MODULES = ("my_nets", "my_parts", "my_defenses", "test_my_parts")


class Block(NamedTuple):
    language: str
    title: str
    code: str


def section(heading: str) -> list[Block]:
    """The code blocks below a heading, up to the next heading of the same or a higher level."""
    text = PAGE.read_text("utf-8")
    level = heading.split()[0]
    after = text.split(f"\n{heading}\n")[1]
    return [Block(*found) for found in FENCE.findall(re.split(rf"^#{{2,{len(level)}}} ", after, flags=re.M)[0])]


def files() -> list[Block]:
    return [Block(*found) for found in FENCE.findall(PAGE.read_text("utf-8")) if found[1]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a reader who has written all files of the page."""
    for block in files():
        path = tmp_path / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def follow(folder: Path, capfd: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Run what a section shows, in order; its output. The scripts among its files run where they stand."""

    def go(heading: str) -> str:
        for block in section(heading):
            if block.language == "python" and not block.title:
                exec(compile(block.code, str(PAGE), "exec"), {"__name__": "__main__"})
            elif block.language == "python" and block.title.removesuffix(".py") not in MODULES:
                runpy.run_path(str(folder / block.title), run_name="__main__")
            elif block.language == "bash":
                for line in re.sub(r"\\\n\s*", "", block.code).splitlines():
                    run(shlex.split(line))
        return capfd.readouterr().out

    return go


def run(words: list[str]) -> None:
    if words[:3] == ["python", "-m", "pytest"]:
        assert pytest.main([*words[3:], "-q", "-p", "no:cacheprovider", "--rootdir", os.getcwd()]) == 0
        return
    assert words[0] == "frbench"
    assert main(words[1:]) == 0


def cells(out: str) -> list[str]:
    return [line for line in out.splitlines() if " ASR " in line or "ASR" in line.split()]


def records() -> int:
    return len(list(Path("results", "runs").glob("*.json")))


def test_that_a_pytorch_class_runs_by_its_name_and_as_an_option(follow: Callable[[str], str]) -> None:
    one, other = cells(follow("### A PyTorch class"))
    assert one.split(" (")[0] == other.split(" (")[0], "the same network gives the same rates"


def test_that_an_exported_onnx_file_runs(follow: Callable[[str], str]) -> None:
    pytest.importorskip("onnxscript")
    assert len(cells(follow("### An ONNX file"))) == 1


def test_that_models_of_timm_and_hugging_face_run(follow: Callable[[str], str]) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    assert len(cells(follow("### A timm or Hugging Face model"))) == 2


def test_that_an_own_attack_runs_and_python_finds_its_record(follow: Callable[[str], str]) -> None:
    out = follow("## An attack")
    assert "steps=10" in out and "an integer of at least 1" in out and "gradient steps" in out
    assert len(cells(out)) == 1 and "1 passed" in out
    assert records() == 1, "Python found the record of the command"


def test_that_an_input_transform_defends(follow: Callable[[str], str]) -> None:
    oblivious, adaptive = cells(follow("### An input transform"))
    assert "oblivious" in oblivious and "adaptive" in adaptive
    assert records() == 2, "Python found the record of the command"


def test_that_a_random_purifier_defends(follow: Callable[[str], str]) -> None:
    (cell,) = cells(follow("### A random purifier"))
    assert "dither" in cell and "not_reproducible" not in cell


def test_that_an_own_folder_of_faces_is_a_data_set(follow: Callable[[str], str]) -> None:
    (cell,) = cells(follow("## A data set"))
    assert " of 10 " in cell, "20 pairs to attack, half of them genuine"
