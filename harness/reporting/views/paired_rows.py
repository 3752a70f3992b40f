"""Two tables of scores joined row by row: what each run measured on the same pair. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from frbench.harness.storage.records import Kind

_SHARED = ("probe", "reference", "same")
_OF_EACH = ("clean_score", "adversarial_score", "threshold", "l2", "linf", "rms", "ssim", "queries", "predicted")
_SCORED = ("adversarial_score", "threshold")


@dataclass(frozen=True)
class RowLayout:
    """The table of scores of a kind of record.

    Attributes:
        key: columns that name a row.
        needed: other columns that a comparison needs.
        row: what a row is.
    """

    key: tuple[str, ...]
    needed: tuple[str, ...]
    row: str


LAYOUTS: Mapping[Kind, RowLayout] = {
    Kind.VERIFICATION: RowLayout(("index",), ("adversarial_score", "threshold", "correct", "success"), "pair"),
    Kind.FEATURE_DISTANCE: RowLayout(("index", "distance"), ("correct", "success"), "image"),
    Kind.CLOAKING: RowLayout(("split", "user", "index"), ("recognised",), "test photo"),
}


@dataclass(frozen=True)
class Overlap:
    """How the rows of two tables overlap.

    Attributes:
        rows: rows of each table.
        common: rows in both tables.
        counting: common rows that count in each run: the clean pair is decided correctly.
        compared: rows that count in both.
    """

    rows: tuple[int, int]
    common: int
    counting: tuple[int, int]
    compared: int

    @property
    def missing(self) -> tuple[int, int]:
        """Rows of each table that the other table does not have."""
        return self.rows[0] - self.common, self.rows[1] - self.common

    @property
    def left_out(self) -> tuple[int, int]:
        """Common rows that count in this run and not in the other."""
        return self.counting[0] - self.compared, self.counting[1] - self.compared


def is_readable(kind: Kind, table: pd.DataFrame) -> bool:
    """Whether ``table`` has the columns of this kind, with numbers where they belong, and each row once."""
    layout = LAYOUTS[kind]
    if not {*layout.key, *layout.needed} <= set(table):
        return False
    numbers = [name for name in (*layout.key, *_OF_EACH) if name in table]
    if not all(pd.api.types.is_numeric_dtype(table[name]) for name in numbers):
        return False
    return not table.duplicated(list(layout.key)).any()


def paired_rows(kind: Kind, a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, Overlap]:
    """The rows that count in both tables, and how the tables overlap.

    Returns:
        A frame with the key columns, what both share, and of each run ``success_a`` and ``success_b``, scores,
        thresholds, sizes, and where there are scores ``margin_a`` and ``margin_b``: adversarial score minus threshold.
    """
    key = list(LAYOUTS[kind].key)
    first, second = _side(a, key, "_a"), _side(b, key, "_b")
    shared = a.set_index(key)[[name for name in _SHARED if name in a and name in b]]
    joined = pd.concat([shared, first, second], axis=1, join="inner").sort_index()
    counts = joined["counts_a"] & joined["counts_b"]
    overlap = Overlap(
        rows=(len(first), len(second)),
        common=len(joined),
        counting=(int(joined["counts_a"].sum()), int(joined["counts_b"].sum())),
        compared=int(counts.sum()),
    )
    return joined[counts].drop(columns=["counts_a", "counts_b"]).reset_index(), overlap


def _side(table: pd.DataFrame, key: list[str], suffix: str) -> pd.DataFrame:
    """The rows of one run. A pair counts if it is decided correctly without an attack and has an attacked score."""
    rows = table.set_index(key)
    found = rows[[name for name in _OF_EACH if name in rows]].copy()
    if set(_SCORED) <= set(rows):
        found["margin"] = rows["adversarial_score"].astype(float) - rows["threshold"].astype(float)
    found["success"] = rows["success"].astype(bool) if "success" in rows else ~rows["recognised"].astype(bool)
    found["counts"] = rows["correct"].astype(bool) if "correct" in rows else True
    if "distance" not in key and "margin" in found:  # an image that does not reach its distance has no score
        found["counts"] &= found["margin"].notna()
    return found.add_suffix(suffix)


def flipped(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows where one run alone succeeds, those with the largest difference of the margins first."""
    found = rows[rows["success_a"] != rows["success_b"]]
    if "margin_a" not in found:
        return found
    change = (found["margin_a"] - found["margin_b"]).abs().fillna(np.inf)
    return found.iloc[np.argsort(-change.to_numpy(), kind="stable")]
