"""From one row per attacked pair to the numbers of a record: every rate with its denominator and its interval."""

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

_NOBODY = pd.Series(dtype=bool)
_TAR = ("tar", "tar_low", "tar_high", "accepted", "genuine", "threshold_mean")
_REALISED = ("far_set", "far", "far_low", "far_high", "false_accepts", "impostors")
_POLICY, _STATED = "best accuracy on the other folds, behind the defense", ("mean", "min", "max")


def attack_measurements(table: pd.DataFrame, goal: Goal, pairs: PairSet, resamples: int) -> dict[str, Any]:
    """What one attack did, by the victim's lead threshold. ``table``: one row per attacked pair, from ``Judge``."""
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
        **{size: _spread(counted[size], counted["success"]) for size in ("linf", "l2", "rms", "ssim")},
        "objective_mean": float(loss.mean()),
        "score_shift_mean": float((table["adversarial_score"] - table["clean_score"]).mean()),
        "attacker_asr": float(table["achieved"].mean()),
        "threshold": {"policy": _POLICY, **{name: float(getattr(table["threshold"], name)()) for name in _STATED}},
    }


def success_rate(success: pd.Series, counted: pd.Series) -> dict[str, Any]:
    """ASR over the ``counted`` pairs with its Wilson interval and its denominator."""
    hits, total = int((success & counted).sum()), int(counted.sum())
    low, high = wilson(hits, total)
    rate = hits / total if total else float("nan")
    return {"asr": rate, "asr_low": low, "asr_high": high, "asr_successes": hits, "asr_denominator": total}


def at_far(table: pd.DataFrame, clean: np.ndarray, pairs: PairSet, goal: Goal, far: float) -> dict[str, Any]:
    """ASR with thresholds at ``far`` of the other folds, and the FAR that they realise.

    Null with the reason where the data cannot resolve it.
    """
    point = fold_far_thresholds(clean, pairs.same, pairs.fold, far)
    if isinstance(point, Unresolved):
        return {**dict.fromkeys((*success_rate(_NOBODY, _NOBODY), *_REALISED)), "reason": point.reason}
    line = torch.from_numpy(point.thresholds[table["index"]])

    def won(column: str) -> pd.Series:
        return pd.Series(goal.achieved(torch.tensor(table[column].to_numpy(np.float64)), line).numpy())

    found = success_rate(won("adversarial_score") & table["fits"], ~won("clean_score"))
    return {**found, **realised_far(point), "reason": None}


def tar_at_far(clean: np.ndarray, pairs: PairSet, far: float) -> dict[str, Any]:
    """TAR at ``far`` (mean over folds, Wilson interval of all genuine pairs), its counts and the FAR realised.

    Null with the reason where the data cannot resolve it.
    """
    found = metrics.tar_at_far(clean, pairs.same, pairs.fold, far)
    if isinstance(found, Unresolved):
        return {**dict.fromkeys((*_TAR, *_REALISED)), "reason": found.reason}
    rates = (found.tar, *wilson(found.accepted, found.total), found.accepted, found.total)
    mean = float(found.point.thresholds.mean())
    return {**dict(zip(_TAR, (*rates, mean), strict=True)), **realised_far(found.point), "reason": None}


def realised_far(point: OperatingPoint) -> dict[str, Any]:
    """FAR on the impostors that thresholds were set on, and on those of held-out folds with its Wilson interval."""
    counts = (point.false_accepts, point.impostors)
    return dict(zip(_REALISED, (point.far_set, point.far, *wilson(*counts), *counts), strict=True))


def views_measurements(views: Mapping[str, View]) -> dict[str, Any]:
    """Through what the attacker looked: the names of its views, and the draws averaged over (EOT), if any."""
    draws = [view.verifier.draws for view in views.values() if isinstance(view.verifier, Averaged)]
    return {"views": list(views), "eot_draws": max(draws, default=None)}


def queries_measurements(table: pd.DataFrame, views: Mapping[str, View]) -> dict[str, Any]:
    """Scores that the attacker asked for of each counted pair, and the limit on them."""
    asked = table.loc[table["correct"], "queries"]
    limit = max((view.queries for view in views.values() if view.queries is not None), default=None)
    spread = {name: float(getattr(asked, name)()) for name in ("mean", "median", "max")}
    return {"queries": {**spread, "limit": limit}}


def draws_measurements(table: pd.DataFrame) -> dict[str, Any] | None:
    """A random victim's verdicts: success rate of one draw, of any and of all; and flips without any attack.

    The lead success rate is that of the majority; ``asr_std`` is the deviation of the rates that single draws give.
    None where the victim is not random.
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
    """Of each feature distance the success rate before the victim, and how many pairs came so near at all.

    ``table``: one row per pair and distance. ``asr`` counts pairs that the victim decided correctly when clean,
    ``reached`` and the sizes all, a pair that did not come so near being infinitely large; ``in_8_bits``: of the same
    images rounded to gray levels.
    """
    ways = list(table.groupby("distance", sort=False))
    pairs = ways[0][1]
    distances = {}
    for distance, here in ways:
        came, everyone = here["reached"], pd.Series(True, here.index)
        reached = success_rate(came, everyone)
        distances[f"{distance:g}"] = {
            **success_rate(here["success"], here["correct"]),
            "in_8_bits": success_rate(here["success_8bit"], here["correct"]),
            "reached": {name.replace("asr", "share"): value for name, value in reached.items()},
            **{size: _spread(here[size], came) for size in ("linf", "l2", "rms", "ssim")},
        }
    return {
        "distances": distances,
        "eligible": len(pairs),
        "left_out": int((~pairs["correct"]).sum()),
        "threshold": {"policy": _POLICY, **{name: float(getattr(pairs["threshold"], name)()) for name in _STATED}},
    }


def survival_measurements(
    table: pd.DataFrame, names: Sequence[str], missing: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Success of the same images after each way of keeping them; faces not found count as failures, and are counted.

    ``clean_flips``: counted pairs that the way alone, without attack, turns against the victim.
    ``missing``: ways that could not be gone, with the reason.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        found[name] = {
            **success_rate(table[f"survives_{name}"], table["correct"]),
            "not_found": int((~table[f"found_{name}"] & table["correct"]).sum()),
            "clean_flips": int((table[f"clean_flips_{name}"] & table["correct"]).sum()),
            "reason": None,
        }
    nothing = dict.fromkeys((*success_rate(_NOBODY, _NOBODY), "not_found", "clean_flips"))
    return found | {name: {**nothing, "reason": reason} for name, reason in missing.items()}


def _spread(sizes: pd.Series, success: pd.Series) -> dict[str, float]:
    """Mean and maximum over successes; the median over all counted pairs, a failure being infinitely large."""
    won = sizes[success]
    failed = float("-inf") if sizes.name == "ssim" else float("inf")
    median = float(sizes.where(success, failed).median()) if len(sizes) else float("nan")
    return {"mean": float(won.mean()), "median": median, "max": float(won.max())}
