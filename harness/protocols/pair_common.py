"""What the protocols on pairs share: the accuracy check, the attacker's access, the judge, clean measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from frbench.harness.core.contracts import Verifier, Victim
from frbench.harness.core.errors import warn_once
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.flags import Flag
from frbench.harness.core.verifiers import lifted
from frbench.harness.evaluation.calibration import Calibration
from frbench.harness.evaluation.cell import Cell
from frbench.harness.evaluation.execution import Execution
from frbench.harness.evaluation.judge import Judge
from frbench.harness.images.postprocessing import Postprocessing
from frbench.harness.metrics import verification as metrics
from frbench.harness.metrics.confidence import wilson
from frbench.harness.metrics.thresholds import fold_thresholds
from frbench.harness.protocols.pair_metrics import tar_at_far
from frbench.harness.recognizers.accuracy_check import check_clean_accuracy, stated_accuracy
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.threats import UsesSurrogate


def accuracy_flags(cell: Cell, calibration: Calibration) -> list[Flag]:
    """The flag of a recognizer or surrogate with low clean accuracy. Call it before anything is attacked.

    Raises:
        FrbenchError: the accuracy is below the floor and the cell does not allow it.
    """
    names, dataset = cell.names, cell.names["dataset"]
    checked: list[tuple[str, Any, Verifier]] = [(names["recognizer"], cell.floors, lifted(cell.recognizer))]
    if isinstance(cell.threat, UsesSurrogate):
        surrogate = cell.threat.surrogate
        name = f"the surrogate {names.get('surrogate', surrogate.name)}"
        checked.append((name, stated_accuracy(surrogate), lifted(surrogate)))
    flags: list[Flag] = []
    for name, floor, verifier in checked:
        folds = metrics.kfold_accuracy(calibration.scores(verifier), cell.pairs.same, cell.pairs.fold)
        warning = check_clean_accuracy(name, folds.accuracy * 100, dataset, floor, cell.allow_low_accuracy)
        if warning is not None:
            warn_once(warning)
            flags.append(Flag.LOW_CLEAN_ACCURACY)
    return list(dict.fromkeys(flags))


def calibrate(cell: Cell, store: ResultStore) -> None:
    """Put the clean scores of the recognizer, bare and defended, into the cache of ``store``."""
    calibration, bare = Calibration(cell.pairs, cell.execution(store)), lifted(cell.recognizer)
    for verifier in (bare, cell.defense.protect(bare)):
        calibration.scores(verifier)


def threat_victim(cell: Cell, calibration: Calibration) -> Victim:
    """What a threat model derives its views from. Thresholds have the best accuracy on the other folds."""

    def thresholds(verifier: Verifier) -> torch.Tensor:
        scores = calibration.scores(verifier)
        return torch.from_numpy(fold_thresholds(scores, cell.pairs.same, cell.pairs.fold)).float()

    return Victim(lifted(cell.recognizer), cell.defense, lifted, thresholds, cell.seed)


def attacked_pairs(cell: Cell) -> np.ndarray:
    """Numbers of the attacked pairs that are eligible for the goal."""
    index = cell.pairs.attacked
    eligible: np.ndarray = index[cell.goal.eligible(torch.from_numpy(cell.pairs.same[index])).numpy()]
    return eligible


def make_judge(
    cell: Cell,
    execution: Execution,
    victim: Verifier,
    clean_scores: np.ndarray,
    num_draws: int,
    bounded: bool,
    postprocessing: Mapping[str, Postprocessing],
) -> Judge:
    """The judge of ``cell`` whose ``victim`` has these clean scores; see ``Judge``."""
    thresholds = fold_thresholds(clean_scores, cell.pairs.same, cell.pairs.fold)
    work = (cell.pairs, cell.goal, cell.budget, bounded, thresholds, clean_scores)
    return Judge(victim, *work, num_draws, postprocessing, execution, cell.meter)


def clean_measurements(scores: np.ndarray, pairs: PairSet, far_levels: Sequence[float]) -> dict[str, Any]:
    """Clean accuracy of a victim with these ``scores`` (N,)."""
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
        "tar_at_far": {str(far): tar_at_far(scores, pairs, far) for far in far_levels},
    }
