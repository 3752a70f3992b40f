"""Attack success on verification pairs behind a defense, at thresholds from the clean scores of the other folds.

A pair is accepted when its score is greater than the threshold. The main threshold has the best accuracy on the other
folds of the defended victim's clean scores; thresholds at given FARs are reported beside it. The attack success rate
(ASR) counts pairs that the defended victim decides correctly without attack; the others are left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from frbench.harness.core.contracts import Verifier
from frbench.harness.core.domains import AtLeastTwo, NonNegativeInt, OddCount, OpenFraction
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.flags import Flag
from frbench.harness.core.verifiers import lifted
from frbench.harness.evaluation.audit import Evidence
from frbench.harness.evaluation.calibration import Calibration
from frbench.harness.evaluation.cell import Cell, ImagesOfPairs, Outcome
from frbench.harness.evaluation.crafting import Crafting
from frbench.harness.evaluation.execution import Execution
from frbench.harness.evaluation.judge import Judge, sample_images
from frbench.harness.evaluation.postprocessed_block import available
from frbench.harness.evaluation.shards import Filled, Shard
from frbench.harness.images.postprocessing import Postprocessing
from frbench.harness.protocols.pair_common import (
    accuracy_flags,
    attacked_pairs,
    calibrate,
    clean_measurements,
    make_judge,
    threat_victim,
)
from frbench.harness.protocols.pair_metrics import (
    at_far,
    attack_measurements,
    draws_measurements,
    postprocessing_measurements,
    queries_measurements,
    views_measurements,
)
from frbench.harness.storage.records import Kind, plain
from frbench.harness.storage.result_store import ResultStore


@dataclass(frozen=True)
class Verification:
    """Verification of pairs.

    Args:
        far_levels: false accept rates whose thresholds are reported beside that of the best accuracy.
        bootstrap: resamples of the identity-clustered confidence interval.
        num_samples: attacked pairs whose images are kept for the image grid.
        num_draws: decisions of a random victim per image; the majority counts.
        postprocessing: transforms of the adversarial images after which they are judged again, by name.
    """

    identity = "protocol.verification"
    version = 1
    kind: ClassVar[str] = Kind.VERIFICATION
    evaluates = PairSet

    far_levels: Sequence[OpenFraction] = (1e-2, 1e-3)
    bootstrap: AtLeastTwo = 2000
    num_samples: NonNegativeInt = 8
    num_draws: OddCount = 5
    postprocessing: Mapping[str, Postprocessing] | None = None

    def evaluate(self, cell: Cell, store: ResultStore) -> Outcome:
        """Measure ``cell``; scores per pair and sample images go to ``store`` under its fingerprint."""
        _check(cell)
        execution = cell.execution(store)
        calibration = Calibration(cell.pairs, execution)
        flags = accuracy_flags(cell, calibration)
        victim = cell.defense.protect(lifted(cell.recognizer))
        clean = calibration.scores(victim)
        measurements: dict[str, Any] = {"clean": clean_measurements(clean, cell.pairs, self.far_levels), "attack": None}
        if cell.attack is None:
            return Outcome(plain(measurements), flags, None)
        transforms, missing = available(self.postprocessing or {}, cell.pairs.load(cell.pairs.probe[:1], cell.device))
        crafting = _crafting(cell, execution, calibration, victim)
        judge = make_judge(cell, execution, victim, clean, self.num_draws, cell.attack.bounded, transforms)
        table, generated = self._judge_all(cell, store, crafting, judge)
        store.write_scores(cell.fingerprint(), table)
        audited = cell.audit.examine(Evidence(table, crafting, judge))
        measurements["attack"] = {
            **self._measurements(cell, clean, crafting, table),
            "postprocessing": postprocessing_measurements(table, list(transforms), missing),
            "audit": audited.measurements(),
        }
        if cell.attack.stops_early:
            flags.append(Flag.BOUNDARY_ATTACK)
        if table["broken"].any():
            flags.append(Flag.BROKEN_IMAGES)
        images = list(crafting.keyed_views())
        return Outcome(plain(measurements), [*flags, *audited.flags], generated, images)

    def craft(self, cell: Cell, store: ResultStore, shard: Shard) -> Filled:
        """Put the blocks of ``shard`` into the cache of ``store``."""
        _check(cell)
        execution = cell.execution(store)
        calibration = Calibration(cell.pairs, execution)
        accuracy_flags(cell, calibration)
        victim = cell.defense.protect(lifted(cell.recognizer))
        return _crafting(cell, execution, calibration, victim).fill(attacked_pairs(cell), shard)

    def calibrate(self, cell: Cell, store: ResultStore) -> None:
        """Put the clean scores of the recognizer, bare and defended, into the cache."""
        _check(cell)
        calibrate(cell, store)

    def images(self, cell: Cell, store: ResultStore, index: np.ndarray | None) -> ImagesOfPairs:
        """Clean, adversarial and reference images of the attacked pairs ``index``; None for all of them."""
        execution, attacked = cell.execution(store), attacked_pairs(cell)
        index = attacked if index is None else index
        victim = cell.defense.protect(lifted(cell.recognizer))
        crafting = _crafting(cell, execution, Calibration(cell.pairs, execution), victim)
        adversarial, batch = crafting.images(attacked, index), cell.pairs.batch(index)
        return ImagesOfPairs(batch.probe, adversarial, batch.reference)

    def _measurements(self, cell: Cell, clean: np.ndarray, crafting: Crafting, table: pd.DataFrame) -> dict[str, Any]:
        return {
            **attack_measurements(table, cell.goal, cell.pairs, self.bootstrap),
            "at_far": {str(far): at_far(table, clean, cell.pairs, cell.goal, far) for far in self.far_levels},
            **views_measurements(crafting.views),
            **queries_measurements(table, crafting.views),
            "draws": draws_measurements(table),
        }

    def _judge_all(self, cell: Cell, store: ResultStore, crafting: Crafting, judge: Judge) -> tuple[pd.DataFrame, bool]:
        """One row per attacked pair, and whether this run made any image."""
        parts, generated = [], False
        for number, block in enumerate(crafting.blocks(attacked_pairs(cell))):
            generated |= block.generated
            part = judge.table(block)
            if number == 0 and self.num_samples:
                samples = sample_images(cell.pairs, block, part, self.num_samples)
                store.write_sample_images(cell.fingerprint(), samples)
            parts.append(part)
        return pd.concat(parts, ignore_index=True), generated


def _crafting(cell: Cell, execution: Execution, calibration: Calibration, victim: Verifier) -> Crafting:
    assert cell.attack is not None
    views = cell.threat.views(threat_victim(cell, calibration))
    return Crafting(cell.pairs, views, victim, cell.attack, cell.goal, cell.budget, execution, with_sizes=True)


def _check(cell: Cell) -> None:
    """Raises ConfigError: the dataset has no impostor pairs."""
    if cell.pairs.same.all():
        raise ConfigError(
            f"dataset {cell.pairs.name} has no impostor pairs, which protocol=verification needs; take dataset=lfw or "
            "another dataset of pairs"
        )
