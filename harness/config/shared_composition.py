"""Composes the cells of a sweep from the parts that they share, with Hydra once for each part.

Hydra takes a tenth of a second for a config. The cells of a sweep differ in a few places (``attack``, ``defense``,
``seed``), and an option of one place says nothing about another place, unless its file says so (see ``Links``). So
Hydra composes the first cell, and every other value of a place once, with the other places as in the first cell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from frbench.harness.config.conf_files import NESTED

Words = tuple[str, ...]
_EXPERIMENT = "experiment"


class Tree(NamedTuple):
    """A composed config as plain Python, interpolations unresolved, and the option of each group, None for none."""

    config: Mapping[str, Any]
    choices: Mapping[str, str | None]

    @property
    def chosen(self) -> dict[str, str]:
        """The groups with an option."""
        return {group: option for group, option in self.choices.items() if option is not None}


@dataclass(frozen=True)
class Links:
    """Which options reach beyond their own place.

    Attributes:
        targets: group -> the places that an option of it chooses an option for.
        anywhere: groups with options that may write anywhere.
    """

    targets: Mapping[str, frozenset[str]]
    anywhere: frozenset[str]

    def place(self, changed: str) -> frozenset[str] | None:
        """The places that belong together with ``changed``; None if an option of it may write anywhere."""
        found, rest = set[str](), [changed]
        while rest:
            place = rest.pop()
            if place in self.anywhere:
                return None
            found.add(place)
            rest += self.targets.get(place, frozenset()) - found
        return frozenset(found)


def links_of(options: Mapping[str, Mapping[str, Traversable]]) -> Links:
    """The links of options by group and name, from the defaults lists and package headers of their files."""
    targets: dict[str, set[str]] = {}
    anywhere, inside = {_EXPERIMENT}, {key.partition("@")[0] for key in NESTED}
    for group, files in options.items():
        for text in (file.read_text(encoding="utf-8") for file in files.values()):
            if re.search(r"^#\s*@package", text, re.MULTILINE):
                anywhere.add(group)
            for choice, place in _choices_of(text):
                if place is None:
                    inside.add(choice)
                elif place:
                    targets.setdefault(group, set()).add(place)
                else:
                    anywhere.add(group)
    everywhere = {place for group in inside for place in targets.get(group, ())}  # through an option inside another
    if anywhere & inside:
        anywhere |= set(options)
    return Links({group: frozenset({*targets.get(group, ()), *everywhere}) for group in options}, frozenset(anywhere))


def _choices_of(text: str) -> Iterable[tuple[str, str | None]]:
    """Group and top-level place of what the defaults list of an option chooses.

    The place is None for one inside the option, and empty where it depends on other choices.
    """
    block = re.search(r"^defaults:.*?(?=^[^\s#-]|\Z)", text, re.MULTILINE | re.DOTALL)
    if block is None:
        return
    written: Any = OmegaConf.to_container(OmegaConf.create(block[0]), resolve=False)
    for entry in written["defaults"] or ():
        for key, value in entry.items() if isinstance(entry, Mapping) else [(str(entry), "")]:
            group, _, package = str(key).removeprefix("override ").removeprefix("optional ").partition("@")
            if "${" in f"{key} {value}":
                yield group, ""
            elif package.startswith("_global_"):
                yield group, package.removeprefix("_global_").strip(".").partition(".")[0]
            elif group.startswith("/") and not package:
                yield group, group.strip("/").partition("/")[0]
            elif package:
                yield group.strip("/"), None


@dataclass
class SharedComposition:
    """Composes overrides that differ in few places.

    Attributes:
        compose: by Hydra, raises what Hydra and frbench raise on wrong overrides.
        place_of: the top-level place that an override concerns.
        parts: what overrides say at their places, for other compositions to begin with; None where they say more.
    """

    compose: Callable[[Words], Tree]
    place_of: Callable[[str], str]
    links: Links
    parts: dict[tuple[frozenset[str], Words], Tree | None] = field(default_factory=dict)
    _first: tuple[Mapping[str, Words], Tree] | None = None

    def all(self, cells: Sequence[Words]) -> list[Tree]:
        """The config of each of ``cells``. The last one is composed by Hydra too: if it differs, all are."""
        found = [self(cell) for cell in cells]
        if len(cells) > 1 and found[-1] != self.compose(cells[-1]):
            return [self.compose(cell) for cell in cells]
        return found

    def __call__(self, words: Words) -> Tree:
        given = self._by_place(words)
        if self._first is None:
            self._first = given, self.compose(words)
        usual, (config, choices) = self._first
        changed = [place for place in {*given, *usual} if given.get(place, ()) != usual.get(place, ())]
        joined = _joined(map(self.links.place, changed))
        if joined is None:
            return self.compose(words)
        config, choices = dict(config), dict(choices)
        for places in joined:
            part = self._part(places, given)
            if part is None:
                return self.compose(words)
            config = {**{key: value for key, value in config.items() if key not in places}, **part.config}
            choices = {**{key: each for key, each in choices.items() if _place(key) not in places}, **part.choices}
        return Tree(config, choices)

    def _by_place(self, words: Words) -> dict[str, Words]:
        found: dict[str, Words] = {}
        for word in words:
            place = self.place_of(word)
            found[place] = (*found.get(place, ()), word)
        return found

    def _part(self, places: frozenset[str], given: Mapping[str, Words]) -> Tree | None:
        """The config that ``given`` sets at ``places``; None if the overrides also change other places."""
        assert self._first is not None
        usual, first = self._first
        here = tuple(word for place in sorted(places) for word in given.get(place, ()))
        if (places, here) not in self.parts:
            rest = tuple(word for place, words in usual.items() if place not in places for word in words)
            try:
                whole = self.compose((*rest, *here))
            except Exception:  # an error of this cell, which composing it as a whole reports
                return None
            inside, outside = _split(whole, places)
            self.parts[places, here] = inside if outside == _split(first, places)[1] else None
        return self.parts[places, here]


def _joined(sets: Iterable[frozenset[str] | None]) -> list[frozenset[str]] | None:
    """``sets``, with those that overlap united; None if one of them is None."""
    found: list[frozenset[str]] = []
    for each in sets:
        if each is None:
            return None
        overlapping = [other for other in found if other & each]
        found = [*(other for other in found if not other & each), each.union(*overlapping)]
    return found


def _split(tree: Tree, places: frozenset[str]) -> tuple[Tree, Tree]:
    """The part of ``tree`` at ``places``, and the rest."""
    config, choices = tree
    parts = [
        Tree(
            {key: value for key, value in config.items() if (key in places) == inside},
            {key: value for key, value in choices.items() if (_place(key) in places) == inside},
        )
        for inside in (True, False)
    ]
    return parts[0], parts[1]


def _place(choice: str) -> str:
    """The top-level place of the group ``choice``: ``threat`` of ``recognizer@threat.surrogate``."""
    group, _, package = choice.partition("@")
    return (package or group).partition(".")[0].partition("/")[0]
