"""Results that are kept for the very same objects, such as the parts that configs of a sweep share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class IdentityMemo:
    """Results by the identity of what they come from. The objects must not change."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], tuple[tuple[Any, ...], Any]] = {}

    def __call__(self, name: str, objects: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """The result called ``name`` of ``objects``: of an earlier call with the same ones, or else of ``make``."""
        key = (name, *map(id, objects))
        if key not in self._kept:
            self._kept[key] = objects, make()  # keeps the objects, so that no other gets their identity
        return self._kept[key][1]
