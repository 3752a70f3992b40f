"""Classical denoisers by scikit-image, the baselines of PuFace's development code (joy8023/face).

They have no gradient: adaptive attackers use BPDA with the identity.

The method: docs/methods/input_transforms.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from frbench.defenses.components.purifier import PurifierDefense, StraightThrough
from frbench.harness.core.contracts import Draw, Images
from frbench.harness.core.domains import CropPixels, NonEmpty, OddPixels, Positive, PositiveInt
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.purifiers import Purifier, Sides

Pixels = np.ndarray  # float32 (H, W, 3) in [0, 1]


def restoration() -> Any:
    """Import ``skimage.restoration``.

    Raises:
        FrbenchError: scikit-image is not installed.
    """
    try:
        import skimage.restoration
    except ImportError as error:
        raise FrbenchError(
            f'this defense needs scikit-image ({error}); run: pip install "frbench[cloaking]"'
        ) from error
    return skimage.restoration


def with_wavelets() -> Any:
    """Import ``skimage.restoration`` after a check for PyWavelets, which its wavelet denoisers need.

    Raises:
        FrbenchError: PyWavelets or scikit-image is not installed.
    """
    try:
        import_module("pywt")
    except ImportError as error:
        raise FrbenchError(f'this defense needs PyWavelets ({error}); run: pip install "frbench[cloaking]"') from error
    return restoration()


class Denoiser(Protocol):
    """A denoising method; ``ready`` returns the function that denoises one image."""

    def ready(self) -> Callable[[Pixels], Pixels]: ...


@dataclass(frozen=True)
class Chambolle:
    """Total-variation denoising (Chambolle, 2004); ``weight`` is relative to the squared error on [0, 1]."""

    identity = "purifier.tv_chambolle"
    version = 1

    weight: Positive = 0.3
    iterations: PositiveInt = 200

    def ready(self) -> Callable[[Pixels], Pixels]:
        library = restoration()
        return lambda pixels: library.denoise_tv_chambolle(
            pixels, weight=self.weight, max_num_iter=self.iterations, channel_axis=-1
        )


@dataclass(frozen=True)
class NonLocalMeans:
    """Non-local means (Buades, Coll, Morel, CVPR 2005) with uniform patch weights.

    Attributes:
        sigma: standard deviation of the noise.
        strength: filter parameter h in units of ``sigma``.
        patch_size: side of a patch in pixels.
        patch_distance: largest distance of a compared patch in pixels.
    """

    identity = "purifier.non_local_means"
    version = 1

    sigma: Positive = 0.05
    strength: Positive = 0.8
    patch_size: CropPixels = 5
    patch_distance: CropPixels = 6

    def ready(self) -> Callable[[Pixels], Pixels]:
        library = restoration()
        sizes = {"patch_size": self.patch_size, "patch_distance": self.patch_distance}
        return lambda pixels: library.denoise_nl_means(
            pixels, h=self.strength * self.sigma, sigma=self.sigma, fast_mode=True, channel_axis=-1, **sizes
        )


@dataclass(frozen=True)
class Bilateral:
    """Bilateral filter (Tomasi, Manduchi, ICCV 1998); ``window_size`` in pixels, None for 6 ``sigma_spatial``."""

    identity = "purifier.bilateral"
    version = 1

    sigma_color: Positive = 0.02
    sigma_spatial: Positive = 10.0
    window_size: OddPixels | None = None

    def ready(self) -> Callable[[Pixels], Pixels]:
        library = restoration()
        return lambda pixels: library.denoise_bilateral(
            pixels, self.window_size, self.sigma_color, self.sigma_spatial, mode="edge", channel_axis=-1
        )


@dataclass(frozen=True)
class Wavelet:
    """Soft wavelet thresholding by BayesShrink (Chang, Yu, Vetterli, 2000) for noise of ``sigma``, in YCbCr."""

    identity = "purifier.wavelet"
    version = 1

    sigma: Positive = 0.05

    def ready(self) -> Callable[[Pixels], Pixels]:
        library = with_wavelets()
        return lambda pixels: library.denoise_wavelet(
            pixels, sigma=self.sigma, method="BayesShrink", convert2ycbcr=True, rescale_sigma=True, channel_axis=-1
        )


@dataclass(frozen=True)
class CalibratedWavelet:
    """Wavelet denoising with the settings of least self-supervised error on each image (Batson, Royer, ICML 2019)."""

    identity = "purifier.calibrated_wavelet"
    version = 1

    sigmas: Annotated[Sequence[Positive], NonEmpty] = tuple(step / 1000 for step in range(1, 20, 2))
    wavelets: Sequence[str] = ("db1", "db2")
    methods: Sequence[str] = ("BayesShrink", "VisuShrink")
    ycbcr: Sequence[bool] = (True, False)

    def ready(self) -> Callable[[Pixels], Pixels]:
        library = with_wavelets()
        grid = {"sigma": self.sigmas, "wavelet": self.wavelets, "method": self.methods, "convert2ycbcr": self.ycbcr}
        fixed = {"rescale_sigma": [True], "channel_axis": [-1]}

        def denoised(pixels: Pixels) -> Pixels:
            best: Callable[[Pixels], Pixels] = library.calibrate_denoiser(pixels, library.denoise_wavelet, grid | fixed)
            return best(pixels)

        return denoised


@dataclass(frozen=True)
class Denoised:
    """Denoise each image by ``denoiser`` and clip it to [0, 1]."""

    identity = "purifier.denoised"
    version = 1

    denoiser: Denoiser

    differentiable = False
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        denoise = self.denoiser.ready()
        stack = np.ascontiguousarray(images.detach().permute(0, 2, 3, 1).cpu().numpy())
        with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
            denoised = np.stack(list(pool.map(denoise, stack))).astype(np.float32)
        return torch.from_numpy(denoised).to(images.device).permute(0, 3, 1, 2).clamp(0, 1)


@dataclass(frozen=True)
class DenoisingDefense(PurifierDefense):
    """A denoiser as a defense."""

    identity = "defense.denoising"
    version = 1

    denoiser: Denoiser
    apply_to: Sides = "both"

    def purifier(self) -> Denoised:
        return Denoised(self.denoiser)

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        return {"identity": StraightThrough(self.purifier())}
