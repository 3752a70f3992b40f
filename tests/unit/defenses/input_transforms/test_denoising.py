"""Classical denoisers: noise falls, images are independent, and a missing library is a one-line error."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_bilateral, denoise_nl_means, denoise_tv_chambolle
from torch import Tensor

from frbench.defenses.input_transforms.denoising import (
    Bilateral,
    CalibratedWavelet,
    Chambolle,
    Denoised,
    Denoiser,
    NonLocalMeans,
    Wavelet,
)
from frbench.harness.core.contracts import Draw
from frbench.harness.core.errors import FrbenchError

INDEX = torch.arange(3)
DENOISERS: list[Denoiser] = [
    Chambolle(0.1),
    NonLocalMeans(),
    Bilateral(0.1, 2.0),
    Wavelet(),
    CalibratedWavelet([0.01, 0.05], ["db1"]),
]


@pytest.fixture(scope="module")
def smooth() -> Tensor:
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(3, 3, 32, 32)), (0, 0, 4, 4))
    return torch.from_numpy(0.2 + 0.6 * (noise - noise.min()) / (noise.max() - noise.min())).float()


@pytest.fixture(scope="module")
def noisy(smooth: Tensor) -> Tensor:
    return smooth + 0.05 * torch.randn(smooth.shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=DENOISERS, ids=lambda each: type(each).__name__)
def denoised(request: pytest.FixtureRequest) -> Denoised:
    if isinstance(request.param, Wavelet | CalibratedWavelet):
        pytest.importorskip("pywt")
    return Denoised(request.param)


def test_it_takes_noise_away(denoised: Denoised, smooth: Tensor, noisy: Tensor) -> None:
    found = denoised(noisy, INDEX, Draw())
    assert (found.shape, found.dtype) == (noisy.shape, torch.float32)
    before, after = ((each - smooth).square().mean(dim=(1, 2, 3)) for each in (noisy, found))
    assert bool((after < 0.6 * before).all())


def test_each_image_goes_alone_and_stays_in_range(denoised: Denoised, noisy: Tensor) -> None:
    wide = (2 * noisy - 0.5).clamp(0, 1)
    together = denoised(wide, INDEX, Draw())
    assert torch.equal(together[1:2], denoised(wide[1:2], INDEX[1:2], Draw()))
    assert float(together.min()) >= 0 and float(together.max()) <= 1


@pytest.mark.parametrize(
    ("denoiser", "by_hand"),
    [
        (Chambolle(), lambda x: denoise_tv_chambolle(x, weight=0.3, channel_axis=2)),
        (
            NonLocalMeans(),
            lambda x: denoise_nl_means(x, patch_size=5, patch_distance=6, h=0.04, sigma=0.05, channel_axis=2),
        ),
        (
            Bilateral(),
            lambda x: denoise_bilateral(x, sigma_color=0.02, sigma_spatial=10, mode="edge", channel_axis=2),
        ),
    ],
    ids=["chambolle", "nl_means", "bilateral"],
)
def test_defaults_are_those_of_the_development_code(
    denoiser: Denoiser, by_hand: Callable[[np.ndarray], np.ndarray], noisy: Tensor
) -> None:
    pixels = noisy[0].permute(1, 2, 0).numpy()
    expected = torch.from_numpy(by_hand(pixels)).permute(2, 0, 1).float().clamp(0, 1)
    assert torch.allclose(Denoised(denoiser)(noisy[:1], INDEX[:1], Draw())[0], expected, atol=1e-6)


@pytest.mark.parametrize(("denoiser", "missing"), [(Chambolle(), "skimage"), (Wavelet(), "pywt")])
def test_a_missing_library_is_an_error_that_names_its_extra(
    denoiser: Denoiser, missing: str, noisy: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = builtins.__import__

    def without(name: str, *given: Any) -> Any:
        if name.split(".")[0] == missing:
            raise ImportError(f"No module named '{missing}'")
        return usual(name, *given)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setitem(sys.modules, "pywt", None)
    with pytest.raises(FrbenchError, match=r'pip install "frbench\[cloaking\]"'):
        Denoised(denoiser)(noisy, INDEX, Draw())
