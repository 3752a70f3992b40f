"""Sizes of perturbations against closed forms and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from frbench.harness.metrics.perturbation import l2, linf, rms, sizes, ssim


def pictures(seed: int = 0, count: int = 3) -> Tensor:
    """Smooth random images with some contrast, (N, 3, 112, 112)."""
    noise = torch.rand(count, 3, 14, 14, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, size=(112, 112), mode="bilinear")


def test_a_constant_change_has_its_closed_form_sizes() -> None:
    clean = torch.full((2, 3, 112, 112), 0.5)
    change = torch.tensor([2.0, 8.0])[:, None, None, None] / 255
    assert linf(clean, clean + change).tolist() == pytest.approx([2, 8], rel=1e-4)
    assert rms(clean, clean + change).tolist() == pytest.approx([2, 8], rel=1e-4)
    length = np.sqrt(3 * 112 * 112) / 255
    assert l2(clean, clean + change).tolist() == pytest.approx([2 * length, 8 * length], rel=1e-4)


def test_one_changed_pixel_counts_whole_in_linf_and_little_in_rms() -> None:
    clean = torch.zeros(1, 3, 112, 112)
    changed = clean.clone()
    changed[0, 1, 5, 7] = 1
    assert linf(clean, changed).item() == 255
    assert l2(clean, changed).item() == 1
    assert rms(clean, changed).item() == pytest.approx(255 / np.sqrt(3 * 112 * 112))


def test_ssim_is_scikit_images_with_the_gaussian_window() -> None:
    clean = pictures()
    for strength in (0.01, 0.05, 0.2):
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
        changed = (clean + strength * noise).clamp(0, 1)
        expected = [
            structural_similarity(
                a.numpy(),
                b.numpy(),
                channel_axis=0,
                data_range=1.0,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for a, b in zip(clean.double(), changed.double(), strict=True)
        ]
        assert ssim(clean, changed).tolist() == pytest.approx(expected, abs=2e-4)


def test_equal_images_have_no_size() -> None:
    clean = pictures()
    measured = sizes(clean, clean.clone())
    assert all((measured[name] == 0).all() for name in ("linf", "l2", "rms"))
    assert measured["ssim"].tolist() == pytest.approx([1, 1, 1])


def test_a_failed_attack_is_infinitely_large_even_where_it_returned_the_clean_image() -> None:
    clean = pictures()
    adversarial = clean.clone()
    adversarial[1] = 1 - clean[1]
    measured = sizes(clean, adversarial, achieved=torch.tensor([False, True, False]))
    for name in ("linf", "l2", "rms"):
        assert torch.isinf(measured[name]).tolist() == [True, False, True]
    assert torch.isneginf(measured["ssim"]).tolist() == [True, False, True]


def test_the_sizes_of_an_image_do_not_depend_on_its_batch() -> None:
    clean, adversarial = pictures(0, 4), pictures(5, 4)
    together = sizes(clean, adversarial)
    for i in range(4):
        alone = sizes(clean[i : i + 1], adversarial[i : i + 1])
        assert {k: v.item() for k, v in alone.items()} == pytest.approx({k: v[i].item() for k, v in together.items()})
