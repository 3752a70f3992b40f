"""Results of cells as Python sees them; torch, pandas and Hydra are imported where they are used."""

from __future__ import annotations

import html
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frbench.harness.core.errors import DiskFull, FrbenchError
from frbench.harness.storage.cell_line import cell_line
from frbench.harness.storage.records import measured, reason

if TYPE_CHECKING:
    import pandas as pd

    from frbench.harness.config.running import CellConfig
    from frbench.harness.evaluation.cell import ImagesOfPairs
    from frbench.harness.storage.result_store import ResultStore

_CRASHED = "crashed"  # status of a record
_LISTS = ("trust",)  # arguments whose value is a list


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The result of one cell: an attack against a recognizer behind a defense, on a data set.

    Attributes:
        record: the whole record, as ``results/runs/<key>.json`` has it; its fields are described in
            ``frbench.harness.storage.records``.
        found: whether the record was in the store already.
        words: the overrides of ``frbench run`` that give the same cell.
        results: the folder of its result store.
    """

    record: Mapping[str, Any]
    found: bool
    words: tuple[str, ...]
    results: Path
    cell: CellConfig = field(compare=False)

    @property
    def key(self) -> str:
        """The key of the record, 64 hexadecimal digits: a fingerprint of everything that decides the result."""
        return str(self.record["fingerprint"])

    @property
    def status(self) -> str:
        """``done``, ``refused`` (the combination cannot exist) or ``crashed``."""
        return str(self.record["status"])

    @property
    def reason(self) -> str:
        """Why the cell was refused or crashed, in one line; empty for a cell that is done."""
        return reason(self.record)

    @property
    def asr(self) -> float | None:
        """Attack success rate in [0, 1]: the share of the attacked pairs on which the goal is achieved.

        The attacked pairs are those that the defended recognizer decides correctly without attack. None without an
        attack, without such pairs, and for ``protocol="feature_distance"``, which has one rate for each distance:
        ``record["measurements"]["attack"]["distances"]``.
        """
        return self._rate("asr")

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % confidence interval (low, high) of ``asr``; None where there is no rate.

        It is the Wilson interval over pairs; ``record["measurements"]["attack"]`` also has ``bootstrap_low`` and
        ``bootstrap_high``, which resample people. For ``protocol="cloaking"`` it resamples users.
        """
        low, high = self._rate("asr_low"), self._rate("asr_high")
        return None if low is None or high is None else (low, high)

    @property
    def denominator(self) -> int | None:
        """The number of attacked pairs that ``asr`` is a share of; for ``protocol="cloaking"``, of test photos."""
        found = measured(self.record, "attack").get("asr_denominator")
        return None if found is None else int(found)

    @property
    def clean_accuracy(self) -> float | None:
        """Accuracy in [0, 1] of the defended recognizer without attack; None for a cell that is not done."""
        found = measured(self.record, "clean").get("accuracy")
        return None if found is None else float(found)

    @property
    def flags(self) -> tuple[str, ...]:
        """Reasons to doubt the result, such as ``boundary_attack``; see the page on the audit."""
        return tuple(map(str, self.record["flags"]))

    @property
    def command(self) -> str:
        """The line for a shell that gives the same cell."""
        return _command(self.words)

    @property
    def pairs(self) -> pd.DataFrame | None:
        """Scores of the attacked pairs; None for a cell without an attack or one that is not done.

        One row for each pair. ``protocol="feature_distance"`` has one for each pair and distance,
        ``protocol="cloaking"`` one for each split, user and test photo. The columns of ``protocol="verification"``
        include ``index`` (number of the pair in the data set), ``clean_score``, ``adversarial_score``, ``threshold``,
        ``correct``, ``success``, and ``linf`` (of 255), ``l2`` and ``ssim`` of the change.
        """
        return self._store().scores(self.key)

    def images(self, pairs: Sequence[int] | None = None) -> ImagesOfPairs:
        """Clean, adversarial and reference images, from the cache of the store or made again.

        Args:
            pairs: numbers of pairs, as in the column ``index`` of ``pairs``; None for all attacked pairs in their
                order there. For ``protocol="cloaking"`` they are numbers of photos.

        Returns:
            The named tuple ``(clean, adversarial, reference)``, each float32 (n, 3, H, W), RGB in [0, 1], on the CPU.
            For ``protocol="cloaking"``: natural photos, cloaked photos rounded to 8 bits, and the photos that
            targeted cloaks resemble.

        Raises:
            ConfigError: a pair is not among the attacked ones, the cell has no attack, or its protocol keeps several
                images for a pair, as ``feature_distance`` does.
        """
        from frbench.harness.config.running import images_of

        return images_of(self.cell, self._store(), self.key, pairs)

    def _store(self) -> ResultStore:
        from frbench.harness.storage.result_store import ResultStore

        return ResultStore(self.results)

    def _rate(self, name: str) -> float | None:
        found = measured(self.record, "attack").get(name)
        return None if found is None else float(found)

    def __repr__(self) -> str:
        return f"<Evaluation {' '.join(cell_line(self.record, self.found).split())}>"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        interval = "" if self.interval is None else f" [{self.interval[0]:.1%}, {self.interval[1]:.1%}]"
        success = "none" if self.asr is None else f"{self.asr:.1%}{interval} of {self.denominator}"
        clean = "none" if self.clean_accuracy is None else f"{self.clean_accuracy:.1%}"
        status = f"{self.status} {self.reason}".strip()
        rows = {
            **self.record["names"],
            "clean accuracy": clean,
            "attack success": success,
            "flags": ", ".join(self.flags) or "none",
            "status": f"{status} (found)" if self.found else status,
            "command": self.command,
        }
        cells = (
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(each))}</td></tr>" for name, each in rows.items()
        )
        return f"<table>{''.join(cells)}</table>"


