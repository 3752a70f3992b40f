"""The measurements of a record from a table of attacked pairs; every rate has its denominator and interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from frbench.harness.core.contracts import Goal, View
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.verifiers import Averaged
from frbench.harness.metrics import verification as metrics
from frbench.harness.metrics.confidence import clustered_bootstrap, wilson
from frbench.harness.metrics.thresholds import OperatingPoint, Unresolved, fold_far_thresholds

_NO_PAIRS = pd.Series(dtype=bool)
_TAR = ("tar", "tar_low", "tar_high", "accepted", "genuine", "threshold_mean")
_REALISED = ("far_set", "far", "far_low", "far_high", "false_accepts", "impostors")
_POLICY = "best accuracy on the other folds, behind the defense"


def attack_measurements(table: pd.DataFrame, goal: Goal, pairs: PairSet, resamples: int) -> dict[str, Any]:
    """Attack success at the victim's main threshold. table: one row per attacked pair, from ``Judge``."""
    counted = table[table["correct"]]
    people = pairs.identity[np.stack([pairs.probe, pairs.reference], axis=1)[counted["index"]]]
    low, high = clustered_bootstrap(counted["success"], people, resamples)
    loss = goal.loss(torch.tensor(table["adversarial_score"].to_numpy())).numpy()
    return {
        **success_rate(table["success"], table["correct"]),
        "left_out": int((~table["correct"]).sum()),
        "eligible": len(table),
        "bootstrap_low": low,
        "bootstrap_high": high,
        **{size: _size_statistics(counted[size], counted["success"]) for size in ("linf", "l2", "rms", "ssim")},
        "objective_mean": float(loss.mean()),
        "score_shift_mean": float((table["adversarial_score"] - table["clean_score"]).mean()),
        "attacker_asr": float(table["achieved"].mean()),
        "threshold": _threshold(table["threshold"]),
    }


def _threshold(thresholds: pd.Series) -> dict[str, Any]:
    return {
        "policy": _POLICY,
        "mean": float(thresholds.mean()),
        "min": float(thresholds.min()),
        "max": float(thresholds.max()),
    }


def success_rate(success: pd.Series, counted: pd.Series) -> dict[str, Any]:
    """ASR over the ``counted`` pairs with its 95 % Wilson interval and its denominator."""
    hits, total = int((success & counted).sum()), int(counted.sum())
    low, high = wilson(hits, total)
    rate = hits / total if total else float("nan")
    return {"asr": rate, "asr_low": low, "asr_high": high, "asr_successes": hits, "asr_denominator": total}


def at_far(table: pd.DataFrame, clean: np.ndarray, pairs: PairSet, goal: Goal, far: float) -> dict[str, Any]:
    """ASR at the thresholds with this FAR on the other folds, and the FAR realised on the held-out folds.

    None with the reason where the dataset has too few impostor pairs.
    """
    point = fold_far_thresholds(clean, pairs.same, pairs.fold, far)
    if isinstance(point, Unresolved):
        return {**dict.fromkeys((*success_rate(_NO_PAIRS, _NO_PAIRS), *_REALISED)), "reason": point.reason}
    thresholds = torch.from_numpy(point.thresholds[table["index"]])

    def achieved(column: str) -> pd.Series:
        return pd.Series(goal.achieved(torch.tensor(table[column].to_numpy(np.float64)), thresholds).numpy())

    found = success_rate(achieved("adversarial_score") & table["fits"], ~achieved("clean_score"))
    return {**found, **realised_far(point), "reason": None}


def tar_at_far(clean: np.ndarray, pairs: PairSet, far: float) -> dict[str, Any]:
    """TAR at this FAR: mean over folds, Wilson interval over all genuine pairs, counts, and the FAR realised.

    None with the reason where the dataset has too few impostor pairs.
    """
    found = metrics.tar_at_far(clean, pairs.same, pairs.fold, far)
    if isinstance(found, Unresolved):
        return {**dict.fromkeys((*_TAR, *_REALISED)), "reason": found.reason}
    rates = (found.tar, *wilson(found.accepted, found.total), found.accepted, found.total)
    mean = float(found.point.thresholds.mean())
    return {**dict(zip(_TAR, (*rates, mean), strict=True)), **realised_far(found.point), "reason": None}


def realised_far(point: OperatingPoint) -> dict[str, Any]:
    """FAR on the impostor pairs that set the thresholds, and on the held-out folds with its Wilson interval."""
    counts = (point.false_accepts, point.impostors)
    return dict(zip(_REALISED, (point.far_set, point.far, *wilson(*counts), *counts), strict=True))


