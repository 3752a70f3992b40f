"""Metrics of cloaking: from a tracker's predictions to rates with confidence intervals over users. Pure.

A row of ``rows`` is one test photo of the cloaking user in one split, a row of ``control`` one test photo of anybody
when nobody cloaks. A photo that is tested in several splits counts in each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from frbench.harness.metrics.confidence import bootstrap_mean
from frbench.harness.protocols.cloaking.trackers.base import Predictions, Scenario

_SIZES = ("linf", "l2", "rms", "ssim", "dssim")


def control_rows(number: int, photos: np.ndarray, test_labels: np.ndarray, found: Predictions) -> pd.DataFrame:
    """The control of split ``number``: test ``photos`` (m,) of the people ``test_labels`` (m,)."""
    columns = {"split": number, "user": test_labels, "index": photos, "predicted": found.ranked[:, 0]}
    correct = _correct(test_labels, found)
    return pd.DataFrame({**columns, **correct}).assign(train_accuracy=float(found.train_correct.mean()))


def user_rows(
    number: int,
    photos: np.ndarray,
    test_labels: np.ndarray,
    train_labels: np.ndarray,
    scenario: Scenario,
    found: Predictions,
) -> pd.DataFrame:
    """Test photos of the cloaking user; ``normal`` is this tracker's accuracy on everybody who does not cloak."""
    correct = _correct(test_labels, found)
    others = ~np.isin(test_labels, [scenario.user, *np.unique(train_labels[scenario.cloaked])])
    own = test_labels == scenario.user
    columns = {"split": number, "user": scenario.user, "index": photos[own], "predicted": found.ranked[own, 0]}
    normal = float(correct["recognised"][others].mean()) if others.any() else float("nan")
    rows = pd.DataFrame({**columns, **{name: values[own] for name, values in correct.items()}})
    return rows.assign(normal=normal, train_accuracy=float(found.train_correct.mean()))


def _correct(test_labels: np.ndarray, found: Predictions) -> dict[str, np.ndarray]:
    hits = found.ranked == test_labels[:, None]
    return {"recognised": hits[:, 0], "top5": hits.any(axis=1)}


def with_control(rows: pd.DataFrame, control: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with ``uncloaked``: whether the same photo is recognised when nobody cloaks."""
    known = control.set_index(["split", "index"])["recognised"]
    return rows.assign(uncloaked=known.loc[pd.MultiIndex.from_frame(rows[["split", "index"]])].to_numpy())


def clean_measurements(control: pd.DataFrame, resamples: int) -> dict[str, Any]:
    """The tracker when nobody cloaks; accuracy is the mean over users."""
    each = control.groupby("user")["recognised"].mean()
    low, high = bootstrap_mean(each, resamples)
    return {
        "accuracy": float(each.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "accuracy_std": float(control.groupby("split")["recognised"].mean().std(ddof=0)),
        "pairs": len(control),
        "users": len(each),
        "top5": _mean_over_users(control, "top5"),
        "fit_accuracy": _mean_over_trainings(control, "train_accuracy"),
    }


def attack_measurements(rows: pd.DataFrame, resamples: int) -> dict[str, Any]:
    """Effect of the cloaks. ``asr``: mean over users of the share of their test photos that are not recognised."""
    lost = 1 - rows.groupby("user")["recognised"].mean()
    low, high = bootstrap_mean(lost, resamples)
    return {
        "asr": float(lost.mean()),
        "asr_low": low,
        "asr_high": high,
        "asr_successes": int((~rows["recognised"]).sum()),
        "asr_denominator": len(rows),
        "users": len(lost),
        "splits": int(rows["split"].nunique()),
        "top1": float(1 - lost.mean()),
        "top5": _mean_over_users(rows, "top5"),
        "no_cloak_error": 1 - _mean_over_users(rows, "uncloaked"),
        "normal_accuracy": _mean_over_trainings(rows, "normal"),
        "fit_accuracy": _mean_over_trainings(rows, "train_accuracy"),
    }


def _mean_over_users(rows: pd.DataFrame, column: str) -> float:
    return float(rows.groupby("user")[column].mean().mean())


def _mean_over_trainings(rows: pd.DataFrame, column: str) -> float:
    """Each training counts once, however many photos it was tested on."""
    return float(rows.drop_duplicates(["split", "user"])[column].mean())


def size_measurements(table: pd.DataFrame) -> dict[str, Any]:
    """Sizes of the published cloaks, rounded to 8 bits, and how many photos stayed natural.

    Args:
        table: rows of ``PublishedPhotos.table`` for the photos that users publish cloaked.
    """
    kept = table[table["cloaked"]]
    spread = {name: {way: float(getattr(kept[name], way)()) for way in ("mean", "median", "max")} for name in _SIZES}
    return {"photos": len(table), "left_natural": int((~table["cloaked"]).sum()), **spread}