@dataclass(frozen=True)
class Sweep:
    """The results of the cells of a sweep.

    Attributes:
        evaluations: of every cell that has a record, in the order of the product.
        errors: command -> message of every cell that is wrong or crashed; a crashed cell may have a record as well.
        table: one row for each record: labels, status, every measurement, and the flags, as ``cells.csv`` of a report.
            The flags include those that follow from the comparison of the cells with each other.
    """

    evaluations: tuple[Evaluation, ...]
    errors: Mapping[str, str]
    table: pd.DataFrame = field(repr=False, compare=False)


def evaluated(words: Sequence[str]) -> Evaluation:
    """The result of ``frbench run`` with the overrides ``words``, without a sweep.

    Raises:
        FrbenchError: a wrong option, missing data, or bad input; nothing is recorded.
    """
    from frbench.harness.config.running import finish, single_cell

    cell = single_cell(words)
    record, found = finish(cell)
    return Evaluation(record, found, tuple(words), cell.store.root.absolute(), cell)


def swept(lists: Mapping[str, Any]) -> tuple[tuple[Evaluation, ...], dict[str, str]]:
    """The result of every combination of the values in ``lists``, and the errors by command.

    Raises ConfigError: an argument that is neither a group of options nor a setting of a run.
    """
    from frbench.harness.config.option_words import run_words, split_arguments

    split_arguments(lists)
    axes = [[(name, each) for each in _values(name, given)] for name, given in lists.items()]
    evaluations: list[Evaluation] = []
    errors: dict[str, str] = {}
    for cell in map(dict, product(*axes)):
        command = ", ".join(f"{name}={each!r}" for name, each in cell.items())
        try:
            words = run_words(*split_arguments(cell))
            command = _command(words)
            evaluations.append(evaluated(words))
        except DiskFull:
            raise
        except FrbenchError as error:
            errors[command] = str(error)
        except Exception as error:  # a bug before the key of the cell is known; the others continue
            errors[command] = f"{type(error).__name__}: {error}"
        else:
            if evaluations[-1].status == _CRASHED:
                errors[command] = evaluations[-1].reason
        if sys.stderr.isatty():
            print(errors.get(command) or evaluations[-1], file=sys.stderr)
    return tuple(evaluations), errors


def _values(name: str, given: Any) -> Sequence[Any]:
    """The values that a sweep takes in turn."""
    return given if isinstance(given, list | tuple) and name not in _LISTS else [given]


def _command(words: Sequence[str]) -> str:
    return shlex.join(["frbench", "run", *words])
