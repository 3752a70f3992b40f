"""Write ``docs/options.md``: every option of ``conf/`` with its sentence, its papers and its fields.

The YAML files are read without composing them: an option of another group that a file contains, such as the attack
inside ``attack=minimal``, is one row of the table in place of all its fields.

    python scripts/generate_docs.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from frbench.harness.cli import option_docs
from frbench.harness.config.cell_labels import CELL_GROUPS
from frbench.harness.config.conf_files import NESTED, known_options, place_of
from frbench.harness.config.number_hints import flattened

PAGE = Path(__file__).parents[1] / "docs" / "options.md"
_HEAD = """\
# Options

<!-- scripts/generate_docs.py writes this page from conf/: change the YAML files and run the script. -->

Choose an option with `GROUP=NAME` and set its fields with `GROUP.FIELD=VALUE`: `attack=pgd attack.steps=40`.
`frbench options GROUP` prints the options of a group, `frbench options GROUP=NAME` the fields of an option.
An option of your own is one more YAML file: see [Extending frbench](extending.md).
"""
_EMPTY = '""'
Groups = Mapping[str, Mapping[str, Traversable]]


class Row(NamedTuple):
    """A field of an option."""

    name: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Option:
    """An option, read from its YAML file and those of its group that it builds on.

    Attributes:
        own: the values that its file sets.
        own_parts: dotted field -> the option of another group that the file puts there, such as ``attack=bim``.
        base: the option of the same group that it builds on, or None.
        selected: the options of other groups that it selects for the whole run, such as ``goal=cloak``.
        config, parts, comments: values, parts and the comments beside fields, those of the base included.
    """

    own: Mapping[str, Any]
    own_parts: Mapping[str, str]
    base: str | None
    selected: tuple[str, ...]
    config: Mapping[str, Any]
    parts: Mapping[str, str]
    comments: Mapping[str, str]


def read(groups: Groups, group: str, name: str) -> Option:
    """The option ``group=name``."""
    text = groups[group][name].read_text(encoding="utf-8")
    own: Any = OmegaConf.to_container(OmegaConf.create(text))
    entries = dict(_entry(group, each) for each in own.pop("defaults", []) if each != "_self_")
    base = entries.pop("", None)
    below = None if base is None else read(groups, group, base.partition("=")[2])
    parts = {place: chosen for place, chosen in entries.items() if not place.startswith("_global_.")}
    comments = option_docs.field_comments(text)
    return Option(
        own=own,
        own_parts=parts,
        base=base,
        selected=tuple(chosen for place, chosen in entries.items() if place not in parts),
        config=own if below is None else _merged(below.config, own),
        parts=parts if below is None else {**below.parts, **parts},
        comments=comments if below is None else {**below.comments, **comments},
    )


def _entry(group: str, entry: str | Mapping[str, str]) -> tuple[str, str]:
    """The place of an entry of a defaults list and the option there; an empty place for the base of the same group."""
    key, name = (entry, None) if isinstance(entry, str) else next(iter(entry.items()))
    path, _, place = key.removeprefix("override ").partition("@")
    if name is None:
        path, _, name = path.rpartition("/")
    return place, f"{path.lstrip('/') or group}={name}"


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the values of ``above``, also those inside mappings."""
    merged = dict(below)
    for name, value in above.items():
        inside = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], value) if inside else value
    return merged


def rows(option: Option) -> Iterator[Row]:
    """The fields of an option; of one that builds on another, those in which they differ."""
    own = {**flattened(option.own), **option.own_parts}
    for name, default, meaning in option_docs.field_rows(_without(option.config, option.parts), option.comments):
        if not _inside(name, option.parts) and (option.base is None or name in own):
            yield Row(name, default, meaning)
    for place, chosen in option.own_parts.items():
        yield Row(place, chosen, f"an option of {chosen.partition('=')[0]}, with its fields")
    for name, value in flattened(option.own).items():
        if _inside(name, option.parts) and not name.endswith("_target_"):
            yield Row(name, option_docs.written(value), option.comments.get(name, ""))


def _inside(name: str, places: Mapping[str, str]) -> bool:
    return any(f"{name}.".startswith(f"{place}.") for place in places)


def _without(config: Mapping[str, Any], places: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    """``config`` without the values at the dotted ``places``."""
    kept = {name: value for name, value in config.items() if f"{prefix}{name}" not in places}
    return {
        name: _without(value, places, f"{prefix}{name}.") if isinstance(value, Mapping) else value
        for name, value in kept.items()
    }


def page() -> str:
    """The whole page."""
    groups = known_options()
    others = [group for group in groups if group not in CELL_GROUPS]
    return "\n".join([_HEAD, *(_section(groups, group) for group in (*CELL_GROUPS, *others))])


def _section(groups: Groups, group: str) -> str:
    """One group: a table of its options and the details of each."""
    lines = [f"## {group}", "", *_note(group)]
    lines += ["| option | what it is | paper |", "|---|---|---|"]
    for name, file in groups[group].items():
        text = file.read_text(encoding="utf-8")
        cited = "; ".join(_linked(paper) for paper in option_docs.papers(text))
        lines.append(f"| `{name}` | {_cell(option_docs.first_line(text))} | {cited} |")
    lines.append("")
    place = place_of(group)
    for name, file in groups[group].items():
        lines += _details(groups, group, name, file, place)
    return "\n".join(lines)


def _note(group: str) -> list[str]:
    """How to choose an option of a group that has its place inside another option."""
    places = [f"`{key}=NAME` (with {value})" for key, value in NESTED.items() if key.startswith(f"{group}@")]
    return [f"Inside another option: {', '.join(places)}.", ""] if places else []


def _linked(paper: option_docs.Paper) -> str:
    return f'[{paper.source}]({paper.link} "{paper.title}")' if paper.link else f"{paper.source}, “{paper.title}”"


def _details(groups: Groups, group: str, name: str, file: Traversable, place: str) -> list[str]:
    """The remarks at the head of the YAML file and the table of fields, folded; nothing if there are none."""
    text = file.read_text(encoding="utf-8")
    remarks = [line for line in option_docs.comment(text)[1:] if not line.startswith("Paper: ")]
    inside = _fenced("text", remarks)
    if option_docs.sets_others(file):
        inside += _fenced("yaml", [line for line in text.splitlines() if not line.startswith("#")])
    else:
        inside += _fields(read(groups, group, name), place)
    if not inside:
        return []
    return ['<details markdown="1">', f"<summary><code>{group}={name}</code></summary>", "", *inside, "</details>", ""]


def _fields(option: Option, place: str) -> list[str]:
    table = [f"| `{place}.{row.name}` | `{row.default or _EMPTY}` | {_cell(row.meaning)} |" for row in rows(option)]
    lines = [f"Like `{option.base}`, except for the fields below.", ""] if option.base else []
    lines += [f"Selects {', '.join(f'`{each}`' for each in option.selected)}.", ""] if option.selected else []
    return [*lines, *(["| field | default | meaning |", "|---|---|---|", *table, ""] if table else [])]


def _fenced(language: str, lines: list[str]) -> list[str]:
    return [f"```{language}", *lines, "```", ""] if lines else []


def _cell(text: str) -> str:
    """``text`` inside a table: what would end the cell or begin an HTML tag is escaped."""
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
