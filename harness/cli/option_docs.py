"""The output of ``frbench options``: one line for each option of a group, and the fields of one option.

The line of an option is the first comment line of its YAML, with the papers of its ``# Paper:`` lines. The default of
a field comes from the YAML, its type and range from the annotation of the class, and its meaning from the comment
beside it in the YAML or else from the docstring of the class.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.resources.abc import Traversable
from typing import Any

from frbench.harness.core.typed_values import expected

_WIDTH = 120
_MISSING = "???"  # a value that a user must give
_PAPER = re.compile(r'# Paper: (?P<source>[^"]+), "(?P<title>[^"]+)"(?:, (?P<link>https://\S+))?')
_PLAIN = (bool, int, float, str, type(None), list, tuple)


def first_line(text: str) -> str:
    """The first comment line of a YAML file: the full name of the option and what it does."""
    lines = (line.lstrip("# ").strip() for line in text.splitlines() if line.startswith("#"))
    return next((line for line in lines if not line.startswith("@package")), "")


@dataclasses.dataclass(frozen=True)
class Paper:
    """A paper of an option: authors with venue and year, title, and the link if there is one."""

    source: str
    title: str
    link: str | None


def papers(text: str) -> list[Paper]:
    """The papers that the ``# Paper:`` lines of a YAML file name."""
    found = (_PAPER.fullmatch(line) for line in text.splitlines())
    return [Paper(**match.groupdict()) for match in found if match]


def comment(text: str) -> list[str]:
    """The comment lines at the top of a YAML file."""
    head = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        head.append(line.removeprefix("#").strip())
    return [line for line in head if not line.startswith("@package")]


def listing(options: Mapping[str, Traversable]) -> list[str]:
    """One line for each option: its name, its description and its papers."""
    width = max((len(name) for name in options), default=0)
    return [f"{name:<{width}}  {_described(file.read_text(encoding='utf-8'))}" for name, file in options.items()]


def _described(text: str) -> str:
    sources = "; ".join(paper.source for paper in papers(text))
    return f"{first_line(text)} ({sources})" if sources else first_line(text)


def sets_others(file: Traversable) -> bool:
    """Whether an option only overrides other options, as an experiment does."""
    return file.read_text(encoding="utf-8").startswith("# @package _global_")


def overview(file: Traversable) -> list[str]:
    """The page of an option that only overrides others: its comment and its YAML."""
    text = file.read_text(encoding="utf-8")
    return [*comment(text), "", *(line for line in text.splitlines() if not line.startswith("#"))]


def fields(file: Traversable, config: Mapping[str, Any], prefix: str) -> list[str]:
    """The page of an option: the comment of its ``file`` and a line for each field.

    config: the composed option. prefix: the prefix of a field on the command line, such as ``attack.``.
    """
    text = file.read_text(encoding="utf-8")
    rows = list(field_rows(config, field_comments(text)))
    if not rows:
        return [*comment(text), "", "This option has no fields."]
    lines = [*comment(text), "", f"Set a field with {prefix}NAME=VALUE"]
    left = [f"{name}={default}" for name, default, _ in rows]
    column = min(max(map(len, left)) + 2, 44)
    for start, (_, _, meaning) in zip(left, rows, strict=True):
        wrapped = textwrap.wrap(meaning, _WIDTH - column) or [""]
        head = [start] if len(start) + 2 > column else []
        rest = wrapped if head else wrapped[1:]
        lines += head or [f"{start:<{column}}{wrapped[0]}".rstrip()]
        lines += [f"{'':<{column}}{each}" for each in rest]
    return lines


def field_rows(
    config: Mapping[str, Any], comments: Mapping[str, str], prefix: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Dotted name, default, and type with meaning of each field; the fields of a nested object follow it."""
    made = _class_of(config)
    hints, meanings, defaults = _declared(made)
    given = {name: value for name, value in config.items() if not name.startswith("_")}
    for name, value in (given | {name: each for name, each in defaults.items() if name not in given}).items():
        dotted = f"{prefix}{name}"
        if isinstance(value, Mapping) and value.get("_target_"):
            kind = str(value["_target_"]).rpartition(".")[2]
            yield dotted, kind, meanings.get(name, "")
            yield from field_rows(value, comments, f"{dotted}.")
            continue
        meaning = comments.get(dotted) or meanings.get(name, "")
        yield dotted, written(value), "; ".join(each for each in (_expected(hints.get(name, Any)), meaning) if each)


def _expected(hint: Any) -> str:
    """Type and range in words, as in error messages; empty where every value is accepted."""
    words = expected(hint)
    return "" if words.startswith("anything") else words


def _class_of(config: Mapping[str, Any]) -> Any:
    """The class or function of ``config``, or None."""
    if config.get("_target_") in (None, _MISSING):
        return None
    module, _, name = str(config["_target_"]).rpartition(".")
    return getattr(import_module(module), name)


def _declared(made: Any) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """Annotations, meanings and plain defaults of the fields of a class or the parameters of a function."""
    if made is None:
        return {}, {}, {}
    owner: Any = inspect.getattr_static(made, "__init__") if _is_plain_class(made) else made
    try:
        hints = typing.get_type_hints(owner, include_extras=True)
    except NameError:  # annotations that only a type checker can resolve
        hints = {}
    parameters = inspect.signature(made).parameters
    defaults = {name: each.default for name, each in parameters.items() if isinstance(each.default, _PLAIN)}
    return hints, described(inspect.getdoc(made) or "", list(parameters)), defaults


def _is_plain_class(made: Any) -> bool:
    return isinstance(made, type) and not dataclasses.is_dataclass(made)


def described(docstring: str, names: Sequence[str]) -> dict[str, str]:
    """The meaning of each of ``names`` in a docstring of the form ``name: meaning. other, third: meaning``."""
    found: dict[str, str] = {}
    one = rf"`{{0,2}}\b(?:{'|'.join(map(re.escape, names))})\b`{{0,2}}"
    mark = re.compile(rf"(?<![\w.]){one}(?:, {one})*:(?=\s)")
    for paragraph in re.split(r"\n\s*\n", docstring) if names else ():
        marks = list(mark.finditer(paragraph))
        ends = [*(each.start() for each in marks[1:]), len(paragraph)]
        for here, end in zip(marks, ends, strict=False):
            meaning = " ".join(paragraph[here.end() : end].split()).replace("``", "").rstrip(". ,;")
            found |= {name: meaning for name in re.findall(r"\w+", here[0]) if name not in found}
    return found


def field_comments(text: str) -> dict[str, str]:
    """Dotted key -> the comment on the same line of a YAML file."""
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        key = re.match(r"( *)([\w@/.]+):", line)
        if not key:
            continue
        while above and above[-1][0] >= len(key[1]):
            above.pop()
        above.append((len(key[1]), key[2]))
        _, mark, text_after = line.partition(" #")
        if mark:
            found[".".join(name for _, name in above)] = text_after.strip()
    return found


def written(value: Any) -> str:
    """A default in the syntax of the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {written(each)}" for key, each in value.items() if key != "_target_") + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    return str(value)
