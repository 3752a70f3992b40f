"""Names of a cell: the options of its groups, and what is recorded about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from frbench.harness.recognizers.accuracy_check import stated_accuracy

if TYPE_CHECKING:
    from frbench.harness.core.contracts import Recognizer
    from frbench.harness.core.verifiers import Comparer

# The option groups that every cell chooses from.
CELL_GROUPS = ("dataset", "recognizer", "attack", "goal", "budget", "threat", "defense", "protocol")
FACES = "identities"
SURROGATE = "recognizer@threat.surrogate"
TRACKER = "tracker@protocol.tracker"
MEMBERS = "recognizer@defense.members."
PRESETS = (
    "experiment",
    "size",
    "paper@_global_",
)  # they set values and options of other groups, and are no part of a cell


def option_names(choices: Mapping[str, str]) -> dict[str, str]:
    """The option of each group, and of the surrogate and the tracker where there is one."""
    names = {group: option_name(choices, group) for group in CELL_GROUPS}
    if SURROGATE in choices:
        names["surrogate"] = option_name(choices, SURROGATE)
    if TRACKER in choices:
        names["tracker"] = choices[TRACKER]
    return names


def option_name(choices: Mapping[str, str], group: str) -> str:
    """The option of ``group`` with the recognizers inside it: ``ensemble(one+other)``, ``flip_averaged(one)``."""
    place = re.escape(group.partition("@")[2] or group)
    nested = re.compile(rf"recognizer@{place}\.(members\.[^.]+|recognizer)")
    inside = sorted(option_name(choices, key) for key in choices if nested.fullmatch(key))
    return f"{choices[group]}({'+'.join(inside)})" if inside else choices[group]


def split_faces(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the faces that a defense is fitted on, renamed to ``defense.faces``; and all other settings."""
    faces = {key: value for key, value in settings.items() if key.startswith(f"{FACES}.")}
    others = {key: value for key, value in settings.items() if key not in faces}
    return {f"defense.faces{key.removeprefix(FACES)}": value for key, value in faces.items()}, others


def accuracy_floors(recognizer: Recognizer | Comparer, dataset: str) -> Mapping[str, float]:
    """Lowest clean accuracy in percent that the recognizer states, by dataset; one number holds for ``dataset``."""
    floor = stated_accuracy(recognizer)
    return floor if isinstance(floor, Mapping) else {} if floor is None else {dataset: floor}
