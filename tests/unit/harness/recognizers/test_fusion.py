"""Fusions of several recognizers: each against hand computation, its slope, and what it is known by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.reference_ensembles import FUSIONS, by_hand, score
from torch import Tensor

from frbench.harness.core.contracts import Recognizer, Verifier
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.verifiers import lifted
from frbench.harness.recognizers.ensemble import EnsembleRecognizer
from frbench.harness.recognizers.fusion import Fusion, fused


@pytest.fixture
def several(linear: Callable) -> tuple[Recognizer, ...]:
    """Three linear recognizers of one width."""
    return tuple(replace(linear(seed=seed), name=f"m{seed}", digest=f"m{seed}") for seed in (1, 2, 3))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_that_a_fused_score_is_what_the_formula_says(
    fusion: Fusion, several: tuple[Recognizer, ...], batch: Callable
) -> None:
    pairs = batch()
    expected = by_hand(several, pairs.probe, pairs.reference)
    assert torch.allclose(score(fused(several, fusion), pairs.probe, pairs.reference), expected[fusion], atol=1e-6)
    others = [each for name, each in expected.items() if name != fusion]
    assert all((each - expected[fusion]).abs().max() > 1e-3 for each in others)


def test_that_a_mean_of_cosines_is_that_of_the_recognizer_option_to_the_last_bit(
    several: tuple[Recognizer, ...], batch: Callable
) -> None:
    pairs, option = batch(), EnsembleRecognizer({each.name: each for each in several})
    found = score(fused(several, "concat"), pairs.probe, pairs.reference)
    assert torch.equal(found, score(lifted(option), pairs.probe, pairs.reference))


@pytest.mark.parametrize("fusion", ["concat", "min"])
def test_that_members_may_differ_in_width(fusion: Fusion, linear: Callable, batch: Callable) -> None:
    pairs, members = batch(), tuple(linear(dim=dim, seed=dim) for dim in (4, 9, 16))
    each = torch.stack([score(lifted(member), pairs.probe, pairs.reference) for member in members])
    expected = each.mean(dim=0) if fusion == "concat" else each.min(dim=0).values
    assert torch.allclose(score(fused(members, fusion), pairs.probe, pairs.reference), expected, atol=1e-6)


def slope(verifier: Verifier, pairs: PairBatch) -> Tensor:
    probe = pairs.probe.clone().requires_grad_(True)
    (found,) = torch.autograd.grad(score(verifier, probe, pairs.reference).sum(), probe)
    return found


def test_that_the_slope_of_the_least_is_that_of_the_member_which_decides(
    several: tuple[Recognizer, ...], batch: Callable
) -> None:
    pairs = batch()
    cosines = torch.stack([score(lifted(each), pairs.probe, pairs.reference) for each in several])
    slopes = torch.stack([slope(lifted(each), pairs) for each in several])
    decides = cosines.argmin(dim=0)
    assert len(decides.unique()) == 3
    assert torch.allclose(slope(fused(several, "min"), pairs), slopes[decides, torch.arange(12)], atol=1e-6)


def test_that_members_which_are_both_the_least_share_the_slope(linear: Callable, batch: Callable) -> None:
    pairs, one = batch(), linear(seed=1)
    assert torch.allclose(slope(fused((one, one), "min"), pairs), slope(lifted(one), pairs), atol=1e-6)


def test_that_a_fusion_is_differentiable_where_all_members_are(several: Any) -> None:
    blind = (*several[:2], replace(several[2], differentiable=False))
    for fusion in FUSIONS:
        assert fused(several, fusion).differentiable
        assert not fused(blind, fusion).differentiable


def test_that_fusions_and_members_are_told_apart_in_the_store(several: Any) -> None:
    known = {fingerprint(fused(members, fusion)) for fusion in FUSIONS for members in (several, several[:2])}
    assert len(known) == 6
    assert fingerprint(fused(several, "min")) in known
