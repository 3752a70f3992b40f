"""Attack success as a function of feature distance: ASR(q), as in Amada et al. (SafeAI@AAAI 2021).

The attacker moves an image towards the reference in the feature space of one model, the surrogate, and keeps the first
image whose unit vector is at most q away, for each q. Every defended model judges these images at its own threshold.
A pair that does not reach a distance counts as a failure of infinite size.

The method: docs/methods/ensembles.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch

from frbench.harness.core.contracts import View
from frbench.harness.core.domains import Distance, NonEmpty, OddCount, OpenFraction
from frbench.harness.core.errors import ConfigError, Refused
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.core.flags import Flag
from frbench.harness.core.multi_threshold import multi_threshold_run
from frbench.harness.core.quantization import quantize
from frbench.harness.core.verifiers import lifted
from frbench.harness.evaluation.calibration import Calibration
from frbench.harness.evaluation.cell import Cell, Outcome
from frbench.harness.evaluation.execution import Execution
from frbench.harness.evaluation.judge import Judge, median_over_draws
from frbench.harness.evaluation.shards import Filled, Shard
from frbench.harness.evaluation.victim_scores import References
from frbench.harness.metrics.perturbation import sizes
from frbench.harness.protocols.feature_distance_crafting import DistanceBlock, DistanceCrafting
from frbench.harness.protocols.pair_common import (
    accuracy_flags,
    attacked_pairs,
    calibrate,
    clean_measurements,
    make_judge,
    threat_victim,
)
from frbench.harness.protocols.pair_metrics import distances_measurements, views_measurements
from frbench.harness.storage.records import Kind, plain
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.goals import Impersonation

# The columns of a pair that did not reach a distance.
_NOT_REACHED = {
    "adversarial_score": np.float32(np.nan),
    **dict.fromkeys(("success", "success_8bit", "fits"), False),
    **dict.fromkeys(("linf", "l2", "rms"), np.float32(np.inf)),
    "ssim": np.float32(-np.inf),
}


@dataclass(frozen=True)
class FeatureDistance:
    """Impersonation at given feature distances.

    Args:
        distances: Euclidean distances between unit vectors, at most 2, in decreasing order.
        far_levels: false accept rates at which the true accept rate of clean pairs is reported.
        num_draws: decisions of a random victim per image; the majority counts.
    """

    identity = "protocol.feature_distance"
    version = 1
    kind: ClassVar[str] = Kind.FEATURE_DISTANCE
    evaluates = PairSet

    distances: Annotated[Sequence[Distance], NonEmpty] = (1.2, 1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
    far_levels: Sequence[OpenFraction] = (1e-2, 1e-3)
    num_draws: OddCount = 5

    def check_combination(self, where: str) -> None:
        """Raises ConfigError: ``distances`` do not decrease. where: the dotted place in the config."""
        if not all(far > near for far, near in pairwise(self.distances)):
            raise ConfigError(f"{where}.distances={list(self.distances)}: expected decreasing values")

    def evaluate(self, cell: Cell, store: ResultStore) -> Outcome:
        """Measure ``cell``; one row per attacked pair and distance goes to ``store`` under its fingerprint."""
        _check(cell)
        execution = cell.execution(store)
        calibration = Calibration(cell.pairs, execution)
        flags = accuracy_flags(cell, calibration)
        victim = cell.defense.protect(lifted(cell.recognizer))
        scores = calibration.scores(victim)
        clean = clean_measurements(scores, cell.pairs, self.far_levels)
        if cell.attack is None:
            return Outcome(plain({"clean": clean, "attack": None}), flags, None)
        views = cell.threat.views(threat_victim(cell, calibration))
        crafting = self._crafting(cell, execution, _only(views))
        judge = make_judge(cell, execution, victim, scores, self.num_draws, bounded=False, postprocessing={})
        table, generated = judge_blocks(judge, crafting.blocks(attacked_pairs(cell)), self.distances)
        store.write_scores(cell.fingerprint(), table)
        attack = {**distances_measurements(table), **views_measurements(views)}
        flags += [Flag.BROKEN_IMAGES] if table["broken"].any() else []
        flags += [Flag.BUDGET_VIOLATED] if table["exceeded"].any() else []
        return Outcome(plain({"clean": clean, "attack": attack}), flags, generated, [crafting.key()])

    def craft(self, cell: Cell, store: ResultStore, shard: Shard) -> Filled:
        """Put the blocks of ``shard`` into the cache of ``store``."""
        _check(cell)
        execution = cell.execution(store)
        calibration = Calibration(cell.pairs, execution)
        accuracy_flags(cell, calibration)
        views = cell.threat.views(threat_victim(cell, calibration))
        return self._crafting(cell, execution, _only(views)).fill(attacked_pairs(cell), shard)

    def calibrate(self, cell: Cell, store: ResultStore) -> None:
        """Put the clean scores of the recognizer, bare and defended, into the cache."""
        _check(cell)
        calibrate(cell, store)

    def _crafting(self, cell: Cell, execution: Execution, view: View) -> DistanceCrafting:
        assert cell.attack is not None
        return DistanceCrafting(cell.pairs, view, cell.attack, cell.goal, self.distances, execution)


def _check(cell: Cell) -> None:
    """Raises ConfigError or Refused: the dataset, the goal or the attack does not fit the protocol."""
    if cell.pairs.same.all():
        raise ConfigError(
            f"dataset {cell.pairs.name} has no impostor pairs, which impersonation needs; take dataset=lfw or another "
            "dataset of pairs"
        )
    if cell.attack is None:
        return
    if not isinstance(cell.goal, Impersonation) or multi_threshold_run(cell.attack) is None:
        raise Refused(
            "protocol=feature_distance needs goal=impersonation and an attack that supports several thresholds, "
            f"attack=lots or attack=lots_ifgsm, got goal={cell.names['goal']} attack={cell.names['attack']}"
        )


def _only(views: Mapping[str, View]) -> View:
    if len(views) != 1:
        raise Refused(
            f"protocol=feature_distance needs an attacker with one view, got {len(views)} ({', '.join(views)}); take "
            "threat=oblivious or threat=transfer"
        )
    (view,) = views.values()
    return view


def judge_blocks(
    judge: Judge, blocks: Iterator[DistanceBlock], distances: Sequence[float]
) -> tuple[pd.DataFrame, bool]:
    """One row per pair and distance, sorted by pair, and whether this run made any image."""
    parts, generated = [], False
    for block in blocks:
        generated |= block.generated
        parts.append(_rows(judge, block, distances))
    return pd.concat(parts, ignore_index=True), generated


@torch.no_grad()
def _rows(judge: Judge, block: DistanceBlock, distances: Sequence[float]) -> pd.DataFrame:
    """``success`` for float images, ``success_8bit`` after rounding to 8 bits; False where no image was reached."""
    batch = judge.pairs.batch(block.index, judge.execution.device)
    found = judge.victim_scores.clean_block(block.index)
    references, clean = found.references, found.scores
    pairs = pd.DataFrame(
        {
            "index": block.index,
            **judge.pairs.photo_names(block.index),
            "fold": judge.pairs.fold[block.index],
            "same": judge.pairs.same[block.index],
            "clean_score": median_over_draws(clean).numpy(),
            "threshold": judge.thresholds[block.index],
            "correct": ~judge.achieved(clean, batch).numpy(),
            "broken": block.broken,
            "exceeded": block.exceeded,
        }
    )
    judged = [*_judge_images(judge, block, batch, references), pd.DataFrame([_NOT_REACHED])]
    images = pd.concat(judged, ignore_index=True)
    rows = pairs.loc[np.repeat(np.arange(len(pairs)), len(distances))].reset_index(drop=True)
    rows = rows.assign(
        distance=np.tile(distances, len(pairs)),
        reached=(block.place >= 0).ravel(),
        iterations=block.iterations.ravel(),
    )
    # place -1 selects the last row, _NOT_REACHED
    return pd.concat([rows, images.iloc[block.place.ravel()].reset_index(drop=True)], axis=1)


def _judge_images(
    judge: Judge, block: DistanceBlock, batch: PairBatch, references: References
) -> Iterator[pd.DataFrame]:
    """One row per image, a batch at a time."""
    device, pair_rows = judge.execution.device, torch.from_numpy(block.pair_rows)
    for part in judge.execution.batches(len(pair_rows)):
        rows = pair_rows[part].to(device)
        images, pairs, templates = block.images[part].to(device), batch[rows], references.select(rows)
        scores = judge.scores(images, pairs, templates)
        rounded = judge.scores(quantize(images), pairs, templates)
        fits = judge.budget.fits(images, pairs.probe).cpu()
        columns = {
            "adversarial_score": median_over_draws(scores),
            "success": judge.achieved(scores, pairs) & fits,
            "success_8bit": judge.achieved(rounded, pairs) & fits,
            "fits": fits,
            **sizes(pairs.probe, images),
        }
        yield pd.DataFrame({name: values.cpu().numpy() for name, values in columns.items()})
