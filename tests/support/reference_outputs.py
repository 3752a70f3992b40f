"""Reference outputs: numbers that each option of conf/ gives on a fixed input, kept with the versions of its classes.

``check`` says what is wrong when the numbers of an option are not those on record.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

Outputs = Mapping[str, Sequence[float]]

FOLDER = Path(__file__).parents[1] / "reference_outputs"
RECORD = "python scripts/record_reference_outputs.py"
_DIGITS = 6  # significant digits kept


@dataclass(frozen=True)
class Entry:
    """What is on record of an option.

    versions: by identity, of the option's class first and of every class inside its object after it.
    outputs: named lists of numbers.
    """

    versions: Mapping[str, int]
    outputs: Outputs


@dataclass(frozen=True)
class Tolerance:
    """Largest difference of equal outputs: ``absolute`` plus ``relative`` times the largest number of their list."""

    relative: float
    absolute: float

    def agree(self, recorded: Sequence[float], found: Sequence[float]) -> bool:
        if len(recorded) != len(found):
            return False
        limit = self.absolute + self.relative * max((abs(each) for each in recorded if math.isfinite(each)), default=0)
        pairs = zip(recorded, found, strict=True)
        return all(one == other or abs(one - other) <= limit for one, other in pairs)


def classes(thing: Any) -> Iterator[type]:
    """Every class with an identity that ``thing`` is built of, outermost first; a class after what extends it."""
    if isinstance(thing, partial):
        thing = [thing.func, thing.args, thing.keywords]
    if isinstance(thing, Mapping):
        thing = list(thing.values())
    if isinstance(thing, list | tuple):
        for each in thing:
            yield from classes(each)
        return
    kind = thing if isinstance(thing, type) else type(thing)
    yield from (each for each in kind.__mro__ if isinstance(vars(each).get("identity"), str))
    if is_dataclass(thing) and not isinstance(thing, type):
        for field in fields(thing):
            yield from classes(getattr(thing, field.name))


def versions(thing: Any) -> dict[str, int]:
    """Identity to version of ``classes``."""
    return {kind.identity: kind.version for kind in classes(thing)}  # type: ignore[attr-defined]


def rounded(outputs: Outputs) -> dict[str, list[float]]:
    """Outputs as the file keeps them."""
    return {name: [float(f"{each:.{_DIGITS}g}") for each in numbers] for name, numbers in outputs.items()}


def read(group: str) -> dict[str, Entry]:
    """The entries on record of the options of ``group``; none where there is no file."""
    path = FOLDER / f"{group}.json"
    return (
        {name: Entry(**entry) for name, entry in json.loads(path.read_text("utf-8")).items()} if path.exists() else {}
    )


def write(group: str, entries: Mapping[str, Entry]) -> None:
    """Record ``entries``, one line for each list of numbers, so that a change of one is one line of a diff."""
    FOLDER.mkdir(exist_ok=True)
    blocks = []
    for name, entry in sorted(entries.items()):
        lines = [f'  "versions": {json.dumps(entry.versions)},', '  "outputs": {']
        lines.append(",\n".join(f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in entry.outputs.items()))
        blocks.append("\n".join([f" {json.dumps(name)}: {{", *filter(None, lines), "  }", " }"]))
    (FOLDER / f"{group}.json").write_text("{\n" + ",\n".join(blocks) + "\n}\n", encoding="utf-8")


def differences(recorded: Outputs, found: Outputs, tolerance: Tolerance) -> list[str]:
    """Where two outputs differ beyond ``tolerance``, one text for each name."""
    texts = [f"{name} is not on record" for name in found.keys() - recorded.keys()]
    texts += [f"{name} is on record alone" for name in recorded.keys() - found.keys()]
    for name in recorded.keys() & found.keys():
        if not tolerance.agree(recorded[name], found[name]):
            texts.append(f"{name}: {_shown(recorded[name])} on record, {_shown(found[name])} now")
    return sorted(texts)


def _shown(numbers: Sequence[float]) -> str:
    return f"[{', '.join(f'{each:.6g}' for each in numbers[:3])}{', ...' if len(numbers) > 3 else ''}]"


def renamed_only(recorded: Outputs, found: Outputs, tolerance: Tolerance) -> bool:
    """Whether the same lists of numbers have other names."""
    one, other = (sorted(map(list, each.values())) for each in (recorded, found))
    return len(one) == len(other) and all(map(tolerance.agree, one, other))


@dataclass(frozen=True)
class Problem:
    """What is wrong with the entry of an option, in one line with what to do.

    unversioned: numbers changed under the same versions, which recording anew would hide.
    """

    text: str
    unversioned: bool = False


def check(
    option: str, recorded: Entry | None, found: Entry, made_of: Sequence[type], limit: Tolerance
) -> Problem | None:
    """What is wrong with ``option``; None where its numbers and versions are those on record."""
    record = f"{RECORD} {option}"
    if recorded is None:
        return Problem(f"{option} has no reference outputs; record them: {record}")
    other = dict(set(recorded.versions.items()) ^ set(found.versions.items()))
    if other:
        names = ", ".join(sorted(other))
        return Problem(f"{option} has other versions than on record ({names}); record its outputs anew: {record}")
    wrong = differences(recorded.outputs, found.outputs, limit)
    if not wrong:
        return None
    if renamed_only(recorded.outputs, found.outputs, limit):
        return Problem(f"the outputs of {option} have other names and the same numbers; record them anew: {record}")
    to_raise = _to_raise(made_of)
    return Problem(f"{option} gives other numbers ({'; '.join(wrong)}): {to_raise} and record anew: {record}", True)


def _to_raise(made_of: Sequence[type]) -> str:
    kinds: dict[str, Any] = {kind.identity: kind for kind in made_of}  # type: ignore[attr-defined]
    steps = [
        f"{kind.__name__}.version ({name}) from {kind.version} to {kind.version + 1}" for name, kind in kinds.items()
    ]
    which = "raise" if len(steps) == 1 else "raise the version of the class whose results changed:"
    return f"{which} {' or '.join(steps)}"
