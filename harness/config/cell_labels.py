"""What a cell is called and held to: names of options, settings of the faces that a defense is fitted on, floors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from frbench.harness.core.contracts import Recognizer
from frbench.harness.core.verifiers import Comparer

FACES = "identities"


def apart(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is set of the people that a defense is fitted on, under the defense's name; and all other settings."""
    faces = {key: value for key, value in settings.items() if key.startswith(f"{FACES}.")}
    others = {key: value for key, value in settings.items() if key not in faces}
    return {f"defense.faces{key.removeprefix(FACES)}": value for key, value in faces.items()}, others


def named(choices: Mapping[str, str], group: str) -> str:
    """The option of ``group`` with the recognizers inside it: ``ensemble(one+other)``, ``flip_averaged(one)``."""
    place = re.escape(group.partition("@")[2] or group)
    within = re.compile(rf"recognizer@{place}\.(members\.[^.]+|recognizer)")
    inside = sorted(named(choices, key) for key in choices if within.fullmatch(key))
    return f"{choices[group]}({'+'.join(inside)})" if inside else choices[group]


def floors_of(recognizer: Recognizer | Comparer, dataset: str) -> Mapping[str, float]:
    """Least clean accuracy in per cent that a recognizer states, by dataset."""
    floor = getattr(recognizer, "min_clean_accuracy", None)
    return floor if isinstance(floor, Mapping) else {} if floor is None else {dataset: floor}
