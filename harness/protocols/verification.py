"""Verification of pairs: thresholds from clean scores of the other folds, then attack success behind the defense.

A pair is accepted when its score is greater than the threshold. The lead threshold is the best-accuracy one of the
other folds of the victim's own clean scores; FAR thresholds stand beside it. ASR counts pairs that the victim decided
correctly when clean, behind the defense; the others are left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from frbench.harness.core.contracts import Verifier, Victim
from frbench.harness.core.domains import AtLeastTwo, NonNegativeInt, OddCount, OpenFraction
from frbench.harness.core.errors import ConfigError, FrbenchError, warn_once
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.flags import Flag
from frbench.harness.core.verifiers import lifted
from frbench.harness.evaluation.audit import Evidence
from frbench.harness.evaluation.calibration import Calibration
from frbench.harness.evaluation.cell import Cell, Outcome
from frbench.harness.evaluation.crafting import Crafting
from frbench.harness.evaluation.judge import Judge, pictures_of
from frbench.harness.images.postprocessing import Survival
from frbench.harness.metrics import verification as metrics
from frbench.harness.metrics.confidence import wilson
from frbench.harness.metrics.thresholds import fold_thresholds
from frbench.harness.protocols.pair_metrics import (
    at_far,
    attack_measurements,
    draws_measurements,
    queries_measurements,
    survival_measurements,
    tar_at_far,
    views_measurements,
)
from frbench.harness.recognizers.accuracy_check import check_clean_accuracy
from frbench.harness.storage.records import Kind, plain
from frbench.harness.storage.result_store import ResultStore


@dataclass(frozen=True)
class Verification:
    """fars: false accept rates beside best accuracy. bootstrap: resamples of the identity-clustered interval.

    pictures: how many attacked pairs are kept as images for the picture grid. draws: verdicts on a random victim.
    survival: ways in which adversarial images are kept and sent, each judged beside the images themselves.
    """

    identity = "protocol.verification"
    version = 1
    kind: ClassVar[str] = Kind.VERIFICATION
    evaluates = PairSet

    fars: Sequence[OpenFraction] = (1e-2, 1e-3)
    bootstrap: AtLeastTwo = 2000
    pictures: NonNegativeInt = 8
    draws: OddCount = 5
    survival: Mapping[str, Survival] | None = None

    def evaluate(self, cell: Cell, store: ResultStore) -> Outcome:
        """Measure ``cell``; per-pair scores and pictures go to ``store`` under its fingerprint."""
        _check(cell)
        calibration = Calibration(cell.pairs, store, cell.seed, cell.batch_size, cell.device)
        bare = lifted(cell.recognizer)
        flags = preflight(cell, calibration, bare)
        victim = cell.defense.protect(bare)
        clean = calibration.scores(victim)
        measurements: dict[str, Any] = {"clean": clean_measurements(clean, cell.pairs, self.fars), "attack": None}
        if cell.attack is None:
            return Outcome(plain(measurements), flags, None)
        crafting = self._crafting(cell, store, calibration, bare, victim)
        ways, missing = self._ways(cell.pairs, cell.device)
        judge = self._judge(cell, store, victim, clean, ways)
        table, generated = self._judged(cell, store, crafting, judge)
        measurements["attack"] = {
            **attack_measurements(table, cell.goal, cell.pairs, self.bootstrap),
            "at_far": {str(far): at_far(table, clean, cell.pairs, cell.goal, far) for far in self.fars},
            **views_measurements(crafting.views),
            **queries_measurements(table, crafting.views),
            "draws": draws_measurements(table),
            "survival": survival_measurements(table, list(ways), missing),
        }
        audited = cell.audit.examine(Evidence(table, crafting, judge))
        measurements["attack"]["audit"] = audited.measurements()
        if cell.attack.stops_early:
            flags.append(Flag.BOUNDARY_ATTACK)
        if table["broken"].any():
            flags.append(Flag.BROKEN_IMAGES)
        store.write_scores(cell.fingerprint(), table)
        return Outcome(plain(measurements), [*flags, *audited.flags], generated)

    def _crafting(
        self, cell: Cell, store: ResultStore, calibration: Calibration, bare: Verifier, victim: Verifier
    ) -> Crafting:
        assert cell.attack is not None
        views = cell.threat.views(sight(cell, calibration, bare))
        return Crafting(
            cell.pairs, views, victim, cell.attack, cell.goal, cell.budget, store, cell.batch_size, cell.device
        )

    def _ways(self, pairs: PairSet, device: torch.device) -> tuple[dict[str, Survival], dict[str, str]]:
        """The ways that can be gone here, tried on one image; the others with the reason."""
        ways, missing = {}, {}
        image = pairs.load(pairs.probe[:1], device)
        for name, way in (self.survival or {}).items():
            try:
                way(image)
                ways[name] = way
            except FrbenchError as error:
                missing[name] = str(error)
        return ways, missing

    def _judge(
        self, cell: Cell, store: ResultStore, victim: Verifier, clean: np.ndarray, ways: Mapping[str, Survival]
    ) -> Judge:
        assert cell.attack is not None
        return Judge(
            victim=victim,
            pairs=cell.pairs,
            goal=cell.goal,
            budget=cell.budget,
            bounded=cell.attack.bounded,
            thresholds=fold_thresholds(clean, cell.pairs.same, cell.pairs.fold),
            clean_scores=clean,
            draws=self.draws,
            survival=ways,
            store=store,
            seed=cell.seed,
            batch_size=cell.batch_size,
            device=cell.device,
        )

    def _judged(self, cell: Cell, store: ResultStore, crafting: Crafting, judge: Judge) -> tuple[pd.DataFrame, bool]:
        """One row per attacked pair of the goal, and whether any image was made now."""
        pairs = cell.pairs
        eligible = cell.goal.eligible(torch.from_numpy(pairs.same[pairs.attacked])).numpy()
        parts, generated = [], False
        for number, block in enumerate(crafting.blocks(pairs.attacked[eligible])):
            generated |= block.generated
            part = judge.table(block)
            if number == 0 and self.pictures:
                store.write_pictures(cell.fingerprint(), pictures_of(pairs, block, part, self.pictures))
            parts.append(part)
        return pd.concat(parts, ignore_index=True), generated


def preflight(cell: Cell, calibration: Calibration, bare: Verifier) -> list[Flag]:
    """The flags of a recognizer, and of a surrogate, that verifies clean pairs badly.

    Raises FrbenchError: one of them is below its floor, and nobody allowed that. Nothing was attacked yet.
    """
    names, dataset = cell.names, cell.names["dataset"]
    looked_at: list[tuple[str, Any, Verifier]] = [(names["recognizer"], cell.floors, bare)]
    surrogate = getattr(cell.threat, "surrogate", None)
    if surrogate is not None:
        name = f"the surrogate {names.get('surrogate', surrogate.name)}"
        looked_at.append((name, getattr(surrogate, "min_clean_accuracy", None), lifted(surrogate)))
    flags: list[Flag] = []
    for name, floor, verifier in looked_at:
        folds = metrics.kfold_accuracy(calibration.scores(verifier), cell.pairs.same, cell.pairs.fold)
        warning = check_clean_accuracy(name, folds.accuracy * 100, dataset, floor, cell.allow_low_accuracy)
        if warning is not None:
            warn_once(warning)
            flags.append(Flag.LOW_CLEAN_ACCURACY)
    return list(dict.fromkeys(flags))


def sight(cell: Cell, calibration: Calibration, bare: Verifier) -> Victim:
    """What a threat model may look at: thresholds are of best accuracy on the other folds."""

    def thresholds(verifier: Verifier) -> torch.Tensor:
        scores = calibration.scores(verifier)
        return torch.from_numpy(fold_thresholds(scores, cell.pairs.same, cell.pairs.fold)).float()

    return Victim(bare, cell.defense, lifted, thresholds, cell.seed)


def clean_measurements(scores: np.ndarray, pairs: PairSet, fars: Sequence[float]) -> dict[str, Any]:
    """Clean accuracy of a victim with these ``scores`` (N,), without attack."""
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
        "tar_at_far": {str(far): tar_at_far(scores, pairs, far) for far in fars},
    }


def _check(cell: Cell) -> None:
    """Raises ConfigError: the data set has genuine pairs alone."""
    if cell.pairs.same.all():
        raise ConfigError(
            f"dataset {cell.pairs.name} has no impostor pairs, so nothing can be verified on it; take dataset=lfw or "
            "another set of pairs"
        )
