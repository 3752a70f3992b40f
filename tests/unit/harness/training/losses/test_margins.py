"""Margin heads: against the angle worked out in float64, safe at the poles, and by epoch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from frbench.harness.training.losses.margins import ArcFace, CosFace, Margin, margin_loss

HEADS = [ArcFace(64, 0.5), ArcFace(32, 0.3), CosFace(64, 0.4)]


def by_angle(own: Tensor, margin: float) -> Tensor:
    angle = own.double().acos()
    return torch.where(angle + margin < math.pi, (angle + margin).cos(), own - margin * math.sin(margin))


@pytest.mark.parametrize("margin", [0.3, 0.5])
def test_arcface_adds_to_the_angle_and_goes_on_falling_beyond_pi(margin: float) -> None:
    own = torch.linspace(-0.999, 0.999, 4001, dtype=torch.float64)
    found = ArcFace(64, margin).penalized(own, 0.0)
    assert torch.allclose(found, by_angle(own, margin), atol=1e-9)
    assert (found.diff()[(own[1:] < math.cos(math.pi - margin)) | (own[:-1] > math.cos(math.pi - margin))] > 0).all()
    assert (found < own).all()
    assert torch.allclose(ArcFace(64, margin).penalized(own.float(), 0.0).double(), found, atol=1e-5)


def test_the_loss_is_the_cross_entropy_of_scaled_cosines_with_the_own_one_made_worse() -> None:
    torch.manual_seed(0)
    cosines, person = torch.rand(5, 7, dtype=torch.float64) * 2 - 1, torch.tensor([0, 6, 3, 3, 1])
    for head, worse in ((ArcFace(64, 0.5), by_angle(cosines, 0.5)), (CosFace(30, 0.35), cosines - 0.35)):
        logits = cosines.clone()
        for row, column in enumerate(person):
            logits[row, column] = worse[row, column]
        assert torch.allclose(margin_loss(head, cosines, person), cross_entropy(head.scale * logits, person))


@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "under bfloat16"])
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["cos = 1", "cos = -1"])
def test_gradients_are_finite_where_the_sine_has_no_slope(head: Margin, autocast: bool, sign: float) -> None:
    rows = torch.eye(4, 6, requires_grad=True)
    raw = (sign * torch.eye(4, 6) * 3).requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        cosines = normalize(raw, dim=1) @ normalize(rows, dim=1).T
        assert (cosines.diagonal() == sign).all()
        loss = margin_loss(head, cosines.float(), torch.arange(4))
    loss.backward()
    assert bool(torch.isfinite(loss))
    for each in (raw, rows):
        assert each.grad is not None and torch.isfinite(each.grad).all()


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_cosines_rounded_beyond_one_do_no_harm(head: Margin) -> None:
    own = torch.tensor([1 + 1.2e-7, 1.0, 1 - 6e-8, -1 - 1.2e-7, -1.0], requires_grad=True)
    worse = head.penalized(own, 0.0)
    worse.sum().backward()
    assert own.grad is not None and torch.isfinite(own.grad).all() and torch.isfinite(worse).all()
    assert (own.grad > 0).all(), "a dead slope would leave the person where it is"


def test_the_first_epochs_have_a_margin_of_their_own() -> None:
    own = torch.tensor([0.5])
    for head, plain in ((ArcFace, ArcFace), (CosFace, CosFace)):
        gentle = head(32, 0.5, margin_warmup=0.3, warmup_epochs=2)
        for epoch, margin in ((0.0, 0.3), (1.99, 0.3), (2.0, 0.5), (9.0, 0.5)):
            assert gentle.penalized(own, epoch) == plain(32, margin).penalized(own, epoch)
