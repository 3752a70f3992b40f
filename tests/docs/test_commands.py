"""The commands in README and docs are accepted by the command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest
from omegaconf import OmegaConf
from support.documents import ROOT, blocks, documents, name_of, without_blocks

from frbench.harness.cli import compare, data, diff
from frbench.harness.cli.craft import split_shard
from frbench.harness.cli.main import main
from frbench.harness.cli.plain_words import parse_words
from frbench.harness.cli.sweep_words import parse
from frbench.harness.config.compose import compose
from frbench.harness.config.conf_files import known_options
from frbench.harness.config.paper_files import split_paper
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


RUN_ELSEWHERE = {"docs/extending.md"}  # test_extending.py runs its commands, which need files of that page
PAGES = [path for path in documents() if name_of(path) not in RUN_ELSEWHERE]
ALL = {command: name_of(path) for path in reversed(PAGES) for command in commands(path)}
CASES = [pytest.param(*command, id=f"{path}: {' '.join(command)}") for command, path in ALL.items()]


def grid(words: list[str]) -> dict[str, str]:
    """The values that the experiment of a command sweeps, by key."""
    names = [word.removeprefix("experiment=") for word in words if word.startswith("experiment=")]
    files = [ROOT / "conf" / "experiment" / f"{name}.yaml" for name in names]
    params = [OmegaConf.select(OmegaConf.load(file), "hydra.sweeper.params") or {} for file in files]
    return {str(key): str(values) for each in params for key, values in each.items()}


def first_cell(words: list[str]) -> list[str]:
    """The arguments of the first cell of a sweep. The other values are checked against the names of options."""
    first, pinned = [], grid(words)
    for word in words:
        key, _, value = word.partition("=")
        pinned.pop(key, None)
        swept = re.fullmatch(r"\w+(,\w+)+", value)
        if swept and (group := key.removeprefix("+").partition("@")[0]) in known_options():
            assert set(value.split(",")) <= set(known_options()[group]), word
        first.append(word.partition(",")[0] if swept else word)
    return [*first, *(f"{key}={values.partition(',')[0]}" for key, values in pinned.items())]


@pytest.mark.parametrize(("verb", "words"), CASES)
def test_that_a_command_in_a_document_is_accepted(verb: str, words: str, tmp_path: Path) -> None:
    arguments = [str(Path(word).expanduser()) if word.startswith("~/") else word for word in shlex.split(words)]
    if verb == "options":
        assert main(["options", *arguments]) == 0
        return
    if verb == "data":
        if arguments:
            data._parser().parse_args(arguments)
        return
    if verb in ("work", "status", "cancel"):
        parse(verb, arguments)
        return
    if verb in ("diff", "compare"):
        parse_words(arguments, {"diff": diff, "compare": compare}[verb].ACCEPTED)
        return
    if verb == "cloak" and arguments:
        _, arguments = split_arguments(arguments)
    if verb in ("export", "reproduce"):
        _, *arguments = arguments or [""]
    if verb == "craft":
        _, arguments = split_shard(arguments)
    arguments = [word for word in arguments if word != "--no-timing"]
    if verb == "report":
        _, arguments = split_paper(arguments)
    paths = [f"paths.{name}={tmp_path / name}" for name in PATHS]
    first = [word for word in first_cell(arguments) if word != "-m"]
    config = "run" if verb in ("plan", "fit", "craft") else verb
    OmegaConf.to_container(compose(config, [*first, *paths]).cfg, resolve=True)


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_that_a_document_names_scripts_and_make_targets_that_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [name for name in re.findall(r"\bscripts/[a-z_]+\.py", text) if not (ROOT / name).exists()] == []
    targets = [m[1] for line in shell_lines(path) if (m := re.match(r"make ([a-z-]+)", line))]
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_that_documents_show_commands_of_every_verb() -> None:
    shown = {verb for path in documents() for verb, _ in commands(path)}
    sweeps, results = {"run", "plan", "work", "status", "cancel"}, {"report", "export", "reproduce", "diff", "compare"}
    assert shown == {*sweeps, *results, "fit", "craft", "serve", "cloak", "gc", "options", "data"}
