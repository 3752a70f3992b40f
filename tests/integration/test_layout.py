"""The tests mirror the source: where a test lies says which module it tests."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("harness", "attacks", "defenses", "datasets")
FOLDERS = {"unit", "contracts", "integration", "scripts", "docs", "support"}
UNTESTED = ROOT / "tests" / "support" / "modules_without_unit_test.txt"


def modules() -> set[str]:
    """Every source module, as its path without the suffix."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {path.relative_to(ROOT).with_suffix("").as_posix() for path in paths}


def mirrored() -> dict[str, str]:
    """Every unit test with the module that its place and name stand for."""
    unit = ROOT / "tests" / "unit"
    found = {}
    for path in unit.rglob("test_*.py"):
        inside = path.relative_to(unit)
        module = path.stem.removeprefix("test_").partition("__")[0]
        found[inside.as_posix()] = (inside.parent / module).as_posix()
    return found


def test_that_every_test_lies_in_a_known_folder() -> None:
    tests = [path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("*.py")]
    assert {path.parts[0] for path in tests} == FOLDERS | {"conftest.py"}
    assert not [path for path in tests if path.parts[0] == "support" and path.name.startswith("test_")]


def test_that_every_unit_test_has_its_module() -> None:
    """``tests/unit/<package>/<path>/test_<module>.py``, or ``test_<module>__<aspect>.py`` for one aspect of it."""
    assert {test: module for test, module in mirrored().items() if module not in modules()} == {}


def test_that_only_the_listed_modules_have_no_unit_test() -> None:
    """Contract and integration tests cover these. The list may only shrink: give a new module a test of its own."""
    listed = set(UNTESTED.read_text(encoding="utf-8").split())
    assert modules() - set(mirrored().values()) == listed
