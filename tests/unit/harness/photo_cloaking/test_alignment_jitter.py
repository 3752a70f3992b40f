"""Alignment jitter: its geometry, and one transformation per pair and step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from frbench.harness.core.contracts import Draw, Template
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.photo_cloaking.alignment_jitter import AlignmentJitter


class Seeing:
    """A verifier that keeps what it is shown."""

    differentiable, random = True, False

    def __init__(self) -> None:
        self.shown: list[Tensor] = []

    def enroll(self, reference: Tensor, index: Tensor, draw: Draw) -> Template:
        return Template(reference, index)

    def score(self, probe: Tensor, template: Template, draw: Draw) -> Tensor:
        self.shown.append(probe)
        return probe.mean(dim=(1, 2, 3))


def template(*index: int) -> Template:
    return Template(torch.zeros(len(index), 1), torch.tensor(index))


def shown(images: Tensor, index: tuple[int, ...], std: float = 0.02, step: int = 0) -> Tensor:
    inner = Seeing()
    AlignmentJitter(inner, std).score(images, template(*index), Draw(0, step=step))
    return inner.shown[0]


def ramps(count: int = 1) -> Tensor:
    """(N, 3, 112, 112): x, y and nothing, so that each pixel says where it came from, in sides from the middle."""
    place = (torch.arange(112) + 0.5) / 112 - 0.5
    y, x = torch.meshgrid(place, place, indexing="ij")
    return torch.stack([x, y, 0 * x])[None].repeat(count, 1, 1, 1)


def test_that_probes_are_rotated_scaled_and_shifted_only() -> None:
    images = shown(ramps(), (5,))[0, :, 28:84, 28:84]
    (xx, xy), (yx, yy) = ([float(part.diff(dim=d).mean() * 112) for d in (1, 0)] for part in images[:2])
    assert (xx, yx) == pytest.approx((yy, -xy), abs=1e-4), "the same scale and angle along both axes"
    for way in (1, 2):
        assert images[:2].diff(dim=way).std(dim=(1, 2)).max() < 1e-5, "straight lines stay straight"
    assert abs(xx - 1) > 1e-4 or abs(xy) > 1e-4


def test_that_shifts_and_scales_have_the_given_standard_deviation() -> None:
    images = shown(ramps(400), tuple(range(400)), std=0.02)
    middle = images[:, :2, 55:57, 55:57].mean(dim=(2, 3))
    assert middle.std(dim=0).tolist() == pytest.approx([0.02, 0.02], rel=0.15)
    assert middle.mean(dim=0).abs().max() < 0.004
    scale = (images[:, 0, 56, 84] - images[:, 0, 56, 28]) * 2
    assert float(scale.std()) == pytest.approx(0.02, rel=0.15)


def test_that_a_draw_belongs_to_the_pair_and_the_step() -> None:
    images = torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    together = shown(images, (7, 1 << 30, 9))
    assert torch.equal(shown(images[1:2], (1 << 30,)), together[1:2])
    assert not torch.equal(shown(images[:1], (8,)), together[:1])
    assert not torch.equal(shown(images, (7, 1 << 30, 9), step=1), together)


def test_that_without_jitter_it_is_the_verifier(linear: Callable) -> None:
    images = torch.rand(2, 3, 112, 112)
    bare = CosineVerifier(linear(size=112))
    still = AlignmentJitter(bare, 0.0)
    enrolled = bare.enroll(images.flip(0), torch.arange(2), Draw())
    assert not still.random and AlignmentJitter(bare, 0.01).random
    assert torch.equal(still.score(images, enrolled, Draw()), bare.score(images, enrolled, Draw()))


def test_that_gradients_reach_the_probe(linear: Callable) -> None:
    images = torch.rand(2, 3, 112, 112).requires_grad_()
    look = AlignmentJitter(CosineVerifier(linear(size=112)), 0.02)
    look.score(images, look.enroll(images, torch.arange(2), Draw()), Draw()).sum().backward()
    assert images.grad is not None and (images.grad != 0).float().mean() > 0.9
