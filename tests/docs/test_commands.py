"""The commands in README and docs are accepted by the command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest
from omegaconf import DictConfig, OmegaConf
from support.documents import ROOT, blocks, documents, name_of, without_blocks

from frbench.harness.cli import data
from frbench.harness.cli.main import main
from frbench.harness.config.compose import with_hydra
from frbench.harness.photo_cloaking.photo_files import split_arguments

SHELL = ("", "bash", "sh", "console")
COMMAND = re.compile(r"(?:^|\s)(?:frbench|-m frbench\.harness\.cli\.main) ([a-z]+)(?=\s|$)([^#`|]*)")
PLACEHOLDER = re.compile(r"[=@.]NAME\b|\bVERB\b|\bGROUP\b|--config-dir|trust=|\.\.\.|…")
PATHS = ("data", "results", "cache")


def lines_of(block: str) -> Iterator[str]:
    """Whole lines, with variables of earlier lines substituted."""
    known: dict[str, str] = {}
    for line in re.sub(r"\\\n\s*", " ", block).splitlines():
        line = Template(line).safe_substitute(known)
        name, found, value = line.partition('="')
        if found and name.isidentifier():
            known[name] = value.strip('"')
        yield line


def shell_lines(path: Path) -> list[str]:
    """The lines of shell blocks and the code within sentences."""
    text = path.read_text(encoding="utf-8")
    lines = [line for block in blocks(text) if block.language in SHELL for line in lines_of(block.code)]
    return lines + [" ".join(words.split()) for words in re.findall(r"`([^`]+)`", without_blocks(text))]


def commands(path: Path) -> list[tuple[str, str]]:
    """Verb and arguments of each command without a placeholder."""
    found = [m.groups() for line in shell_lines(path) if not PLACEHOLDER.search(line) for m in COMMAND.finditer(line)]
    return list(dict.fromkeys((verb, words.strip()) for verb, words in found))


ALL = [
    pytest.param(verb, words, id=f"{name_of(path)}: {verb} {words}")
    for path in documents()
    for verb, words in commands(path)
]


class Composed(BaseException):  # Hydra keeps an Exception until all cells are done
    """All cells of a command compose, which Hydra checks first, and the values of the first one resolve."""


def stop_at_the_first_cell(cfg: DictConfig) -> None:
    OmegaConf.to_container(cfg, resolve=True)
    raise Composed


@pytest.mark.parametrize(("verb", "words"), ALL)
def test_that_a_command_in_a_document_is_accepted(verb: str, words: str, tmp_path: Path) -> None:
    arguments = shlex.split(words)
    if verb == "options":
        assert main(["options", *arguments]) == 0
        return
    if verb == "data":
        if arguments:
            data._parser().parse_args(arguments)
        return
    if verb == "cloak" and arguments:
        _, arguments = split_arguments(arguments)
    paths = [f"paths.{name}={tmp_path / name}" for name in PATHS]
    with pytest.raises(Composed):
        with_hydra("run" if verb == "fit" else verb, [*arguments, *paths], stop_at_the_first_cell)


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_that_a_document_names_scripts_and_make_targets_that_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [name for name in re.findall(r"\bscripts/[a-z_]+\.py", text) if not (ROOT / name).exists()] == []
    targets = [m[1] for line in shell_lines(path) if (m := re.match(r"make ([a-z-]+)", line))]
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_that_documents_show_commands_of_every_verb() -> None:
    shown = {verb for path in documents() for verb, _ in commands(path)}
    assert shown == {"run", "fit", "report", "serve", "cloak", "options", "data"}
