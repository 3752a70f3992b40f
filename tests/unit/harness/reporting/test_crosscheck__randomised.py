"""Defect 7 of ``test_crosscheck__findings.py``: randomized defenses are not beaten without an attack."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from support.toy_cells import Noise, NoiseDefense, toy_cell

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.contracts import Draw
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.evaluation.cell import Cell, run_cell
from frbench.harness.metrics.thresholds import fold_thresholds
from frbench.harness.protocols.verification import Verification
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.threats import Adaptive


@pytest.fixture
def cell(pair_set: Callable, linear: Callable) -> Callable[..., Cell]:
    """A whole cell of 200 pairs of random images and a linear recognizer."""
    return partial(toy_cell, pair_set(200, size=16), linear(16))


def test_that_a_randomized_defense_resists_an_attack_that_changes_nothing(cell: Callable, tmp_path: Path) -> None:
    """Elsewhere 100 iterations at epsilon 1e-9 "succeeded" on 99.5 % where a single draw errs on 43.8 %.

    Each lucky draw makes the attacker believe in success, which is recorded as the attacker's own rate. The victim
    judges on fresh draws: what it gets wrong without an attack is left out and counted, and the rest still stands.
    """
    defense = NoiseDefense(Noise(1.5))
    lucky = cell(
        defense=defense,
        attack=ProjectedDescent(steps=25),
        budget=Linf(1e-9),
        threat=Adaptive(eot_samples=1),
        protocol=Verification(bootstrap=100, num_samples=0),
    )
    attack = run_cell(lucky, ResultStore(tmp_path))["measurements"]["attack"]
    true_error = single_draw_error(lucky)
    assert 0.15 < true_error < 0.6, "the toy victim should err often, and not always"
    assert attack["attacker_asr"] > 0.95  # what a judge who keeps lucky draws would have reported
    assert attack["asr"] == pytest.approx(0.0, abs=0.02)
    assert attack["left_out"] + attack["asr_denominator"] == attack["eligible"]
    expected = binomtest(attack["left_out"], attack["eligible"]).proportion_ci(0.999)
    assert expected.low < true_error < expected.high


def single_draw_error(cell: Cell, draws: int = 20) -> float:
    """Share of genuine pairs that the victim refuses on a draw of its own, at the thresholds that it calibrated."""
    victim, pairs = cell.defense.protect(CosineVerifier(cell.recognizer)), cell.pairs
    whole = pairs.batch(np.arange(len(pairs)))
    with torch.no_grad():

        def scores(step: int) -> np.ndarray:
            draw = Draw(123, step=step)
            return victim.score(whole.probe, victim.enroll(whole.reference, whole.index, draw), draw).numpy()

        thresholds = fold_thresholds(scores(0), pairs.same, pairs.fold)
        return float(np.mean([(scores(step) <= thresholds)[pairs.same].mean() for step in range(1, draws + 1)]))


def test_that_a_real_attack_on_a_randomized_defense_succeeds(cell: Callable, tmp_path: Path) -> None:
    strong = cell(
        defense=NoiseDefense(Noise(0.1)), threat=Adaptive(eot_samples=4), budget=Linf(0.3), attack=ProjectedDescent(20)
    )
    assert run_cell(strong, ResultStore(tmp_path))["measurements"]["attack"]["asr"] > 0.95


def test_that_judging_calibration_and_crafting_use_disjoint_draws(cell: Callable, tmp_path: Path) -> None:
    defense, attack = NoiseDefense(), ProjectedDescent(steps=3, restarts=2)
    run_cell(cell(defense=defense, threat=Adaptive(eot_samples=2), attack=attack), ResultStore(tmp_path))
    asked = set(defense.noise.draws)
    judging = {draw for draw in asked if draw.stream is Stream.JUDGING}
    calibrating = {draw for draw in asked if draw.stream is Stream.CALIBRATION}
    crafting_draws = asked - judging - calibrating
    assert {draw.k for draw in judging} == set(range(5))
    assert len(calibrating) == 1
    assert {draw.k for draw in crafting_draws if draw.step} == {0, 1}
    assert {draw.k for draw in crafting_draws} == set(range(10))  # by which the images of two views are compared
    assert {draw.step for draw in crafting_draws} == set(range(8))  # each step and last look of each start is new
