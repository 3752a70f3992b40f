"""Objects that a sweep builds once, because cells share most of their options.

Only objects without a state are kept: frozen dataclasses of frbench at every depth, and recognizers, which are
deterministic by their contract. Those that may hold a network are few, so that old networks leave the memory.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

_OURS = "frbench."
_WITH_NETWORKS_AT_MOST = 4  # of each group
_OTHERS_AT_MOST = 256  # of each group


class _Reuse(IntEnum):
    FREELY = 0
    WITH_NETWORKS = 1
    NEVER = 2


_kept: dict[tuple[str, _Reuse], OrderedDict[tuple[Any, ...], Any]] = {}


def remembered(config: Mapping[str, Any], where: str, make: Callable[[], Any], stateless: bool = False) -> Any:
    """The object of an earlier call with an equal ``config`` and unchanged files, or else that of ``make``.

    Args:
        config: resolved.
        where: the group of the option.
        stateless: whether the contract of the group excludes a state; otherwise the object itself decides.
    """
    try:
        key = (json.dumps(config), *_stamps(config))
    except TypeError:  # a value that JSON does not have
        return make()
    for reuse in (_Reuse.FREELY, _Reuse.WITH_NETWORKS):
        earlier = _kept.setdefault((where, reuse), OrderedDict())
        if key in earlier:
            earlier.move_to_end(key)
            return earlier[key]
    built = make()
    reuse = _Reuse.WITH_NETWORKS if stateless else _reuse(built)
    if reuse != _Reuse.NEVER:
        earlier = _kept[where, reuse]
        earlier[key] = built
        if len(earlier) > (_OTHERS_AT_MOST if reuse == _Reuse.FREELY else _WITH_NETWORKS_AT_MOST):
            earlier.popitem(last=False)
    return built


def _reuse(value: Any) -> _Reuse:
    """How an object that was built from a config may be used again."""
    if value is None or isinstance(value, bool | int | float | str | Path | type):
        return _Reuse.FREELY
    if isinstance(value, Mapping | list | tuple):
        return max(map(_reuse, value.values() if isinstance(value, Mapping) else value), default=_Reuse.FREELY)
    kind = type(value)
    if not (dataclasses.is_dataclass(value) and kind.__module__.startswith(_OURS) and _frozen(kind)):
        return _Reuse.NEVER
    inside = max((_reuse(getattr(value, field.name)) for field in dataclasses.fields(value)), default=_Reuse.FREELY)
    lazy = any(isinstance(each, functools.cached_property) for base in kind.__mro__ for each in vars(base).values())
    return max(inside, _Reuse.WITH_NETWORKS if lazy else _Reuse.FREELY)


def _frozen(kind: type) -> bool:
    return bool(kind.__dataclass_params__.frozen)  # type: ignore[attr-defined]


def _stamps(config: Any) -> Iterator[tuple[str, int, int]]:
    """Name, time and size of every file that a text of ``config`` names, so that a file that changed counts as new."""
    if isinstance(config, Mapping | list):
        for each in config.values() if isinstance(config, Mapping) else config:
            yield from _stamps(each)
    elif isinstance(config, str) and ("/" in config or os.extsep in config):
        try:
            found = os.stat(Path(config).expanduser())
        except (OSError, ValueError):
            return
        yield config, found.st_mtime_ns, found.st_size
