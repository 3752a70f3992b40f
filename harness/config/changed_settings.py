"""The settings of a cell: values that differ from the options' own files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from frbench.harness.config.cell_labels import CELL_GROUPS, FACES, MEMBERS, PRESETS, SURROGATE, TRACKER
from frbench.harness.config.identity_memo import IdentityMemo
from frbench.harness.config.number_hints import flattened
from frbench.harness.config.ratio_values import with_numbers
from frbench.harness.config.shared_composition import Tree
from frbench.harness.core.ratios import as_number, is_number


def changed_settings(cell: Tree, compose: Callable[[tuple[str, ...]], Tree], memo: IdentityMemo) -> dict[str, Any]:
    """The values of ``cell`` that differ from the options' own files: with the names of the options, a cell's label.

    Interpolations are compared unresolved, so that where data lie on this machine makes no difference; of an absolute
    path the last two parts remain.

    Args:
        compose: composes ``conf/run.yaml`` with overrides that choose options.
        memo: of the other cells of a sweep.
    """
    chosen = {group: option for group, option in cell.chosen.items() if group not in PRESETS}
    usual = compose(tuple(f"{group}={option}" for group, option in chosen.items() if "@" not in group))
    nested = {group: each for group, each in chosen.items() if "@" in group and usual.choices.get(group) != each}
    if nested:
        outer_first = sorted(chosen, key=lambda group: group.count("."))
        signs = {group: "" if group in usual.choices else "+" for group in chosen}
        usual = compose(tuple(f"{signs[group]}{group}={chosen[group]}" for group in outer_first))
    shown: dict[str, Any] = {}
    for key in (*CELL_GROUPS, FACES, "seed", "fit_seed"):
        pair = cell.config.get(key, _ABSENT), usual.config.get(key, _ABSENT)
        shown |= memo(f"settings {key}", pair, partial(_changed, key, *pair))
    in_names = ("recognizer@recognizer.", SURROGATE, TRACKER, MEMBERS)  # these are part of the cell's names
    options = {group.partition("@")[2]: o for group, o in nested.items() if not group.startswith(in_names)}
    return dict(sorted((options | shown).items()))


def _changed(key: str, value: Any, usual: Any) -> dict[str, Any]:
    """The values inside ``value``, by dotted key, that differ from those in ``usual``."""
    given, plain = (flattened(each, key) if each is not _ABSENT else {} for each in (with_numbers(value), usual))
    usual_values = {name: as_number(plain[name]) if is_number(given.get(name)) else plain[name] for name in plain}
    return {name: _shortened_path(each) for name, each in given.items() if usual_values.get(name, _ABSENT) != each}


def _shortened_path(value: Any) -> Any:
    """The last two parts of an absolute path; any other value unchanged."""
    absolute = isinstance(value, str) and value.startswith(("/", "~"))
    return "/".join(value.rstrip("/").split("/")[-2:]) if absolute else value


_ABSENT = object()
