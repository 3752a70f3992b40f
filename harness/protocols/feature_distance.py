"""Success against feature distance: how near a single model must be brought for its images to fool another.

The attacker walks on one model, the surrogate, until the unit vectors of an image and of the reference are at most q
apart, and keeps the first image for each q. Every defended model judges these images at its own threshold: ASR(q)
(specs/ensemble_attacks 2.7). A pair that does not come so near is a failure, and its size infinite.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from frbench.harness.core.contracts import Images, Verifier, View
from frbench.harness.core.domains import Distance, NonEmpty, OddCount, OpenFraction
from frbench.harness.core.errors import ConfigError, Refused
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.core.flags import Flag
from frbench.harness.core.verifiers import lifted
from frbench.harness.evaluation.calibration import Calibration
from frbench.harness.evaluation.cell import Cell, Outcome
from frbench.harness.evaluation.judge import Enrolled, Judge
from frbench.harness.metrics.perturbation import GRAY_LEVELS, sizes
from frbench.harness.metrics.thresholds import fold_thresholds
from frbench.harness.protocols.feature_distance_crafting import Reached, Reaching, nested_of
from frbench.harness.protocols.pair_metrics import distances_measurements, views_measurements
from frbench.harness.protocols.verification import clean_measurements, preflight, sight
from frbench.harness.storage.records import Kind, plain
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.goals import Impersonation

# Of a pair that did not come so near.
_FAILED = {
    "adversarial_score": np.float32(np.nan),
    **dict.fromkeys(("success", "success_8bit", "fits"), False),
    **dict.fromkeys(("linf", "l2", "rms"), np.float32(np.inf)),
    "ssim": np.float32(-np.inf),
}


@dataclass(frozen=True)
class FeatureDistance:
    """distances: between unit vectors, far to near, of at most 2. fars: false accept rates told of clean pairs.

    draws: verdicts on a random victim, an odd number.
    """

    identity = "protocol.feature_distance"
    version = 1
    kind: ClassVar[str] = Kind.FEATURE_DISTANCE
    evaluates = PairSet

    distances: Annotated[Sequence[Distance], NonEmpty] = (1.2, 1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
    fars: Sequence[OpenFraction] = (1e-2, 1e-3)
    draws: OddCount = 5

    def check_combination(self, where: str) -> None:
        if not all(far > near for far, near in pairwise(self.distances)):
            raise ConfigError(f"{where}.distances={list(self.distances)}: expected each nearer than the one before")

    def evaluate(self, cell: Cell, store: ResultStore) -> Outcome:
        """Measure ``cell``; one row per attacked pair and distance goes to ``store`` under its fingerprint."""
        self._check(cell)
        calibration = Calibration(cell.pairs, store, cell.seed, cell.batch_size, cell.device)
        bare = lifted(cell.recognizer)
        flags = preflight(cell, calibration, bare)
        victim = cell.defense.protect(bare)
        scores = calibration.scores(victim)
        clean = clean_measurements(scores, cell.pairs, self.fars)
        if cell.attack is None:
            return Outcome(plain({"clean": clean, "attack": None}), flags, None)
        views = cell.threat.views(sight(cell, calibration, bare))
        blocks = self._blocks(cell, store, views)
        judge = self._judge(cell, store, victim, scores)
        table, generated = judged(judge, blocks, self.distances)
        store.write_scores(cell.fingerprint(), table)
        attack = {**distances_measurements(table), **views_measurements(views)}
        flags += [Flag.BROKEN_IMAGES] if table["broken"].any() else []
        flags += [Flag.BUDGET_VIOLATED] if table["exceeded"].any() else []
        return Outcome(plain({"clean": clean, "attack": attack}), flags, generated)

    def _check(self, cell: Cell) -> None:
        if cell.pairs.same.all():
            raise ConfigError(
                f"dataset {cell.pairs.name} has no impostor pairs, so nobody can be impersonated on it; take "
                "dataset=lfw or another set of pairs"
            )
        if cell.attack is None:
            return
        if not isinstance(cell.goal, Impersonation) or nested_of(cell.attack) is None:
            raise Refused(
                "a feature distance is reached by walking towards somebody else: protocol=feature_distance needs "
                "goal=impersonation and an attack that tells of each distance on its way, attack=lots or "
                f"attack=lots_ifgsm, and has goal={cell.names['goal']} attack={cell.names['attack']}"
            )

    def _blocks(self, cell: Cell, store: ResultStore, views: Mapping[str, View]) -> Iterator[Reached]:
        assert cell.attack is not None
        if len(views) != 1:
            raise Refused(
                f"protocol=feature_distance measures on one model and this attacker has {len(views)} views "
                f"({', '.join(views)}); take threat=oblivious or threat=transfer"
            )
        (view,) = views.values()
        work = (self.distances, store, cell.batch_size, cell.device)
        pairs = cell.pairs
        eligible = cell.goal.eligible(torch.from_numpy(pairs.same[pairs.attacked])).numpy()
        return Reaching(pairs, view, cell.attack, cell.goal, *work).blocks(pairs.attacked[eligible])

    def _judge(self, cell: Cell, store: ResultStore, victim: Verifier, scores: np.ndarray) -> Judge:
        return Judge(
            victim=victim,
            pairs=cell.pairs,
            goal=cell.goal,
            budget=cell.budget,
            bounded=False,
            thresholds=fold_thresholds(scores, cell.pairs.same, cell.pairs.fold),
            clean_scores=scores,
            draws=self.draws,
            survival={},
            store=store,
            seed=cell.seed,
            batch_size=cell.batch_size,
            device=cell.device,
        )


def judged(judge: Judge, blocks: Iterator[Reached], distances: Sequence[float]) -> tuple[pd.DataFrame, bool]:
    """One row per pair and distance, pair by pair, and whether any image was made now."""
    parts, generated = [], False
    for block in blocks:
        generated |= block.generated
        parts.append(_rows(judge, block, distances))
    return pd.concat(parts, ignore_index=True), generated


@torch.no_grad()
def _rows(judge: Judge, block: Reached, distances: Sequence[float]) -> pd.DataFrame:
    """``success`` of the images as they are, ``success_8bit`` of the same in 8 bits; none where a pair did not come."""
    batch = judge.pairs.batch(block.index, judge.device)
    enrolled, thresholds = judge.enroll(batch), judge.thresholds[block.index]
    clean = torch.from_numpy(judge.clean_scores[block.index])
    if judge.victim.random:  # calibration's draws do not judge
        clean = _middle(judge.scores(batch.probe, batch, enrolled))
    pairs = pd.DataFrame(
        {
            "index": block.index,
            "fold": judge.pairs.fold[block.index],
            "same": judge.pairs.same[block.index],
            "clean_score": clean.numpy(),
            "threshold": thresholds,
            "correct": ~judge.goal.achieved(clean.double(), torch.from_numpy(thresholds)).numpy(),
            "broken": block.broken,
            "exceeded": block.exceeded,
        }
    )
    images = pd.concat([*_of_images(judge, block, batch, enrolled), pd.DataFrame([_FAILED])], ignore_index=True)
    rows = pairs.loc[np.repeat(np.arange(len(pairs)), len(distances))].reset_index(drop=True)
    rows = rows.assign(
        distance=np.tile(distances, len(pairs)),
        reached=(block.place >= 0).ravel(),
        iterations=block.iterations.ravel(),
    )
    return pd.concat([rows, images.iloc[block.place.ravel()].reset_index(drop=True)], axis=1)  # -1: the last, failed


def _of_images(judge: Judge, block: Reached, batch: PairBatch, enrolled: Enrolled) -> Iterator[pd.DataFrame]:
    """One row per image, a batch at a time."""
    owner = torch.from_numpy(block.owner)
    for first in range(0, len(owner), judge.batch_size):
        part = slice(first, first + judge.batch_size)
        rows = owner[part].to(judge.device)
        images, pairs = block.images[part].to(judge.device), batch[rows]
        kept = Enrolled(enrolled.draws, [template[rows] for template in enrolled.templates])
        thresholds = torch.from_numpy(judge.thresholds[block.index[owner[part].numpy()]])
        scores, rounded = (_middle(judge.scores(each, pairs, kept)) for each in (images, _in_8_bits(images)))
        fits = judge.budget.fits(images, pairs.probe).cpu()
        found = {
            "adversarial_score": scores,
            "success": judge.goal.achieved(scores.double(), thresholds) & fits,
            "success_8bit": judge.goal.achieved(rounded.double(), thresholds) & fits,
            "fits": fits,
            **sizes(pairs.probe, images),
        }
        yield pd.DataFrame({name: values.cpu().numpy() for name, values in found.items()})


def _in_8_bits(images: Images) -> Images:
    """As a file without loss keeps them."""
    return (images * GRAY_LEVELS).round() / GRAY_LEVELS


def _middle(draws: Tensor) -> Tensor:
    """The verdict's score (n,): what most of the draws (n, k) are above, or below."""
    return draws.median(dim=1).values
