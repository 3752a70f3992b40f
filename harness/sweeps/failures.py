"""Why a cell of a sweep failed, as the file ``failed/<digest>.json`` of the sweep says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from frbench.harness.storage.records import last_line


class FailureKind(StrEnum):
    """The kinds of failure."""

    BAD_INPUT = "bad input"  # a wrong option, or missing data: the user can fix it
    CRASHED = "crashed"
    NO_PROGRESS = "no progress"  # it started again and again and stored nothing


@dataclass(frozen=True)
class Failure:
    """Why a cell failed.

    Attributes:
        kind: of the failure.
        text: the reason, or a traceback.
        recorded: whether a record says the same.
        job: id of the job, None outside a scheduler.
        log: path of the output of the job, None for a terminal.
    """

    kind: FailureKind
    text: str
    recorded: bool = False
    job: str | None = None
    log: str | None = None

    @property
    def reason(self) -> str:
        """The reason in one line, the last of a traceback."""
        return last_line(self.text) or str(self.kind)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def failure_from(entry: Mapping[str, Any]) -> Failure:
    """The failure that ``to_json`` wrote."""
    return Failure(**{**entry, "kind": FailureKind(entry["kind"])})
