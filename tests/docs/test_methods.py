"""The methods pages describe every option with the defaults of conf/, and the code cites pages that exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from frbench.harness.config.conf_files import known_options

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "methods").glob("*.md"))
DESCRIBED = ("attack", "budget", "defense", "goal", "maker", "protocol", "threat", "tracker", "training")

SOURCES = [
    path
    for room in ("attacks", "conf", "datasets", "defenses", "docs", "harness", "results/reference", "scripts", "tests")
    for path in sorted((ROOT / room).rglob("*"))
    if path.suffix in {".py", ".yaml", ".md"} and path != Path(__file__)
] + sorted(ROOT.glob("*.md"))

SPEC = re.compile(r"(?<!\.com/|\.org/)\bspecs?/|\bspecs?:? (?:[a-z]+_[a-z_]+|\d)|\s\(specs?[,;)]", re.IGNORECASE)
CITED = re.compile(r"docs/methods/\w*\.md")
DEFAULTS = re.compile(r"^Defaults of `(\w+)=(\w+)`:\n\n((?:\|.*\n)+)", re.MULTILINE)


@cache
def lines() -> list[tuple[str, str]]:
    """(place, line) of every line of source, configuration and documents."""
    return [
        (f"{path.relative_to(ROOT)}:{number}", line)
        for path in SOURCES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    ]


def test_no_line_cites_a_specification_that_is_not_in_the_repository() -> None:
    assert not [f"{place}: {line.strip()}" for place, line in lines() if SPEC.search(line)]


def test_every_cited_page_exists() -> None:
    cited = {name for _, line in lines() for name in CITED.findall(line)}
    assert cited, "the docstrings of methods cite their page"
    assert not {name for name in cited if not (ROOT / name).is_file()}


@pytest.mark.parametrize("group", DESCRIBED)
def test_a_page_describes_every_option(group: str) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "index.md")
    missing = [
        name
        for name in known_options()[group]
        if not re.search(rf"`(?:{group}=)?{re.escape(name)}`|`{group}=[^`]*\b{re.escape(name)}\b", text)
    ]
    assert not missing


def tables_of_defaults() -> list[tuple[str, str, str, str]]:
    """(group, option, field, value) of each row of the tables of defaults."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        tables = DEFAULTS.findall(text)
        assert len(tables) == text.count("Defaults of"), f"a table of {page.name} is not found"
        for group, option, table in tables:
            for row in table.splitlines()[2:]:
                field, value = (cell.strip() for cell in row.split("|")[1:3])
                found.append((group, option, field.strip("`"), value))
    return found


@cache
def values(group: str, option: str) -> DictConfig:
    """The YAML of an option, merged with that of the option that it extends."""
    own = OmegaConf.create(known_options()[group][option].read_text(encoding="utf-8"))
    assert isinstance(own, DictConfig)
    extended = [name for name in own.pop("defaults", []) if name in known_options()[group]]
    return OmegaConf.merge(*(values(group, name) for name in extended), own)


def value(of: str) -> Any:
    """A YAML value, as plain Python."""
    return OmegaConf.to_container(OmegaConf.create(f"value: {of}"))["value"]


def test_the_tables_of_defaults_have_the_values_of_conf() -> None:
    rows = tables_of_defaults()
    assert len(rows) > 100, "the tables are found"
    wrong = []
    for group, option, field, written in rows:
        actual = OmegaConf.to_container(values(group, option), resolve=False)
        for key in field.split("."):
            actual = actual[key]
        if value(written) != actual:
            wrong.append(f"{group}={option} {field}: the page has {written}, conf has {actual}")
    assert not wrong
