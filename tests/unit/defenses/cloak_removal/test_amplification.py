"""Amplified cloaks: both directions, clipping, mixtures, and the fraction of clean photos."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frbench.defenses.cloak_removal.amplification import Amplification, amplify
from frbench.harness.core.errors import FrbenchError

PHOTOS = torch.rand(400, 3, 4, 4, generator=torch.Generator().manual_seed(1))
DELTA = 0.01 * torch.randn(PHOTOS.shape, generator=torch.Generator().manual_seed(2))


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_plain_is_the_cloak_k_times_and_dev_goes_the_other_way() -> None:
    middle = 0.4 + 0.2 * PHOTOS
    assert torch.allclose(amplify(middle, DELTA, 3.0), middle + 3 * DELTA)
    assert torch.allclose(amplify(middle, DELTA, 5.0, "reverse"), middle - 4 * DELTA)
    assert torch.equal(amplify(middle, DELTA, 1.0, "reverse"), middle)


def test_each_photo_may_have_a_k_of_its_own() -> None:
    k = torch.arange(1.0, 401.0)
    alone = torch.cat([amplify(PHOTOS[i : i + 1], DELTA[i : i + 1], float(k[i])) for i in (0, 7, 399)])
    assert torch.equal(amplify(PHOTOS, DELTA, k)[[0, 7, 399]], alone)


@given(k=st.floats(-50, 50), direction=st.sampled_from(["forward", "reverse"]))
def test_no_k_leaves_the_range_of_images(k: float, direction: str) -> None:
    found = amplify(PHOTOS[:5], DELTA[:5], k, direction)  # type: ignore[arg-type]
    assert float(found.min()) >= 0 and float(found.max()) <= 1


def drawn(amplification: Amplification, seed: int = 0) -> torch.Tensor:
    """The k (400,) that each photo got, 0 where it is natural; photos are in the middle of the range."""
    middle = 0.4 + 0.2 * PHOTOS
    found = (amplification(middle, DELTA, chance(seed)) - middle) / DELTA
    return found.flatten(1).median(dim=1).values


def test_a_mixture_takes_every_k_about_as_often_and_leaves_its_share_natural() -> None:
    k = drawn(Amplification([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], clean_fraction=0.2)).round()
    counts = torch.bincount(k.long(), minlength=11)
    assert len(counts) == 11
    assert 50 < counts[0] < 110  # 80 of 400, within four deviations
    assert bool(((counts[1:] > 10) & (counts[1:] < 56)).all())  # 32 each


@pytest.mark.parametrize(("direction", "factor"), [("forward", 5), ("reverse", -4)])
def test_one_k_is_everybodys_in_either_mode(direction: str, factor: float) -> None:
    found = drawn(Amplification(5, direction, clean_fraction=0.0))  # type: ignore[arg-type]
    assert torch.allclose(found, torch.full((400,), float(factor)), atol=1e-2)
    assert bool((drawn(Amplification(5, direction, clean_fraction=1.0)) == 0).all())  # type: ignore[arg-type]


def test_what_is_drawn_comes_from_the_generator_alone() -> None:
    mixture = Amplification([1, 10])
    assert torch.equal(drawn(mixture, 3), drawn(mixture, 3))
    assert not torch.equal(drawn(mixture, 3), drawn(mixture, 4))


def test_an_empty_mixture_is_an_error() -> None:
    with pytest.raises(FrbenchError, match="a number, or a list"):
        Amplification([])(PHOTOS, DELTA, chance())
