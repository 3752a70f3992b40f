"""What ``frbench options`` prints: of each option one line, and of one option all that can be set of it.

There is one source. An option's line is the first comment line of its YAML. A field has its default from the YAML, its
type and domain from the annotation of the class, and its meaning from the comment beside it in the YAML, else from the
docstring of the class.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.resources.abc import Traversable
from typing import Any, Literal

from annotated_types import Ge, Gt, Interval, Le, Lt

_WIDTH = 120
_PLAIN = (bool, int, float, str, type(None), list, tuple)
_WORDS = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false", "NoneType": "null"}


def first_line(text: str) -> str:
    """The first comment line of a YAML file: what the option is, and its paper."""
    lines = (line.lstrip("# ").strip() for line in text.splitlines() if line.startswith("#"))
    return next((line for line in lines if not line.startswith("@package")), "")


def comment(text: str) -> list[str]:
    """All comment lines at the head of a YAML file."""
    head = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        head.append(line.removeprefix("#").strip())
    return [line for line in head if not line.startswith("@package")]


def listing(options: Mapping[str, Traversable]) -> list[str]:
    """One line for each option: its name and what it is."""
    width = max((len(name) for name in options), default=0)
    return [f"{name:<{width}}  {first_line(file.read_text(encoding='utf-8'))}" for name, file in options.items()]


def sets_others(file: Traversable) -> bool:
    """Whether an option has no fields of its own and only sets others, as an experiment does."""
    return file.read_text(encoding="utf-8").startswith("# @package _global_")


def overview(file: Traversable) -> list[str]:
    """The comment of an option's ``file`` that only sets others, and what it sets as it is written there."""
    text = file.read_text(encoding="utf-8")
    return [*comment(text), "", *(line for line in text.splitlines() if not line.startswith("#"))]


def fields(file: Traversable, config: Mapping[str, Any], prefix: str) -> list[str]:
    """The comment of an option's ``file`` and a line for each field of ``config``, what it composes to.

    prefix: what stands before a field on the command line, such as ``attack.``.
    """
    text = file.read_text(encoding="utf-8")
    rows = list(_rows(config, "", _beside(text)))
    if not rows:
        return [*comment(text), "", "It has no fields to set."]
    lines = [*comment(text), "", f"Set any of these with {prefix}NAME=VALUE"]
    left = [f"{name}={default}" for name, default, _ in rows]
    column = min(max(map(len, left)) + 2, 44)
    for start, (_, _, meaning) in zip(left, rows, strict=True):
        wrapped = textwrap.wrap(meaning, _WIDTH - column) or [""]
        head = [start] if len(start) + 2 > column else []
        rest = wrapped if head else wrapped[1:]
        lines += head or [f"{start:<{column}}{wrapped[0]}".rstrip()]
        lines += [f"{'':<{column}}{each}" for each in rest]
    return lines


def _rows(config: Mapping[str, Any], prefix: str, beside: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Dotted name, default, and type with meaning of each field, those of parts inside after the part itself."""
    made = _class_of(config)
    hints, meanings, defaults = _declared(made)
    given = {name: value for name, value in config.items() if not name.startswith("_")}
    for name, value in (given | {name: each for name, each in defaults.items() if name not in given}).items():
        dotted = f"{prefix}{name}"
        if isinstance(value, Mapping) and value.get("_target_"):
            inside = str(value["_target_"]).rpartition(".")[2]
            yield dotted, inside, meanings.get(name, "")
            yield from _rows(value, f"{dotted}.", beside)
            continue
        meaning = beside.get(dotted) or meanings.get(name, "")
        yield dotted, _written(value), "; ".join(each for each in (domain(hints.get(name)), meaning) if each)


def _class_of(config: Mapping[str, Any]) -> Any:
    """The class or function that ``config`` makes, or None."""
    if not config.get("_target_"):
        return None
    module, _, name = str(config["_target_"]).rpartition(".")
    return getattr(import_module(module), name)


def _declared(made: Any) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """Annotations, meanings and plain defaults of the fields of a class, or of the arguments of a function."""
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
    """Meaning of each of ``names``, as a docstring has it: ``name: meaning. other, third: meaning``."""
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


def _beside(text: str) -> dict[str, str]:
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
        _, mark, said = line.partition(" #")
        if mark:
            found[".".join(name for _, name in above)] = said.strip()
    return found


def _written(value: Any) -> str:
    """A default as the command line takes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(each)}" for key, each in value.items() if key != "_target_") + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    return str(value)


def domain(hint: Any) -> str:
    """An annotation in words: ``whole number above 0 or null``."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is Any:
        return ""
    if origin is typing.Annotated:
        return " ".join([domain(arguments[0]), *filter(None, map(_limits, arguments[1:]))])
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        known = list(dict.fromkeys(filter(None, map(domain, arguments))))
        return "" if known == [_WORDS["NoneType"]] else " or ".join(known)
    if origin in (tuple, list):
        inside = " or ".join(dict.fromkeys(domain(each) for each in arguments if each is not ...))
        return f"list of {inside}" if inside else "list"
    if origin is not None:
        return ""
    return _WORDS.get(getattr(hint, "__name__", ""), "")


def _limits(mark: Any) -> str:
    if isinstance(mark, Interval):
        low, high = (mark.ge, mark.le) if mark.ge is not None or mark.le is not None else (mark.gt, mark.lt)
        if mark.ge is not None and mark.le is not None:
            return f"from {low} to {high}"
        return f"{_low(mark)} {_high(mark)}".strip()
    if isinstance(mark, Gt | Ge):
        return _low(mark)
    return _high(mark) if isinstance(mark, Lt | Le) else ""


def _low(mark: Any) -> str:
    if getattr(mark, "gt", None) is not None:
        return f"above {mark.gt}"
    return f"from {mark.ge} on" if getattr(mark, "ge", None) is not None else ""


def _high(mark: Any) -> str:
    if getattr(mark, "lt", None) is not None:
        return f"below {mark.lt}"
    return f"up to {mark.le}" if getattr(mark, "le", None) is not None else ""
