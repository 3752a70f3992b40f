"""Python defaults agree with conf/.

The rule: every class that conf/ names has an option, or a part of one, that is made of its defaults, so that
``ProjectedDescent()`` is attack=bim. A default that switches something off (null, false, 0, empty) is exempt, and so is
a field that holds a part with a class of its own, for which the rule is tested on that class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import pytest
from support import shipped_options

from frbench.harness.config.conf_files import known_options

NEUTRAL = {  # values that change nothing, beside null, false, 0 and empty ones
    "TorchRecognizer": {"std": 1.0},  # with a mean of 0: images are not normalised
    "OnnxRuntimeRecognizer": {"mean": "auto", "std": "auto"},  # read from the file
}
EXCEPTIONS = {"YuNet"}  # alignment tries more sizes than the redetection of attacked images

Place = tuple[str, dict[str, Any]]


def parts(node: Any, where: str) -> Iterator[tuple[str, Place]]:
    """(class, (place, fields)) of each object of frbench in a composed config."""
    if isinstance(node, Mapping):
        target = str(node.get("_target_"))
        if target.startswith("frbench."):
            yield target, (where, {key: value for key, value in node.items() if not key.startswith("_")})
        for key, value in node.items():
            yield from parts(value, f"{where}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from parts(value, f"{where}.{number}")


@pytest.fixture(scope="module")
def places() -> dict[str, list[Place]]:
    """Class -> the places in conf/ that name it, with the fields that are set there."""
    found: dict[str, list[Place]] = {}
    for group in known_options().keys() - {"experiment", "size", "paths"}:
        for option, config in shipped_options.unresolved(group).items():
            for target, place in parts(config, f"{group}={option}"):
                found.setdefault(target, []).append(place)
    return found


def defaults(kind: type[Any]) -> dict[str, Any]:
    """Field -> its default as YAML has it, of the fields that the rule is about."""
    given = {
        each.name: each.default if each.default is not dataclasses.MISSING else each.default_factory()  # type: ignore[misc]
        for each in dataclasses.fields(kind)
        if each.default is not dataclasses.MISSING or each.default_factory is not dataclasses.MISSING
    }
    own = {name: value for name, value in given.items() if value and value != NEUTRAL.get(kind.__name__, {}).get(name)}
    return {name: _as_yaml(value) for name, value in own.items() if not dataclasses.is_dataclass(value)}


def _as_yaml(value: Any) -> Any:
    return [_as_yaml(each) for each in value] if isinstance(value, tuple | list) else value


def differing(place: Place, usual: Mapping[str, Any]) -> dict[str, Any]:
    """Field -> (default, what is set in ``place``); values that refer to other values are not looked into."""
    where, fields = place
    both = {name: (usual[name], fields[name]) for name in usual if name in fields and "${" not in str(fields[name])}
    return {f"{where}.{name}": pair for name, pair in both.items() if pair[0] != pair[1]}


def test_that_each_class_has_an_option_that_is_made_of_its_defaults(places: dict[str, list[Place]]) -> None:
    wrong = {}
    for target, there in places.items():
        module, _, name = target.rpartition(".")
        kind = getattr(import_module(module), name)
        if dataclasses.is_dataclass(kind) and name not in EXCEPTIONS:
            usual = defaults(kind)
            nearest = min((differing(place, usual) for place in there), key=len)
            if nearest:
                wrong[target] = nearest
    assert not wrong


@pytest.mark.parametrize("name", sorted({*NEUTRAL, *EXCEPTIONS}))
def test_that_no_exemption_is_stale(name: str, places: dict[str, list[Place]]) -> None:
    (target,) = (each for each in places if each.rpartition(".")[2] == name)
    kind = getattr(import_module(target.rpartition(".")[0]), name)
    usual = defaults(kind) | NEUTRAL.get(name, {})
    assert min(len(differing(place, usual)) for place in places[target]), "not needed any more: remove it"
