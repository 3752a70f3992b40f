"""What the README tells a reader to type is what the command line understands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest
from omegaconf import DictConfig, OmegaConf

from frbench.harness.config.compose import with_hydra

README = Path(__file__).parents[2] / "README.md"
COMMAND = re.compile(r"(?:^|\s)(?:frbench|-m frbench\.harness\.cli) (run|fit)\s([^#`]*)")
FENCE = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
PLACEHOLDER = re.compile(r"=(?:NAME|FILE|FOLDER)\b|--config-dir|trust=")


def lines_of(block: str) -> Iterator[str]:
    """Whole lines, with what lines before them named put in its place."""
    known: dict[str, str] = {}
    for line in re.sub(r"\\\n\s*", " ", block).splitlines():
        line = Template(line).safe_substitute(known)
        name, found, value = line.partition('="')
        if found and name.isidentifier():
            known[name] = value.strip('"')
        yield line


def printed() -> list[tuple[str, str]]:
    """Verb and words of each whole command, in blocks and within sentences."""
    text = README.read_text(encoding="utf-8")
    lines = [line for block in FENCE.findall(text) for line in lines_of(block)]
    lines += [" ".join(words.split()) for words in re.findall(r"`([^`]+)`", FENCE.sub("", text))]
    found = [match.groups() for line in lines if not PLACEHOLDER.search(line) for match in COMMAND.finditer(line)]
    return [(verb, words.strip()) for verb, words in found]


class Understood(BaseException):  # Hydra keeps an Exception until all cells are done
    """All cells of a command compose, which Hydra checks first, and the values of the first one resolve."""


def stop_at_the_first_cell(cfg: DictConfig) -> None:
    OmegaConf.to_container(cfg, resolve=True)
    raise Understood


@pytest.mark.parametrize(("verb", "words"), printed())
def test_every_command_that_the_readme_prints_is_understood(verb: str, words: str, tmp_path: Path) -> None:
    paths = [f"paths.{name}={tmp_path / name}" for name in ("data", "results", "cache")]
    with pytest.raises(Understood):
        with_hydra("run", [*shlex.split(words), *paths], stop_at_the_first_cell)


def test_the_readme_is_searched_for_commands() -> None:
    assert {verb for verb, _ in printed()} == {"run", "fit"} and len(printed()) >= 8
