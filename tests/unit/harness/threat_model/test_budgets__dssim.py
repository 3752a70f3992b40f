"""DSSIM with the statistics of the clean image kept: against scikit-image, kornia and PyTorch's own differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kornia.metrics import ssim as kornia_ssim
from skimage.metrics import structural_similarity

from frbench.harness.metrics.perturbation import StructuralSimilarity, ssim


def faces(count: int = 4, side: int = 112, seed: int = 0) -> torch.Tensor:
    """Smooth fields with flat black and white corners."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, side // 8, side // 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    smooth[:, :, :12, :12], smooth[:, :, -12:, -12:] = 0.0, 1.0
    return smooth


def noisy(images: torch.Tensor, level: float, seed: int = 1) -> torch.Tensor:
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))
    return (images + level * (2 * noise - 1)).clamp(0, 1)


def reference(clean: torch.Tensor, images: torch.Tensor) -> np.ndarray:
    """scikit-image's map, of whole windows alone."""
    found = []
    for one, other in zip(clean.double().numpy(), images.double().numpy(), strict=True):
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
        _, seen = structural_similarity(one, other, channel_axis=0, full=True, **options)
        found.append((1 - seen[:, 5:-5, 5:-5].mean()) / 2)
    return np.array(found)


@pytest.mark.parametrize("level", [0.01, 0.06, 0.3])
def test_that_it_is_that_of_scikit_image(level: float) -> None:
    clean = faces()
    images = noisy(clean, level)
    found = StructuralSimilarity(clean).dssim(images).double().numpy()
    assert found == pytest.approx(reference(clean, images), abs=1e-6)
    assert found == pytest.approx((1 - ssim(clean, images).double().numpy()) / 2, abs=1e-6)
    assert found.min() > 1e-4


def test_that_an_image_has_none_to_itself() -> None:
    assert StructuralSimilarity(faces()).dssim(faces()).abs().max() < 1e-7


def test_that_its_slope_is_that_of_small_steps() -> None:
    clean = noisy(faces(2, 16), 0.1)[..., :12, :12].double()
    images = noisy(clean, 0.1, seed=2).requires_grad_(True)
    dssim = StructuralSimilarity(clean).dssim
    assert torch.autograd.gradcheck(dssim, images, eps=1e-6, atol=1e-6, fast_mode=True)


def test_that_each_image_stands_for_itself_to_the_last_bit() -> None:
    clean, images = faces(5), noisy(faces(5), 0.1)
    together, rows = StructuralSimilarity(clean), torch.tensor([3, 1])
    alone = torch.cat([StructuralSimilarity(clean[i : i + 1]).dssim(images[i : i + 1]) for i in range(5)])
    assert torch.equal(together.dssim(images), alone)
    assert torch.equal(together[rows].dssim(images[rows]), alone[rows])


def test_that_an_image_smaller_than_the_window_has_a_smaller_window() -> None:
    clean = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images = noisy(clean, 0.1)
    maps = kornia_ssim(clean, images, window_size=7, max_val=1.0, padding="valid")
    assert torch.allclose(StructuralSimilarity(clean).dssim(images), (1 - maps.flatten(1).mean(dim=1)) / 2, atol=1e-6)
