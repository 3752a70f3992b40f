"""Verification of pairs: thresholds from clean scores of the other folds, then attack success behind the defense.

A pair is accepted when its score is greater than the threshold. The lead threshold is the best-accuracy one of the
other folds of the victim's own clean scores; FAR thresholds stand beside it. ASR counts pairs that the victim decided
correctly when clean, behind the defense; the others are left out and counted.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch

from frbench.harness import metrics
from frbench.harness.calibration import Calibration
from frbench.harness.cell import Cell, Outcome
from frbench.harness.contracts import Goal, PairSet, Verifier, Victim
from frbench.harness.crafting import Crafting
from frbench.harness.intervals import clustered_bootstrap, wilson
from frbench.harness.protocols.judging import Judge, pictures_of
from frbench.harness.recognizers.preflight import check_clean_accuracy
from frbench.harness.records import plain
from frbench.harness.store import ResultStore
from frbench.harness.verifiers import CosineVerifier

_NOBODY = pd.Series(dtype=bool)


@cache
def _warn_once(text: str) -> None:
    print(f"frbench: {text}", file=sys.stderr)


@dataclass(frozen=True)
class Verification:
    """fars: false accept rates beside best accuracy. bootstrap: resamples of the identity-clustered interval.

    pictures: how many attacked pairs are kept as images for the picture grid.
    """

    fars: tuple[float, ...] = (1e-2, 1e-3)
    bootstrap: int = 2000
    pictures: int = 8

    def evaluate(self, cell: Cell, store: ResultStore) -> Outcome:
        """Measure ``cell``; per-pair scores and pictures go to ``store`` under its fingerprint."""
        calibration = Calibration(cell.pairs, store, cell.seed, cell.batch_size, cell.device)
        bare = CosineVerifier(cell.recognizer)
        flags = self._preflight(cell, calibration.scores(bare))
        victim = cell.defense.protect(bare)
        clean = calibration.scores(victim)
        measurements: dict[str, Any] = {"clean": self._clean(clean, cell.pairs), "attack": None}
        if cell.attack is None:
            return Outcome(plain(measurements), flags, None)
        crafting = self._crafting(cell, store, calibration, bare, victim)
        table, generated = self._judged(cell, store, crafting, victim, clean)
        measurements["attack"] = self._attacked(table, cell.goal, cell.pairs)
        measurements["attack"]["at_far"] = {str(far): at_far(table, clean, cell, far) for far in self.fars}
        if cell.attack.stops_early:
            flags.append("boundary_attack")
        if table["broken"].any():
            flags.append("broken_images")
        store.write_scores(cell.fingerprint(), table)
        return Outcome(plain(measurements), flags, generated)

    def _preflight(self, cell: Cell, scores: np.ndarray) -> list[str]:
        """Refuse a mis-fed recognizer before anything is attacked."""
        accuracy = metrics.kfold_accuracy(scores, cell.pairs.same, cell.pairs.fold).accuracy * 100
        floor = cell.floors.get(cell.names["dataset"])
        warning = check_clean_accuracy(cell.names["recognizer"], accuracy, cell.names["dataset"], floor)
        if warning is None:
            return []
        _warn_once(warning)
        return ["low_clean_accuracy"]

    def _crafting(
        self, cell: Cell, store: ResultStore, calibration: Calibration, bare: Verifier, victim: Verifier
    ) -> Crafting:
        assert cell.attack is not None

        def thresholds(verifier: Verifier) -> torch.Tensor:
            scores = calibration.scores(verifier)
            return torch.from_numpy(metrics.fold_thresholds(scores, cell.pairs.same, cell.pairs.fold)).float()

        sight = Victim(bare, cell.defense, CosineVerifier, thresholds, cell.seed)
        views = cell.threat.views(sight)
        return Crafting(
            cell.pairs, views, victim, cell.attack, cell.goal, cell.budget, store, cell.batch_size, cell.device
        )

    def _judged(
        self, cell: Cell, store: ResultStore, crafting: Crafting, victim: Verifier, clean: np.ndarray
    ) -> tuple[pd.DataFrame, bool]:
        """One row per attacked pair of the goal, and whether any image was made now."""
        pairs = cell.pairs
        eligible = cell.goal.eligible(torch.from_numpy(pairs.same[pairs.attacked])).numpy()
        index = pairs.attacked[eligible]
        thresholds = metrics.fold_thresholds(clean, pairs.same, pairs.fold)
        judge = Judge(victim, pairs, cell.goal, cell.budget, thresholds, clean, cell.seed, cell.batch_size, cell.device)
        parts, generated = [], False
        for number, block in enumerate(crafting.blocks(index)):
            generated |= block.generated
            part = judge.table(block)
            if number == 0 and self.pictures:
                store.write_pictures(cell.fingerprint(), pictures_of(pairs, block, part, self.pictures))
            parts.append(part)
        return pd.concat(parts, ignore_index=True), generated

    def _clean(self, scores: np.ndarray, pairs: PairSet) -> dict[str, Any]:
        folds = metrics.kfold_accuracy(scores, pairs.same, pairs.fold)
        low, high = wilson(int(folds.correct.sum()), len(pairs))
        return {
            "accuracy": folds.accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
            "accuracy_std": folds.std_over_folds,
            "pairs": len(pairs),
            "threshold_mean": float(folds.thresholds.mean()),
            "eer": metrics.eer(scores, pairs.same),
            "auc": metrics.auc(scores, pairs.same),
            "tar_at_far": {
                str(far): _tar(metrics.tar_at_far(scores, pairs.same, pairs.fold, far)) for far in self.fars
            },
        }

    def _attacked(self, table: pd.DataFrame, goal: Goal, pairs: PairSet) -> dict[str, Any]:
        counted = table[table["correct"]]
        people = pairs.identity[np.stack([pairs.probe, pairs.reference], axis=1)[counted["index"]]]
        low, high = clustered_bootstrap(counted["success"], people, self.bootstrap)
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
        }


def success_rate(success: pd.Series, counted: pd.Series) -> dict[str, Any]:
    """ASR over the ``counted`` pairs with its Wilson interval and its denominator."""
    hits, total = int((success & counted).sum()), int(counted.sum())
    low, high = wilson(hits, total)
    rate = hits / total if total else float("nan")
    return {"asr": rate, "asr_low": low, "asr_high": high, "asr_successes": hits, "asr_denominator": total}


def at_far(table: pd.DataFrame, clean: np.ndarray, cell: Cell, far: float) -> dict[str, Any]:
    """ASR with thresholds at ``far`` of the other folds; null with the reason where the data cannot resolve it."""
    thresholds = metrics.fold_far_thresholds(clean, cell.pairs.same, cell.pairs.fold, far)
    if isinstance(thresholds, metrics.Unresolved):
        return {**dict.fromkeys(success_rate(_NOBODY, _NOBODY)), "reason": thresholds.reason}
    line = torch.from_numpy(thresholds[table["index"]])

    def won(column: str) -> pd.Series:
        return pd.Series(cell.goal.achieved(torch.tensor(table[column].to_numpy(np.float64)), line).numpy())

    return {**success_rate(won("adversarial_score") & table["fits"], ~won("clean_score")), "reason": None}


def _tar(found: metrics.Tar | metrics.Unresolved) -> dict[str, Any]:
    if isinstance(found, metrics.Unresolved):
        return {"tar": None, "far": None, "threshold_mean": None, "reason": found.reason}
    return {"tar": found.tar, "far": found.far, "threshold_mean": float(found.thresholds.mean()), "reason": None}


def _spread(sizes: pd.Series, success: pd.Series) -> dict[str, float]:
    """Mean and maximum over successes; the median over all counted pairs, a failure being infinitely large."""
    won = sizes[success]
    failed = float("-inf") if sizes.name == "ssim" else float("inf")
    median = float(sizes.where(success, failed).median()) if len(sizes) else float("nan")
    return {"mean": float(won.mean()), "median": median, "max": float(won.max())}