def views_measurements(views: Mapping[str, View]) -> dict[str, Any]:
    """The names of the attacker's views, and the number of draws for expectation over transformation, if any."""
    draws = [view.verifier.draws for view in views.values() if isinstance(view.verifier, Averaged)]
    return {"views": list(views), "eot_draws": max(draws, default=None)}


def queries_measurements(table: pd.DataFrame, views: Mapping[str, View]) -> dict[str, Any]:
    """Queries per counted pair, and their limit."""
    queries = table.loc[table["correct"], "queries"]
    limit = max((view.queries for view in views.values() if view.queries is not None), default=None)
    statistics = {"mean": float(queries.mean()), "median": float(queries.median()), "max": float(queries.max())}
    return {"queries": {**statistics, "limit": limit}}


def draws_measurements(table: pd.DataFrame) -> dict[str, Any] | None:
    """Decisions of a random victim, None for others: success rates on one draw, on any draw and on all draws.

    The main success rate is that of the majority. ``asr_std``: standard deviation of the rates of single draws.
    ``clean_flips``: share of single draws that decide the clean pair wrongly.
    """
    counted = table[table["correct"]]
    draws = int(table["draws"].max())
    if draws == 1 or not len(counted):
        return None
    wins = counted["wins"]
    rates = {"asr_mean": (wins / draws).mean(), "asr_any": (wins > 0).mean(), "asr_all": (wins == draws).mean()}
    each = [float((counted["verdicts"].to_numpy() >> k & 1).mean()) for k in range(draws)]
    rates["asr_std"] = float(np.std(each, ddof=1))
    flips = float((counted["clean_flips"] / draws).mean())
    return {"k": draws, **{name: float(rate) for name, rate in rates.items()}, "clean_flips": flips}


def distances_measurements(table: pd.DataFrame) -> dict[str, Any]:
    """Success rate at each feature distance, and the share of pairs that reached it.

    ``asr`` counts pairs that the victim decides correctly without attack; ``in_8_bits``: of the same images rounded to
    8 bits. ``reached`` and the sizes count all pairs, a pair that did not reach the distance as infinitely large.

    Args:
        table: one row per pair and distance.
    """
    groups = list(table.groupby("distance", sort=False))
    pairs = groups[0][1]
    distances = {}
    for distance, rows in groups:
        reached = success_rate(rows["reached"], pd.Series(True, rows.index))
        distances[f"{distance:g}"] = {
            **success_rate(rows["success"], rows["correct"]),
            "in_8_bits": success_rate(rows["success_8bit"], rows["correct"]),
            "reached": {name.replace("asr", "share"): value for name, value in reached.items()},
            **{size: _size_statistics(rows[size], rows["reached"]) for size in ("linf", "l2", "rms", "ssim")},
        }
    return {
        "distances": distances,
        "eligible": len(pairs),
        "left_out": int((~pairs["correct"]).sum()),
        "threshold": _threshold(pairs["threshold"]),
    }


def postprocessing_measurements(
    table: pd.DataFrame, names: Sequence[str], missing: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Success of the same images after each transform. An image without a face counts as a failure.

    ``not_found``: counted pairs whose adversarial image has no face that is found. ``clean_flips``: counted pairs that
    the victim decides wrongly after the transform alone.

    Args:
        names: the transforms that ran.
        missing: the others, each with the reason.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        found[name] = {
            **success_rate(table[f"success_{name}"], table["correct"]),
            "not_found": int((~table[f"found_{name}"] & table["correct"]).sum()),
            "clean_flips": int((table[f"clean_flips_{name}"] & table["correct"]).sum()),
            "reason": None,
        }
    nothing = dict.fromkeys((*success_rate(_NO_PAIRS, _NO_PAIRS), "not_found", "clean_flips"))
    return found | {name: {**nothing, "reason": reason} for name, reason in missing.items()}


def _size_statistics(sizes: pd.Series, success: pd.Series) -> dict[str, float]:
    """Mean and maximum over successes; median over all pairs, with failures as infinitely large."""
    successful = sizes[success]
    failed = float("-inf") if sizes.name == "ssim" else float("inf")
    median = float(sizes.where(success, failed).median()) if len(sizes) else float("nan")
    return {"mean": float(successful.mean()), "median": median, "max": float(successful.max())}
