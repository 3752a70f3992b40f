"""The examples in the docstrings of the metrics and of the Python interface give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from frbench.harness import api
from frbench.harness.config import option_words

METRICS = sorted((Path(__file__).parents[2] / "harness" / "metrics").glob("*.py"))


@pytest.mark.parametrize("path", METRICS, ids=lambda path: path.stem)
def test_that_examples_of_metrics_give_what_they_say(path: Path) -> None:
    module = importlib.import_module(f"frbench.harness.metrics.{path.stem}")
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("path", METRICS, ids=lambda path: path.stem)
def test_that_every_function_of_numbers_has_an_example(path: Path) -> None:
    module = importlib.import_module(f"frbench.harness.metrics.{path.stem}")
    found = doctest.DocTestFinder().find(module)
    functions = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    public = {name for name in functions if name[0].islower()} - {"checked", "require_both_kinds"}
    assert public <= {each.name.removeprefix(f"{module.__name__}.") for each in found if each.examples}


def test_that_examples_of_the_python_interface_give_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They write to the default folder of results, and render faces."""
    monkeypatch.chdir(tmp_path)
    tried = doctest.testmod(api)
    assert tried.attempted > 5 and tried.failed == 0
    assert doctest.testmod(option_words).failed == 0
