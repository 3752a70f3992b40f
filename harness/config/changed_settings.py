"""The settings of a cell: values that differ from the options' own files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from frbench.harness.config.cell_labels import CELL_GROUPS, FACES, MEMBERS, SURROGATE, TRACKER
from frbench.harness.config.number_hints import flattened
from frbench.harness.config.ratio_values import with_numbers
from frbench.harness.core.ratios import as_number, is_number


class Defaults(NamedTuple):
    """The option of each group and the value of each dotted key that overrides compose to."""

    choices: Mapping[str, str]
    values: Mapping[str, Any]


def changed_settings(
    cfg: DictConfig, choices: Mapping[str, str], defaults: Callable[[Sequence[str]], Defaults]
) -> dict[str, Any]:
    """The values of ``cfg`` that differ from the options' own files: with the names of the options, a cell's label.

    Interpolations are compared unresolved, so that where data lie on this machine makes no difference; of an absolute
    path the last two parts remain.

    Args:
        choices: the option of each group.
        defaults: composes ``conf/run.yaml`` with overrides that choose options.
    """
    chosen = {group: option for group, option in choices.items() if group != "experiment"}
    usual, plain = defaults([f"{group}={option}" for group, option in chosen.items() if "@" not in group])
    nested = {group: option for group, option in chosen.items() if "@" in group and usual.get(group) != option}
    if nested:
        outer_first = sorted(chosen, key=lambda group: group.count("."))
        _, plain = defaults([f"{'' if group in usual else '+'}{group}={chosen[group]}" for group in outer_first])
    given = flattened(with_numbers(OmegaConf.to_container(cfg, resolve=False)))
    usual_values = {key: as_number(plain[key]) if is_number(given.get(key)) else plain[key] for key in plain}
    shown = {
        key: _shortened_path(value)
        for key, value in given.items()
        if key.split(".")[0] in (*CELL_GROUPS, FACES, "seed", "fit_seed") and usual_values.get(key, _ABSENT) != value
    }
    in_names = ("recognizer@recognizer.", SURROGATE, TRACKER, MEMBERS)  # these are part of the cell's names
    options = {group.partition("@")[2]: o for group, o in nested.items() if not group.startswith(in_names)}
    return dict(sorted((options | shown).items()))


def _shortened_path(value: Any) -> Any:
    """The last two parts of an absolute path; any other value unchanged."""
    absolute = isinstance(value, str) and value.startswith(("/", "~"))
    return "/".join(value.rstrip("/").split("/")[-2:]) if absolute else value


_ABSENT = object()
