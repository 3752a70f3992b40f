"""From trackers' answers to the numbers of a cloaking record: every rate with its interval over users. Pure.

A row of ``rows`` is one test photo of the user whose turn it was, in one split; of ``control``, one test photo of
anybody where nobody cloaks. A photo that several splits test counts in each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from frbench.harness.metrics.confidence import bootstrap_mean
from frbench.harness.protocols.cloaking.trackers.base import Answer, Scene

_SIZES = ("linf", "l2", "rms", "ssim", "dssim")


def control_rows(number: int, photos: np.ndarray, answers: np.ndarray, answer: Answer) -> pd.DataFrame:
    """The control of split ``number``: test ``photos`` (m,) of the people ``answers`` (m,)."""
    columns = {"split": number, "user": answers, "index": photos, "named": answer.ranked[:, 0]}
    return pd.DataFrame({**columns, **_right(answers, answer)}).assign(learnt=float(answer.learnt.mean()))


def turn_rows(
    number: int, photos: np.ndarray, answers: np.ndarray, labels: np.ndarray, scene: Scene, answer: Answer
) -> pd.DataFrame:
    """The turn of ``scene.user``; ``normal`` is the accuracy of this tracker on all who do not cloak."""
    right = _right(answers, answer)
    others = ~np.isin(answers, [scene.user, *np.unique(labels[scene.cloaked])])
    own = answers == scene.user
    columns = {"split": number, "user": scene.user, "index": photos[own], "named": answer.ranked[own, 0]}
    normal = float(right["recognised"][others].mean()) if others.any() else float("nan")
    found = pd.DataFrame({**columns, **{name: values[own] for name, values in right.items()}})
    return found.assign(normal=normal, learnt=float(answer.learnt.mean()))


def _right(answers: np.ndarray, answer: Answer) -> dict[str, np.ndarray]:
    hits = answer.ranked == answers[:, None]
    return {"recognised": hits[:, 0], "among_five": hits.any(axis=1)}


def with_control(rows: pd.DataFrame, control: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with ``uncloaked``: whether the same photo was recognised when nobody cloaked."""
    known = control.set_index(["split", "index"])["recognised"]
    return rows.assign(uncloaked=known.loc[pd.MultiIndex.from_frame(rows[["split", "index"]])].to_numpy())


def clean_measurements(control: pd.DataFrame, resamples: int) -> dict[str, Any]:
    """The tracker without any cloak: accuracy is the mean over users."""
    each = control.groupby("user")["recognised"].mean()
    low, high = bootstrap_mean(each, resamples)
    return {
        "accuracy": float(each.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "accuracy_std": float(control.groupby("split")["recognised"].mean().std(ddof=0)),
        "pairs": len(control),
        "users": len(each),
        "top5": _mean_of_users(control, "among_five"),
        "fit_accuracy": _once_a_split(control, "learnt"),
    }


def attack_measurements(rows: pd.DataFrame, resamples: int) -> dict[str, Any]:
    """What the cloaks did. ``asr``: the mean over users of the share of their test photos not recognised as them."""
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
        "top5": _mean_of_users(rows, "among_five"),
        "no_cloak_error": 1 - _mean_of_users(rows, "uncloaked"),
        "normal_accuracy": _once_a_split(rows, "normal"),
        "fit_accuracy": _once_a_split(rows, "learnt"),
    }


def _mean_of_users(rows: pd.DataFrame, column: str) -> float:
    return float(rows.groupby("user")[column].mean().mean())


def _once_a_split(rows: pd.DataFrame, column: str) -> float:
    """The mean over trainings, each of which stands in as many rows as it was asked about photos."""
    return float(rows.drop_duplicates(["split", "user"])[column].mean())


def size_measurements(table: pd.DataFrame) -> dict[str, Any]:
    """Sizes of the cloaks that were worn, as files hold them, and how many photos stayed natural; see ``Cloaks``.

    table: the photos that users publish cloaked in their turn, and no others.
    """
    worn = table[table["worn"]]
    spread = {name: {way: float(getattr(worn[name], way)()) for way in ("mean", "median", "max")} for name in _SIZES}
    return {"photos": len(table), "left_natural": int((~table["worn"]).sum()), **spread}
